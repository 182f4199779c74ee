"""Forged, swapped and foreign rows: nothing is run, nothing wrong is given out."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from memkit_core import Memory
from memkit_core.errors import IntegrityError, UsageError
from memkit_core.storage.sqlite.checkpoints.rows import CHECKPOINT, VALUE, seal
from memkit_langgraph.packing import pack
from memkit_langgraph.saver import MemkitSaver

from .worlds import put, rows, thread

KEY, OTHER = bytes(range(32)), os.urandom(16)


@dataclass
class Order:
    number: int


class Bill(BaseModel):
    total: int


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _forge(path: Path, form: str, data: bytes) -> None:
    """Put other bytes in the place of a thread's only value, under a right hash."""
    (found,) = rows(path, f"SELECT {VALUE} FROM checkpoint_values")
    row = (*found[:4], b"\0\0" + pack(ormsgpack.packb([form, [data]])), b"")
    rows(path, "UPDATE checkpoint_values SET body = ?, parts = x'', content_hash = ?", row[4], seal(row))


def _constructor(code: int, *parts: Any) -> bytes:
    return ormsgpack.packb([ormsgpack.Ext(code, ormsgpack.packb(parts))])


def _forgeries(target: Path) -> dict[str, tuple[str, bytes]]:
    command = f"touch {target}"
    envelope = {"lc": 2, "type": "constructor", "id": ["os", "system"], "args": [command]}
    return {
        "single argument": ("msgpack", _constructor(0, "os", "system", command)),
        "arguments": ("msgpack", _constructor(1, "os", "system", [command])),
        "keywords": (
            "msgpack",
            _constructor(2, "subprocess", "check_call", {"args": ["touch", str(target)]}),
        ),
        "method": ("msgpack", _constructor(3, "pathlib", "Path", str(target), "touch")),
        "pydantic": ("msgpack", _constructor(5, "subprocess", "Popen", {"args": ["touch", str(target)]})),
        "json": ("json", json.dumps(envelope).encode()),
        "pickle": ("pickle", pickle.dumps(_Touch(target))),
    }


