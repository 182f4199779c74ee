"""What cannot be asked for, and bodies that nobody wrote: told by errors of memkit's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from memkit_core import IntegrityError, MemkitError, Memory, UsageError
from memkit_core.storage.sqlite.checkpoints.rows import CHECKPOINT, VALUE, seal
from memkit_langgraph.packing import pack
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, put, rows, say, thread

KEY, OTHER = bytes(range(32)), bytes(32)
_VERSIONS = {"channel_versions": {"value": "1"}}
_BODIES: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "one part": [_VERSIONS],
    "three parts": [_VERSIONS, {}, {}],
    "a text": "ab",
    "a mapping": {"a": 1, "b": 2},
    "no versions": [{}, {}],
    "versions that are none": [{"channel_versions": 3}, {}],
    "a version that is none": [{"channel_versions": {"value": b"1"}}, {}],
    "metadata that is none": [_VERSIONS, 3],
}


@pytest.mark.parametrize("name", sorted(_BODIES))
def test_a_forged_body_is_told(saver: MemkitSaver, path: Path, name: str) -> None:
    put(saver, thread(), {"value": 1})
    (found,) = rows(path, f"SELECT {CHECKPOINT} FROM checkpoints")
    body = b"\0\0" + pack(ormsgpack.packb(["msgpack", [ormsgpack.packb(_BODIES[name])]]))
    row = (*found[:9], body, b"")
    rows(path, "UPDATE checkpoints SET body = ?, parts = x'', content_hash = ?", body, seal(row))
    with pytest.raises(IntegrityError):
        saver.get_tuple(thread())
    with pytest.raises(IntegrityError):
        list(saver.list(None))
    with pytest.raises(IntegrityError):
        list(saver.list(thread(), filter={"step": 1}))


@pytest.mark.parametrize(
    "items",
    [None, [[0, 2**62]], [["a", "b"]], [[0, 1]], [[]], [[b"a", 7]], [5], [[1, b"x"]], {"a": 1}],
    ids=repr,
)
def test_a_forged_value_is_told(saver: MemkitSaver, path: Path, items: Any) -> None:
    put(saver, thread(), {"value": [1, 2, 3]})
    (found,) = rows(path, f"SELECT {VALUE} FROM checkpoint_values")
    body = b"\0\0" + pack(ormsgpack.packb(["msgpack", items]))
    row = (*found[:4], body, b"")
    rows(path, "UPDATE checkpoint_values SET body = ?, parts = x'', content_hash = ?", body, seal(row))
    with pytest.raises(IntegrityError):
        saver.get_tuple(thread())


@pytest.mark.parametrize(
    "config", [{}, {"configurable": {}}, thread("\ud800"), thread(checkpoint_id="\ud800")]
)
async def test_configs_that_name_nothing(saver: MemkitSaver, config: Any) -> None:
    put(saver, thread(), {"value": 1})
    with pytest.raises(UsageError):
        saver.get_tuple(config)
    with pytest.raises(UsageError):
        list(saver.list(config))
    with pytest.raises(UsageError):
        [found async for found in saver.alist(config)]
    with pytest.raises(UsageError):
        saver.get_delta_channel_history(config=config, channels=["value"])
    with pytest.raises(UsageError):
        list(saver.list(thread("t", checkpoint_ns="\ud800")))
    with pytest.raises(UsageError):
        list(saver.list(thread(), before=thread(checkpoint_id="\ud800")))
    assert len(list(saver.list(thread(), before={}))) == 1  # before nothing in particular


async def test_all_threads_are_listed_beside_encrypted_ones(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    plain, encrypted = MemkitSaver(memory), MemkitSaver(memory, encryption_key=KEY)
    say(chat(plain), "one", "a")
    say(chat(encrypted), "two", "b")
    with caplog.at_level(logging.WARNING, logger="memkit_langgraph"):
        found = [one.config["configurable"]["thread_id"] for one in plain.list(None)]  # type: ignore[typeddict-item]
    assert found == ["a"] * 3
    assert len(caplog.records) == 1
    assert len([one async for one in plain.alist(None)]) == 3
    assert len(list(plain.list(None, filter={"source": "loop"}))) == 2
    assert len(list(plain.list(None, limit=2))) == 2
    with pytest.raises(UsageError, match="encrypted"):
        list(plain.list(thread("b")))
    MemkitSaver(memory).delete_thread("a")
    assert list(MemkitSaver(memory, encryption_key=OTHER).list(None)) == []
    assert len(list(encrypted.list(None))) == 3


def test_an_opening_is_entered_once_at_a_time(path: Path) -> None:
    opening = MemkitSaver.from_conn_string(str(path))
    with opening as saver:
        put(saver, thread(), {"value": 1})
        with pytest.raises(UsageError, match="open already"), opening:
            pass
        assert saver.get_tuple(thread()) is not None
    with pytest.raises(MemkitError):
        saver.get_tuple(thread())
    with opening as saver:
        assert saver.get_tuple(thread()) is not None
