"""Warm copies of one owner's units in one space, ready for numpy, under the tag they were read at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import IntegrityError
from .driver import Connection
from .rows import MEMORY, RETIRED, TURN, crc32

K1: Final = 1.2
B: Final = 0.75
#: Stands for "never" and "unknown" in columns of instants.
NEVER: Final = 2**62
UNKNOWN: Final = -(2**62)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

# Unsorted, and without the vectors: numpy sorts numbers faster than SQLite sorts rows.
_MEMORY_SELECT: Final = (
    "SELECT m.unit, m.length, COALESCE(m.event_time, {unknown}), m.flags, m.actor_id, m.agent_id, m.run_id,"
    " COALESCE(m.expires_at, {never}), m.recorded_at, m.valid_from, COALESCE(m.retired_at, {never}),"
    " COALESCE(m.valid_to, {unknown}) FROM memories m INDEXED BY {index}"
    " WHERE m.owner = ? AND m.retired_at IS {state} NULL"
)
_SELECTS: Final = {
    MEMORY: _MEMORY_SELECT.format(unknown=UNKNOWN, never=NEVER, index="memories_listing", state=""),
    RETIRED: _MEMORY_SELECT.format(unknown=UNKNOWN, never=NEVER, index="memories_retired", state="NOT"),
    TURN: (
        "SELECT t.unit, t.length, t.observed_at, t.flags, t.actor_id, t.agent_id, t.run_id, t.session,"
        " t.session_position, 0, 0, 0 FROM messages t INDEXED BY messages_owner"
        " WHERE t.owner = ? AND t.hidden_at IS NULL AND t.indexed = 1"
    ),
}


@dataclass(frozen=True, slots=True)
class Term:
    """What one term of a question contributes: rows, their BM25 parts, and the same for sessions."""

    rows: NDArray[np.intp]
    parts: Floats
    idf: float
    sessions: NDArray[np.intp]
    session_parts: Floats
    session_idf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How turns hang together: neighbours' rows (-1: none), and each turn's session."""

    previous: Ints
    following: Ints
    of_row: NDArray[np.intp]
    norms: Floats

    def __len__(self) -> int:
        return len(self.norms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One owner's units in one space. Rows are in unit order; ``matrix`` is (rows, dim) float32, unit length.

    Attributes:
        has_vector: None if every row has one.
        extra: For memories expires, recorded, valid from, retired and valid to, one column each.
        cites: For memories the (row, message unit) pairs of their sources.
        terms: Filled as questions name them; the same for everybody who reads under this tag.
    """

    tag: int
    owner: int
    space: int
    units: Ints
    times: Ints
    flags: list[int]
    actors: list[str | None]
    agents: NDArray[np.object_]
    runs: NDArray[np.object_]
    extra: Ints
    norms: Floats
    matrix: Floats | None
    has_vector: NDArray[np.bool_] | None
    sessions: Sessions | None
    cites: tuple[NDArray[np.intp], Ints]
    terms: dict[str, Term] = field(default_factory=dict[str, Term])

    def __len__(self) -> int:
        return len(self.units)

    @property
    def size(self) -> int:
        """About how many bytes it takes, room for the terms of some questions included."""
        return 4_096 + 320 * len(self.units) + (0 if self.matrix is None else self.matrix.nbytes)

    def rows_of(self, units: Any) -> NDArray[np.intp]:
        """The rows of those of the units that are here."""
        wanted = np.asarray(units, dtype=np.int64)
        if not len(self.units) or not len(wanted):
            return np.empty(0, dtype=np.intp)
        rows = np.minimum(np.searchsorted(self.units, wanted), len(self.units) - 1)
        present: NDArray[np.intp] = rows[self.units[rows] == wanted]
        return present

    def term(self, connection: Connection, term: str) -> Term:
        """What a term contributes; read from the database the first time."""
        known = self.terms.get(term)
        if known is None:
            known = self._read_term(connection, term)
            if len(self.terms) < 2_048:
                self.terms[term] = known
        return known

    def _read_term(self, connection: Connection, term: str) -> Term:
        found = connection.execute(
            "SELECT unit, tf FROM postings WHERE owner = ? AND space = ? AND term = ?",
            (self.owner, self.space, term),
        ).fetchall()
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        rows = np.searchsorted(self.units, pairs[:, 0])
        counts = pairs[:, 1].astype(np.float32)
        idf = _idf(len(self), len(rows))
        parts = idf * counts * (K1 + 1) / (counts + self.norms[rows])
        if self.sessions is None:
            nothing = np.empty(0, dtype=np.intp)
            return Term(rows, parts.astype(np.float32), idf, nothing, np.empty(0, dtype=np.float32), 0.0)
        sums = np.bincount(self.sessions.of_row[rows], weights=counts, minlength=len(self.sessions))
        sessions = np.flatnonzero(sums)
        session_idf = _idf(len(self.sessions), len(sessions))
        in_session = sums[sessions]
        session_parts = session_idf * in_session * (K1 + 1) / (in_session + self.sessions.norms[sessions])
        return Term(
            rows, parts.astype(np.float32), idf, sessions, session_parts.astype(np.float32), session_idf
        )


def _idf(documents: int, containing: int) -> float:
    return float(np.log1p((documents - containing + 0.5) / (containing + 0.5))) if documents else 0.0


def _norms(lengths: NDArray[Any]) -> Floats:
    mean = float(lengths.mean()) if len(lengths) else 0.0
    relative = lengths / mean if mean > 0 else np.zeros(len(lengths))
    return np.asarray(K1 * (1 - B + B * relative), dtype=np.float32)


class WarmCache:
    """The partitions that were used last, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[int, int], Partition] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, connection: Connection, owner: int, space: int, tag: int) -> Partition:
        """The owner's partition as of ``tag``, which the caller read in the same transaction."""
        key = (owner, space)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.tag == tag:
                self._kept.move_to_end(key)
                return kept
        loaded = load(connection, owner, space, tag)
        with self._lock:
            present = self._kept.pop(key, None)
            if present is not None:
                self._bytes -= present.size
            if loaded.size <= self._max_bytes:
                self._kept[key] = loaded
                self._bytes += loaded.size
            while self._bytes > self._max_bytes:
                _, evicted = self._kept.popitem(last=False)
                self._bytes -= evicted.size
        return loaded

    def before_fork(self) -> None:
        """Wait until nobody is at it."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with a lock of this process's own."""
        self._lock = threading.Lock()


