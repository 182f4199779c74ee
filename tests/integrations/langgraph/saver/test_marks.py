"""With a key, no row can be changed unnoticed by who does not have it: not a column, not an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from memkit_core import IntegrityError, Memory, UsageError
from memkit_core.storage.sqlite.checkpoints.rows import (
    CHECKPOINT,
    WRITES,
    pack_entries,
    seal,
    unpack_entries,
)
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, go_back_to_schema_8, put, rows, say, thread

KEY, OTHER = bytes(range(32)), bytes(32)
_COLUMNS = CHECKPOINT.split(", ")


class State(TypedDict, total=False):
    blocked: bool
    spent: int


def _graph(saver: MemkitSaver) -> Any:
    def node(state: State) -> State:
        return {"spent": 100} if state.get("blocked") else {}

    builder: Any = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def _change(path: Path, table: str, columns: str, change: dict[str, Any], *, mark: bool = True) -> int:
    """Change columns of all rows, each under a right hash; without ``mark`` as if there had been no key."""
    found = rows(path, f"SELECT {columns}, mark FROM {table}")
    names = columns.split(", ")
    for row in found:
        values = dict(zip(names, row, strict=False))
        for name, value in change.items():
            values[name] = value(values[name]) if callable(value) else value
        kept = row[-1] if mark else None
        sealed = seal(values.values()) if kept is None else seal((*values.values(), kept), size=4)
        rows(
            path,
            f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in names)}, mark = ?, content_hash = ?"
            f" WHERE {' AND '.join(f'{name} IS ?' for name in names)}",
            *(*values.values(), kept, sealed, *row[:-1]),
        )
    return len(found)


_CHANGES: dict[str, Any] = {
    "uses": b"",
    "leans": 1,
    "root_id": b"\1root",
    "run_id": b"\1run",
    "created_at": 0,
    "parent_id": None,
}


@pytest.mark.parametrize("mark", [True, False], ids=["with its mark", "without"])
@pytest.mark.parametrize("name", sorted(_CHANGES))
def test_no_column_of_a_checkpoint_is_free(memory: Memory, path: Path, name: str, mark: bool) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    graph = _graph(saver)
    graph.invoke({"blocked": True}, thread(run_id="r"))
    assert graph.get_state(thread()).values == {"blocked": True, "spent": 100}
    last = rows(path, f"SELECT {name} FROM checkpoints ORDER BY checkpoint_id DESC")[0][0]
    assert last != _CHANGES[name]
    _change(path, "checkpoints", CHECKPOINT, {name: _CHANGES[name]}, mark=mark)
    assert memory.admin.doctor().ok  # it has no key
    for found in (saver, MemkitSaver(memory, encryption_key=[OTHER, KEY])):
        with pytest.raises(IntegrityError):
            found.get_tuple(thread())
    with pytest.raises(IntegrityError):
        saver.prune(["t"], keep_last=1)
    with pytest.raises(IntegrityError):
        saver.copy_thread("t", "copy")
    assert len(rows(path, "SELECT 1 FROM checkpoints")) == 3


def _less(entries: bytes) -> bytes:
    return pack_entries(unpack_entries(entries)[:-1])


def test_no_write_of_a_task_can_be_taken_out(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    config, _ = put(saver, thread(), {"a": 1})
    saver.put_writes(config, [("a", 1), ("b", 2)], "task")
    saver.put_writes(config, [("__error__", "no")], "task")
    found = saver.get_tuple(config)
    assert found is not None
    assert len(found.pending_writes or ()) == 3
    assert _change(path, "checkpoint_writes", WRITES, {"entries": _less}) == 1
    with pytest.raises(IntegrityError):
        saver.get_tuple(config)
    with pytest.raises(IntegrityError):  # what was changed is not marked anew either
        saver.put_writes(config, [("c", 3)], "task")


def test_without_the_key_nothing_is_added_to_what_a_task_wrote(memory: Memory) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    config, _ = put(saver, thread(), {"a": 1})
    saver.put_writes(config, [("a", 1)], "task")
    with pytest.raises(UsageError, match="encrypted"):
        MemkitSaver(memory).put_writes(config, [("b", 2)], "task")
    with pytest.raises(UsageError, match="another key"):
        MemkitSaver(memory, encryption_key=OTHER).put_writes(config, [("b", 2)], "task")
    found = saver.get_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", "a", 1)]


def test_a_mark_belongs_to_its_thread(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    graph = chat(saver)
    say(graph, "one", "a")
    say(graph, "two", "b")
    for number, name in ((1, "c"), (2, "a"), (1, "b")):
        rows(
            path,
            "UPDATE checkpoint_threads SET thread_id = ?, content_hash = ? WHERE id = ?",
            *(name, seal((number, name)), number),
        )
    for name in ("a", "b"):
        with pytest.raises(IntegrityError):
            saver.get_tuple(thread(name))


def test_what_was_encrypted_before_there_were_marks_is_refused(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    say(chat(saver), "one")
    for table, columns in (("checkpoints", CHECKPOINT), ("checkpoint_writes", WRITES)):
        _change(path, table, columns, {}, mark=False)
    with pytest.raises(IntegrityError, match="delete the thread"):
        saver.get_tuple(thread())
    saver.delete_thread("t")
    assert say(chat(saver), "two") == ["two", "You said: two"]


def test_a_file_without_marks_is_brought_up_to_date(path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        say(chat(MemkitSaver(memory)), "one")
    for table in ("checkpoints", "checkpoint_writes"):
        rows(path, f"ALTER TABLE {table} DROP COLUMN mark")
    go_back_to_schema_8(path)
    rows(path, "UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        assert len(say(chat(MemkitSaver(memory)), "two")) == 4
        assert memory.admin.doctor().ok
