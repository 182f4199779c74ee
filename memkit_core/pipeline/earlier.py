"""What was said just before a batch, for the model that reads it."""

from __future__ import annotations

from typing import Final

from ..protocols import Query, Runtime, SearchRequest, StoredBatch
from ..types import FIRST_MICROS, Message, Micros
from .services import Services

#: How far back the turns before a batch are looked for; a session ends after such a pause.
_REACH: Final[Micros] = 30 * 60 * 1_000_000
#: How many turns are read at most; what is carried is bounded in tokens.
_MOST: Final = 24


async def earlier_messages(rt: Runtime, services: Services, batch: StoredBatch) -> tuple[Message, ...]:
    """The stored turns of the same session before a batch, in order; none if nothing is to be carried."""
    if not batch.units or batch.begins or not services.policies.extraction.carry_tokens:
        return ()
    return await rt.call(lambda: _read(services, batch))


def _read(services: Services, batch: StoredBatch) -> tuple[Message, ...]:
    store, scope, first = services.store, batch.scope, batch.units[0]
    own = store.messages(scope, [first])
    if not own:
        return ()
    until = own[0].observed_at
    request = SearchRequest(
        query=Query(scope=scope, now=services.clock()),
        spaces=("turn",),
        pool=1,
        dense=False,
        between=((max(FIRST_MICROS, until - _REACH), until + 1),),
    )
    found = store.search(request)
    units = sorted(scored.unit for scored in found.scored if scored.unit < first)[-_MOST:]
    if not units:
        return ()
    # They are only what the batch is read beside.
    records = store.messages(scope, units, damaged=set())
    return tuple(
        record for record in records if record.session == own[0].session and record.observed_at <= until
    )
