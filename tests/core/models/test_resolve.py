"""Strings, configurations and objects become models, or errors that say what to do and no secret."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import Any

import pytest

from memkit_core.errors import ConfigError, MissingDependencyError
from memkit_core.models.offline import OfflineEmbeddings, offline_available
from memkit_core.models.resolve import resolve_chat_model, resolve_embeddings
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

SECRET = "sk-canary-0123456789"

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:langchain", "ignore::UserWarning:langchain_openai"
)


def test_nothing_is_nothing() -> None:
    assert resolve_chat_model(None) is None
    assert resolve_embeddings(None) is None


def test_objects_are_taken_as_they_are() -> None:
    chat, embeddings = ScriptedChatModel([]), HashEmbeddings()
    assert resolve_chat_model(chat) is chat
    assert resolve_chat_model({"provider": "langchain", "config": {"model": chat}}) is chat
    assert resolve_embeddings(embeddings) is embeddings  # type: ignore[arg-type]
    assert resolve_embeddings({"provider": "langchain", "config": {"model": embeddings}}) is embeddings


@pytest.mark.skipif(not offline_available(), reason="the extra `embedded` is not installed")
def test_the_offline_model_has_names() -> None:
    for name in ("embedded", "offline", {"provider": "embedded"}):
        assert isinstance(resolve_embeddings(name), OfflineEmbeddings)  # type: ignore[arg-type]


def test_openai_strings_and_configurations() -> None:
    pytest.importorskip("langchain_openai")
    for given, config in (
        ("openai", {"model": "gpt-5-mini", "api_key": SECRET}),
        ({"provider": "OpenAI", "config": {"model": "gpt-5-mini", "api_key": SECRET}}, None),
        ("openai", {"model": "gpt-5-mini", "api_key": SECRET, "temperature": 0.5}),
    ):
        model: Any = resolve_chat_model(given, config=config)  # type: ignore[arg-type]
        assert model.model_name == "gpt-5-mini"
    embeddings: Any = resolve_embeddings(
        "openai", config={"model": "text-embedding-3-small", "api_key": SECRET}
    )
    assert embeddings.model == "text-embedding-3-small"


def test_strings_read_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    chat: Any = resolve_chat_model("openai:gpt-5-mini")
    assert chat.model_name == "gpt-5-mini"
    embeddings: Any = resolve_embeddings("openai:text-embedding-3-small")
    assert embeddings.model == "text-embedding-3-small"


@pytest.mark.parametrize("resolve", [resolve_chat_model, resolve_embeddings])
def test_a_missing_key_is_named(resolve: Any) -> None:
    pytest.importorskip("langchain_openai")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        resolve("openai:some-model")


@pytest.mark.parametrize("resolve", [resolve_chat_model, resolve_embeddings])
@pytest.mark.parametrize("given", ["", " ", ":", "openai", "openai:", ":gpt", "gpt-5-mini", "a sentence"])
def test_malformed_strings_show_a_good_one(resolve: Any, given: str) -> None:
    with pytest.raises(ConfigError, match="'openai:"):
        resolve(given)


@pytest.mark.parametrize("resolve", [resolve_chat_model, resolve_embeddings])
@pytest.mark.parametrize(
    "given",
    [7, object(), HashEmbeddings, ScriptedChatModel, {}, {"model": "x"}, {"provider": "openai", "x": 1}],
)
def test_other_things_are_refused(resolve: Any, given: Any) -> None:
    with pytest.raises(ConfigError):
        resolve(given)


@pytest.mark.parametrize("resolve", [resolve_chat_model, resolve_embeddings])
def test_configurations_are_checked(resolve: Any) -> None:
    with pytest.raises(ConfigError, match="'model'"):
        resolve("openai", config={"temperature": 0})
    with pytest.raises(ConfigError, match="mapping"):
        resolve("openai", config="gpt-5")
    with pytest.raises(ConfigError, match="provider's name"):
        resolve(object(), config={"model": "x"})


@pytest.mark.parametrize("resolve", [resolve_chat_model, resolve_embeddings])
def test_unknown_providers_are_told_the_known_ones(resolve: Any) -> None:
    pytest.importorskip("langchain")
    with pytest.raises(ConfigError, match=r"no_such.*ollama") as caught:
        resolve("no-such:model")
    assert len(str(caught.value)) < 1_000


def test_missing_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain")
    from langchain.chat_models import base

    base._get_chat_model_creator.cache_clear()
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    with pytest.raises(MissingDependencyError, match=r"memkit-core\[openai\]") as caught:
        resolve_chat_model("openai:gpt-5-mini")
    assert caught.value.extra == "openai"
    monkeypatch.setitem(sys.modules, "langchain_mistralai", None)
    with pytest.raises(MissingDependencyError, match=r"langchain-mistralai.*memkit-core\[models\]"):
        resolve_chat_model("mistralai:any")
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingDependencyError) as caught:
        resolve_chat_model("ollama:llama3:8b")
    assert caught.value.extra == "models"


@pytest.mark.parametrize(
    "config",
    [
        {"model": "gpt-5", "api_key": SECRET, "max_retries": "many"},
        {"model": "gpt-5", "api_key": SECRET, "n": SECRET},
        {"model": "gpt-5", "api_key": [SECRET]},
    ],
)
def test_no_secret_is_in_an_error(config: dict[str, Any]) -> None:
    pytest.importorskip("langchain_openai")
    with pytest.raises(ConfigError) as caught:
        resolve_chat_model("openai", config=config)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_resolving_an_object_loads_no_model_library() -> None:
    code = (
        "import sys\n"
        "from memkit_core.models.resolve import resolve_chat_model, resolve_embeddings\n"
        "from memkit_core.testing import HashEmbeddings\n"
        "resolve_embeddings(HashEmbeddings()); resolve_chat_model(None)\n"
        "print([m for m in ('langchain', 'langchain_core', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
