"""Bad input: a typed error that says what to do, and nothing is changed."""

from __future__ import annotations

import math
import sqlite3
from datetime import UTC, datetime

import pytest

from memkit_core import (
    ConfigError,
    EmbeddingMismatchError,
    LlmConfig,
    Memory,
    MemoryConfig,
    SchemaVersionError,
    StorageUnavailableError,
    UsageError,
    VectorStoreConfig,
    clean_text,
)
from memkit_core.testing import HashEmbeddings

MEGABYTE = "x" * 1_000_000


@pytest.fixture
def memory(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as opened:
        opened.add("kept", user_id="u", infer=False)
        yield opened
        assert [item.memory for item in opened.get_all(user_id="u")] == ["kept"]  # nothing was changed


def name_of(value: object) -> str:
    """A test's name, the same in every process: without an object's address."""
    return repr(value).partition(" object at ")[0][:40]


BAD_IDS = [None, "", 0, 7, True, [], {}, ["u"], "a\0b", "\ud800", "x" * 2_000]


@pytest.mark.parametrize("bad", BAD_IDS, ids=name_of)
@pytest.mark.parametrize("name", ["user_id", "agent_id", "run_id"])
def test_ids(memory, bad, name):
    scope = {name: bad}
    for call in (
        lambda: memory.add("x", **scope),
        lambda: memory.search("x", **scope),
        lambda: memory.context("x", **scope),
        lambda: memory.get_all(**scope),
        lambda: memory.count(**scope),
        lambda: memory.delete_all(**scope),
        lambda: memory.scoped(**scope),
    ):
        with pytest.raises(UsageError, match=r"user_id|agent_id|run_id"):
            call()
    if bad is not None:  # with no id at all, an id-based verb looks everywhere
        with pytest.raises(UsageError, match=name):
            memory.get("some-id", **scope)


@pytest.mark.parametrize(
    "filters",
    [
        "topic",
        ["topic"],
        7,
        {"unheard_of": "x"},
        {"userid": "bob"},
        {"user-id": "bob"},
        {"$and": []},
        {"and": [{"topic": "x"}]},
        {"AND": []},
        {"AND": {}},
        {"OR": "x"},
        {"AND": [{}]},
        {"topic": {}},
        {"topic": {"equals": 1}},
        {"topic": {"$eq": 1}},
        {"topic": ["a", "b"]},
        {"topic": {"in": "abc"}},
        {"topic": {"in": [[1]]}},
        {"topic": {"gt": None}},
        {"topic": {"gt": True}},
        {"topic": {"icontains": 7}},
        {"topic": {"exists": "yes"}},
        {"topic": math.nan},
        {"topic": 2**70},
        {"topic": object()},
        {7: 1},
        {"": 1},
        {"created_at": "yesterday"},
        {"created_at": 7},
        {"created_at": {"contains": "2020"}},
        {"topic": "\ud800"},
        {"OR": [{"metadata.a": n} for n in range(400)]},
    ],
    ids=name_of,
)
def test_filters(memory, filters):
    for call in (
        lambda: memory.search("x", user_id="u", filters=filters),
        lambda: memory.get_all(user_id="u", filters=filters),
        lambda: memory.count(user_id="u", filters=filters),
        lambda: memory.delete_all(user_id="u", filters=filters),
    ):
        with pytest.raises(UsageError):
            call()


def test_deep_filters(memory):
    deep = {"metadata.a": 1}
    for _ in range(5_000):
        deep = {"NOT": deep}
    with pytest.raises(UsageError, match="nested deeper"):
        memory.search("x", user_id="u", filters=deep)


def test_an_empty_filter_deletes_nothing(memory):
    with pytest.raises(UsageError, match="leave it out"):
        memory.delete_all(user_id="u", filters={})


def test_unknown_filter_keys_are_told_the_way_out(memory):
    with pytest.raises(UsageError, match=r"metadata\.topik"):
        memory.count(user_id="u", filters={"topik": "x"})
    assert memory.count(user_id="u", filters={"metadata.topik": "x"}) == 0


@pytest.mark.parametrize(
    "metadata",
    [
        "x",
        ["x"],
        {1: "a"},
        {"": 1},
        {"a": {2: 3}},
        {"a": object()},
        {"a": math.inf},
        {"a": math.nan},
        {"a": {1, 2}},
        {"a": b"x"},
        {"a": "\0"},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": MEGABYTE},
        {"a": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
    ids=name_of,
)
def test_metadata(memory, metadata):
    with pytest.raises(UsageError, match="metadata"):
        memory.add("x", user_id="u", metadata=metadata)
    with pytest.raises(UsageError, match="metadata"):
        memory.update(memory.get_all(user_id="u").results[0].id, metadata=metadata)


def test_circular_metadata(memory):
    circle = {}
    circle["a"] = circle
    with pytest.raises(UsageError, match="metadata"):
        memory.add("x", user_id="u", metadata=circle)


@pytest.mark.parametrize(
    "messages",
    [
        *(None, 7, b"x", object(), [], "", "  \n", [""], {}, {"role": "user"}, {"content": "x"}),
        {"role": "king", "content": "x"},
        {"role": None, "content": "x"},
        {"role": "user", "content": 7},
        *([7], [None], [("user", "x", "y")]),
        {"role": "user", "content": [7]},
        {"role": "user", "content": "x", "name": ""},
        *(MEGABYTE, "a\0b", "\ud800", ["fine", "bad \udfff"]),
        {"role": "user", "content": "x", "observed_at": "soon"},
    ],
    ids=name_of,
)
@pytest.mark.parametrize("infer", [True, False])
def test_messages(memory, messages, infer):
    with pytest.raises(UsageError):
        memory.add(messages, user_id="u", infer=infer)


def test_the_error_says_how_to_clean_a_text(memory):
    bad = "a\0b\ud800c"
    with pytest.raises(UsageError, match="clean_text"):
        memory.add(bad, user_id="u")
    assert clean_text(bad) == "abc"


@pytest.mark.parametrize(
    "arguments",
    [
        {"infer": "yes"},
        {"wait": 1},
        {"observed_at": "soon"},
        {"observed_at": 5},
        {"expires_at": "never"},
        {"idempotency_key": ""},
        {"idempotency_key": 5},
        {"actor_id": ""},
        {"memory_type": "a_type_of_my_own"},
    ],
    ids=name_of,
)
def test_add_arguments(memory, arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        memory.add("x", user_id="u", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": "5"},
        {"limit": 10**9},
        {"threshold": 2},
        {"threshold": -0.1},
        {"threshold": math.nan},
        {"threshold": "0.5"},
        {"include": "memories"},
        {"include": ()},
        {"include": ("facts",)},
        {"explain": 1},
        {"as_of": "then"},
        {"actor_id": ""},
    ],
    ids=name_of,
)
def test_search_arguments(memory, arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        memory.search("x", user_id="u", **arguments)


@pytest.mark.parametrize("query", [None, "", "  ", 7, MEGABYTE, "\0", "\ud800"], ids=name_of)
def test_queries(memory, query):
    with pytest.raises(UsageError, match="query"):
        memory.search(query, user_id="u")


def test_updates(memory):
    memory_id = memory.get_all(user_id="u").results[0].id
    for arguments in ({}, {"text": ""}, {"text": 5}, {"text": "\0"}, {"text": MEGABYTE}):
        with pytest.raises(UsageError):
            memory.update(memory_id, **arguments)
    for bad in (None, "", 5):
        with pytest.raises(UsageError, match="memory_id"):
            memory.update(bad, "x")


def test_a_closed_memory(tmp_path):
    memory = Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db")
    memory.close()
    memory.close()
    for call in (
        lambda: memory.add("x", user_id="u"),
        lambda: memory.search("x", user_id="u"),
        lambda: memory.get("x"),
        lambda: memory.flush(),
    ):
        with pytest.raises(UsageError, match="closed"):
            call()


# ---------------------------------------------------------------- stores and configuration


def test_another_embedders_file(tmp_path):
    path = tmp_path / "m.db"
    with Memory(llm="verbatim", embedder=HashEmbeddings(dimension=64), store=path) as memory:
        memory.add("I like tea", user_id="u")
    for other in (HashEmbeddings(dimension=32), _Renamed(dimension=64)):
        with pytest.raises(EmbeddingMismatchError, match="open it with that model"):
            Memory(llm="verbatim", embedder=other, store=path).add("x", user_id="u")
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        assert len(memory.search("tea", user_id="u")) == 1


class _Renamed(HashEmbeddings):
    model = "another-model"


def test_a_newer_schema(tmp_path):
    path = tmp_path / "m.db"
    Memory(llm="verbatim", embedder="none", store=path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError, match="newer"):
        Memory(llm="verbatim", embedder="none", store=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to be read as one" * 100, b"SQLite format 3\0" + b"\xff" * 5_000],
)
def test_files_that_are_no_store(tmp_path, content):
    path = tmp_path / "m.db"
    path.write_bytes(content)
    with pytest.raises(StorageUnavailableError, match=r"m\.db"):
        Memory(llm="verbatim", embedder="none", store=path)
    assert path.read_bytes() == content


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "m.db", tmp_path / "missing" / "m.db", "/proc/m.db", tmp_path):
        with pytest.raises(StorageUnavailableError, match=r"folder|directory"):
            Memory(llm="verbatim", embedder="none", store=path)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Memory(store="postgresql://localhost/x"),
        lambda: Memory(store="sqlite://relative.db"),
        lambda: Memory(store=""),
        lambda: Memory(store=5),
        lambda: Memory(llm="no-such-thing"),
        lambda: Memory(llm=5),
        lambda: Memory(embedder=5),
        lambda: Memory(embedder="nonsense"),
        lambda: Memory(vector_store=5),
        lambda: Memory.from_config({"llms": {}}),
        lambda: Memory.from_config({"llm": {"provider": "openai", "model": "x"}}),
        lambda: Memory.from_config("x"),
        lambda: Memory(config=MemoryConfig(vector_store=VectorStoreConfig(provider="nowhere"))),
        lambda: Memory(config=MemoryConfig(store="sqlite:///a.db", history_db_path="b.db")),
        lambda: Memory(config=MemoryConfig(llm=LlmConfig(provider="unheard_of", config={"model": "x"}))),
        lambda: MemoryConfig.from_env({"MEMKIT_DURABILITY": "none"}),
        lambda: MemoryConfig.from_file("missing.toml"),
        lambda: MemoryConfig.from_file("config.yaml"),
    ],
)
def test_configuration(tmp_path, monkeypatch, build):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        build()
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = LlmConfig(
        provider="openai", config={"model": "gpt-5-mini", "api_key": "sk-canary", "max_retries": "canary"}
    )
    assert "canary" not in repr(config)
    assert "sk-canary" not in repr(MemoryConfig(llm=config)) + str(config.model_dump())
    with pytest.raises(ConfigError) as caught:
        Memory(config=MemoryConfig(llm=config))
    assert "canary" not in str(caught.value)


def test_the_configuration_in_its_known_shape(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "sqlite", "config": {"path": "x.db"}},
            "embedder": None,
            "llm": "verbatim",
        }
    )
    memory.add("I like tea", user_id="u")
    memory.close()
    (tmp_path / "c.toml").write_text('store = "sqlite:///x.db"\nembedder = "none"\nllm = "verbatim"\n')
    with Memory(config=MemoryConfig.from_file("c.toml")) as again:
        assert again.count(user_id="u") == 1
    env = {"MEMKIT_STORE": "sqlite:///x.db", "MEMKIT_EMBEDDER": "none", "MEMKIT_LLM": "verbatim"}
    with Memory(config=MemoryConfig.from_env(env)) as again:
        assert again.count(user_id="u") == 1
    with Memory(config=MemoryConfig(llm="verbatim", embedder=None), history_db_path="x.db") as again:
        assert again.count(user_id="u") == 1


def test_a_provider_is_built_with_its_own_arguments(tmp_path):
    config = MemoryConfig(
        llm=LlmConfig(
            provider="openai", config={"model": "gpt-5-mini", "api_key": "sk-test", "max_retries": 7}
        ),
        embedder=None,
        store=f"sqlite:///{tmp_path}/m.db",
    )
    with Memory(config=config) as memory:
        chat = memory._engine.services.chat
        assert (chat.model_name, chat.max_retries) == ("gpt-5-mini", 7)
        assert chat.openai_api_key.get_secret_value() == "sk-test"
