"""What the database holds of a partition: its columns, and its vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import IntegrityError
from . import changes
from .driver import Connection
from .partition import NUMBERS, UNIT, Floats, Ints, Partition, Rows
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
#: So many units at most are read row by row.
_FEW: Final = 32
_NO_HALVES: Final = np.empty((0, 0), dtype=np.uint16)
_STRAY: Final = "a stored vector belongs to no text of its owner: memory.admin.doctor(repair=True) mends it"
DAMAGED: Final = "a stored vector does not match its checksum; restore the file from a backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
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
        """The unit numbers, ascending."""
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


def find(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range] | None, *, lean: bool
) -> Found:
    """What the database holds of a partition, everywhere or in ranges of unit numbers."""
    if ranges is not None and sum(last - first + 1 for first, last in ranges) <= _FEW:
        numbers, labels = _few(connection, owner, space, ranges)
    else:
        numbers, labels = _many(connection, owner, space, ranges)
    if lean:
        holders, halves = _find_holders(connection, owner, space, ranges, numbers[UNIT]), _NO_HALVES
    else:
        holders, halves = _find_vectors(connection, owner, space, ranges, numbers[UNIT])
    return Found(numbers=numbers, labels=labels, holders=holders, halves=halves)


def _few(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range]
) -> tuple[Ints, NDArray[np.object_]]:
    """The columns of the rows in small ranges, as what is told in one turn."""
    columns = NUMBERS[space]
    select = (
        f"SELECT {', '.join((*columns, *_NAMES))} FROM {_TABLES[space]}"
        f" NOT INDEXED WHERE {_CONDITIONS[space]} AND unit BETWEEN ? AND ?"
    )
    rows = [row for low, high in ranges for row in connection.execute(select, (owner, low, high))]
    rows.sort()
    width = len(columns)
    numbers = np.array([row[:width] for row in rows], dtype=np.int64).reshape(len(rows), width)
    labels = np.empty((len(rows), len(_NAMES)), dtype=np.object_)
    for place, row in enumerate(rows):
        labels[place] = row[width:]
    return numbers.T, labels.T


def _many(
    connection: Connection, owner: int, space: int, ranges: list[changes.Range] | None
) -> tuple[Ints, NDArray[np.object_]]:
    """Each column comes as one text: SQLite writes and numpy reads it in half the time that rows take."""
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
    return numbers[:, order], labels[:, order]


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
        raise IntegrityError(DAMAGED)
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
