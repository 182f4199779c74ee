"""One owner's units in one space, ready for numpy, as of one tag.

Partitions of successive tags share their room: new rows are written behind those that earlier partitions see,
a row that left is only marked, and a vector that comes late fills a row that earlier partitions know to have
none. So a partition never changes for whoever searches it, and the next one costs what has changed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, repeat
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
#: How many sums over sessions are worked out at once, for so many terms at a time.
_MOST_SUMS: Final = 1_000_000
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

    def weighed(self, connection: Connection, terms: Sequence[str]) -> list[Term]:
        """What each term contributes; what is not known yet is read from the database, which is at this tag.

        Of a question's terms most are known from earlier ones, and in nothing that is new.
        """
        known = {term: self.terms.get(term) for term in terms}
        fresh = [term for term, one in known.items() if one is None]
        most = max(1, _MOST_SUMS // len(self.sessions)) if self.sessions else len(fresh)
        for start in range(0, len(fresh), most or 1):
            portion = fresh[start : start + most]
            for term, one in zip(portion, self._weigh(self._postings(connection, portion)), strict=True):
                known[term] = one
                _keep(self.terms, term, one, _MOST_TERMS)
        return [one for one in known.values() if one is not None]

    def _postings(self, connection: Connection, terms: Sequence[str]) -> list[Posting]:
        """The rows of each term; those of earlier tags are kept, and what is new is read for all at once."""
        held = {term: self.room.postings.get(term) for term in terms}
        earlier = {term: one for term, one in held.items() if one is not None and one.tag < self.tag}
        asked = {
            term: earlier[term].last if term in earlier else 0
            for term, one in held.items()
            if one is None or one.tag != self.tag
        }
        found = self._located(connection, asked) if asked else {}
        last = int(self.units[-1]) if self.rows else 0
        postings: list[Posting] = []
        for term, one in held.items():
            if one is not None and term not in asked:
                postings.append(one)
                continue
            rows, counts = found.get(term, (_NO_ROWS, _NO_PARTS))
            before = earlier.get(term)
            if before is not None:
                rows = np.concatenate((before.rows, rows)) if len(rows) else before.rows
                counts = np.concatenate((before.counts, counts)) if len(counts) else before.counts
                if self.live is not None:
                    still = self.live[rows]
                    rows, counts = rows[still], counts[still]
            posting = Posting(self.tag, last, rows, counts)
            if one is before:  # what a later partition knows is of no use here, but stays
                _keep(self.room.postings, term, posting, _MOST_TERMS)
            postings.append(posting)
        return postings

    def _located(self, connection: Connection, asked: Mapping[str, int]) -> dict[str, tuple[Rows, Floats]]:
        """By term, the rows of units and how often each holds it; of units behind the one that is named."""
        found = connection.execute(
            "SELECT j.key, p.unit, p.tf FROM json_each(?) j CROSS JOIN postings p"
            " ON p.owner = ? AND p.space = ? AND p.term = j.key AND p.unit > j.value",
            (json.dumps(asked, ensure_ascii=False), self.owner, self.space),
        ).fetchall()
        if not found:
            return {}
        terms, units, counts = zip(*found, strict=True)
        try:
            wanted, often = np.array(units, dtype=np.int64), np.array(counts, dtype=np.int64)
        except (OverflowError, TypeError, ValueError):
            raise IntegrityError(_DAMAGED) from None
        rows: Rows = np.searchsorted(self.units, wanted)
        if rows.max() >= self.rows or (self.units[rows] != wanted).any():
            raise IntegrityError(_STRAY)
        parts = often.astype(np.float32)
        located: dict[str, tuple[Rows, Floats]] = {}
        start = 0
        for term, size in Counter(terms).items():  # one term's rows lie together
            located[term] = rows[start : start + size], parts[start : start + size]
            start += size
        return located

    def _weigh(self, postings: Sequence[Posting]) -> list[Term]:
        """What terms with these postings contribute."""
        sizes = [len(posting.rows) for posting in postings]
        rows = np.concatenate([posting.rows for posting in postings])
        counts = np.concatenate([posting.counts for posting in postings])
        idfs = [_idf(self.count, size) for size in sizes]
        factors = np.repeat(np.array(idfs, dtype=np.float32), sizes)
        parts: Floats = (factors * counts * (K1 + 1) / (counts + self.norms[rows])).astype(np.float32)
        ends = list(accumulate(sizes))
        of_sessions = self._weigh_sessions(rows, counts, sizes)
        return [
            Term(posting.rows, parts[end - size : end], idf, *of_session)
            for posting, size, end, idf, of_session in zip(
                postings, sizes, ends, idfs, of_sessions, strict=True
            )
        ]

    def _weigh_sessions(
        self, rows: Rows, counts: Floats, sizes: Sequence[int]
    ) -> Iterable[tuple[Rows, Floats, float]]:
        """For each term the sessions that hold it, its parts there, and its idf over sessions."""
        if self.sessions is None or not len(self.sessions):
            return repeat((_NO_ROWS, _NO_PARTS, 0.0), len(sizes))
        number = len(self.sessions)
        places = np.repeat(np.arange(len(sizes)) * number, sizes) + self.sessions.of_row[rows]
        sums = np.bincount(places, weights=counts, minlength=len(sizes) * number)
        there = np.flatnonzero(sums)
        terms, sessions = np.divmod(there, number)
        held: list[int] = np.bincount(terms, minlength=len(sizes)).tolist()
        idfs = [_idf(number, size) for size in held]
        often = sums[there]
        parts = np.repeat(idfs, held) * often * (K1 + 1) / (often + self.sessions.norms[sessions])
        ends = list(accumulate(held))
        of_term = [slice(end - size, end) for size, end in zip(held, ends, strict=True)]
        small = parts.astype(np.float32)
        return [(sessions[part], small[part], idf) for part, idf in zip(of_term, idfs, strict=True)]

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
