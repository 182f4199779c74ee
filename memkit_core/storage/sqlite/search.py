"""Exact search over one owner's units: candidates from every arm, each of them with all its scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import EmbeddingMismatchError, UsageError
from ...protocols import Candidates, Query, Scored, SearchRequest
from ...types import FLAG_UNTRUSTED, Ref, Scope, Space
from .columns import read_vectors
from .conditions import filter_condition, query_condition
from .driver import Connection
from .partition import ACTOR, AGENT, EXPIRES, FLAGS, RUN, TIME, UNKNOWN, Floats, Mask, Partition
from .rows import MEMORY, RETIRED, SPACE_CODES, SPACE_NAMES, TURN, find_owner
from .vectors import check_identity
from .warm import WarmCache


def search(connection: Connection, cache: WarmCache, request: SearchRequest) -> Candidates:
    """See ``RecordStore.search``."""
    if request.pool < 0:
        raise UsageError(f"pool must not be negative, it is {request.pool}")
    query = request.query
    check_identity(connection, request.embedding)
    owner, revision = find_owner(connection, query.scope)
    if not owner:
        return Candidates()
    tags: dict[int, int] = dict(
        connection.execute("SELECT space, tag FROM unit_stats WHERE owner = ?", (owner,)).fetchall()
    )
    wanted = {SPACE_CODES[space] for space in request.spaces}
    memories = {MEMORY, RETIRED} if _reads_the_past(query) else {MEMORY}
    if MEMORY in wanted:
        wanted |= memories
    vector = _unit(request.vector)
    proposed = _proposed_units(connection, owner, request.proposed) if request.proposed else {}
    arms = {
        space: _Arm(
            connection,
            cache.get(connection, owner, space, tags[space], lean=not request.dense),
            request,
            vector,
        )
        for space in sorted(wanted | (memories if TURN in wanted else set()))
        if space in tags
    }
    scored: list[Scored] = []
    for space in sorted(wanted & arms.keys()):
        scored += arms[space].run(
            [unit for code in proposed for unit in proposed[code] if _same(code, space)]
        )
    turns = arms.get(TURN)
    return Candidates(
        scored=tuple(scored),
        idf_mass={
            name: arms[SPACE_CODES[name]].idf_mass if SPACE_CODES[name] in arms else 0.0
            for name in _named(wanted)
        },
        session_idf_mass=turns.session_idf_mass if turns is not None and TURN in wanted else 0.0,
        cited_by=_cited_by(connection, scored, [arms[space] for space in memories if space in arms])
        if TURN in wanted
        else {},
        short=frozenset(SPACE_NAMES[space] for space in wanted & arms.keys() if arms[space].short),
        revision=revision,
        without_vector=sum(arm.without_vector for arm in arms.values()),
    )


def _reads_the_past(query: Query) -> bool:
    return query.valid_at is not None or query.known_at is not None


def _named(codes: set[int]) -> list[Space]:
    return [SPACE_NAMES[code] for code in sorted(codes)]


def _same(proposed: int, space: int) -> bool:
    # A memory's unit number stays when the version retires; the ref may not know that yet.
    return (proposed == TURN) == (space == TURN)


def _unit(vector: Any) -> Floats | None:
    if vector is None:
        return None
    array = np.asarray(vector, dtype=np.float32)
    length = float(np.sqrt(np.dot(array, array))) if array.ndim == 1 and array.size else 0.0
    if not 0.0 < length < float("inf"):
        raise UsageError("a query vector must be one-dimensional, finite and not all zero")
    return array / np.float32(length)


def _proposed_units(connection: Connection, owner: int, refs: tuple[Ref, ...]) -> dict[int, list[int]]:
    """The unit numbers of refs that this owner has, by space; any other ref is silently nothing."""
    versions = json.dumps([[ref.id, ref.revision] for ref in refs if ref.space != "turn"], ensure_ascii=False)
    turns: list[tuple[str, int]] = []
    for ref in refs:
        uuid, colon, position = ref.id.rpartition(":")
        if ref.space == "turn" and colon and position.isascii() and position.isdigit() and len(position) < 10:
            turns.append((uuid, int(position)))
    found: dict[int, list[int]] = {}
    rows = connection.execute(
        "SELECT m.unit FROM json_each(?) r CROSS JOIN memories m"
        " ON m.memory_id = json_extract(r.value, '$[0]')"
        " AND m.revision = json_extract(r.value, '$[1]') WHERE m.owner = ?",
        (versions, owner),
    ).fetchall()
    found[MEMORY] = [unit for (unit,) in rows]
    rows = connection.execute(
        "SELECT b.first_unit + json_extract(r.value, '$[1]') FROM json_each(?) r"
        " CROSS JOIN batches b ON b.uuid = json_extract(r.value, '$[0]')"
        " WHERE b.owner = ? AND json_extract(r.value, '$[1]') < b.size",
        (json.dumps(turns, ensure_ascii=False), owner),
    ).fetchall()
    found[TURN] = [unit for (unit,) in rows]
    return found


class _Arm:
    """The search of one space."""

    def __init__(
        self, connection: Connection, partition: Partition, request: SearchRequest, vector: Floats | None
    ) -> None:
        self._connection = connection
        self._partition = partition
        self._request = request
        self._vector = vector
        self.idf_mass = 0.0
        self.session_idf_mass = 0.0
        self.short = False
        self.eligible: Mask | None = self._eligibility()

    def visible(self, units: list[int]) -> list[int]:
        """Those of the units that are here and satisfy the query."""
        rows = self._visible_rows(units)
        found: list[int] = self._partition.units[rows].tolist()
        return found

    def _visible_rows(self, units: list[int]) -> NDArray[np.intp]:
        rows = self._partition.rows_of(units)
        return rows if self.eligible is None else rows[self.eligible[rows]]

    @property
    def without_vector(self) -> int:
        """How many rows the question's vector cannot find."""
        partition = self._partition
        return 0 if self._vector is None else partition.count - partition.with_vector

    def _eligibility(self) -> Mask | None:
        """Which rows satisfy the query; None if all do."""
        partition, query = self._partition, self._request.query
        if not len(partition):
            return None
        mask = partition.live
        if partition.space != TURN:
            if _reads_the_past(query):
                current = self._held_then()
            else:
                current = partition.numbers(EXPIRES) > query.now
                if query.where is not None:
                    current &= partition.sifted(self._connection, *filter_condition(query.where))
            if not current.all():
                mask = current if mask is None else mask & current
        if query.trusted_only:
            trusted = (partition.numbers(FLAGS) & FLAG_UNTRUSTED) == 0
            if not trusted.all():
                mask = trusted if mask is None else mask & trusted
        return _narrowed(partition, query.scope, mask)

    def _held_then(self) -> Mask:
        """Which versions a question about an earlier time means."""
        partition = self._partition
        condition, values = query_condition(self._request.query, partition.owner)
        state = "" if partition.space == MEMORY else "NOT"
        rows = self._connection.execute(
            f"SELECT m.unit FROM memories m WHERE {condition} AND m.retired_at IS {state} NULL", values
        ).fetchall()
        mask = np.zeros(len(partition), dtype=np.bool_)
        mask[partition.rows_of([unit for (unit,) in rows])] = True
        return mask

    def run(self, proposed: list[int]) -> list[Scored]:
        """Every candidate of this space with its scores."""
        partition, pool = self._partition, self._request.pool
        if not len(partition):
            return []
        bm25, sessions = self._keyword_scores()
        cosine = self._cosines(None if self._request.dense else np.empty(0, dtype=np.intp))
        chosen = np.zeros(len(partition), dtype=np.bool_)
        chosen[_best(bm25, self._among(bm25 > 0), pool)] = True
        if cosine is not None and self._request.dense:
            chosen[_best(cosine, self._among(partition.has_vector), pool)] = True
        times = partition.numbers(TIME)
        for start, end in self._request.between:
            inside = (times >= start) & (times < end)
            if not self._request.dense:
                cosine = self._cosines(np.flatnonzero(inside))
            share = bm25 / np.float32(self.idf_mass * 2.2 or 1.0)
            order: Floats = share if cosine is None else np.add(cosine, share, dtype=np.float32)
            chosen[_best(order, self._among(inside), pool)] = True
        near = np.unique(self._visible_rows(proposed))
        chosen[near] = True
        if partition.sessions is not None:
            self._add_neighbours(chosen)
        if not self._request.dense:
            cosine = self._cosines(np.flatnonzero(chosen))
        if cosine is not None:
            self.short = self._is_short(chosen, near, cosine)
        return self._scored(np.flatnonzero(chosen), bm25, cosine, sessions)

    def _among(self, mask: Mask | None) -> Mask | None:
        if mask is None or self.eligible is None:
            return self.eligible if mask is None else mask
        return mask & self.eligible

    def _keyword_scores(self) -> tuple[Floats, Floats | None]:
        partition = self._partition
        scores = np.zeros(len(partition), dtype=np.float32)
        sessions = None if partition.sessions is None else np.zeros(len(partition.sessions), dtype=np.float32)
        for term in partition.weighed(self._connection, self._request.terms):
            scores[term.rows] += term.parts
            self.idf_mass += term.idf
            if sessions is not None:
                sessions[term.sessions] += term.session_parts
                self.session_idf_mass += term.session_idf
        if sessions is None or partition.sessions is None:
            return scores, None
        return scores, sessions[partition.sessions.of_row]

    def _is_short(self, chosen: Mask, near: NDArray[np.intp], cosine: Floats) -> bool:
        """Whether what an index proposed (``near``) cannot be the nearest units."""
        possible = self._among(self._partition.has_vector)
        count = len(self._partition) if possible is None else int(possible.sum())
        wanted = min(self._request.pool, count)
        if len(near) < wanted or not wanted:
            return bool(wanted)
        worst = np.partition(cosine[near], len(near) - wanted)[len(near) - wanted]
        nearer = chosen & (cosine > worst + np.float32(1e-5))
        nearer[near] = False
        # An approximate index misses some of the nearest; one that lost entries misses most.
        return int(nearer.sum() if self.eligible is None else (nearer & self.eligible).sum()) > wanted // 4

    def _cosines(self, rows: NDArray[np.intp] | None = None) -> Floats | None:
        """The cosine of every row, or of some rows (0 elsewhere); None if there is nothing to compare."""
        matrix = self._partition.matrix
        if self._vector is None or not self._partition.with_vector:
            return None
        if rows is None:
            assert matrix is not None  # only a search that compares few rows is given none
            cosines: Floats = np.clip(matrix @ self._fitting(matrix), -1.0, 1.0)
        else:
            cosines = np.zeros(len(self._partition), dtype=np.float32)
            for some, vectors in self._vectors_of(rows):
                cosines[some] = np.clip(vectors @ self._fitting(vectors), -1.0, 1.0)
        if self._partition.has_vector is not None:
            cosines[~self._partition.has_vector] = 0  # one may be on its way there
        return cosines

    def _vectors_of(self, rows: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """The rows' vectors, in portions: from the matrix, or from the database if there is none."""
        matrix = self._partition.matrix
        if matrix is None:
            return read_vectors(self._connection, self._partition, rows)
        return iter([(rows, matrix[rows])])

    def _fitting(self, vectors: Floats) -> Floats:
        assert self._vector is not None  # else nothing is compared
        if vectors.shape[1] != len(self._vector):
            raise EmbeddingMismatchError(
                f"the store holds vectors of {vectors.shape[1]} dimensions, the question's has "
                f"{len(self._vector)}: use the embedding model the store was made with"
            )
        return self._vector

    def _add_neighbours(self, chosen: Mask) -> None:
        sessions = self._partition.sessions
        assert sessions is not None  # turns have them
        rows = np.flatnonzero(chosen)
        for neighbours in (sessions.previous[rows], sessions.following[rows]):
            there = neighbours[neighbours >= 0]
            # A session lies within one agent and run, so none is out of scope; but a tool may have said it.
            chosen[there if self.eligible is None else there[self.eligible[there]]] = True

    def _scored(
        self, rows: NDArray[np.intp], bm25: Floats, cosine: Floats | None, sessions: Floats | None
    ) -> list[Scored]:
        partition = self._partition
        name = SPACE_NAMES[partition.space]
        cosines: list[float | None] = [None] * len(rows) if cosine is None else cosine[rows].tolist()
        if cosine is not None and partition.has_vector is not None:
            present = partition.has_vector[rows].tolist()
            cosines = [value if there else None for value, there in zip(cosines, present, strict=True)]
        if partition.sessions is None or sessions is None:
            of_session: list[float] = [0.0] * len(rows)
            before: list[int | None] = [None] * len(rows)
            behind = before
        else:
            of_session = sessions[rows].tolist()
            before = _units_of(partition, partition.sessions.previous[rows])
            behind = _units_of(partition, partition.sessions.following[rows])
        times = partition.numbers(TIME)[rows].tolist()
        return list(
            map(
                Scored,
                repeat(name),
                partition.units[rows].tolist(),
                cosines,
                bm25[rows].tolist(),
                of_session,
                partition.labels(ACTOR)[rows].tolist(),
                [None if time == UNKNOWN else time for time in times],
                partition.numbers(FLAGS)[rows].tolist(),
                before,
                behind,
            )
        )


def _units_of(partition: Partition, rows: NDArray[np.int64]) -> list[int | None]:
    units = partition.units[rows].tolist()
    return [unit if row >= 0 else None for unit, row in zip(units, rows.tolist(), strict=True)]


def _narrowed(partition: Partition, scope: Scope, mask: Mask | None) -> Mask | None:
    for name, value in scope.narrowing.items():
        column = partition.labels(AGENT if name == "agent_id" else RUN)
        same = np.asarray(column == value, dtype=np.bool_)
        mask = same if mask is None else mask & same
    return mask


def _best(scores: Floats, among: Mask | None, count: int) -> NDArray[np.intp]:
    """The rows with the highest scores; of equal ones the newest."""
    rows = np.arange(len(scores)) if among is None else np.flatnonzero(among)
    if len(rows) <= count:
        return rows
    if count == 0:
        return rows[:0]
    values = scores[rows]
    threshold = np.partition(values, len(values) - count)[len(values) - count]
    above = rows[values > threshold]
    return np.concatenate((above, rows[values == threshold][len(above) - count :]))


def _cited_by(connection: Connection, scored: list[Scored], arms: list[_Arm]) -> dict[int, tuple[int, ...]]:
    turns = [one.unit for one in scored if one.space == "turn"]
    if not turns or not arms:
        return {}
    pairs: list[tuple[int, int]] = connection.execute(
        "SELECT s.message, s.memory FROM json_each(?) t CROSS JOIN sources s ON s.message = t.value",
        (str(turns),),
    ).fetchall()
    memories = sorted({memory for _, memory in pairs})
    visible = {unit for arm in arms for unit in arm.visible(memories)}
    found: dict[int, tuple[int, ...]] = {}
    for message, memory in pairs:
        if memory in visible:
            found[message] = (*found.get(message, ()), memory)
    return found
