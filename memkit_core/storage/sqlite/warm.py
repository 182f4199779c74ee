"""Warm copies of owners' units, kept up to date by reading what changed since they were read."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from ...errors import IntegrityError
from . import changes
from .columns import DAMAGED, Found, find
from .driver import Connection
from .partition import UNIT, Floats, Mask, Partition, Room, Rows, partition_of

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


def load(connection: Connection, owner: int, space: int, tag: int, *, lean: bool = False) -> Partition:
    """Read a whole partition from the database, without its vectors if it is to be lean.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    found = find(connection, owner, space, None, lean=lean)
    room, has_vector = _furnish(None, np.empty(0, dtype=np.intp), found, lean=lean)
    return partition_of(room, tag=tag, owner=owner, space=space, live=None, has_vector=has_vector)


def follow(connection: Connection, old: Partition, tag: int, ranges: list[changes.Range]) -> Partition:
    """The partition of a later tag, from an earlier one and what the database holds in the changed ranges.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    lean = old.room.lean
    found = find(connection, old.owner, old.space, ranges, lean=lean)
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


def _fits(old: Partition, found: Found, still: Rows, live: int) -> bool:
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


def _extend(old: Partition, found: Found, known: int, live: Mask) -> tuple[Mask | None, Mask | None]:
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


def _furnish(old: Partition | None, rows: Rows, found: Found, *, lean: bool) -> tuple[Room, Mask | None]:
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
                raise IntegrityError(DAMAGED)
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
