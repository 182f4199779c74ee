"""The read path: a question to candidates, fused, hydrated and checked in one place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..analysis import text_key
from ..errors import IntegrityError, ModelError
from ..filters import Filter
from ..models.embed import relevance_scale
from ..protocols import Candidates, OwnerState, Query, Runtime, Scored, SearchRequest
from ..results import Excerpt, SearchHit, SearchResult
from ..types import MemoryRecord, MessageRecord, Micros, Scope, Space, Usage, to_datetime
from .fuse import Ranked, fuse
from .plan import Plan, plan
from .propose import find_candidates
from .services import Services
from .trust import TRUSTED, hides_untrusted

#: Candidates that each arm proposes; more than any reader reads, so that boosts can still lift one.
_POOL = 100
#: How often a search looks again when what it found was replaced before it could be read.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """A checked ``search`` call. ``quarantined``: what is untrusted is asked for as well."""

    text: str
    scope: Scope
    where: Filter | None = None
    limit: int = 10
    threshold: float | None = None
    valid_at: Micros | None = None
    known_at: Micros | None = None
    actor_id: str | None = None
    spaces: tuple[Space, ...] = ("memory",)
    quarantined: bool = False
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
    query = Query(
        scope=asked.scope,
        where=asked.where,
        now=now,
        valid_at=asked.valid_at,
        known_at=asked.known_at,
        trusted_only=hides_untrusted(services.policies.trust, asked.where, asked=asked.quarantined),
    )
    question: _Question | None = None
    found: _Found | None = None
    try:
        for _ in range(_ATTEMPTS):
            state = await rt.call(lambda: services.store.owner_state(asked.scope.owner))
            words = plan(asked.text, actors=state.actors, now=now)
            question = question or await _embed(rt, services, words)
            look = partial(
                _look,
                services=services,
                asked=asked,
                query=query,
                state=state,
                words=words,
                question=question,
            )
            # An index may wait for a server; the record store alone is asked on one thread.
            found = await (rt.stored(look) if services.index is None else look(rt))
            if not found.gone:  # else versions were replaced between finding and reading: look again
                break
        assert question is not None
        assert found is not None
        degraded = [*question.degraded, *found.trouble, *left_out(found.unread, found.unread_turns)]
    finally:  # a search that fails has cost something all the same
        spent = Usage() if question is None else question.usage
        usage = spent.timed((time.perf_counter() - started) * 1_000)
        services.ledger.owe(asked.scope.owner, "search", usage)
    return SearchResult(results=found.hits, excerpts=found.excerpts, degraded=degraded, usage=usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one look found. ``gone``: some of it was replaced before it could be read.

    ``unread``, ``unread_turns``: how many memories and excerpts are damaged.
    """

    hits: list[SearchHit]
    unread: int
    excerpts: list[Excerpt]
    unread_turns: int
    trouble: list[str]
    gone: bool


async def _look(
    rt: Runtime,
    *,
    services: Services,
    asked: AskedFor,
    query: Query,
    state: OwnerState,
    words: Plan,
    question: _Question,
) -> _Found:
    request = SearchRequest(
        query=query,
        # Turns are searched for memories too: a turn that answers lifts the facts that cite it.
        spaces=("memory", "turn"),
        terms=words.terms,
        vector=question.vector,
        embedding=None if question.vector is None else services.identity,
        pool=max(_POOL, 2 * asked.limit),
        between=words.between,
    )
    found, trouble = await _candidates(rt, services, request, state)
    if found.without_vector:
        trouble = [
            *trouble,
            f"{found.without_vector} texts have no vector yet and are found by keywords only",
        ]
    ranked = _rank(services, found, words, asked)
    damaged: set[int] = set()
    hits, gone = await _memories(rt, services, query, ranked.get("memory", ()), asked, damaged)
    excerpts, unread = await _turns(rt, services, asked, ranked.get("turn", ()))
    return _Found(
        hits=hits,
        unread=len(damaged),
        excerpts=excerpts,
        unread_turns=unread,
        trouble=trouble,
        gone=gone,
    )


async def _candidates(
    rt: Runtime, services: Services, request: SearchRequest, state: OwnerState
) -> tuple[Candidates, list[str]]:
    """Candidates from all that can be read: what only serves to find memories must not hide them.

    Raises:
        IntegrityError: Nothing of it can.
    """
    try:
        return await find_candidates(rt, services, request, state)
    except IntegrityError as error:
        damage = error
    # Without a vector no stored one is read.
    ways = {
        "keywords only, since stored vectors": replace(request, vector=None, dense=False),
        "by meaning only, since stored keywords": replace(request, terms=()),
    }
    for way, narrowed in ways.items():
        if narrowed.terms or narrowed.vector is not None:
            try:
                found, trouble = await find_candidates(rt, services, narrowed, state)
            except IntegrityError:
                continue  # the other way may do; if not, the first error is told
            return found, [*trouble, f"{way} are damaged: memory.admin.doctor(repair=True) mends them"]
    raise damage


def left_out(memories: int, messages: int = 0) -> list[str]:
    """In words, how many damaged texts an answer leaves out."""
    named = ((memories, "memory was", "memories were"), (messages, "message was", "messages were"))
    return [
        f"{count} damaged {one if count == 1 else many} left out: run memory.admin.doctor()"
        for count, one, many in named
        if count
    ]


