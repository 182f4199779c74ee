"""What its owner says of a memory in quarantine: it is true, or it goes."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from ..protocols import Change, ChangeSet, Query, RetireMemory, Runtime, UpdateMemory
from ..results import MemoryChange
from ..types import Fact, MemoryRecord, Micros, Scope
from .index import index_committed
from .line import Slotted
from .moments import is_constant
from .planned import changed
from .services import Services
from .slots import counting, settle_slots
from .trust import TRUSTED
from .wording import says_more


async def approve(rt: Runtime, services: Services, record: MemoryRecord, *, reason: str) -> MemoryChange:
    """The memory with ``trust="trusted"``, as a new version that holds for as long as the one before did.

    What can have one value at a time takes its place in time among what is trusted of it, as if it had been
    trusted from the start. Its owner vouches for it: it may end what a user said.

    Raises:
        ConflictError: Somebody changed it since it was read, or another value of its slot meanwhile. Nothing
            was changed.
    """
    if record.trust == TRUSTED:
        return MemoryChange(
            id=record.memory_id,
            memory=record.text,
            event="NONE",
            revision=record.revision,
            reason="it is trusted already",
            sources=list(record.sources),
            support=record.support,
            trust=record.trust,
        )
    change = UpdateMemory(
        memory_id=record.memory_id,
        expected_revision=record.revision,
        valid_from=record.valid_from,
        trust=TRUSTED,
        reason=reason,
    )
    if record.slot is None or not services.policies.decisions.slots or says_more(record.text):
        return await _commit(rt, services, record, [change], reason=reason)
    owner = _scope(record).owner
    async with rt.exclusive(owner):
        state = await rt.call(lambda: services.store.owner_state(owner))
        others = await _place(rt, services, record, record.slot)
        return await _commit(rt, services, record, [change, *others], reason=reason, revision=state.revision)


async def _place(rt: Runtime, services: Services, record: MemoryRecord, slot: str) -> Sequence[Change]:
    """What makes room for a memory in the line of its slot, or ends it where something later is known."""
    now = services.clock()
    query = Query(scope=_scope(record), now=now)
    found = await rt.call(lambda: services.store.slots(query, [slot], history=True))
    known = [row for row in counting(found.get(slot, ()), now) if row.memory_id != record.memory_id]
    # The date in a birthday does not say since when it is known: what is approved last counts.
    since = now if is_constant(slot) else record.valid_from
    said = Fact(text=record.text, slot=slot, origin=record.origin, actor_id=record.actor_id)
    told = settle_slots({0: (said, since)}, {slot: known}, scope=_scope(record), expires_at=record.expires_at)
    return [*told.corrections, *_ends(record, told, since)]


def _ends(record: MemoryRecord, told: Slotted, since: Micros) -> Sequence[Change]:
    """The end of what the memory replaces, or its own."""
    if 0 in told.until:
        valid_to, successor = told.until[0]
        heir = successor if isinstance(successor, str) else None
        return [
            RetireMemory(
                memory_id=record.memory_id,
                valid_to=valid_to,
                superseded_by=heir,
                reason="something later is known already",
            )
        ]
    # What says the same is replaced too: one value, and all the sources in its history.
    return [
        RetireMemory(
            memory_id=memory.memory_id,
            expected_revision=memory.revision,
            valid_to=since,
            superseded_by=record.memory_id,
            reason="another value of the same was approved",
        )
        for memory in told.memories
    ]


def _scope(record: MemoryRecord) -> Scope:
    """The scope that a memory is in."""
    return Scope(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id)


async def reject(rt: Runtime, services: Services, record: MemoryRecord, *, reason: str) -> MemoryChange:
    """The untrusted memory deleted, with the messages that only it rests on out of search.

    Raises:
        ConflictError: As for ``approve``.
        UsageError: It is trusted. Nothing was changed.
    """
    if record.trust == TRUSTED:
        raise UsageError(f"memory {record.memory_id} is trusted: delete() it. Nothing was changed")
    change = RetireMemory(
        memory_id=record.memory_id,
        expected_revision=record.revision,
        valid_to=services.clock(),
        hide_sources=True,
        reason=reason,
    )
    return await _commit(rt, services, record, [change], reason=reason)


async def _commit(
    rt: Runtime,
    services: Services,
    record: MemoryRecord,
    planned: Sequence[Change],
    *,
    reason: str,
    revision: int | None = None,
) -> MemoryChange:
    changes = ChangeSet(
        scope=_scope(record),
        recorded_at=services.clock(),
        changes=tuple(planned),
        expected_revision=revision,
        indexes=services.indexes,
    )
    receipt = await rt.call(lambda: services.store.commit(changes))
    failed = list(await index_committed(rt, services))
    return changed(receipt.applied[0], reason).model_copy(update={"failed": failed})
