"""Configuration in the shape that mem0 users know, checked before anything is opened.

MemoryConfig(llm=LlmConfig(provider="openai", config={"model": "gpt-5-mini"}))
MemoryConfig.from_config({"llm": {"provider": "openai", "config": {"model": "gpt-5-mini"}}})
MemoryConfig.from_env()      # MEMKIT_LLM, MEMKIT_STORE, MEMKIT_VECTOR_STORE, ...
MemoryConfig.from_file("memkit.toml")
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import Field, SecretStr, ValidationError, field_validator

from .errors import ConfigError
from .policies import Part, Policies, explain

DEFAULT_STORE: Final = "sqlite:///memkit.db"
#: Providers of a vector index beside the record store.
INDEX_PROVIDERS: Final = frozenset({"chroma"})
Durability = Literal["full", "relaxed"]


class _Provided(Part):
    """A provider's name and what it is built with. Values under secret-looking keys are never shown."""

    provider: str = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict[str, Any], repr=False)

    @field_validator("config")
    @classmethod
    def _hide_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = _hidden(value, secret=False)
        return hidden


class LlmConfig(_Provided):
    """Which chat model: a provider of LangChain's ``init_chat_model`` and its arguments, also ``model``.

    mem0's ``model`` and LangChain's mean the same; every further argument goes to the provider as it is.
    """


class EmbedderConfig(_Provided):
    """Which embedding model: a provider of LangChain's ``init_embeddings``, or ``embedded`` (offline)."""


class VectorStoreConfig(_Provided):
    """Where vectors are searched.

    ``sqlite`` (``{"path": …}``) is the record store itself. ``chroma`` is an index beside it:
    ``{"path": "./chroma"}``, or ``{"host": "localhost", "port": 8000}`` with ``ssl`` and ``headers`` if need
    be; ``collection`` (mem0's ``collection_name`` means the same) is ``memkit`` by default, and ``adopt``
    takes it over from another record store.
    """


class GraphStoreConfig(_Provided):
    """Where an entity graph is kept. This release has none yet."""


class MemoryConfig(Policies):
    """Everything a ``Memory`` can be told; how the pipeline behaves stands in ``Policies``.

    Attributes:
        llm: None: verbatim mode, no model is ever called. A list: the first model, and what is asked in its
            place, one after the other, where calling it fails.
        verifier: A second chat model that judges what the first one extracted. None: code alone does.
        embedder: ``auto``: the offline model if its extra is installed, else keywords only. None: the latter.
        store: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://:memory:``.
        history_db_path: mem0's name for the file that keeps the history. memkit keeps it with the memories,
            so this is another way to name the SQLite file; not together with ``store``.
        exact_scan_units: Owners with at most so many memories and turns are always searched exactly by the
            record store. Above it the proposals of the vector index stand for that.
        index_timeout: Seconds that any call waits for the vector index at most.
        durability: ``full``: an acknowledged write survives a power cut. ``relaxed``: it survives a crash of
            the process, and a power cut may lose the last ones.
    """

    llm: LlmConfig | str | list[LlmConfig | str] | None = None
    verifier: LlmConfig | str | None = None
    embedder: EmbedderConfig | str | None = "auto"
    vector_store: VectorStoreConfig | None = None
    graph_store: GraphStoreConfig | None = None
    store: str | None = None
    history_db_path: str | None = None
    durability: Durability = "full"
    exact_scan_units: int = Field(default=20_000, ge=0)
    index_timeout: float = Field(default=5.0, gt=0)

    @property
    def location(self) -> str:
        """The record store's URL.

        Raises:
            ConfigError: Two places are named, or a provider that this release does not have.
        """
        named: dict[str, str] = {}
        if self.store is not None:
            named["store"] = self.store
        if self.history_db_path is not None:
            named["history_db_path"] = sqlite_url(self.history_db_path)
        if self.vector_store is not None and self.vector_store.provider not in INDEX_PROVIDERS:
            if self.vector_store.provider != "sqlite":
                raise ConfigError(
                    f"vector_store provider {self.vector_store.provider!r} is not in this release; 'sqlite' "
                    "and 'chroma' are. A LangChain vector store, or an object with "
                    "memkit_core.protocols.VectorIndex, goes into Memory(vector_store=…)"
                )
            path = self.vector_store.config.get("path")
            if not isinstance(path, str) or set(self.vector_store.config) != {"path"}:
                raise ConfigError("vector_store provider 'sqlite' takes exactly {'path': 'file.db'}")
            named["vector_store"] = sqlite_url(path)
        if self.graph_store is not None:
            raise ConfigError(f"graph_store provider {self.graph_store.provider!r} is not in this release")
        if len(set(named.values())) > 1:
            raise ConfigError(f"one store, please: {' and '.join(named)} name different files")
        return next(iter(named.values()), DEFAULT_STORE)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MemoryConfig:
        """The configuration that a dict means.

        Raises:
            ConfigError: A key is unknown or a value has the wrong type.
        """
        if not isinstance(cast("object", config), Mapping):
            raise ConfigError(f"the configuration is a dict, not {type(config).__name__}")
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            raise ConfigError(explain(error, cls.model_fields)) from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> MemoryConfig:
        """The configuration that the environment means.

        ``MEMKIT_LLM`` ("openai:gpt-5-mini"), ``MEMKIT_EMBEDDER`` ("none" for keywords only),
        ``MEMKIT_STORE``, ``MEMKIT_DURABILITY``, and ``MEMKIT_VECTOR_STORE`` as JSON with ``provider`` and
        ``config``; what is not set keeps its default.

        Raises:
            ConfigError: A value is not allowed.
        """
        env = os.environ if environ is None else environ
        names = {"llm": "MEMKIT_LLM", "embedder": "MEMKIT_EMBEDDER", "store": "MEMKIT_STORE"}
        names["durability"] = "MEMKIT_DURABILITY"
        given: dict[str, Any] = {field: env[name] for field, name in names.items() if env.get(name)}
        if given.get("embedder") == "none":
            given["embedder"] = None
        if index := env.get("MEMKIT_VECTOR_STORE"):
            try:
                given["vector_store"] = json.loads(index)
            except ValueError:  # its text may hold a secret
                raise ConfigError("MEMKIT_VECTOR_STORE is not JSON") from None
        return cls.from_config(given)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> MemoryConfig:
        """The configuration in a ``.toml`` or ``.json`` file.

        Raises:
            ConfigError: The file cannot be read, or is no such configuration.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
            if file.suffix == ".toml":
                return cls.from_config(tomllib.loads(text))
            if file.suffix == ".json":
                return cls.from_config(json.loads(text))
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"cannot read the configuration {str(file)!r}: {error}") from None
        raise ConfigError(f"a configuration file ends in .toml or .json; {file.name!r} does not")


def sqlite_url(path: str) -> str:
    """The store URL of a SQLite file."""
    return f"sqlite:///{path}"


def _hidden(value: Any, *, secret: bool) -> Any:
    """A provider's arguments with every string under a secret-looking name hidden, at any depth."""
    if isinstance(value, Mapping):
        rows = cast("Mapping[str, Any]", value)
        return {name: _hidden(item, secret=secret or _is_secret(str(name))) for name, item in rows.items()}
    return SecretStr(value) if secret and isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    words = ("key", "token", "secret", "password", "authorization", "credentials", "headers")
    return name.lower().endswith(words)


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's arguments with the secrets readable again, for the provider alone."""
    shown: dict[str, Any] = _shown(config)
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shown(item) for name, item in cast("Mapping[str, Any]", value).items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value