@pytest.mark.parametrize("name", sorted(_forgeries(Path())))
def test_forged_rows_run_nothing_and_are_told(
    saver: MemkitSaver, path: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "touched"
    put(saver, thread(), {"value": "harmless"})
    _forge(path, *_forgeries(target)[name])
    with pytest.raises((UsageError, IntegrityError)):
        saver.get_tuple(thread())
    assert not target.exists()


def test_the_forged_row_would_run_under_the_reference_serialiser(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(_forgeries(target)["single argument"])
    assert target.exists()  # so the test above tests something


@pytest.mark.parametrize("value", [Order(1), Bill(total=2), [{"deep": Order(1)}]], ids=str)
def test_types_of_ones_own_are_allowed_by_the_line_that_the_error_names(memory: Memory, value: Any) -> None:
    strict = MemkitSaver(memory)
    put(strict, thread(), {"value": value})
    with pytest.raises(UsageError, match=r"allow=\[\('.*', '(Order|Bill)'\)\]"):
        strict.get_tuple(thread())
    for allowed in ([Order, Bill], [(__name__, "Order"), (__name__, "Bill")]):
        found = MemkitSaver(memory, allow=allowed).get_tuple(thread())
        assert found is not None
        assert found.checkpoint["channel_values"] == {"value": value}


def test_a_graph_may_allow_its_own_types(saver: MemkitSaver) -> None:
    put(saver, thread(), {"value": Order(3)})
    wider = saver.with_allowlist([(__name__, "Order")])
    assert type(wider) is MemkitSaver
    assert wider.get_tuple(thread()).checkpoint["channel_values"] == {"value": Order(3)}  # type: ignore[union-attr]
    with pytest.raises(UsageError):
        saver.get_tuple(thread())


def test_encryption_leaves_nothing_readable_and_rotates(memory: Memory, path: Path) -> None:
    secret = "my secret is a very long one " * 20
    old = MemkitSaver(memory, encryption_key=KEY)
    config, before = put(old, thread(), {"value": secret, "small": "tiny secret"}, asked_by="ann")
    old.put_writes(config, [("value", secret)], "task")
    memory.close()
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"secret" not in data
    assert b"ann" not in data
    with MemkitSaver.from_conn_string(str(path), encryption_key=[OTHER, KEY]) as rotated:
        put(rotated, config, {"small": "newer"}, before)
        found = rotated.get_tuple(thread())
        assert found is not None
        assert found.checkpoint["channel_values"] == {"value": secret, "small": "newer"}
        rotated.copy_thread("t", "copy")
        copied = rotated.get_tuple(thread("copy"))
        assert copied is not None
        assert copied.checkpoint == found.checkpoint
        assert (
            rotated.get_tuple({"configurable": {**thread("copy")["configurable"], **_id(config)}}) is not None
        )
    with (
        MemkitSaver.from_conn_string(str(path), encryption_key=OTHER) as fresh,
        pytest.raises(UsageError, match="another key"),
    ):
        fresh.get_tuple(config)
    with MemkitSaver.from_conn_string(str(path)) as plain, pytest.raises(UsageError, match="encrypted"):
        plain.get_tuple(config)


def _id(config: Any) -> dict[str, str]:
    return {"checkpoint_id": config["configurable"]["checkpoint_id"]}


def test_a_plain_row_is_refused_under_a_key(memory: Memory) -> None:
    put(MemkitSaver(memory), thread(), {"value": "plain"})
    with pytest.raises(IntegrityError, match="not encrypted"):
        MemkitSaver(memory, encryption_key=KEY).get_tuple(thread())


@pytest.mark.parametrize("key", [b"", b"short", "text", [], [KEY, b"x"]], ids=repr)
def test_keys_that_are_none_are_refused(memory: Memory, key: Any) -> None:
    with pytest.raises(UsageError):
        MemkitSaver(memory, encryption_key=key)


def _swap_threads(path: Path) -> None:
    (a, b) = rows(path, f"SELECT {VALUE} FROM checkpoint_values ORDER BY thread")
    for mine, theirs in ((a, b), (b, a)):
        row = (*mine[:3], None, *theirs[4:])
        _write_value(path, row)


def _swap_channels(path: Path) -> None:
    for number in (1, 2):
        a, b = rows(path, f"SELECT {VALUE} FROM checkpoint_values WHERE thread = {number} ORDER BY key")
        for mine, theirs in ((a, b), (b, a)):
            _write_value(path, (*mine[:3], None, *theirs[4:]))


def _write_value(path: Path, row: tuple[Any, ...]) -> None:
    rows(
        path,
        "UPDATE checkpoint_values SET body = ?, parts = ?, content_hash = ?"
        " WHERE thread = ? AND namespace = ? AND key = ?",
        *(row[4], row[5], seal(row), row[0], row[1], row[2]),
    )


def _swap_checkpoints(path: Path) -> None:
    a, b = rows(path, f"SELECT {CHECKPOINT} FROM checkpoints ORDER BY thread")
    for mine, theirs in ((a, b), (b, a)):
        row = (*mine[:9], *theirs[9:])
        rows(
            path,
            "UPDATE checkpoints SET body = ?, parts = ?, content_hash = ? WHERE thread = ?",
            row[9],
            row[10],
            seal(row),
            row[0],
        )


@pytest.mark.parametrize("swap", [_swap_threads, _swap_channels, _swap_checkpoints])
def test_swapped_rows_are_refused(memory: Memory, path: Path, swap: Callable[[Path], None]) -> None:
    saver = MemkitSaver(memory, encryption_key=KEY)
    channels = ["a", "b"] if swap is _swap_channels else ["a"]
    for name in ("one", "two"):
        put(saver, thread(name), {channel: f"{name} {channel}" for channel in channels})
    swap(path)
    for name in ("one", "two"):
        with pytest.raises(IntegrityError):
            saver.get_tuple(thread(name))
