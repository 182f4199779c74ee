"""Whose memories a thread's messages become: of several users, over errors, forks and processes that end."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from memkit_core import Memory
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, go_back_to_schema_8, heard, rows, say, thread


def _crashing(saver: MemkitSaver) -> Any:
    def reply(said: str) -> str:
        if "crash" in said:
            raise RuntimeError("the model is down")
        return "Noted."

    return chat(saver, reply)


def _ask(graph: Any, text: str, config: Any, **more: Any) -> None:
    graph.invoke({"messages": [HumanMessage(text, **more)]}, config)


def _deaf(saver: MemkitSaver) -> MemkitSaver:
    """A saver whose process ends before it hands anything on."""
    assert saver._rememberer is not None
    saver._rememberer.hand_on = lambda *_: None  # type: ignore[method-assign]
    return saver


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_what_a_failed_run_left_is_its_own_users(memory: Memory, path: Path, durability: str) -> None:
    saver = MemkitSaver(memory, remember=memory)
    graph = _crashing(saver)
    for text, user in (("crash: my PIN is 1234", "ann"), ("hello", "bob")):
        said = {"messages": [HumanMessage(text)]}
        with pytest.raises(RuntimeError, match="down") if user == "ann" else nullcontext():
            graph.invoke(said, thread(user_id=user), durability=durability)
    saver.flush(30)
    assert heard(path, "ann") == ["crash: my PIN is 1234"]
    assert heard(path, "bob") == ["hello", "Noted."]


def test_what_is_tried_again_in_another_users_run_is_its_own_users(tmp_path: Path, path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "threads.db") as threads:
        with Memory(llm="verbatim", embedder="none", store=path) as memory:
            saver = MemkitSaver(threads, remember=memory)
        _ask(chat(saver), "I live in Rome", thread(user_id="ann"))  # the memory is closed
        saver.flush(30)
        assert heard(path, "ann") == []
        with Memory(llm="verbatim", embedder="none", store=path) as memory:
            saver = MemkitSaver(threads, remember=memory)
            _ask(chat(saver), "I live in Oslo", thread(user_id="bob"))
            saver.flush(30)
    assert heard(path, "ann") == ["I live in Rome", "You said: I live in Rome"]
    assert heard(path, "bob") == ["I live in Oslo", "You said: I live in Oslo"]


def test_an_answer_in_another_users_run_is_nobodys(memory: Memory, path: Path) -> None:
    def ask(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Your PIN is 1234, and {interrupt('?')}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", ask)
    builder.add_edge(START, "model")
    saver = MemkitSaver(memory, remember=memory)
    graph: Any = builder.compile(checkpointer=saver)
    _ask(graph, "My PIN is 1234", thread(user_id="ann"))
    graph.invoke(Command(resume="Bob's is 5678"), thread(user_id="bob"))
    saver.flush(30)
    assert heard(path, "ann") == ["My PIN is 1234"]
    assert heard(path, "bob") == []


@pytest.mark.parametrize(
    "refused", ["a pasted\0text", "half a \ud800", "x " * 600_000], ids=["nul", "half", "long"]
)
def test_a_refused_message_keeps_no_other_one_out(memory: Memory, path: Path, refused: str) -> None:
    saver = MemkitSaver(memory, remember=memory, user_id="ann")
    graph = chat(saver, lambda said: refused if said == "two" else "Noted.")
    for text in ("one", "two", "three"):
        _ask(graph, text, thread())
    saver.flush(30)
    texts = heard(path, "ann")
    assert [text for text in texts if text in ("one", "two", "three")] == ["one", "two", "three"]
    assert rows(path, "SELECT count(*) FROM checkpoint_claims WHERE open = 1") == [(0,)]


def test_a_fork_hands_on_what_another_branch_left(memory: Memory, path: Path) -> None:
    _ask(chat(MemkitSaver(memory, remember=memory)), "one", thread(user_id="ann"))
    early = chat(MemkitSaver(memory)).get_state(thread()).config["configurable"]
    _ask(chat(_deaf(MemkitSaver(memory, remember=memory))), "two", thread(user_id="ann"), id="h2")
    saver = MemkitSaver(memory, remember=memory)
    _ask(chat(saver), "three", thread(**early, user_id="ann"))
    saver.flush(30)
    asked = [text for text in heard(path, "ann") if not text.startswith("You said")]
    assert sorted(asked) == ["one", "three", "two"]


def test_branches_at_once_lose_nothing_and_double_nothing(memory: Memory, path: Path) -> None:
    first, second = (MemkitSaver(memory, remember=memory, user_id="ann") for _ in range(2))
    start = chat(first).update_state(thread(), {"messages": []}, as_node="__start__")["configurable"]
    assert first._rememberer is not None
    add, claimed, gone = first._rememberer._add, threading.Event(), threading.Event()

    def add_later(*told: Any) -> None:
        claimed.set()
        assert gone.wait(30)
        add(*told)

    first._rememberer._add = add_later  # type: ignore[method-assign]

    def run(saver: MemkitSaver, text: str) -> None:
        said = {"messages": [HumanMessage("one", id="1"), HumanMessage(text, id=text)]}
        chat(saver).invoke(said, thread(**start), durability="exit")  # claims all of it at once

    run(first, "two")
    assert claimed.wait(30)
    run(second, "three")
    second.flush(30)
    gone.set()
    first.flush(30)
    asked = [text for text in heard(path, "ann") if not text.startswith("You said")]
    assert sorted(asked) == ["one", "three", "two"]


_ENDS = """
import os, sys
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from memkit_core import Memory
from memkit_langgraph import MemkitSaver

