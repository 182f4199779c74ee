"""Warm copies of owners' units, kept up to date by reading what changed since they were read."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import IntegrityError
from . import changes
from .driver import Connection
from .partition import NUMBERS, UNIT, Floats, Ints, Mask, Partition, Room, Rows, partition_of
from .rows import MEMORY, RETIRED, TURN, vector_sum

_NAMES: Final = ("actor_id", "agent_id", "run_id")
_TABLES: Final = {MEMORY: "memories m", RETIRED: "memories m", TURN: "messages t"}
_INDEXES: Final = {MEMORY: "memories_listing", RETIRED: "memories_retired", TURN: "messages_owner"}
_CONDITIONS: Final = {
    MEMORY: "m.owner = ? AND m.retired_at IS NULL",
    RETIRED: "m.owner = ? AND m.retired_at IS NOT NULL",
    TURN: "t.owner = ? AND t.hidden_at IS NULL AND t.indexed = 1",
}
#: Vectors that are in memory at once when few rows are compared.
_PORTION: Final = 1_000
_NO_HALVES: Final = np.empty((0, 0), dtype=np.uint16)
_STRAY: Final = "a stored vector belongs to no text of its owner: memory.admin.doctor(repair=True) mends it"
_DAMAGED: Final = "a stored vector does not match its checksum; restore the file from a backup"


#: Owner, space, and whether without vectors.
_Key = tuple[int, int, bool]


class WarmCache:
    """The partitions that were used last, up to a number of bytes. Safe to use from several threads.

    Attributes:
        loads: How many partitions were read whole.
        updates: How many were brought up to date by reading what had changed.
        bytes: About how many bytes the kept partitions take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[_Key, Partition] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = _turns()
        self.loads = 0
        self.updates = 0

    def get(
        self, connection: Connection, owner: int, space: int, tag: int, *, lean: bool = False
    ) -> Partition:
        """The owner's partition as of ``tag``, which the caller read in the same transaction.

        Args:
            lean: Without the vectors, for a search that compares few rows only.

        Raises:
            IntegrityError: A vector does not fit its checksum or the others' dimension.
        """
        key = (owner, space, lean)
        kept = self._find(key)
        if kept is None or kept.tag < tag:
            # One reads, whoever else wants the same waits for it; only the newest partition is followed.
            with self._turns[hash(key) % len(self._turns)]:
                kept = self._find(key)
                if kept is None or kept.tag < tag:
                    return self._keep(key, self._read(connection, key, tag, kept))
        if kept.tag == tag:
            return kept
        self.loads += 1  # somebody else saw a later state meanwhile
        return load(connection, owner, space, tag, lean=lean)

    def _find(self, key: _Key) -> Partition | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            return kept

    def _read(self, connection: Connection, key: _Key, tag: int, kept: Partition | None) -> Partition:
        owner, space, lean = key
        if kept is not None:
            ranges = changes.since(connection, owner, space, seen=kept.tag, tag=tag)
            if ranges is not None:
                self.updates += 1
                return follow(connection, kept, tag, ranges)
        self.loads += 1
        return load(connection, owner, space, tag, lean=lean)

    def _keep(self, key: _Key, partition: Partition) -> Partition:
        with self._lock:
            present = self._kept.pop(key, None)
            if present is not None:
                self.bytes -= present.size
            if partition.size <= self._max_bytes:
                self._kept[key] = partition
                self.bytes += partition.size
            while self.bytes > self._max_bytes:
                _, evicted = self._kept.popitem(last=False)
                self.bytes -= evicted.size
        return partition

    def before_fork(self) -> None:
        """Wait until nobody is at it."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with locks of this process's own."""
        self._lock = threading.Lock()
        self._turns = _turns()


