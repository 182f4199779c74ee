"""Every row of checkpoints against its hash and the others; what goes if losses are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ..driver import Connection
from ..inspection import Inspection
from .retention import sweep
from .rows import (
    CHECKPOINT,
    VALUE,
    WRITES,
    address_of,
    addresses_of,
    is_marked_sound,
    is_sound,
    keys_of,
    unpack_entries,
)


class _Fault(NamedTuple):
    """A row that cannot be given out: its table, its key, what is wrong."""

    table: str
    key: tuple[Any, ...]
    problem: str


_HASH: Final = "it does not match its hash"
_KEYS: Final = {
    "checkpoint_threads": "id = ?",
    "checkpoints": "thread = ? AND namespace = ? AND checkpoint_id = ?",
    "checkpoint_values": "thread = ? AND namespace = ? AND key = ?",
    "checkpoint_writes": (
        "thread = ? AND namespace = ? AND checkpoint_id = ? AND task_id = ? AND task_path = ?"
    ),
    "checkpoint_parts": "id = ?",
}


def inspect_checkpoints(connection: Connection, seen: Inspection) -> None:
    """Tell all rows of checkpoints that are damaged, or that miss what belongs to them."""
    for fault in _faults(connection, seen.step):
        seen.truth(fault.table, _told(fault.key), fault.problem)


def give_up_checkpoints(connection: Connection, tell: Callable[[str, object, str], None]) -> None:
    """Remove what is damaged, and every checkpoint that cannot be read without it."""
    faults = list(_faults(connection, lambda _: None))
    for fault in faults:
        connection.execute(f"DELETE FROM {fault.table} WHERE {_KEYS[fault.table]}", fault.key)
        tell(fault.table, _told(fault.key), f"it was removed: {fault.problem}")
    if not faults:
        return
    for table in ("checkpoints", "checkpoint_values", "checkpoint_writes", "checkpoint_parts"):
        connection.execute(f"DELETE FROM {table} WHERE thread NOT IN (SELECT id FROM checkpoint_threads)")
    if not any(_faults(connection, lambda _: None)):  # else first comes another round
        for (thread,) in connection.execute("SELECT id FROM checkpoint_threads").fetchall():
            sweep(connection, thread)


def _told(key: tuple[Any, ...]) -> str:
    return json.dumps([part.hex() if isinstance(part, bytes) else part for part in key])


def _faults(connection: Connection, step: Callable[[int], None]) -> Iterator[_Fault]:
    for row in connection.execute("SELECT id, thread_id, content_hash FROM checkpoint_threads").fetchall():
        step(1)
        if not is_sound(row):
            yield _Fault("checkpoint_threads", row[:1], _HASH)
    there: set[tuple[int, bytes]] = set()
    for part, thread, address, data in connection.execute(
        "SELECT id, thread, address, data FROM checkpoint_parts"
    ):
        step(1)
        if isinstance(data, bytes) and address_of(data) == address:
            there.add((thread, address))
        else:
            yield _Fault("checkpoint_parts", (part,), _HASH)
    values: dict[tuple[int, str, bytes], bytes | None] = {}
    lacking: list[_Fault] = []
    for row in connection.execute(f"SELECT {VALUE}, content_hash FROM checkpoint_values"):
        step(1)
        if not is_sound(row):
            yield _Fault("checkpoint_values", row[:3], _HASH)
        elif all((row[0], address) in there for address in addresses_of(row[5])):
            values[row[:3]] = row[3]
        else:
            lacking.append(_Fault("checkpoint_values", row[:3], "a part of it is not there"))
    yield from lacking
    whole = _whole(values)
    for key in values:
        if key not in whole:
            yield _Fault("checkpoint_values", key, "the value that it continues is not there")
    yield from _checkpoint_faults(connection, step, there, whole)


def _whole(values: dict[tuple[int, str, bytes], bytes | None]) -> set[tuple[int, str, bytes]]:
    """The keys of values that are there with all that they continue."""
    later: dict[tuple[int, str, bytes], list[tuple[int, str, bytes]]] = {}
    found: list[tuple[int, str, bytes]] = []
    for key, base in values.items():
        if base is None:
            found.append(key)
        else:
            later.setdefault((key[0], key[1], base), []).append(key)
    for key in found:
        found.extend(later.get(key, ()))
    return set(found)


def _checkpoint_faults(
    connection: Connection,
    step: Callable[[int], None],
    there: set[tuple[int, bytes]],
    whole: set[tuple[int, str, bytes]],
) -> Iterator[_Fault]:
    threads = {thread for (thread,) in connection.execute("SELECT id FROM checkpoint_threads")}
    for row in connection.execute(f"SELECT {CHECKPOINT}, mark, content_hash FROM checkpoints"):
        step(1)
        if not is_marked_sound(row):
            yield _Fault("checkpoints", row[:3], _HASH)
        elif row[0] not in threads:
            yield _Fault("checkpoints", row[:3], "its thread is not there")
        elif not all((row[0], address) in there for address in addresses_of(row[10])):
            yield _Fault("checkpoints", row[:3], "a part of it is not there")
        elif not all((row[0], row[1], key) in whole for key in keys_of(row[8])):
            yield _Fault("checkpoints", row[:3], "a value of it is not there")
    for row in connection.execute(f"SELECT {WRITES}, mark, content_hash FROM checkpoint_writes"):
        step(1)
        if not is_marked_sound(row):
            yield _Fault("checkpoint_writes", row[:5], _HASH)
        elif not all(
            (row[0], address) in there for entry in unpack_entries(row[5]) for address in entry.parts
        ):
            yield _Fault("checkpoint_writes", row[:5], "a part of it is not there")
