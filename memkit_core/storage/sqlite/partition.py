"""One owner's units in one space, ready for numpy, as of one tag.

Partitions of successive tags share their room: new rows are written behind those that earlier partitions see,
a row that left is only marked, and a vector that comes late fills a row that earlier partitions know to have
none. So a partition never changes for whoever searches it, and the next one costs what has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import IntegrityError
from ...types import FLAG_UNTRUSTED
from .driver import Connection
from .rows import MEMORY, RETIRED, TURN

K1: Final = 1.2
B: Final = 0.75
#: Stands for "never" and "unknown" in columns of instants.
NEVER: Final = 2**62
UNKNOWN: Final = -(2**62)
#: The rows of ``Room.numbers``; the last one is for memories when they expire, for turns their session.
UNIT, LENGTH, TIME, FLAGS, EXPIRES = range(5)
SESSION: Final = EXPIRES
ACTOR, AGENT, RUN = range(3)
_MOST_TERMS: Final = 2_048
_MOST_FILTERS: Final = 32
_DAMAGED: Final = "a stored keyword is damaged: memory.admin.doctor(repair=True) mends it"
_STRAY: Final = "a stored keyword belongs to no text of its owner: memory.admin.doctor(repair=True) mends it"

#: What ``FLAGS`` holds. Whether a unit is untrusted follows from other columns, it cannot differ from them.
_MEMORY_FLAGS: Final = f"m.flags | {FLAG_UNTRUSTED} * (m.trust = 'untrusted')"
_TURN_FLAGS: Final = f"t.flags | {FLAG_UNTRUSTED} * (t.origin IN ('tool', 'document'))"
_MEMORY_NUMBERS: Final = (
    *("m.unit", "m.length", f"COALESCE(m.event_time, {UNKNOWN})", _MEMORY_FLAGS),
    f"COALESCE(m.expires_at, {NEVER})",
)
#: Where the rows of ``Room.numbers`` come from, by space.
NUMBERS: Final = {
    MEMORY: _MEMORY_NUMBERS,
    RETIRED: _MEMORY_NUMBERS,
    TURN: ("t.unit", "t.length", "t.observed_at", _TURN_FLAGS, "t.session"),
}

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.intp)
_NO_PARTS: Final[Floats] = np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Term:
    """What one term of a question contributes: rows, their BM25 parts, and the same for sessions."""

    rows: Rows
    parts: Floats
    idf: float
    sessions: Rows
    session_parts: Floats
    session_idf: float


class Posting(NamedTuple):
    """The rows that hold a term and how often, as of a tag at which ``last`` was the newest unit."""

    tag: int
    last: int
    rows: Rows
    counts: Floats


class Sifted(NamedTuple):
    """Which rows satisfy a filter, as of a tag."""

    tag: int
    mask: Mask


@dataclass(slots=True, kw_only=True)
class Room:
    """What partitions of successive tags share. Only its newest partition may be followed by another.

    Attributes:
        numbers: (columns, capacity).
        labels: (actor, agent and run; capacity).
        matrix: (capacity, dimension), rows of unit length or all zero; None if there are no vectors, or if
            the room is lean.
        lean: Vectors stay in the database, and are read for the few rows that somebody asks for.
        used: How many rows are taken.
        postings: By term; filled as questions name them.
        filters: By statement and values; filled as questions name them.
    """

    numbers: Ints
    labels: NDArray[np.object_]
    matrix: Floats | None
    used: int
    lean: bool = False
    postings: dict[str, Posting] = field(default_factory=dict[str, Posting])
    filters: dict[tuple[str, str], Sifted] = field(default_factory=dict[tuple[str, str], Sifted])

    @property
    def capacity(self) -> int:
        """How many rows have room."""
        rows: int = self.numbers.shape[1]
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How turns hang together: neighbours' rows (-1: none), and each turn's session."""

    previous: Ints
    following: Ints
    of_row: Rows
    norms: Floats

    def __len__(self) -> int:
        return len(self.norms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One owner's units in one space as of a tag. Rows are in unit order, those that left still among them.

    Attributes:
        rows: How many rows there are, with those that left.
        live: Which of them are still there; None if all.
        has_vector: Which of those have a vector; None if all. Of a row that left it says nothing.
        count: How many are still there.
        with_vector: How many of those have a vector.
        mean_length: Of the texts, in terms.
        terms: What questions named so far.
    """

    tag: int
    owner: int
    space: int
    room: Room
    rows: int
    live: Mask | None
    has_vector: Mask | None
    count: int
    with_vector: int
    mean_length: float
    sessions: Sessions | None
    terms: dict[str, Term] = field(default_factory=dict[str, Term])
    _norms: list[Floats] = field(default_factory=list[Floats])

    def __len__(self) -> int:
        return self.rows

    @property
    def norms(self) -> Floats:
        """What BM25 adds to a term's count, by how long each text is."""
        if not self._norms:
            self._norms.append(_norms(self.numbers(LENGTH), self.mean_length))
        return self._norms[0]

    @property
    def units(self) -> Ints:
        """The unit numbers, ascending."""
        return self.numbers(UNIT)

    @property
    def matrix(self) -> Floats | None:
        """(rows, dimension) float32, unit length where there is a vector; None if none is at hand."""
        matrix = self.room.matrix
        return None if matrix is None or not self.with_vector else matrix[: self.rows]

    @property
    def size(self) -> int:
        """About how many bytes it takes, room for the terms of some questions included."""
        # The room behind the last row was never written to, so the system has given no memory for it.
        matrix = self.room.matrix
        return 4_096 + 320 * self.rows + (0 if matrix is None else matrix[: self.rows].nbytes)

    def numbers(self, column: int) -> Ints:
        """One column of numbers."""
        return self.room.numbers[column, : self.rows]

    def labels(self, column: int) -> NDArray[np.object_]:
        """One column of names."""
        return self.room.labels[column, : self.rows]

    def rows_of(self, units: Any) -> Rows:
        """The rows of those of the units that are here, or were."""
        wanted = np.asarray(units, dtype=np.int64)
        if not self.rows or not len(wanted):
            return np.empty(0, dtype=np.intp)
        own = self.units
        rows = np.minimum(np.searchsorted(own, wanted), self.rows - 1)
        present: Rows = rows[own[rows] == wanted]
        return present

    def term(self, connection: Connection, term: str) -> Term:
        """What a term contributes; what is not known yet is read from the database, which is at this tag."""
        known = self.terms.get(term)
        if known is None:
            known = self._weigh(self._posting(connection, term))
            _keep(self.terms, term, known, _MOST_TERMS)
        return known

    def _posting(self, connection: Connection, term: str) -> Posting:
        known = self.room.postings.get(term)
        if known is not None and known.tag == self.tag:
            return known
        earlier = known if known is not None and known.tag < self.tag else None
        found = connection.execute(
            "SELECT unit, tf FROM postings WHERE owner = ? AND space = ? AND term = ? AND unit > ?",
            (self.owner, self.space, term, 0 if earlier is None else earlier.last),
        ).fetchall()
        if found or earlier is None:
            rows, counts = self._located(found)
            if earlier is not None:
                rows = np.concatenate((earlier.rows, rows))
                counts = np.concatenate((earlier.counts, counts))
        else:  # none of what is new has the term, which is what most questions meet
            rows, counts = earlier.rows, earlier.counts
        if earlier is not None and self.live is not None:
            still = self.live[rows]
            rows, counts = rows[still], counts[still]
        posting = Posting(self.tag, int(self.units[-1]) if self.rows else 0, rows, counts)
        if known is earlier:  # what a later partition knows is of no use here, but stays
            _keep(self.room.postings, term, posting, _MOST_TERMS)
        return posting

    def _located(self, found: list[tuple[int, int]]) -> tuple[Rows, Floats]:
        """The rows of units and how often each holds a term."""
        try:
            pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        except (OverflowError, TypeError, ValueError):
            raise IntegrityError(_DAMAGED) from None
        rows: Rows = np.searchsorted(self.units, pairs[:, 0])
        if len(rows) and (rows.max() >= self.rows or (self.units[rows] != pairs[:, 0]).any()):
            raise IntegrityError(_STRAY)
        return rows, pairs[:, 1].astype(np.float32)

    def _weigh(self, posting: Posting) -> Term:
        rows, counts = posting.rows, posting.counts
        idf = _idf(self.count, len(rows))
        if not len(rows):
            session_idf = 0.0 if self.sessions is None else _idf(len(self.sessions), 0)
            return Term(_NO_ROWS, _NO_PARTS, idf, _NO_ROWS, _NO_PARTS, session_idf)
        parts: Floats = (idf * counts * (K1 + 1) / (counts + self.norms[rows])).astype(np.float32)
        if self.sessions is None:
            return Term(rows, parts, idf, _NO_ROWS, _NO_PARTS, 0.0)
        sums = np.bincount(self.sessions.of_row[rows], weights=counts, minlength=len(self.sessions))
        sessions = np.flatnonzero(sums)
        session_idf = _idf(len(self.sessions), len(sessions))
        in_session = sums[sessions]
        session_parts = session_idf * in_session * (K1 + 1) / (in_session + self.sessions.norms[sessions])
        return Term(rows, parts, idf, sessions, session_parts.astype(np.float32), session_idf)

    def sifted(self, connection: Connection, condition: str, values: list[Any]) -> Mask:
        """Which rows satisfy a condition on a version's unchanging columns, table ``m``.

        Only rows that no question with this condition looked at before are read.
        """
        key = (condition, repr(values))  # 1, 1.0 and True are equal, but mean different things
        known = self.room.filters.get(key)
        earlier = known if known is not None and known.tag <= self.tag else None
        if earlier is not None and len(earlier.mask) == self.rows:
            return earlier.mask
        mask = np.zeros(self.rows, dtype=np.bool_)
        state, index = ("", "listing") if self.space == MEMORY else ("NOT", "retired")
        table, parameters = f"memories m INDEXED BY memories_{index}", list[Any]()
        if earlier is not None:
            mask[: len(earlier.mask)] = earlier.mask
            fresh: list[int] = self.units[len(earlier.mask) :].tolist()
            table, parameters = "json_each(?) u CROSS JOIN memories m ON m.unit = u.value", [str(fresh)]
        found = connection.execute(
            f"SELECT m.unit FROM {table} WHERE m.owner = ? AND m.retired_at IS {state} NULL AND {condition}",
            (*parameters, self.owner, *values),
        ).fetchall()
        mask[self.rows_of([unit for (unit,) in found])] = True
        if known is earlier:
            _keep(self.room.filters, key, Sifted(self.tag, mask), _MOST_FILTERS)
        return mask


def _keep(known: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    if len(known) >= most:
        known.clear()
    known[key] = value


def _idf(documents: int, containing: int) -> float:
    return math.log1p((documents - containing + 0.5) / (containing + 0.5)) if documents else 0.0


def _norms(lengths: NDArray[Any], mean: float) -> Floats:
    relative = lengths / mean if mean > 0 else np.zeros(len(lengths))
    return np.asarray(K1 * (1 - B + B * relative), dtype=np.float32)


def partition_of(
    room: Room, *, tag: int, owner: int, space: int, live: Mask | None, has_vector: Mask | None
) -> Partition:
    """The partition of all rows that are taken in a room."""
    rows = room.used
    lengths = room.numbers[LENGTH, :rows]
    count = rows if live is None else int(live.sum())
    total = int(lengths.sum() if live is None else lengths[live].sum())
    there = live if has_vector is None else has_vector if live is None else has_vector & live
    none = room.matrix is None and not room.lean
    with_vector = 0 if none else rows if there is None else int(there.sum())
    return Partition(
        tag=tag,
        owner=owner,
        space=space,
        room=room,
        rows=rows,
        live=live,
        has_vector=None if with_vector == count else has_vector,
        count=count,
        with_vector=with_vector,
        mean_length=total / count if count else 0.0,
        sessions=_sessions(room.numbers[SESSION, :rows], lengths, live) if space == TURN else None,
    )


def _sessions(sessions: Ints, lengths: Ints, live: Mask | None) -> Sessions:
    count = len(sessions)
    previous, following = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    # Later turns of a session have higher unit numbers; runs that are sorted already cost little.
    if live is None:
        order = np.argsort(sessions, kind="stable")
    else:
        rows = np.flatnonzero(live)
        order = rows[np.argsort(sessions[rows], kind="stable")]
    joined = sessions[order[1:]] == sessions[order[:-1]]
    following[order[:-1][joined]] = order[1:][joined]
    previous[order[1:][joined]] = order[:-1][joined]
    of_row = np.zeros(count, dtype=np.intp)
    of_row[order[1:]] = np.cumsum(~joined)
    totals = np.bincount(of_row[order], weights=lengths[order])
    mean = float(totals.mean()) if len(totals) else 0.0
    return Sessions(previous=previous, following=following, of_row=of_row, norms=_norms(totals, mean))
