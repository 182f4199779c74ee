"""The read path: a question to candidates, fused, hydrated and checked in one place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..filters import Filter
from ..models.embed import relevance_scale
from ..protocols import Candidates, Query, Runtime, SearchRequest
from ..results import Excerpt, SearchHit, SearchResult
from ..types import MemoryRecord, MessageRecord, Micros, Ref, Scope, Space, Usage, to_datetime
from .embed import ensure_identity
from .fuse import Ranked, fuse
from .plan import Plan, plan
from .services import Services

#: Candidates that each arm proposes; more than any reader reads, so that boosts can still lift one.
_POOL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """A checked ``search`` call."""

    text: str
    scope: Scope
    where: Filter | None = None
    limit: int = 10
    threshold: float | None = None
    as_of: Micros | None = None
    spaces: tuple[Space, ...] = ("memory",)
    explain: bool = False


@dataclass(slots=True)
class _Question:
    """The question's vector and what was lost on the way to it."""

    vector: Any = None
    degraded: tuple[str, ...] = ()
    usage: Usage = Usage()


async def search(rt: Runtime, services: Services, asked: AskedFor) -> SearchResult:
    """The best memories, and excerpts if asked for.

    Raises:
        StorageError: The store cannot be read.
    """
    started = time.perf_counter()
    now = services.clock()
    state = await rt.call(lambda: services.store.owner_state(asked.scope.owner))
    query = Query(scope=asked.scope, where=asked.where, now=now, valid_at=asked.as_of)
    words = plan(asked.text, actors=state.actors, now=now)
    question = await _embed(rt, services, words)
    proposed, trouble = await _proposed(rt, services, asked, question.vector)
    request = SearchRequest(
        query=query,
        # Turns are searched for memories too: a turn that answers lifts the facts that cite it.
        spaces=("memory", "turn"),
        terms=words.terms,
        vector=question.vector,
        pool=max(_POOL, 2 * asked.limit),
        proposed=proposed,
        between=words.between,
    )
    found = await rt.call(lambda: services.store.search(request))
    ranked = _rank(services, found, words, asked)
    hits = await _memories(rt, services, query, ranked.get("memory", ()), asked)
    excerpts = await _turns(rt, services, asked, ranked.get("turn", ()))
    return SearchResult(
        results=hits,
        excerpts=excerpts,
        degraded=[*question.degraded, *trouble],
        usage=question.usage.timed((time.perf_counter() - started) * 1_000),
    )


async def _embed(rt: Runtime, services: Services, words: Plan) -> _Question:
    if services.embedder is None:
        return _Question()
    try:
        vector = await rt.embed_query(services.embedder, words.embed_text)
    except ModelError as error:
        lost = f"keywords only, since the embedding model failed: {type(error).__name__}: {error}"
        return _Question(degraded=(lost,), usage=Usage(embedding_calls=1))
    await ensure_identity(rt, services)
    return _Question(vector=vector, usage=Usage(embedding_calls=1))


async def _proposed(
    rt: Runtime, services: Services, asked: AskedFor, vector: Any
) -> tuple[tuple[Ref, ...], list[str]]:
    """What the derived index proposes; the record store's own scan goes on if it fails."""
    index = services.index
    if index is None or vector is None:
        return (), []
    owner, limit = asked.scope.owner, max(_POOL, 2 * asked.limit)
    try:
        refs = await rt.call(lambda: index.propose(owner, vector, space="memory", limit=limit))
    except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
        return (), [f"without the index {index.name!r}: {type(error).__name__}"]
    return tuple(refs), []


def _rank(
    services: Services, found: Candidates, words: Plan, asked: AskedFor
) -> Mapping[Space, Sequence[Ranked]]:
    scale = relevance_scale(None) if services.embedder is None else services.embedder.scale
    ranked = fuse(
        found, words, scale=(scale.floor, scale.top), limit=max(_POOL, 2 * asked.limit), explain=asked.explain
    )
    if "retired" in ranked:  # an earlier truth is made of current and of closed versions
        both = [*ranked.get("memory", ()), *ranked.pop("retired")]
        ranked["memory"] = sorted(both, key=lambda item: (-item.score, -item.unit))
    if asked.threshold is None:
        return ranked
    return {
        space: [item for item in items if item.relevance >= asked.threshold]
        for space, items in ranked.items()
    }


async def _memories(
    rt: Runtime, services: Services, query: Query, ranked: Sequence[Ranked], asked: AskedFor
) -> list[SearchHit]:
    """Hydrate in rank order until the limit is full; some candidates may be gone since they were found."""
    if "memory" not in asked.spaces:
        return []
    hits: list[SearchHit] = []
    for start in range(0, len(ranked), asked.limit):
        portion = ranked[start : start + asked.limit]
        units = [item.unit for item in portion]
        records = await rt.call(lambda: services.store.read(query, units))  # noqa: B023 - called at once
        by_unit = {record.unit: record for record in records if admitted(query, record)}
        hits += [_hit(by_unit[item.unit], item, asked.explain) for item in portion if item.unit in by_unit]
        if len(hits) >= asked.limit:
            break
    return hits[: asked.limit]


def admitted(query: Query, record: MemoryRecord) -> bool:
    """The one check of scope and currency that every hit passes, whoever proposed it."""
    if not query.scope.admits(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id):
        return False
    if query.valid_at is None:
        return record.live(query.now)
    closed = (
        record.retired_at is not None and record.valid_to is not None and record.valid_to <= query.valid_at
    )
    return record.valid_from <= query.valid_at and not closed


async def _turns(rt: Runtime, services: Services, asked: AskedFor, ranked: Sequence[Ranked]) -> list[Excerpt]:
    if "turn" not in asked.spaces:
        return []
    best = ranked[: asked.limit]
    units = [item.unit for item in best]
    records = await rt.call(lambda: services.store.messages(asked.scope, units))
    by_unit = {
        record.unit: record
        for record in records
        if asked.scope.admits(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id)
    }
    return [_excerpt(by_unit[item.unit], item, asked.explain) for item in best if item.unit in by_unit]


def _hit(record: MemoryRecord, item: Ranked, explain: bool) -> SearchHit:
    fields = SearchHit.fields_of(record)
    return SearchHit.model_construct(
        **fields, score=item.score, relevance=item.relevance, explain=dict(item.parts) if explain else None
    )


def _excerpt(record: MessageRecord, item: Ranked, explain: bool) -> Excerpt:
    return Excerpt.model_construct(
        message_id=record.message_id,
        text=record.content,
        role=record.role,
        actor_id=record.actor_id,
        observed_at=to_datetime(record.observed_at),
        score=item.score,
        relevance=item.relevance,
        explain=dict(item.parts) if explain else None,
    )
