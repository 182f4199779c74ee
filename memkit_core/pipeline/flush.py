"""What was left undone: pending batches, missing vectors, index work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..protocols import Runtime, StoredBatch
from ..results import FlushResult, StageFailure
from ..types import Message, Micros
from .add import AddRequest, options_of, settle
from .embed import embed
from .index import update_index
from .services import Services

_LEASE: Final = 300_000_000  # microseconds; a claim by a process that dies is free again after that
_PORTION: Final = 16
_VECTORS: Final = 512


async def flush(rt: Runtime, services: Services, *, recorded_before: Micros | None = None) -> FlushResult:
    """Take up what is pending, once. What fails stays pending and is reported.

    Args:
        recorded_before: Leave younger batches that nobody has tried yet to whoever stored them.
    """
    completed = 0
    failed: list[StageFailure] = []
    if services.chat is not None:
        completed, failed = await _flush_batches(rt, services, recorded_before)
    failed += await _fill_vectors(rt, services)
    failed += await update_index(rt, services)
    left = await rt.call(services.store.pending_batches)
    return FlushResult(completed=completed, pending=left, failed=failed)


async def _flush_batches(
    rt: Runtime, services: Services, recorded_before: Micros | None
) -> tuple[int, list[StageFailure]]:
    completed = 0
    failed: list[StageFailure] = []
    tried: set[str] = set()
    while True:
        bounds = [bound for bound in (recorded_before, services.in_flight.oldest) if bound is not None]
        claimed = await rt.call(
            lambda: services.store.claim_batches(
                limit=_PORTION,
                now=services.clock(),
                lease_micros=_LEASE,
                recorded_before=min(bounds, default=None),  # noqa: B023 - called before the loop goes on
            )
        )
        fresh = [batch for batch in claimed if batch.batch_id not in tried]
        for batch in claimed:
            if batch.batch_id in tried:
                await _put_back(rt, services, batch)
        if not fresh:
            return completed, failed
        tried.update(batch.batch_id for batch in fresh)
        for batch in fresh:  # in the order they were said: later ones are decided against earlier ones
            result = await settle(rt, services, batch, await _request(rt, services, batch))
            completed += result.status != "pending"
            failed += result.failed


async def _put_back(rt: Runtime, services: Services, batch: StoredBatch) -> None:
    error = batch.last_error or ""
    await rt.call(
        lambda: services.store.release_batch(batch.batch_id, batch.lease, error=error, not_before=0)
    )


async def _request(rt: Runtime, services: Services, batch: StoredBatch) -> AddRequest:
    """The call that stored the batch, as far as it still matters."""
    records: Sequence[Message] = await rt.call(lambda: services.store.messages(batch.scope, batch.units))
    return AddRequest(
        scope=batch.scope,
        messages=tuple(records),
        options=options_of(batch),
        mode="llm",
        idempotency_key=batch.batch_id,
    )


async def _fill_vectors(rt: Runtime, services: Services) -> list[StageFailure]:
    """Embed what an unreachable embedding model left without vectors."""
    if services.embedder is None:
        return []
    while True:
        missing = await rt.call(lambda: services.store.missing_vectors(limit=_VECTORS))
        if not missing:
            return []
        embedded = await embed(rt, services, [unit.text for unit in missing])
        if embedded.failed:
            return list(embedded.failed)
        pairs = [(unit, embedded.vectors[unit.text]) for unit in missing]
        await rt.call(lambda: services.store.put_vectors(pairs, indexes=services.indexes))  # noqa: B023
