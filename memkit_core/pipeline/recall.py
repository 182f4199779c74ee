"""What is already remembered that new facts may concern."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from .. import analysis
from ..errors import StorageError
from ..protocols import Candidates, Query, Runtime, SearchRequest
from ..types import Fact, MemoryRecord, Scope
from .known import is_narrower
from .planned import PROCEDURAL
from .services import Services
from .trust import TRUSTED, hides_untrusted, trust_of

T = TypeVar("T")

#: How many copies of one text at most are looked past for others.
_MOST_COPIES: Final = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """Memories to decide against.

    Attributes:
        revision: The owner revision that was read; a commit checks that it still holds.
        memories: Current memories, numbered by their place here.
        offered: For each fact, the places of the memories that it may concern.
        unrelated: For each fact, the places of those that have nothing to do with it, as far as its embedding
            tells: they are shown, but it cannot change them.
        similar: For each fact, the places of those whose embeddings are as close as other words for it are.
    """

    revision: int
    memories: tuple[MemoryRecord, ...] = ()
    offered: tuple[tuple[int, ...], ...] = ()
    unrelated: tuple[frozenset[int], ...] = ()
    similar: tuple[frozenset[int], ...] = ()


class SmallScope:
    """All memories of a scope that has few, which may be read before the facts are known.

    Args:
        services: The engine's services.
        scope: Whose memories.
    """

    def __init__(self, services: Services, scope: Scope) -> None:
        self._services = services
        self._query = Query(scope=scope, now=0)
        self._read: tuple[int, tuple[MemoryRecord, ...]] | None = None

    def read_ahead(self) -> None:
        """Read them, if the scope is small."""
        try:
            state = self._services.store.owner_state(self._query.scope.owner)
            if 0 < state.live_memories <= self._services.policies.decisions.small_scope:
                self._read = (state.revision, self._rows(self._services.clock()))
        except StorageError:  # then they are read when they are needed, and what is wrong is told there
            _log.debug("memories could not be read ahead", exc_info=True)

    def at(self, revision: int) -> tuple[MemoryRecord, ...]:
        """The memories at the owner's revision, which is the present one; what has been read is let go."""
        read, self._read = self._read, None
        now = self._services.clock()
        if read is None or read[0] != revision:
            return self._rows(now)
        return tuple(row for row in read[1] if row.expires_at is None or row.expires_at > now)

    def _rows(self, now: int) -> tuple[MemoryRecord, ...]:
        query, damaged = replace(self._query, now=now), set[int]()
        limit = self._services.policies.decisions.small_scope
        records = self._services.store.scan(query, limit=limit, damaged=damaged)
        return tuple(record for record in reversed(records) if _ordinary(record))


async def recall(
    rt: Runtime,
    services: Services,
    scope: Scope,
    facts: Sequence[Fact],
    vectors: Sequence[Any] | None,
    small: SmallScope,
) -> Recalled:
    """Candidates for each fact: nearest by meaning, best by keyword, or the whole of a small scope.

    What is in quarantine is a candidate for untrusted facts only.
    What is damaged is no candidate: it cannot be changed, and must not keep anybody from remembering.

    Args:
        vectors: One unit-length vector per fact, None without an embedding model.
        small: Reads the scope if it is small, or has read it.
    """
    return await rt.call(lambda: _recall(services, scope, facts, vectors, small))


def _recall(
    services: Services,
    scope: Scope,
    facts: Sequence[Fact],
    vectors: Sequence[Any] | None,
    small: SmallScope,
) -> Recalled:
    state = services.store.owner_state(scope.owner)
    if not state.live_memories:
        return Recalled(revision=state.revision, offered=tuple(() for _ in facts))
    settings = services.policies.decisions
    query = Query(scope=scope, now=services.clock())
    hidden = hides_untrusted(services.policies.trust, None)
    sparing = [hidden and trust_of(fact.origin, user_id=scope.user_id) == TRUSTED for fact in facts]
    whole = state.live_memories <= settings.small_scope
    queries = {False: query, True: replace(query, trusted_only=True)}
    requests = [
        SearchRequest(
            query=queries[sparing[number]],
            terms=analysis.query_terms(fact.text),
            vector=None if vectors is None else vectors[number],
            pool=settings.small_scope if whole else settings.candidates_per_fact,
        )
        for number, fact in enumerate(facts)
    ]
    if not whole:
        return _read(services, query, state.revision, requests)
    found: list[Candidates] = []
    if vectors is not None and _line(services) is not None:
        found = [services.store.search(request) for request in requests]
    memories = small.at(state.revision)
    everything = tuple(range(len(memories)))
    trusted = tuple(place for place in everything if memories[place].trust == TRUSTED)
    unrelated, similar = _compared(services, found, {memory.unit: n for n, memory in enumerate(memories)})
    return Recalled(
        revision=state.revision,
        memories=memories,
        offered=tuple(trusted if spared else everything for spared in sparing),
        unrelated=unrelated,
        similar=similar,
    )