memory = Memory(llm="verbatim", embedder="none", store=sys.argv[1])
saver = MemkitSaver(memory, remember=memory)
saver._rememberer.hand_on = lambda *_: os._exit(9)
builder = StateGraph(MessagesState)
builder.add_node("model", lambda state: {"messages": [AIMessage("Noted.")]})
builder.add_edge(START, "model")
config = {"configurable": {"thread_id": "t", "user_id": "ann"}}
builder.compile(checkpointer=saver).invoke({"messages": [HumanMessage("one")]}, config, durability="sync")
"""


def test_a_process_that_ends_leaves_its_messages_to_the_next(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _ENDS, str(path)], check=False, timeout=60)
    assert ended.returncode == 9
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory, remember=memory)
        _ask(chat(saver), "two", thread(user_id="bob"))
        saver.flush(30)
    assert heard(path, "ann")[0] == "one"
    assert heard(path, "bob")[0] == "two"


def test_time_travel_needs_no_user_where_nothing_new_is_said(
    memory: Memory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver = MemkitSaver(memory, remember=memory)
    graph = chat(saver)
    for text in ("one", "two"):
        say(graph, text, user_id="ann")
    for state in list(graph.get_state_history(thread())):
        graph.invoke(None, state.config)
    graph.update_state(thread(), {"messages": []}, as_node="model")
    caplog.clear()
    graph.update_state(thread(), {"messages": [HumanMessage("whose is it?")]}, as_node="model")
    assert "names nobody" in caplog.text
    saver.flush(30)
    asked = [text for text in heard(path, "ann") if not text.startswith("You said")]
    assert asked == ["one", "two"]


def test_claims_of_an_earlier_schema_are_handed_on(path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        saver = _deaf(MemkitSaver(memory, remember=memory, user_id="ann"))
        _ask(chat(saver), "one", thread())
    go_back_to_schema_8(path)
    assert rows(path, "SELECT count(*) FROM checkpoint_claims WHERE open = 1") == [(2,)]
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory, remember=memory, user_id="ann")
        _ask(chat(saver), "two", thread())
        saver.flush(30)
        assert memory.admin.doctor().ok
    asked = [text for text in heard(path, "ann") if not text.startswith("You said")]
    assert asked == ["one", "two"]
