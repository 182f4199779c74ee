"""Messages of threads become memories: once, in the background, whatever happens to the run."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import StorageUnavailableError, UsageError
from memkit_core.protocols import Claim
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, heard, rows, say, thread


def test_every_message_is_remembered_once_for_its_user(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, remember=memory)
    graph = chat(saver)
    say(graph, "I am vegan", "a", user_id="ann")
    say(graph, "I like meat", "b", user_id="bob")
    say(graph, "And tea", "a", user_id="ann")
    saver.flush(30)
    assert heard(path, "ann") == ["I am vegan", "You said: I am vegan", "And tea", "You said: And tea"]
    assert heard(path, "bob") == ["I like meat", "You said: I like meat"]
    assert memory.search("vegan", user_id="ann").results[0].memory == "I am vegan"


def test_forks_copies_and_restarts_remember_only_what_is_new(path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory, remember=memory, user_id="ann")
        graph = chat(saver)
        say(graph, "one")
        early = graph.get_state(thread()).config
        say(graph, "two")
        graph.invoke({"messages": [("user", "three")]}, early)
        saver.flush(30)
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory, remember=memory, user_id="ann")
        saver.copy_thread("t", "copy")
        graph = chat(saver)
        graph.update_state(early, {"messages": []})
        say(graph, "four", "copy")
        saver.flush(30)
    asked = [text for text in heard(path, "ann") if not text.startswith("You said")]
    assert asked == ["one", "two", "three", "four"]
    assert len(heard(path, "ann")) == 8


async def test_event_loops_remember_as_well(path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory, remember=memory, user_id=lambda config, _: f"user of {_name(config)}")
        await chat(saver).ainvoke({"messages": [("user", "hello")]}, thread("t9"))
        saver.flush(30)
        assert heard(path, "user of t9") == ["hello", "You said: hello"]


def _name(config: Any) -> str:
    return str(config["configurable"]["thread_id"])


def test_without_a_user_nothing_runs(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, remember=memory)
    with pytest.raises(UsageError, match="no user id"):
        say(chat(saver), "hello")
    assert rows(path, "SELECT count(*) FROM checkpoints") == [(0,)]


class _Failing:
    """A store whose claims cannot be settled, as when the process ends in between."""

    def __init__(self, store: Any, failures: int) -> None:
        self._store = store
        self._failures = failures

    def open_claims(self, thread_id: str) -> list[Claim]:
        found: list[Claim] = self._store.open_claims(thread_id)
        return found

    def settle(self, thread_id: str, number: int) -> None:
        if self._failures:
            self._failures -= 1
            raise StorageUnavailableError("the disk is full")
        self._store.settle(thread_id, number)


def test_what_fails_is_tried_again_and_still_remembered_once(
    memory: Memory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver = MemkitSaver(memory, remember=memory, user_id="ann")
    assert saver._rememberer is not None
    saver._rememberer._store = _Failing(saver._store, 1)  # type: ignore[assignment]
    graph = chat(saver)
    assert say(graph, "one") == ["one", "You said: one"]
    saver.flush(30)
    assert "not remembered yet" in caplog.text
    say(graph, "two")
    saver.flush(30)
    assert heard(path, "ann") == ["one", "You said: one", "two", "You said: two"]
    assert rows(path, "SELECT count(*) FROM checkpoint_claims WHERE open = 1") == [(0,)]


def test_a_call_of_a_tool_is_heard_with_the_answer_that_follows(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, remember=memory, user_id="ann")
    call = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}
    graph = chat(saver)
    early = {"messages": [HumanMessage("q", id="1"), AIMessage("Let me see", id="2", tool_calls=[call])]}
    graph.update_state(thread(), early, as_node="model")
    saver.flush(30)
    assert heard(path, "ann") == []
    graph.update_state(thread(), {"messages": [AIMessage("Done", id="3")]}, as_node="model")
    saver.flush(30)
    assert heard(path, "ann") == ["q", "Let me see", "Done"]


def test_the_database_that_remembers_may_be_another_one(memory: Memory, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with Memory(llm="verbatim", embedder="none", store=other) as elsewhere:
        saver = MemkitSaver(memory, remember=elsewhere, user_id="ann")
        say(chat(saver), "hello")
        saver.flush(30)
        assert heard(other, "ann") == ["hello", "You said: hello"]
    with pytest.raises((UsageError, sqlite3.Error)):
        elsewhere.search("hello", user_id="ann")
    assert say(chat(saver), "go on") == ["hello", "You said: hello", "go on", "You said: go on"]


def test_the_context_of_a_run_names_its_user(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, remember=memory)
    graph = chat(saver)
    graph.invoke({"messages": [("user", "hello")]}, thread(), context={"user_id": "from the context"})
    saver.flush(30)
    assert heard(path, "from the context") == ["hello", "You said: hello"]


@pytest.mark.parametrize("frequency", [1, 1000])
def test_a_delta_channel_is_not_remembered_and_told(
    memory: Memory, path: Path, caplog: pytest.LogCaptureFixture, frequency: int
) -> None:
    channel = DeltaChannel(_join, snapshot_frequency=frequency)
    State = TypedDict("State", {"messages": Annotated[list[Any], channel]})  # noqa: UP013 - of a value made here
    builder = StateGraph(State)
    builder.add_node("model", lambda _: {"messages": [AIMessage("Noted.", id="a")]})
    builder.add_edge(START, "model")
    saver = MemkitSaver(memory, remember=memory, user_id="ann")
    graph: Any = builder.compile(checkpointer=saver)
    for text in ("one", "two"):
        graph.invoke({"messages": [HumanMessage(text, id=text)]}, thread())
    saver.flush(30)
    assert heard(path, "ann") == []
    assert caplog.text.count("delta channel") == 1


def _join(state: Any, writes: Any) -> list[Any]:
    return [*state, *(message for write in writes for message in write)]