async def _embed(rt: Runtime, services: Services, words: Plan) -> _Question:
    if services.embedder is None:
        return _Question()
    calls = 0

    async def once() -> Any:
        nonlocal calls
        calls += 1
        return await rt.embed_query(embedder, words.embed_text)

    embedder = services.embedder
    try:
        vector = await services.caller.embed(rt, embedder, once)
    except ModelError as error:
        lost = f"keywords only, since the embedding model failed: {type(error).__name__}: {error}"
        return _Question(degraded=(lost,), usage=Usage(embedding_calls=calls))
    return _Question(vector=vector, usage=Usage(embedding_calls=calls))


def _rank(
    services: Services, found: Candidates, words: Plan, asked: AskedFor
) -> Mapping[Space, Sequence[Ranked]]:
    scale = relevance_scale(None) if services.embedder is None else services.embedder.scale
    if asked.valid_at is not None or asked.actor_id is not None:
        wanted = (one for one in found.scored if one.space != "turn" or _wanted(one, asked))
        found = replace(found, scored=tuple(wanted))
    ranked = fuse(
        found,
        words,
        scale=(scale.floor, scale.top),
        limit=max(_POOL, 2 * asked.limit),
        explain=asked.explain,
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


def _wanted(turn: Scored, asked: AskedFor) -> bool:
    """Whether a turn was said by then, and by the speaker asked for. Filters concern memories only."""
    if asked.valid_at is not None and turn.time is not None and turn.time > asked.valid_at:
        return False
    return asked.actor_id is None or turn.actor_id == asked.actor_id


async def _memories(
    rt: Runtime,
    services: Services,
    query: Query,
    ranked: Sequence[Ranked],
    asked: AskedFor,
    damaged: set[int],
) -> tuple[list[SearchHit], bool]:
    """Hits in rank order until the limit is full, and whether candidates were gone when they were read.

    ``damaged`` takes the candidates that cannot be read.
    """
    if "memory" not in asked.spaces:
        return [], False
    hits: list[SearchHit] = []
    gone = False
    for start in range(0, len(ranked), asked.limit):
        portion = ranked[start : start + asked.limit]
        units = [item.unit for item in portion]
        records = await rt.call(lambda: services.store.read(query, units, damaged=damaged))  # noqa: B023 - called at once
        by_unit = {record.unit: record for record in records if admitted(query, record)}
        hits += [_hit(by_unit[item.unit], item, asked.explain) for item in portion if item.unit in by_unit]
        hits = _told_once(hits, asked.scope)
        gone = gone or len(by_unit.keys() | damaged & set(units)) < len(portion)
        if len(hits) >= asked.limit:
            break
    return hits[: asked.limit], gone


def _told_once(hits: list[SearchHit], scope: Scope) -> list[SearchHit]:
    """The hits without what a run or an agent says word for word as a hit of a scope around it does."""
    narrower = [hit for hit in hits if (hit.agent_id, hit.run_id) != (scope.agent_id, scope.run_id)]
    if not narrower:
        return hits
    said: dict[tuple[bytes, str | None, str], list[SearchHit]] = {}
    for hit in hits:
        said.setdefault((text_key(hit.memory), hit.actor_id, hit.trust), []).append(hit)
    again = {
        hit.id
        for hit in narrower
        for other in said[text_key(hit.memory), hit.actor_id, hit.trust]
        if (other.agent_id, other.run_id) != (hit.agent_id, hit.run_id)
        and other.agent_id in (None, hit.agent_id)
        and other.run_id in (None, hit.run_id)
    }
    return [hit for hit in hits if hit.id not in again]


def admitted(query: Query, record: MemoryRecord) -> bool:
    """The one check of scope, trust and currency that every hit passes, whoever proposed it."""
    if not query.scope.admits(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id):
        return False
    if query.trusted_only and record.trust != TRUSTED:
        return False
    if query.valid_at is None and query.known_at is None:
        return record.live(query.now)
    at = query.now if query.valid_at is None else query.valid_at
    if record.expires_at is not None and record.expires_at <= at:
        return False
    if query.known_at is not None and record.recorded_at > query.known_at:
        return False
    closed = record.retired_at is not None and record.valid_to is not None and record.valid_to <= at
    return record.valid_from <= at and not closed


async def _turns(
    rt: Runtime, services: Services, asked: AskedFor, ranked: Sequence[Ranked]
) -> tuple[list[Excerpt], int]:
    """The best excerpts, and how many of them are damaged and left out."""
    if "turn" not in asked.spaces:
        return [], 0
    damaged: set[int] = set()
    # What memkit learnt later tells only when it is read: more are read then, for some to be left.
    best = ranked[: asked.limit] if asked.known_at is None else ranked
    units = [item.unit for item in best]
    records = await rt.call(lambda: services.store.messages(asked.scope, units, damaged=damaged))
    by_unit = {
        record.unit: record
        for record in records
        if asked.scope.admits(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id)
        and (asked.known_at is None or record.recorded_at <= asked.known_at)
    }
    found = [item for item in best if item.unit in by_unit]
    excerpts = [_excerpt(by_unit[item.unit], item, asked.explain) for item in found[: asked.limit]]
    return excerpts, len(damaged)


def _hit(record: MemoryRecord, item: Ranked, explain: bool) -> SearchHit:
    fields = SearchHit.fields_of(record)
    fields["score"], fields["relevance"] = item.score, item.relevance
    fields["explain"] = dict(item.parts) if explain else None
    return SearchHit.made(fields)


def _excerpt(record: MessageRecord, item: Ranked, explain: bool) -> Excerpt:
    return Excerpt.made(
        {
            "message_id": record.message_id,
            "text": record.content,
            "role": record.role,
            "actor_id": record.actor_id,
            "observed_at": to_datetime(record.observed_at),
            "score": item.score,
            "relevance": item.relevance,
            "explain": dict(item.parts) if explain else None,
        }
    )
