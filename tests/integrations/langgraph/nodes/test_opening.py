"""What ``langgraph.json`` names: found as LangGraph's server finds it, opened and closed on an event loop."""

from __future__ import annotations

import base64
import importlib.util
import sqlite3
from pathlib import Path
from typing import Any, TypedDict

import pytest

from memkit_core import ConfigError, Memory, MemoryConfig
from memkit_langgraph import MemkitSaver, MemkitStore, open_checkpointer, open_store, user_namespace

pytest.importorskip("langgraph.graph")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

PERSISTENCE = "from memkit_langgraph import open_checkpointer, open_store\n"


class State(TypedDict):
    count: int


def _graph(**persistence: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("more", lambda state: {"count": state["count"] + 1})
    builder.add_edge(START, "more")
    builder.add_edge("more", END)
    return builder.compile(**persistence)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "agent.db"
    monkeypatch.setenv("MEMKIT_STORE", f"sqlite:///{file}")
    monkeypatch.setenv("MEMKIT_LLM", "verbatim")
    monkeypatch.setenv("MEMKIT_EMBEDDER", "none")
    return file


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


async def test_a_server_finds_and_opens_both(tmp_path: Path, database: Path) -> None:
    file = tmp_path / "persistence.py"
    file.write_text(PERSISTENCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("any_name", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = {"configurable": {"thread_id": "t"}}
    # A server looks names up in the module itself, and calls what it finds without arguments.
    async with vars(module)["open_store"]() as store, vars(module)["open_checkpointer"]() as saver:
        assert isinstance(store, BaseStore)
        assert isinstance(saver, BaseCheckpointSaver)
        await _graph(store=store, checkpointer=saver).ainvoke({"count": 1}, run)
        await store.aput(("a",), "k", {"n": 1})
    async with open_store() as store, open_checkpointer() as saver:
        assert (await store.aget(("a",), "k")).value == {"n": 1}  # type: ignore[union-attr]
        state = await _graph(store=store, checkpointer=saver).aget_state(run)
        assert state.values == {"count": 2}
    assert _bytes(database)


async def test_a_store_shows_the_memories_of_itsdatabase(database: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=f"sqlite:///{database}") as memory:
        memory.add("I live in Oslo.", user_id="ann@example.com")
    async with open_store(ttl={"default_ttl": 60, "sweep_interval_minutes": 1}) as store:
        assert isinstance(store, MemkitStore)
        (found,) = await store.asearch(user_namespace("memories", "ann@example.com"), query="Oslo")
        assert found.value["memory"] == "I live in Oslo."


async def test_a_configuration_of_one_s_own_comes_before_the_environment(tmp_path: Path) -> None:
    config = MemoryConfig.from_config({"store": f"sqlite:///{tmp_path / 'own.db'}", "embedder": None})
    async with open_checkpointer(config, keep_last=3) as saver:
        assert isinstance(saver, MemkitSaver)
    assert _bytes(tmp_path / "own.db")


async def test_the_key_of_the_environment_encrypts(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("MEMKIT_CHECKPOINT_KEY", base64.b64encode(b"k" * 32).decode())
    run = {"configurable": {"thread_id": "t"}}
    builder = StateGraph(MessagesState)
    builder.add_node("say", lambda state: {"messages": [("ai", "the secret word is swordfish")]})
    builder.add_edge(START, "say")
    async with open_checkpointer() as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.ainvoke({"messages": [("user", "hello there")]}, run)
        assert "swordfish" in (await graph.aget_state(run)).values["messages"][-1].content
    with sqlite3.connect(database) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain.close()
    assert b"swordfish" not in _bytes(database)


@pytest.mark.parametrize("key", ["not base64!", base64.b64encode(b"short").decode()])
async def test_a_wrong_key_opens_nothing(key: str, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMKIT_CHECKPOINT_KEY", key)
    with pytest.raises(ConfigError, match="MEMKIT_CHECKPOINT_KEY") as told:
        async with open_checkpointer():
            pass
    assert key not in str(told.value)
    assert _bytes(database) == b""


async def test_threads_are_remembered_if_that_is_asked_for(database: Path) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("say", lambda state: {"messages": [("ai", "Noted.")]})
    builder.add_edge(START, "say")
    run = {"configurable": {"thread_id": "t", "user_id": "ann"}}
    async with open_checkpointer(remember=True) as saver:
        await builder.compile(checkpointer=saver).ainvoke({"messages": [("user", "I live in Oslo.")]}, run)
    with Memory(llm="verbatim", embedder="none", store=f"sqlite:///{database}") as memory:
        memory.flush()
        assert [item.memory for item in memory.get_all(user_id="ann")] == ["I live in Oslo."]