def _turns() -> list[threading.Lock]:
    return [threading.Lock() for _ in range(32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Rows read from the database, in unit order; ``holders`` have a vector, ``halves`` are its bits."""

    numbers: Ints
    labels: NDArray[np.object_]
    holders: Rows
    halves: NDArray[np.uint16]

    def __len__(self) -> int:
        rows: int = self.numbers.shape[1]
        return rows

    @property
    def units(self) -> Ints:
        units: Ints = self.numbers[UNIT]
        return units

    def write_vectors(self, matrix: Floats, rows: Rows) -> None:
        """Put the vectors into rows of a matrix, ascending, at unit length."""
        together = rows[-1] - rows[0] == len(rows) - 1
        target = matrix[rows[0] : rows[-1] + 1] if together else np.empty(self.halves.shape, dtype=np.float32)
        np.take(_single(), self.halves, out=target, mode="clip")
        target /= np.sqrt(np.einsum("ij,ij->i", target, target))[:, None]
        if not together:
            matrix[rows] = target


@cache
def _single() -> Floats:
    """Every half-precision number in single precision, by its bits: looking up is faster than converting."""
    with np.errstate(invalid="ignore"):
        return np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)


def _find(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range] | None, *, lean: bool
) -> _Found:
    """What the database holds of a partition, everywhere or in ranges of unit numbers.

    Each column comes as one text: SQLite writes and numpy reads it in half the time that rows take.
    """
    columns = [f"group_concat({number})" for number in NUMBERS[space]]
    columns += [f"json_group_array({name})" for name in _NAMES]
    select = f"SELECT {', '.join(columns)} FROM {_TABLES[space]}"
    if ranges is None:
        select += f" INDEXED BY {_INDEXES[space]} WHERE {_CONDITIONS[space]}"
        rows: list[Any] = connection.execute(select, (owner,)).fetchall()
    else:
        select += f" NOT INDEXED WHERE {_CONDITIONS[space]} AND unit BETWEEN ? AND ?"
        rows = [connection.execute(select, (owner, low, high)).fetchone() for low, high in ranges]
    width = len(columns) - len(_NAMES)
    parts = [_parsed(row, width) for row in rows if row[0] is not None]
    if not parts:
        parts = [(np.empty((width, 0), dtype=np.int64), np.empty((3, 0), dtype=np.object_))]
    numbers = np.concatenate([part[0] for part in parts], axis=1)
    labels = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(numbers[UNIT])
    numbers, labels = numbers[:, order], labels[:, order]
    if lean:
        holders, halves = _find_holders(connection, owner, space, ranges, numbers[UNIT]), _NO_HALVES
    else:
        holders, halves = _find_vectors(connection, owner, space, ranges, numbers[UNIT])
    return _Found(numbers=numbers, labels=labels, holders=holders, halves=halves)


def _parsed(row: Sequence[str], width: int) -> tuple[Ints, NDArray[np.object_]]:
    numbers = np.array([np.fromstring(text, dtype=np.int64, sep=",") for text in row[:width]])
    labels = np.empty((len(_NAMES), numbers.shape[1]), dtype=np.object_)
    for label, text in zip(labels, row[width:], strict=True):
        label[:] = json.loads(text)
    return numbers, labels


def _find_vectors(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range] | None, units: Ints
) -> tuple[Rows, NDArray[np.uint16]]:
    select = "SELECT unit, data, crc32 FROM vectors WHERE owner = ? AND space = ?"
    if ranges is None:
        found: list[Any] = connection.execute(f"{select} ORDER BY unit", (owner, space)).fetchall()
    else:
        select += " AND unit BETWEEN ? AND ? ORDER BY unit"
        found = [row for low, high in ranges for row in connection.execute(select, (owner, space, low, high))]
    if not found:
        return np.empty(0, dtype=np.intp), _NO_HALVES
    of_units, halves = _checked(owner, space, found)
    if not np.isin(of_units, units, assume_unique=True).all():
        raise IntegrityError(_STRAY)
    return np.searchsorted(units, of_units), halves


def _checked(owner: int, space: int, found: Sequence[Any]) -> tuple[Ints, NDArray[np.uint16]]:
    """The unit numbers of stored vectors, and their bits."""
    of_units, blobs, sums = zip(*found, strict=True)
    expected = tuple(vector_sum(owner, space, unit, data) for unit, data in zip(of_units, blobs, strict=True))
    if len(set(map(len, blobs))) != 1 or expected != sums:
        raise IntegrityError(_DAMAGED)
    halves = np.frombuffer(b"".join(blobs), dtype="<u2").reshape(len(blobs), -1)
    return np.array(of_units, dtype=np.int64), halves


def _find_holders(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range] | None, units: Ints
) -> Rows:
    """The rows that have a vector. The texts' rows know it, so that no vector is read."""
    select = f"SELECT unit FROM {_TABLES[space]} NOT INDEXED WHERE {_CONDITIONS[space]} AND embedded = 1"
    if ranges is None:
        found = connection.execute(
            select.replace("NOT INDEXED", f"INDEXED BY {_INDEXES[space]}"), (owner,)
        ).fetchall()
    else:
        found = [
            row
            for low, high in ranges
            for row in connection.execute(f"{select} AND unit BETWEEN ? AND ?", (owner, low, high))
        ]
    return np.searchsorted(units, np.sort(np.array([unit for (unit,) in found], dtype=np.int64)))


def read_vectors(connection: Connection, partition: Partition, rows: Rows) -> Iterator[tuple[Rows, Floats]]:
    """The vectors of some of a partition's rows from the database, in portions of bounded size.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    owner, space = partition.owner, partition.space
    for start in range(0, len(rows), _PORTION):
        units: list[int] = partition.units[rows[start : start + _PORTION]].tolist()
        found = connection.execute(
            "SELECT v.unit, v.data, v.crc32 FROM json_each(?) u CROSS JOIN vectors v"
            " ON v.owner = ? AND v.space = ? AND v.unit = u.value ORDER BY v.unit",
            (str(units), owner, space),
        ).fetchall()
        if found:
            of_units, halves = _checked(owner, space, found)
            vectors = np.take(_single(), halves, mode="clip")
            vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
            yield partition.rows_of(of_units), vectors


def load(connection: Connection, owner: int, space: int, tag: int, *, lean: bool = False) -> Partition:
    """Read a whole partition from the database, without its vectors if it is to be lean.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    found = _find(connection, owner, space, None, lean=lean)
    room, has_vector = _furnish(None, np.empty(0, dtype=np.intp), found, lean=lean)
    return partition_of(room, tag=tag, owner=owner, space=space, live=None, has_vector=has_vector)


def follow(connection: Connection, old: Partition, tag: int, ranges: list[changes.Range]) -> Partition:
    """The partition of a later tag, from an earlier one and what the database holds in the changed ranges.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    lean = old.room.lean
    found = _find(connection, old.owner, old.space, ranges, lean=lean)
    touched = np.zeros(old.rows, dtype=np.bool_)
    for first, last in ranges:
        touched[np.searchsorted(old.units, first) : np.searchsorted(old.units, last, side="right")] = True
    still = old.rows_of(found.units)
    gone = touched.copy()
    gone[still] = False
    there: Mask = ~gone if old.live is None else old.live & ~gone
    if _fits(old, found, still, int(there.sum())):
        room = old.room
        live, has_vector = _extend(old, found, len(still), there)
    else:
        room, has_vector = _furnish(old, np.flatnonzero(there & ~touched), found, lean=lean)
        live = None
    return partition_of(room, tag=tag, owner=old.owner, space=old.space, live=live, has_vector=has_vector)


def _fits(old: Partition, found: _Found, still: Rows, live: int) -> bool:
    """Whether what was found can be written behind an old partition's rows, and is worth it."""
    room, known = old.room, len(still)
    added = len(found) - known
    fresh = found.units[known:]
    if room.used != old.rows or old.rows + added > room.capacity:
        return False
    if old.rows - live > 32 + old.rows // 8 or not live:
        return False  # too many rows left
    if added and fresh[0] <= old.units[-1]:
        return False  # versions retire in any order
    if room.lean:
        return True
    if len(found.holders) and (room.matrix is None or room.matrix.shape[1] != found.halves.shape[1]):
        return False
    # Rows that earlier partitions read must not change; one without a vector is not read.
    return (
        not known or room.matrix is None or (old.has_vector is not None and not old.has_vector[still].any())
    )


def _extend(old: Partition, found: _Found, known: int, live: Mask) -> tuple[Mask | None, Mask | None]:
    """Write new rows behind the old ones, and late vectors into theirs; returns who is there and has one."""
    room, start, end = old.room, old.rows, old.rows + len(found) - known
    room.numbers[:, start:end] = found.numbers[:, known:]
    room.labels[:, start:end] = found.labels[:, known:]
    has_vector = None
    if room.matrix is not None or room.lean:
        if room.matrix is not None:
            room.matrix[start:end] = 0
        has_vector = np.zeros(end, dtype=np.bool_)
        has_vector[:start] = True if old.has_vector is None else old.has_vector
        if len(found.holders):
            rows = np.searchsorted(room.numbers[UNIT, :end], found.units[found.holders])
            if room.matrix is not None:
                found.write_vectors(room.matrix, rows)
            has_vector[rows] = True
    room.used = end
    return None if live.all() else np.concatenate((live, np.ones(end - start, dtype=np.bool_))), has_vector


def _furnish(old: Partition | None, rows: Rows, found: _Found, *, lean: bool) -> tuple[Room, Mask | None]:
    """A new room with some rows of an old partition and everything found; returns also who has a vector."""
    kept, count = len(rows), len(rows) + len(found)
    capacity = count + count // 8 + 8  # a few copies of each row over the whole growth
    places = np.arange(count)
    if old is not None and kept and len(found) and found.units[0] < old.units[rows[-1]]:
        places[np.argsort(np.concatenate((old.units[rows], found.units)))] = np.arange(count)
    mine, theirs = places[:kept], places[kept:]
    room = Room(
        numbers=np.empty((len(found.numbers), capacity), dtype=np.int64),
        labels=np.empty((3, capacity), dtype=np.object_),
        matrix=None,
        used=count,
        lean=lean,
    )
    room.numbers[:, theirs], room.labels[:, theirs] = found.numbers, found.labels
    has_vector = np.zeros(count, dtype=np.bool_)
    has_vector[theirs[found.holders]] = True
    dimension = found.halves.shape[1]
    if old is not None and kept:
        room.numbers[:, mine] = old.room.numbers[:, rows]
        room.labels[:, mine] = old.room.labels[:, rows]
        if old.with_vector:
            has_vector[mine] = True if old.has_vector is None else old.has_vector[rows]
        if old.matrix is not None:
            if dimension not in (0, old.matrix.shape[1]):
                raise IntegrityError(_DAMAGED)
            dimension = old.matrix.shape[1]
    if dimension:
        room.matrix = np.empty((capacity, dimension), dtype=np.float32)
        room.matrix[:count][~has_vector] = 0
        if old is not None and kept and old.matrix is not None:
            _copy_rows(old.matrix, rows, room.matrix, mine)
        if len(found.holders):
            found.write_vectors(room.matrix, theirs[found.holders])
    return room, has_vector


def _copy_rows(source: Floats, rows: Rows, target: Floats, places: Rows) -> None:
    if places[-1] == len(places) - 1:  # in order, from the first row on
        np.take(source, rows, axis=0, out=target[: len(places)], mode="clip")
    else:
        target[places] = source[rows]