def _ordinary(memory: MemoryRecord) -> bool:
    """The record of a run is a text of its own making: no fact corrects it, and it answers none."""
    return memory.memory_type != PROCEDURAL


def _read(services: Services, query: Query, revision: int, requests: Sequence[SearchRequest]) -> Recalled:
    store, limit = services.store, services.policies.decisions.candidates_per_fact
    found = [store.search(request) for request in requests]
    pools = [request.pool for request in requests]
    records: dict[int, MemoryRecord] = {}
    damaged: set[int] = set()
    while True:
        orders = [_best(candidates) for candidates in found]
        units = dict.fromkeys(unit for order in orders for unit in order)
        missing = [unit for unit in units if unit not in records and unit not in damaged]
        # What else says a candidate word for word, in whatever run, is no candidate, but may end with it.
        rows = store.read(query, missing, damaged=damaged, alike=True) if missing else ()
        records.update((record.unit, record) for record in rows if _ordinary(record))
        offered = [_once(order, records, query.scope) for order in orders]
        short = [
            number
            for number, row in enumerate(offered)
            if len(row) < len(orders[number]) and len(row) < limit and pools[number] < _MOST_COPIES
        ]
        if not short:
            break
        for number in short:  # one text stood in the places of several
            pools[number] *= 4
            found[number] = store.search(replace(requests[number], pool=pools[number]))
    most = [2 * limit if _has_both(candidates) else limit for candidates in found]
    offered = [row[:count] for row, count in zip(offered, most, strict=True)]
    chosen = list(dict.fromkeys(unit for row in offered for unit in row))
    chosen += sorted(records.keys() - set(chosen))
    place = {unit: number for number, unit in enumerate(chosen)}
    unrelated, similar = _compared(services, found, place)
    return Recalled(
        revision=revision,
        memories=tuple(records[unit] for unit in chosen),
        offered=tuple(tuple(place[unit] for unit in row) for row in offered),
        unrelated=unrelated,
        similar=similar,
    )


def _once(order: Sequence[int], records: Mapping[int, MemoryRecord], scope: Scope) -> list[int]:
    """The units in their order, of those that say the same word for word the one of the widest scope."""
    widest: dict[tuple[bytes, str | None, str], int] = {}
    kept: dict[tuple[bytes, str | None, str], int] = {}
    keys = {
        unit: (analysis.text_key(record.text), record.actor_id, record.trust)
        for unit, record in records.items()
    }
    for unit, record in records.items():
        if not is_narrower(record, scope):
            widest.setdefault(keys[unit], unit)
    for unit in order:
        if unit in keys:
            kept.setdefault(keys[unit], widest.get(keys[unit], unit))
    return list(kept.values())


def _line(services: Services) -> float | None:
    """The cosine below which two statements have nothing to do with each other, if it is known."""
    return None if services.embedder is None else services.embedder.scale.unrelated


def _compared(
    services: Services, found: Sequence[Candidates], place: Mapping[int, int]
) -> tuple[tuple[frozenset[int], ...], tuple[frozenset[int], ...]]:
    """For each fact, the places of what has nothing to do with it, and of what is as close as other words."""
    line = _line(services)
    if services.embedder is None or line is None:
        return (), ()
    same = services.embedder.scale.same
    cosines = [
        [(place[s.unit], s.cosine) for s in candidates.scored if s.unit in place and s.cosine is not None]
        for candidates in found
    ]
    return (
        tuple(frozenset(n for n, cosine in row if cosine < line) for row in cosines),
        tuple(frozenset(n for n, cosine in row if same is not None and cosine >= same) for row in cosines),
    )


def _best(candidates: Candidates) -> list[int]:
    """Units by the better of their two ranks, so that neither arm can push the other's best out."""
    scored = candidates.scored
    dense = sorted((s for s in scored if s.cosine is not None), key=lambda s: (-(s.cosine or 0.0), s.unit))
    keyword = sorted((s for s in scored if s.bm25 > 0), key=lambda s: (-s.bm25, s.unit))
    return list(dict.fromkeys(s.unit for pair in _interleave([dense, keyword]) for s in pair))


def _has_both(candidates: Candidates) -> bool:
    """Whether both arms found something."""
    scored = candidates.scored
    return any(s.cosine is not None for s in scored) and any(s.bm25 > 0 for s in scored)


def _interleave(rows: Sequence[Sequence[T]]) -> list[list[T]]:
    """The first of every row, then the second of every row, and so on."""
    longest = max((len(row) for row in rows), default=0)
    return [[row[n] for row in rows if n < len(row)] for n in range(longest)]
