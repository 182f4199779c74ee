"""Damaged rows are never given out; doctor tells them, and accepted losses leave the rest whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.errors import IntegrityError
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, rows, say, thread

_DAMAGE = {
    "a part": "UPDATE checkpoint_parts SET data = x'00' || substr(data, 2) WHERE id = 1",
    "a part that is gone": "DELETE FROM checkpoint_parts WHERE id = 1",
    "a value": "UPDATE checkpoint_values SET body = x'0000' || body",
    "values that are gone": "DELETE FROM checkpoint_values",
    "a base that is gone": "DELETE FROM checkpoint_values WHERE key IN (SELECT base FROM checkpoint_values)",
    "a write": "UPDATE checkpoint_writes SET task_path = task_path || 'x'",
    "a checkpoint": "UPDATE checkpoints SET created_at = created_at + 1",
    "a parent": "UPDATE checkpoints SET parent_id = x'0141' WHERE parent_id IS NOT NULL",
    "a type": "UPDATE checkpoints SET body = 'text'",
    "a thread": "UPDATE checkpoint_threads SET thread_id = 't', content_hash = x'00' WHERE thread_id = 't'",
}


@pytest.mark.parametrize("name", sorted(_DAMAGE))
def test_damage_is_told_and_the_rest_lives(memory: Memory, path: Path, name: str) -> None:
    saver = MemkitSaver(memory)
    graph = chat(saver)
    for turn in range(12):
        say(graph, f"{turn} " * 150)
        say(graph, f"{turn}", "short")
    assert memory.admin.doctor().ok
    rows(path, _DAMAGE[name])
    with pytest.raises(IntegrityError):
        for found in saver.list(thread()):
            assert found.checkpoint["channel_values"]
    report = memory.admin.doctor()
    assert not report.ok
    memory.admin.doctor(repair=True, accept_loss=True)
    assert memory.admin.doctor().ok
    for config in (thread(), thread("short")):
        for found in MemkitSaver(memory).list(config):
            assert isinstance(found.checkpoint["channel_values"], dict)


def test_a_damaged_thread_can_be_deleted(memory: Memory, path: Path) -> None:
    graph = chat(MemkitSaver(memory))
    say(graph, "one")
    rows(path, "UPDATE checkpoint_threads SET content_hash = x'00'")
    with pytest.raises(IntegrityError):
        say(graph, "two")
    MemkitSaver(memory).delete_thread("t")
    assert say(graph, "three") == ["three", "You said: three"]
    assert memory.admin.doctor().ok


def test_a_chain_of_parents_without_end_is_told(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory)
    say(chat(saver), "one")
    from memkit_core.storage.sqlite.checkpoints.rows import CHECKPOINT, seal

    found = rows(path, f"SELECT {CHECKPOINT} FROM checkpoints ORDER BY checkpoint_id DESC")
    row = (*found[-1][:3], found[0][2], *found[-1][4:])
    rows(
        path,
        "UPDATE checkpoints SET parent_id = ?, content_hash = ? WHERE checkpoint_id = ?",
        *(row[3], seal(row), row[2]),
    )
    with pytest.raises(IntegrityError, match="its own ancestor"):
        saver.get_delta_channel_history(config=thread(), channels=["none"])
