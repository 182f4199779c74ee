"""Checkpoints put by hand, and small graphs."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, empty_checkpoint
from langgraph.graph import END, START, MessagesState, StateGraph

from memkit_langgraph.saver import MemkitSaver


def thread(name: str = "t", **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": name, "checkpoint_ns": "", **more}}


def put(
    saver: BaseCheckpointSaver[str],
    config: RunnableConfig,
    values: Mapping[str, Any],
    before: Checkpoint | None = None,
    **metadata: Any,
) -> tuple[RunnableConfig, Checkpoint]:
    """One more checkpoint, with new versions for the values that are given and those of before for others."""
    checkpoint = empty_checkpoint()
    old = {} if before is None else before["channel_versions"]
    new = {name: saver.get_next_version(old.get(name), None) for name in values}  # type: ignore[arg-type]
    checkpoint["channel_versions"] = {**old, **new}
    checkpoint["channel_values"] = {**({} if before is None else before["channel_values"]), **values}
    told: Any = {"source": "loop", "step": 1, "parents": {}, **metadata}
    return saver.put(config, checkpoint, told, dict(new)), checkpoint


def chat(saver: MemkitSaver, reply: Any = None) -> Any:
    """A graph with one node that answers every message."""

    def answer(state: MessagesState) -> dict[str, Any]:
        said = state["messages"][-1].content
        return {"messages": [AIMessage(f"You said: {said}" if reply is None else reply(said))]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", answer)
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder.compile(checkpointer=saver)


def say(graph: Any, text: str, name: str = "t", **more: Any) -> list[str]:
    """The thread's texts after one more message."""
    result = graph.invoke({"messages": [("user", text)]}, thread(name, **more))
    return [message.content for message in result["messages"]]


def rows(path: Path, statement: str, *values: Any) -> list[Any]:
    """What a statement does to a file, or finds in it."""
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def go_back_to_schema_8(path: Path) -> None:
    """Make a file what it was when claims had no users."""
    rows(path, "DROP INDEX checkpoint_claims_open")
    for column in ("user_id", "checkpoint_id"):
        rows(path, f"ALTER TABLE checkpoint_claims DROP COLUMN {column}")
    rows(path, "UPDATE meta SET value = '8' WHERE key = 'schema_version'")


def heard(path: Path, user: str) -> list[str]:
    """What a user's memory was given."""
    return [
        text for (text,) in rows(path, "SELECT content FROM messages WHERE user_id = ? ORDER BY unit", user)
    ]
