"""From what a user writes (``"openai:gpt-5-mini"``, a configuration, an object) to a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import ValidationError

from ..errors import ConfigError, MissingDependencyError
from .embed import is_embeddings
from .offline import OfflineEmbeddings, offline_available

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

_log = logging.getLogger(__name__)

#: Names of the embedding model that comes with the extra ``embedded``.
OFFLINE_NAMES: Final = frozenset({"embedded", "offline"})
_EXAMPLES: Final = {"chat": "openai:gpt-5-mini", "embedding": "openai:text-embedding-3-small"}

_Kind = Literal["chat", "embedding"]


def resolve_chat_model(
    llm: str | BaseChatModel | Mapping[str, Any] | None, *, config: Mapping[str, Any] | None = None
) -> BaseChatModel | None:
    """The chat model that is meant, ready to be called; None for None. Nothing is sent anywhere.

    Args:
        llm: ``"provider:model"``, a LangChain chat model (taken as it is), or
            ``{"provider": ..., "config": {"model": ..., ...}}``.
        config: With a provider's name as ``llm``: its ``model`` and further arguments of the model's class.

    Raises:
        MissingDependencyError: LangChain or the provider's package is not installed.
        ConfigError: The string or configuration is malformed, the provider is unknown, or it refuses, for
            instance because an API key is missing.
    """
    named, settings = _split("chat", llm, config)
    if named is None or not isinstance(named, str):
        if named is None or _is_chat_model(named):
            return cast("BaseChatModel | None", named)
        raise ConfigError(
            f"a {type(named).__name__} is no chat model: give a LangChain chat model or {_hint('chat')}"
        )
    return cast("BaseChatModel", _built("chat", named, settings))


def with_fallbacks(models: list[BaseChatModel | None]) -> BaseChatModel:
    """The first model, with the others in its place where calling it fails.

    Raises:
        ConfigError: There is none, or one of them is None or no LangChain model.
    """
    if not models or None in models:
        raise ConfigError(f"a list of chat models holds models, for instance [{_hint('chat')}, ...]")
    if len(models) == 1:
        return cast("BaseChatModel", models[0])
    try:
        from langchain_core.runnables import Runnable, RunnableWithFallbacks
    except ImportError as error:
        raise MissingDependencyError("a list of chat models", extra="models") from error
    for model in models:
        if not isinstance(model, Runnable):
            raise ConfigError(f"in a list, a chat model is LangChain's; a {type(model).__name__} is not")
    first, *others = cast("list[Any]", models)
    chain: Any = RunnableWithFallbacks(runnable=first, fallbacks=others)
    return cast("BaseChatModel", chain)


def resolve_embeddings(
    embedder: str | Embeddings | Mapping[str, Any] | None, *, config: Mapping[str, Any] | None = None
) -> Embeddings | None:
    """The embedding model that is meant, ready to be called; None for None. Nothing is sent anywhere.

    ``"embedded"`` (or ``"offline"``) is the model that needs no network. An object counts as an embedding
    model if it has ``embed_documents`` and ``embed_query``. Arguments and errors as for
    ``resolve_chat_model``.
    """
    named, settings = _split("embedding", embedder, config)
    if named is None or not isinstance(named, str):
        if named is None or is_embeddings(named):
            return cast("Embeddings | None", named)
        what = f"the class {named.__name__}" if isinstance(named, type) else f"a {type(named).__name__}"
        raise ConfigError(
            f"{what} is no embedding model: give an object with embed_documents, or {_hint('embedding')}"
        )
    if named in OFFLINE_NAMES:
        if not offline_available():
            raise MissingDependencyError("the offline embedding model", extra="embedded")
        return cast("Embeddings", OfflineEmbeddings())
    return cast("Embeddings", _built("embedding", named, settings))


def _split(kind: _Kind, given: Any, config: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """What names the model (an object, ``provider:model`` or a name) and the remaining settings."""
    if isinstance(given, Mapping):
        parts = cast("Mapping[str, Any]", given)
        unknown = sorted(str(key) for key in parts if key not in ("provider", "config"))
        if unknown or "provider" not in parts:
            raise ConfigError(
                f"a {kind} model's configuration has the keys 'provider' and 'config', not {unknown}"
            )
        given, config = parts["provider"], parts.get("config") or {}
    if not isinstance(given, str):
        if config:
            raise ConfigError(f"settings for a {kind} model need its provider's name, not an object")
        return given, {}
    if config is None or given.strip() in OFFLINE_NAMES:
        return given.strip(), {}
    if not isinstance(config, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"a {kind} model's config must be a mapping")
    settings = dict(config)
    model = settings.pop("model", None)
    if not isinstance(model, str):
        if model is None:
            raise ConfigError(f"a {kind} model's config needs 'model', for instance {_hint(kind)}")
        return model, {}  # an object, as in provider="langchain"
    return f"{given.strip()}:{model.strip()}", settings


def _built(kind: _Kind, named: str, settings: dict[str, Any]) -> Any:
    provider, _, model = (part.strip() for part in named.partition(":"))
    if not provider or not model:
        raise ConfigError(
            f"{named!r} names no {kind} model: write provider:model, for instance {_hint(kind)}"
        )
    provider = provider.lower().replace("-", "_")
    title = f"the {kind} model {provider}:{model}"
    extra = "openai" if provider in ("openai", "azure_openai") else "models"
    try:
        from langchain.chat_models import init_chat_model
        from langchain.embeddings import init_embeddings
    except ImportError as error:
        raise MissingDependencyError(title, extra=extra) from error
    try:
        if kind == "chat":
            make: Any = init_chat_model
            return make(model, model_provider=provider, **settings)
        return init_embeddings(model, provider=provider, **settings)
    except ImportError as error:
        package = f"langchain-{provider.replace('_', '-')}"
        also = "" if extra == "openai" else f", beside its provider's package (such as {package}),"
        raise MissingDependencyError(f"{title}{also}", extra=extra) from error
    except Exception as error:  # noqa: BLE001 - each provider has its own errors for settings that cannot work
        raise ConfigError(f"{title} cannot be made: {_reason(error, settings)}") from None


def _reason(error: Exception, settings: Mapping[str, Any]) -> str:
    """What a provider complains of, in one line without any value of the settings.

    The error itself is not chained: a traceback would print the settings, keys included.
    """
    text = str(error)
    if isinstance(error, ValidationError):  # its text holds the input
        details = error.errors(include_input=False, include_url=False)
        text = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    text = " ".join(text.split())
    for value in _values(settings):
        text = text.replace(value, "***")
    return f"{type(error).__name__}: {text[:600]}"


def _values(settings: Any) -> list[str]:
    """Every string among the settings' values that is long enough to be a secret."""
    if isinstance(settings, Mapping):
        return [v for item in cast("Mapping[str, Any]", settings).values() for v in _values(item)]
    if isinstance(settings, list | tuple):
        return [v for item in cast("list[Any]", settings) for v in _values(item)]
    secret = getattr(settings, "get_secret_value", None)
    text = secret() if callable(secret) else settings
    return [text] if isinstance(text, str) and len(text) >= 6 else []


def _is_chat_model(value: object) -> bool:
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("invoke", "ainvoke")
    )


def _hint(kind: _Kind) -> str:
    return repr(_EXAMPLES[kind])
