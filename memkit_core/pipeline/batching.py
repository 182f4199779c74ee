"""Waiting batches worked off: several of one owner in one extraction, in order; bad ones by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import (
    ConflictError,
    ModelCallError,
    ModelOutputError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from ..models.transient import is_transient, locks_out
from ..protocols import Runtime, StoredBatch
from ..results import StageFailure
from ..types import Micros, OwnerKey
from .account import Account
from .joint import Part, groups
from .services import Services
from .settle import LEASE, Work, restore

#: A batch that failed is tried again so much later, and each time twice as much, in microseconds.
RETRY_AFTER: Final[Micros] = 30_000_000
_RETRY_AFTER_AT_MOST: Final[Micros] = 3_600_000_000
#: How many batches are claimed at once.
_PORTION: Final = 256


@dataclass(slots=True)
class Worked:
    """What became of waiting batches.

    Attributes:
        tried: Ids of all that were claimed.
    """

    completed: int = 0
    failed: list[StageFailure] = field(default_factory=list[StageFailure])
    tried: set[str] = field(default_factory=set[str])

    def add(self, other: Worked) -> None:
        """Count another's in."""
        self.completed += other.completed
        self.failed += other.failed
        self.tried |= other.tried


def always() -> bool:
    """Go on."""
    return True


async def work_off(
    rt: Runtime,
    services: Services,
    *,
    owner: OwnerKey | None = None,
    batch_ids: Sequence[str] | None = None,
    except_ids: Sequence[str] = (),
    recorded_before: Micros | None = None,
    early: bool = False,
    go_on: Callable[[], bool] = always,
) -> Worked:
    """Claim batches until there are none left, and extract them. What fails stays pending and is reported.

    Args:
        owner, batch_ids, recorded_before, early: As in ``RecordStore.claim_batches``; none is tried twice.
        except_ids: None of these.
        go_on: Asked before each extraction; once it says no, what is claimed is given back untouched.
    """
    whole = Worked(tried=set(except_ids))
    while go_on():
        bounds = recorded_before
        if batch_ids is None:  # those that calls of this process are at work on are younger than this
            bounds = min((b for b in (bounds, services.in_flight.oldest) if b is not None), default=None)
        claimed = await rt.call(
            lambda: services.store.claim_batches(
                limit=_PORTION,
                now=services.clock(),
                lease_micros=LEASE,
                owner=owner,
                recorded_before=bounds,  # noqa: B023 - called before the loop goes on
                batch_ids=batch_ids,
                except_ids=tuple(whole.tried),
                early=early,
            )
        )
        if not claimed:
            break
        whole.tried.update(batch.batch_id for batch in claimed)
        by_owner: dict[OwnerKey, list[StoredBatch]] = {}
        for batch in claimed:
            by_owner.setdefault(batch.scope.owner, []).append(batch)
        rows = list(by_owner.values())
        lanes = min(services.policies.background.concurrency, len(rows))
        for lane in await rt.gather(*(_lane(rt, services, rows[n::lanes], go_on) for n in range(lanes))):
            whole.add(lane)
    whole.tried.difference_update(except_ids)
    return whole


async def _lane(
    rt: Runtime, services: Services, rows: Sequence[Sequence[StoredBatch]], go_on: Callable[[], bool]
) -> Worked:
    """Some owners, one after the other."""
    work = _Owners(rt, services, go_on)
    for batches in rows:
        async with rt.exclusive(("batches", batches[0].scope.owner)):
            await work.settle(batches)
    return work.worked


class _Owners:
    """Works off claimed batches, one owner's at a time."""

    def __init__(self, rt: Runtime, services: Services, go_on: Callable[[], bool]) -> None:
        self._rt = rt
        self._services = services
        self._go_on = go_on
        self.worked = Worked()

    async def settle(self, batches: Sequence[StoredBatch]) -> None:
        """Extract one owner's batches in the order they were said, as many together as may be."""
        parts: list[Part] = []
        for batch in batches:
            try:
                request, left = await restore(self._rt, self._services, batch)
                parts.append(Part(batch=left, request=request))
            except Exception as error:  # noqa: BLE001 - one batch must not stand in the way of all others
                self.worked.failed.append(StageFailure.of("extract", error))
                await self._put_back([batch], type(error).__name__, self._later([batch]))
        for group in groups(parts, budget=self._services.policies.background.batch_tokens):
            await self._settle_group(group)

    async def _settle_group(self, group: Sequence[Part]) -> None:
        waiting = [group]
        # A few bad ones among many are found by halving; if nearly all are, that is left for later.
        splits = 2 + 4 * len(group).bit_length()
        while waiting:
            parts = waiting.pop()
            batches = [part.batch for part in parts]
            if not self._go_on():
                await self._put_back(batches, batches[0].last_error or "", 0)
                continue
            async with Account(self._rt, self._services, batches[0].scope.owner, "add") as account:
                work = Work(account, self._services, parts)
                try:
                    result = await work.run()
                except Exception as error:  # noqa: BLE001 - one batch must not stand in the way of all others
                    smaller = await self._smaller(parts, error, splits)
                    splits -= 1
                    if smaller is not None:
                        waiting.extend(reversed(smaller))
                        continue
                    result = await work.give_back(error, not_before=self._later(batches))
            self.worked.completed += 0 if result.status == "pending" else len(parts)
            self.worked.failed += result.failed

    async def _smaller(
        self, parts: Sequence[Part], error: Exception, splits: int
    ) -> list[Sequence[Part]] | None:
        """What to try instead of a group that failed, None if nothing but waiting helps."""
        if len(parts) == 1:
            return None
        if isinstance(error, ConflictError):  # one of them may be gone, or in somebody else's hands
            store = self._services.store
            there = await self._rt.call(lambda: [store.batch(part.batch.batch_id) for part in parts])
            kept = [
                part
                for part, stands in zip(parts, there, strict=True)
                if stands is not None and stands.state == "pending" and stands.lease == part.batch.lease
            ]
            return [kept] if 0 < len(kept) < len(parts) else None
        if not _may_be_content(error) or splits <= 0:
            return None
        half = len(parts) // 2
        return [parts[:half], parts[half:]]

    def _later(self, batches: Sequence[StoredBatch]) -> Micros:
        """When batches may be tried again that failed just now."""
        doublings = min(max(batch.attempts for batch in batches) - 1, 20)
        return self._services.clock() + min(RETRY_AFTER << max(doublings, 0), _RETRY_AFTER_AT_MOST)

    async def _put_back(self, batches: Sequence[StoredBatch], error: str, not_before: Micros) -> None:
        store = self._services.store

        def release() -> None:
            for batch in batches:
                store.release_batch(batch.batch_id, batch.lease, error=error, not_before=not_before)

        await self._rt.call(release)


def _may_be_content(error: Exception) -> bool:
    """Whether a model may have failed because of what it was given: refused, too long, no usable answer."""
    if isinstance(error, ModelOutputError):
        return True
    if not isinstance(error, ModelCallError) or isinstance(error, ModelTimeoutError | ModelUnavailableError):
        return False
    return not is_transient(error) and not locks_out(error)
