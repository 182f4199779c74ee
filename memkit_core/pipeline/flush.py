"""What was left undone: pending batches, missing vectors, index work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..protocols import Runtime, StoredBatch
from ..results import FlushResult, StageFailure
from ..types import Micros
from .account import Account
from .embed import embed
from .index import update_index
from .services import Services
from .settle import restore, settle

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
    # Texts of several owners go into one call: what it costs is nobody's in particular.
    async with Account(rt, services, None, "flush", at_once=True) as account:
        failed += (await fill_vectors(account, services)).failed
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
            try:
                request, stored = await restore(rt, services, batch)
                result = await settle(rt, services, stored, request)
            except Exception as error:  # noqa: BLE001 - one batch must not stand in the way of all others
                failed.append(StageFailure.of("extract", error))
                await _put_back(rt, services, batch)
                continue
            completed += result.status != "pending"
            failed += result.failed


async def _put_back(rt: Runtime, services: Services, batch: StoredBatch) -> None:
    error = batch.last_error or ""
    await rt.call(
        lambda: services.store.release_batch(batch.batch_id, batch.lease, error=error, not_before=0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How many texts were given vectors, in how many calls, and what went wrong."""

    count: int = 0
    calls: int = 0
    failed: tuple[StageFailure, ...] = ()


async def fill_vectors(
    rt: Runtime,
    services: Services,
    *,
    retired: bool = False,
    enqueue: bool = True,
    done: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Embed what an unreachable embedding model, or none at all, left without vectors.

    Args:
        retired: Closed versions instead of what is current.
        enqueue: Whether derived indexes get them as pending work.
        done: Told of each portion, with its size.
    """
    if services.embedder is None:
        return Filled()
    count, calls = 0, 0
    seen: set[tuple[str, int]] = set()
    while True:
        listed = await rt.call(lambda: services.store.missing_vectors(limit=_VECTORS, retired=retired))
        missing = [unit for unit in listed if (unit.space, unit.unit) not in seen]
        if not missing:
            return Filled(count=count, calls=calls)
        seen = {(unit.space, unit.unit) for unit in missing}  # what is not taken is not tried again
        embedded = await embed(rt, services, [unit.text for unit in missing])
        calls += embedded.usage.embedding_calls
        if embedded.failed:
            return Filled(count=count, calls=calls, failed=embedded.failed)
        pairs = [(unit, embedded.vectors[unit.text]) for unit in missing]
        indexes = services.indexes if enqueue else ()
        await rt.call(
            lambda: services.store.put_vectors(pairs, indexes=indexes, embedding=services.identity)  # noqa: B023
        )
        count += len(pairs)
        done(len(pairs))
