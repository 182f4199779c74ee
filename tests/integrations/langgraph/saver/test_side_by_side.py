"""Several savers on one database: what one knows of stored values may be out of date."""

from __future__ import annotations

from pathlib import Path

from langgraph.checkpoint.base import BaseCheckpointSaver

from memkit_core import Memory
from memkit_core.adapting import lend
from memkit_core.protocols import CheckpointStore
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, put, rows, say, thread

_LONG = [f"{number} " + "word " * 60 for number in range(20)]


def _value(saver: BaseCheckpointSaver[str], name: str = "t") -> list[str]:
    found = saver.get_tuple(thread(name))
    assert found is not None
    value: list[str] = found.checkpoint["channel_values"]["list"]
    return value


def test_a_value_whose_base_went_is_stored_whole(memory: Memory) -> None:
    ours, theirs = MemkitSaver(memory), MemkitSaver(memory)
    config, before = put(ours, thread(), {"list": _LONG})
    theirs.delete_thread("t")
    put(ours, config, {"list": [*_LONG, "more"]}, before)
    assert _value(theirs) == [*_LONG, "more"]


def test_a_value_under_the_same_version_is_no_base_for_another(memory: Memory) -> None:
    ours, theirs = MemkitSaver(memory), MemkitSaver(memory)
    config, before = put(ours, thread(), {"list": _LONG})
    theirs.delete_thread("t")
    before["channel_values"]["list"] = _LONG[::-1]
    theirs.put(thread(), before, {"source": "loop", "step": 0, "parents": {}}, before["channel_versions"])
    put(ours, config, {"list": [*_LONG, "more"]}, before)
    assert _value(theirs) == [*_LONG, "more"]


def test_two_savers_take_turns_in_a_thread(memory: Memory, path: Path) -> None:
    graphs = [chat(MemkitSaver(memory)) for _ in range(2)]
    for turn in range(10):
        say(graphs[turn % 2], f"{turn} " * 100)
    assert len(say(graphs[0], "last")) == 22
    (parts,) = rows(path, "SELECT count(*) FROM checkpoint_parts")[0]
    assert parts <= 2 * 11


def test_a_fork_continues_the_value_it_came_from(saver: MemkitSaver) -> None:
    config, before = put(saver, thread(), {"list": _LONG})
    late, after = put(saver, config, {"list": [*_LONG, *_LONG[:7]]}, before)
    put(saver, late, {"list": ["short"]}, after)
    fork, _ = put(saver, config, {"list": [*_LONG[:10], "other", *_LONG[10:]]}, before)
    assert _value(saver) == [*_LONG[:10], "other", *_LONG[10:]]
    found = saver.get_tuple(late)
    assert found is not None
    assert found.checkpoint["channel_values"]["list"] == [*_LONG, *_LONG[:7]]
    assert fork != late


def test_reset_empties_checkpoints_too(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory)
    say(chat(saver), "hello")
    assert isinstance(lend(memory).checkpoints, CheckpointStore)
    memory.admin.reset(confirm=True)
    assert saver.get_tuple(thread()) is None
    assert rows(path, "SELECT count(*) FROM checkpoint_threads") == [(0,)]
    assert len(say(chat(saver), "again")) == 2


def test_a_file_of_the_schema_before_is_brought_up_to_date(path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        memory.add("I am vegan", user_id="ann")
    tables = [
        name
        for (name,) in rows(
            path, "SELECT name FROM sqlite_master WHERE name LIKE 'checkpoint%' AND type = 'table'"
        )
    ]
    for name in tables:
        rows(path, f"DROP TABLE {name}")
    rows(path, "UPDATE meta SET value = '6' WHERE key = 'schema_version'")
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        assert say(chat(MemkitSaver(memory)), "hello") == ["hello", "You said: hello"]
        assert memory.admin.doctor().ok
