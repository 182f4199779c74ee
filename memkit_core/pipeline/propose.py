"""What a derived index adds to a search, and what happens when it has nothing to add."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import cast

from ..errors import UsageError
from ..protocols import Candidates, MaintainableStore, OwnerState, Query, Runtime, SearchRequest
from ..types import Ref, Space, check_text
from .services import Services

#: How many times the pool an index is asked for at most, when much of what it proposes is no longer current.
_MAX_GROWTH = 16


async def find_candidates(
    rt: Runtime, services: Services, request: SearchRequest, state: OwnerState
) -> tuple[Candidates, list[str]]:
    """The store's candidates, with the index's proposals among them, and in words what the index failed at.

    Up to ``Settings.exact_scan_units`` units the record store compares the question with every vector of the
    owner anyway, so that an index cannot cost an answer. Above it the proposals stand for that comparison,
    unless something speaks against it: pending work, a filter that the index does not know, an earlier truth,
    an index that fails, or one whose proposals cannot be the nearest. Then the store compares after all.

    Args:
        state: The owner as read before.
    """
    index, store, known = services.index, services.store, services.known
    if index is None or request.vector is None:
        return await rt.call(lambda: store.search(request)), []
    pending = await rt.call(lambda: store.index_work(index.name, limit=1))
    trouble: list[str] = []
    if pending and pending[0].attempts:
        trouble.append(f"the index {index.name!r} is behind: its work failed and stays pending")
    if known.index_lost:
        trouble.append(_lost(index.name))
        return await rt.call(lambda: store.search(request)), trouble
    owner_only = _owner_only(request.query)
    instead = (
        owner_only and not pending and state.live_memories + state.turns > services.settings.exact_scan_units
    )
    spaces: tuple[Space, ...] = request.spaces if instead else ("memory",)
    limit = request.pool
    while True:
        try:
            refs = {space: await _proposed(rt, services, request, space, limit) for space in spaces}
        except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
            trouble.append(f"without the index {index.name!r}: {type(error).__name__}")
            return await rt.call(lambda: store.search(request)), trouble
        asked = replace(
            request, proposed=tuple(ref for one in refs.values() for ref in one), dense=not instead
        )
        found = await rt.call(lambda: store.search(asked))  # noqa: B023 - called at once
        short = found.short & set(spaces)
        if not short:
            return found, trouble
        exhausted = any(len(refs[space]) < limit for space in short)
        if instead and not exhausted and limit < _MAX_GROWTH * request.pool:
            limit *= 4  # much of it is stale
            continue
        # An owner that was written to meanwhile proves nothing, nor does one with work on its way.
        proven = owner_only and not pending and found.revision == state.revision
        proven = proven and (exhausted or instead) and await _lacks(rt, services, asked, short)
        if proven and await _note_loss(rt, services, index.name):
            trouble.append(_lost(index.name))
        return (await rt.call(lambda: store.search(request)) if instead else found), trouble


async def _lacks(rt: Runtime, services: Services, asked: SearchRequest, short: Collection[Space]) -> bool:
    """Whether the proposals are short of what an index holds: it holds what is in quarantine as well."""
    if not asked.query.trusted_only:
        return True
    everything = replace(asked, query=replace(asked.query, trusted_only=False))
    found = await rt.call(lambda: services.store.search(everything))
    return bool(found.short & set(short))


def _owner_only(query: Query) -> bool:
    """Whether the query means all that is current of its owner, which is all an index can select."""
    now = query.valid_at is None and query.known_at is None
    return now and query.where is None and not query.scope.narrowing


async def _note_loss(rt: Runtime, services: Services, name: str) -> bool:
    """Remember, beyond this process, that the index lacks entries; False if they are only on their way."""
    store = services.store
    if await rt.call(lambda: store.index_work(name, limit=1)):
        return False
    services.known.index_lost = True
    if isinstance(store, MaintainableStore):
        await rt.call(lambda: store.request_index_rebuild(name))
    return True


async def _proposed(
    rt: Runtime, services: Services, request: SearchRequest, space: Space, limit: int
) -> list[Ref]:
    index, vector = services.index, request.vector
    assert index is not None  # find_candidates saw to both
    assert vector is not None
    owner = request.query.scope.owner
    return await rt.call(
        lambda: [
            ref
            for ref in index.propose(owner, vector, space=space, limit=limit)
            if _is_ref(ref) and ref.space == space
        ]
    )


def _is_ref(ref: object) -> bool:
    """Whether a proposal is a ref that a store could know; an index may answer anything."""
    if not isinstance(ref, Ref):
        return False
    # Nothing makes sure at run time that the fields are what they are declared as.
    space, ident, revision = cast("tuple[object, object, object]", (ref.space, ref.id, ref.revision))
    if type(space) is not str or type(ident) is not str or type(revision) is not int:
        return False
    if not 0 < revision < 2**63:
        return False
    try:
        check_text(ident, "id")
    except UsageError:
        return False
    return True


def _lost(name: str) -> str:
    return (
        f"the index {name!r} lacks entries: the record store searches alone until it is rebuilt, by "
        "memory.flush(), the next opening or memory.admin.reindex()"
    )
