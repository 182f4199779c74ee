"""What its owner says of a memory in quarantine: it is true, or it goes."""

from __future__ import annotations

from ..errors import UsageError
from ..protocols import ChangeSet, RetireMemory, Runtime, UpdateMemory
from ..results import MemoryChange
from ..types import MemoryRecord, Scope
from .commit import changed
from .index import index_committed
from .services import Services
from .trust import TRUSTED


async def approve(rt: Runtime, services: Services, record: MemoryRecord, *, reason: str) -> MemoryChange:
    """The memory with ``trust="trusted"``, as a new version that holds for as long as the one before did.

    Raises:
        ConflictError: Somebody changed it since it was read. Nothing was changed.
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
        )
    change = UpdateMemory(
        memory_id=record.memory_id,
        expected_revision=record.revision,
        valid_from=record.valid_from,
        trust=TRUSTED,
        reason=reason,
    )
    return await _commit(rt, services, record, change)


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
    return await _commit(rt, services, record, change)


async def _commit(
    rt: Runtime, services: Services, record: MemoryRecord, change: UpdateMemory | RetireMemory
) -> MemoryChange:
    changes = ChangeSet(
        scope=Scope(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id),
        recorded_at=services.clock(),
        changes=(change,),
        indexes=services.indexes,
    )
    receipt = await rt.call(lambda: services.store.commit(changes))
    failed = list(await index_committed(rt, services))
    return changed(receipt.applied[0], change.reason).model_copy(update={"failed": failed})