def load(connection: Connection, owner: int, space: int, tag: int) -> Partition:
    """Read a partition from the database.

    Raises:
        IntegrityError: A vector does not fit its checksum or the others' dimension.
    """
    rows = connection.execute(_SELECTS[space], (owner,)).fetchall()
    rows.sort(key=itemgetter(0))
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 12
    numbers = np.array([columns[0], columns[1], columns[2], *columns[7:12]], dtype=np.int64)
    matrix, has_vector = _matrix(connection, owner, space, numbers[0])
    agents, runs = (np.array(columns[i], dtype=object) for i in (5, 6))
    cites = (np.empty(0, dtype=np.intp), np.empty(0, dtype=np.int64))
    if space != TURN:
        state = "" if space == MEMORY else "NOT"
        pairs = connection.execute(
            f"SELECT s.memory, s.message FROM memories m JOIN sources s ON s.memory = m.unit"
            f" WHERE m.owner = ? AND m.retired_at IS {state} NULL",
            (owner,),
        ).fetchall()
        table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        cites = (np.searchsorted(numbers[0], table[:, 0]), table[:, 1])
    return Partition(
        tag=tag,
        owner=owner,
        space=space,
        units=numbers[0],
        times=numbers[2],
        flags=list(columns[3]),
        actors=list(columns[4]),
        agents=agents,
        runs=runs,
        extra=numbers[3:],
        norms=_norms(numbers[1]),
        matrix=matrix,
        has_vector=has_vector,
        sessions=_sessions(numbers[3], numbers[4], numbers[1]) if space == TURN else None,
        cites=cites,
    )


def _matrix(
    connection: Connection, owner: int, space: int, units: Ints
) -> tuple[Floats | None, NDArray[np.bool_] | None]:
    """The vectors of the units, row by row, and which rows have one."""
    found = connection.execute(
        "SELECT unit, data, crc32 FROM vectors WHERE owner = ? AND space = ? ORDER BY unit", (owner, space)
    ).fetchall()
    if not found:
        return None, None
    size = len(found[0][1])
    for _, blob, checksum in found:
        if len(blob) != size or crc32(blob) != checksum:
            raise IntegrityError(
                "a stored vector does not match its checksum; restore the file from a backup"
            )
    halves = np.frombuffer(b"".join([row[1] for row in found]), dtype="<f2").reshape(len(found), -1)
    vectors = halves.astype(np.float32)
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    if len(found) == len(units):
        return vectors, None
    has_vector = np.zeros(len(units), dtype=np.bool_)
    has_vector[np.searchsorted(units, np.array([row[0] for row in found], dtype=np.int64))] = True
    matrix = np.zeros((len(units), vectors.shape[1]), dtype=np.float32)
    matrix[has_vector] = vectors
    return matrix, has_vector


def _sessions(sessions: Ints, positions: Ints, lengths: Ints) -> Sessions:
    count = len(sessions)
    previous, following = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    order = np.lexsort((positions, sessions))
    joined = sessions[order[1:]] == sessions[order[:-1]]
    following[order[:-1][joined]] = order[1:][joined]
    previous[order[1:][joined]] = order[:-1][joined]
    _, of_row = np.unique(sessions, return_inverse=True)
    totals = np.bincount(of_row, weights=lengths) if count else np.empty(0)
    return Sessions(previous=previous, following=following, of_row=of_row, norms=_norms(totals))
