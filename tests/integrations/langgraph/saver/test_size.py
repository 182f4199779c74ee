"""What checkpoints take: values once per version, growing lists as what was added."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import AIMessage

from memkit_core.testing import ScriptedChatModel
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, put, rows, say, thread

_RANDOM = random.Random(7)
_WORDS = Path(os.__file__).read_text("utf-8").split()


def _text(size: int) -> str:
    return " ".join(_RANDOM.choices(_WORDS, k=size))[:size]


def _size(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(connection.execute("PRAGMA page_count").fetchone()[0]) * 4096
    finally:
        connection.close()


def _growth(path: Path, key: bytes | None = None) -> list[int]:
    """Bytes of the file after 50, 100 and 150 turns of 1 kB, beyond what it had when it was empty."""
    with MemkitSaver.from_conn_string(str(path), encryption_key=key) as saver:
        empty, found = _size(path), list[int]()
        model = ScriptedChatModel(lambda _: AIMessage(_text(500)))
        graph = create_agent(model, tools=[], checkpointer=saver)
        for turn in range(150):
            say(graph, _text(500))
            if turn % 50 == 49:
                found.append(_size(path) - empty)
        assert len(graph.get_state(thread()).values["messages"]) == 300
    return found


def test_150_turns_of_a_kilobyte_grow_evenly_to_less_than_three_times_their_text(path: Path) -> None:
    first, second, third = _growth(path)
    assert third <= 3 * 150_000
    assert third - second <= 1.2 * first


def test_encrypted_they_take_no_more_than_that(path: Path) -> None:
    first, second, third = _growth(path, key=bytes(32))
    assert third <= 3 * 150_000
    assert third - second <= 1.2 * first


def test_a_value_is_stored_once_however_many_checkpoints_have_it(saver: MemkitSaver, path: Path) -> None:
    config, before = put(saver, thread(), {"big": os.urandom(50_000), "n": 0})
    for number in range(20):
        config, before = put(saver, config, {"n": number}, before)
    assert sum(length for (length,) in rows(path, "SELECT length(data) FROM checkpoint_parts")) < 51_000


def test_a_window_that_slides_takes_what_is_new(saver: MemkitSaver, path: Path) -> None:
    texts = [_text(400) for _ in range(200)]
    config, before = put(saver, thread(), {"window": texts[:20]})
    for start in range(1, 180):
        config, before = put(saver, config, {"window": texts[start : start + 20]}, before)
    assert saver.get_tuple(config).checkpoint["channel_values"]["window"] == texts[179:199]  # type: ignore[union-attr]
    (parts,) = rows(path, "SELECT count(*) FROM checkpoint_parts")[0]
    (bodies,) = rows(path, "SELECT sum(length(body)) FROM checkpoint_values")[0]
    assert parts <= 210
    assert bodies < 40_000


def test_no_value_rests_on_more_layers_than_it_has_entries_and_a_few(saver: MemkitSaver, path: Path) -> None:
    state = {f"key {number}": _text(60) for number in range(30)}
    config, before = put(saver, thread(), {"files": state})
    for number in range(300):
        state = {**state, f"key {number % 30}": f"{number} {_text(60)}"}
        config, before = put(saver, config, {"files": state}, before)
        if number % 40 == 0:
            found = saver.get_tuple(config)
            assert found is not None
            assert found.checkpoint["channel_values"]["files"] == state
    bases = dict(rows(path, "SELECT hex(key), hex(base) FROM checkpoint_values"))
    depths = []
    for key in bases:
        depth, current = 1, bases[key]
        while current:
            depth, current = depth + 1, bases[current]
        depths.append(depth)
    assert 32 < max(depths) <= 70


def test_when_all_is_removed_nothing_is_left(saver: MemkitSaver, path: Path) -> None:
    graph = chat(saver)
    for number in range(5):
        say(graph, _text(600), "a", run_id=f"run {number}")
        say(graph, _text(600), "b")
    saver.delete_thread("a")
    saver.prune(["b"], strategy="delete")
    for table in ("threads", "values", "writes", "parts", "claims"):
        assert rows(path, f"SELECT count(*) FROM checkpoint_{table}") == [(0,)]
    assert rows(path, "SELECT count(*) FROM checkpoints") == [(0,)]


def test_pruning_leaves_only_what_is_used(saver: MemkitSaver, path: Path) -> None:
    config, before = put(saver, thread(), {"text": _text(2_000)})
    for _ in range(10):
        config, before = put(saver, config, {"text": _text(2_000)}, before)
    saver.prune(["t"])
    assert rows(path, "SELECT count(*) FROM checkpoint_parts") == [(1,)]
    assert rows(path, "SELECT count(*) FROM checkpoint_values") == [(1,)]
    found = saver.get_tuple(thread())
    assert found is not None
    assert found.checkpoint["channel_values"] == before["channel_values"]
