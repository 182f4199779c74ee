"""Warm copies of the vectors of a namespace's items, kept up to date by reading what changed."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....errors import IntegrityError
from ..driver import Connection
from ..rows import vector_sum

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Parts that a copy may consist of before it is put into one piece.
_MAX_PARTS: Final = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Vectors that were read together: item numbers, ascending, of shape (n,), and vectors of (n, dim).

    ``alive``: which of them still stand, None: all.
    """

    items: Ints
    matrix: Floats
    alive: Mask | None = None

    def without(self, items: Ints) -> Part:
        """The same part, where the vectors of some items no longer stand."""
        first, behind = np.searchsorted(self.items, items), np.searchsorted(self.items, items, side="right")
        if (first == behind).all():
            return self
        alive: Mask = np.ones(len(self.items), np.bool_) if self.alive is None else self.alive.copy()
        for start, stop in zip(first.tolist(), behind.tolist(), strict=True):
            alive[start:stop] = False
        return Part(self.items, self.matrix, alive)

    def standing(self) -> Part:
        """The same part with nothing that no longer stands."""
        return self if self.alive is None else Part(self.items[self.alive], self.matrix[self.alive])


@dataclass(frozen=True, slots=True)
class Copy:
    """The vectors of one namespace as of one tag."""

    tag: int
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return 200 + sum(part.matrix.nbytes + part.items.nbytes for part in self.parts)

    def followed(self, tag: int, changed: Ints, fresh: Part) -> Copy:
        """The copy as of a later tag, with the items that changed since."""
        parts = [part.without(changed) for part in self.parts]
        if len(fresh.items):
            parts.append(fresh)
        if len(parts) > _MAX_PARTS:
            # The largest is as a rule most of it, and copied only if that is worth it.
            largest, *rest = sorted(parts, key=lambda part: len(part.items), reverse=True)
            merged = _merged(rest)
            dead = 0 if largest.alive is None else len(largest.items) - int(largest.alive.sum())
            few = 4 * (len(merged.items) + dead) < len(largest.items)
            parts = [largest, merged] if few else [_merged([largest, merged])]
        return Copy(tag, tuple(parts))

    def scores(self, query: Floats) -> tuple[Ints, Floats]:
        """Items, each once, and the cosine of the nearest of their vectors."""
        found = [_best(part, query) for part in self.parts]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _merged(parts: Sequence[Part]) -> Part:
    whole = [part.standing() for part in parts]
    items = np.concatenate([part.items for part in whole])
    order = np.argsort(items, kind="stable")
    return Part(items[order], np.concatenate([part.matrix for part in whole])[order])


def _best(part: Part, query: Floats) -> tuple[Ints, Floats]:
    items, cosines = part.items, part.matrix @ query
    if part.alive is not None:
        items, cosines = items[part.alive], cosines[part.alive]
    if not len(items):
        return items, cosines
    starts = np.flatnonzero(np.r_[True, items[1:] != items[:-1]])
    if len(starts) == len(items):
        return items, cosines
    best: Floats = np.maximum.reduceat(cosines, starts)
    return items[starts], best


class ItemVectors:
    """The copies that were used last, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[int, Copy] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, connection: Connection, space: int, tag: int) -> Copy:
        """The vectors of a namespace as the connection's transaction sees them, whose tag this is."""
        with self._lock:
            kept = self._kept.get(space)
            if kept is not None:
                self._kept.move_to_end(space)
        if kept is not None and kept.tag == tag:
            return kept
        copy = None if kept is None or kept.tag > tag else _follow(connection, space, kept, tag)
        if copy is None:
            rows = connection.execute(
                "SELECT item, number, crc32, data FROM item_vectors WHERE space = ? ORDER BY item, number",
                (space,),
            )
            part = _part(space, rows)
            copy = Copy(tag, (part,) if len(part.items) else ())
        self._keep(space, copy)
        return copy

    def _keep(self, space: int, copy: Copy) -> None:
        with self._lock:
            old = self._kept.get(space)
            if copy.bytes > self._max_bytes or (old is not None and old.tag >= copy.tag):
                return
            self._bytes += copy.bytes - (0 if old is None else old.bytes)
            self._kept[space] = copy
            self._kept.move_to_end(space)
            while self._bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.bytes

    def before_fork(self) -> None:
        """Come to rest."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start anew."""
        self._lock = threading.Lock()


def _follow(connection: Connection, space: int, kept: Copy, tag: int) -> Copy | None:
    """The copy brought up to date; None if it is no longer known what changed."""
    rows = connection.execute(
        "SELECT tag, item FROM item_changes WHERE space = ? AND tag > ? AND tag <= ?", (space, kept.tag, tag)
    ).fetchall()
    if {row[0] for row in rows} != set(range(kept.tag + 1, tag + 1)):
        return None
    changed = sorted({row[1] for row in rows})
    found = connection.execute(
        "SELECT v.item, v.number, v.crc32, v.data FROM json_each(?) j CROSS JOIN item_vectors v"
        " ON v.space = ? AND v.item = j.value ORDER BY v.item, v.number",
        (json.dumps(changed), space),
    )
    return kept.followed(tag, np.array(changed, dtype=np.int64), _part(space, found))


def _part(space: int, rows: Iterable[Any]) -> Part:
    items: list[int] = []
    halves: list[bytes] = []
    for item, number, stored, data in rows:
        if vector_sum(space, item, number, data) != stored:
            raise IntegrityError(
                "a stored vector of an item does not match its checksum: see memory.admin.doctor()"
            )
        items.append(item)
        halves.append(data)
    if not items:
        return Part(np.empty(0, np.int64), np.empty((0, 0), np.float32))
    matrix = np.frombuffer(b"".join(halves), dtype="<f2").reshape(len(items), -1).astype(np.float32)
    matrix /= np.sqrt(np.einsum("ij,ij->i", matrix, matrix))[:, None]
    return Part(np.array(items, dtype=np.int64), matrix)
