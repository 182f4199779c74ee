"""A scope's memories as they were known at an earlier time, by changes that are history themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ConflictError
from ..protocols import Change, Changed, ChangeSet, RestoreMemory, RetireMemory, Runtime
from ..results import StageFailure
from ..types import MemoryRecord, Micros, Scope, to_datetime
from .index import index_committed
from .services import Services

#: Memories in one transaction; a rollback of more takes several.
PORTION: Final = 5_000

Action = Literal["retire", "revert", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a rollback does to one memory.

    Attributes:
        now: The version that is current; None if it was deleted.
        then: The version that was current at the time; None if it was not there yet.
    """

    now: MemoryRecord | None
    then: MemoryRecord | None

    @property
    def memory_id(self) -> str:
        """Which memory."""
        either = self.now or self.then
        assert either is not None  # else nothing was to be done
        return either.memory_id

    @property
    def action(self) -> Action:
        """``retire`` what came later, ``revert`` what was changed, ``restore`` what was deleted later."""
        return "retire" if self.then is None else "restore" if self.now is None else "revert"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What was done, and what of a derived index is behind."""

    steps: tuple[Step, ...]
    failed: tuple[StageFailure, ...] = ()


def plan_rollback(changed: Iterable[Changed]) -> tuple[Step, ...]:
    """What brings memories back to what was known at a time, in the order given.

    Args:
        changed: All that changed after that time.
    """
    return tuple(
        Step(now=one.current, then=one.before)
        for one in changed
        if (one.before is not None or one.current is not None) and not _same(one.before, one.current)
    )


def _same(then: MemoryRecord | None, now: MemoryRecord | None) -> bool:
    """Whether the current version says what the earlier one said, so that nothing is left to do."""
    if then is None or now is None:
        return False
    return _content(then) == _content(now)


def _content(record: MemoryRecord) -> tuple[object, ...]:
    return (
        *(record.text, record.kind, dict(record.metadata), record.origin, record.trust, record.event_time),
        *(record.valid_from, record.expires_at, record.slot, dict(record.attributes), record.support),
        record.sources,
    )


async def rollback(
    rt: Runtime,
    services: Services,
    scope: Scope,
    *,
    to: Micros,
    dry_run: bool,
    begin: Callable[[int], None],
    step: Callable[[int], None],
) -> RolledBack:
    """Bring the scope's memories back to what was known at ``to``.

    Up to ``PORTION`` memories change in one transaction, all or none. More take several, in the order of
    their ids; after a portion that failed the rest is as it was, and the same call again does the rest.
    Somebody who writes meanwhile makes a portion be planned anew.

    Args:
        rt: The runtime.
        services: The engine's services.
        scope: Whose memories.
        to: The knowledge time, not in the future.
        dry_run: Change nothing.
        begin: Told how many memories it is about.
        step: Told how many more are done.

    Raises:
        ConflictError: Others wrote all the time. Portions that were done stay done.
        StorageError: As for ``RecordStore.commit``. Portions that were done stay done.
    """
    async with rt.exclusive(scope.owner):
        _, steps = await _read(rt, services, scope, to)
        begin(len(steps))
        if dry_run or not steps:
            return RolledBack(steps=steps)
        meant = [one.memory_id for one in steps]
        done: list[Step] = []
        for start in range(0, len(meant), PORTION):
            portion = meant[start : start + PORTION]
            done += await _commit(rt, services, scope, to=to, meant=frozenset(portion))
            step(len(portion))
    return RolledBack(steps=tuple(done), failed=tuple(await index_committed(rt, services)))


async def _read(
    rt: Runtime, services: Services, scope: Scope, to: Micros, *, meant: Collection[str] | None = None
) -> tuple[int, tuple[Step, ...]]:
    """The owner's revision, and what is to be done (about some memories) as of then or later."""
    state = await rt.call(lambda: services.store.owner_state(scope.owner))
    pages = await rt.call(lambda: services.store.changed_since(scope, to, memory_ids=meant))
    changed: list[Changed] = []
    while page := await rt.call(lambda: next(pages, ())):
        changed += page
    return state.revision, plan_rollback(changed)


async def _commit(
    rt: Runtime, services: Services, scope: Scope, *, to: Micros, meant: frozenset[str]
) -> tuple[Step, ...]:
    attempts = services.settings.decide_attempts
    for attempt in range(attempts):
        revision, portion = await _read(rt, services, scope, to, meant=meant)
        changes = ChangeSet(
            scope=scope,
            recorded_at=services.clock(),
            changes=tuple(_change(one, to) for one in portion),
            expected_revision=revision,
            indexes=services.indexes,
        )
        if not portion:
            return ()
        try:
            await rt.call(lambda: services.store.commit(changes))  # noqa: B023 - called at once
        except ConflictError:
            if attempt == attempts - 1:
                raise
            continue
        return portion
    raise AssertionError("the loop returns or raises")


def _change(step: Step, to: Micros) -> Change:
    reason = f"rolled back to {to_datetime(to).isoformat()}"
    if step.then is not None:
        return RestoreMemory(memory_id=step.memory_id, revision=step.then.revision, reason=reason)
    assert step.now is not None  # a step has one of the two
    # As far as is known again it never held: an earlier truth does not show it either.
    return RetireMemory(
        memory_id=step.memory_id,
        expected_revision=step.now.revision,
        valid_to=step.now.valid_from,
        reason=reason,
    )
