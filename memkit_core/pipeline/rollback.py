"""A scope's memories as they were known at an earlier time, by changes that are history themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ConflictError
from ..protocols import Change, Changed, ChangeSet, Runtime
from ..results import StageFailure
from ..types import MemoryRecord, Micros, Scope, to_datetime
from .index import index_committed
from .lifeline import changes_back, stretches
from .services import Services

#: Memories in one transaction; a rollback of more takes several.
PORTION: Final = 5_000

Action = Literal["retire", "revert", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a rollback does to one memory.

    Attributes:
        action: ``retire`` what came later, ``revert`` what was changed, ``restore`` what was deleted later.
        then: What it says again: the version that was current, else the last that held; None if none did.
        now: What it says before the rollback, likewise; None if it was deleted.
        changes: What brings it back, in this order.
    """

    memory_id: str
    action: Action
    then: MemoryRecord | None
    now: MemoryRecord | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What was done, and what of a derived index is behind."""

    steps: tuple[Step, ...]
    failed: tuple[StageFailure, ...] = ()


def plan_rollback(changed: Iterable[Changed], to: Micros) -> tuple[Step, ...]:
    """What brings memories back to what was known at a time, in the order given.

    Not only what is current: what was said since of times that were over by then is taken back too.

    Args:
        changed: All that changed after that time.
        to: The time.
    """
    reason = f"rolled back to {to_datetime(to).isoformat()}"
    return tuple(
        _step(one, changes) for one in changed if (changes := changes_back(one.then, one.now, reason))
    )


def _step(one: Changed, changes: tuple[Change, ...]) -> Step:
    held, holds = stretches(one.then), stretches(one.now)
    said = held[-1].record if held else None
    says = holds[-1].record if holds else None
    action: Action
    if one.before is not None:
        action, says = ("restore", None) if one.current is None else ("revert", one.current)
    elif one.current is not None or said is None:
        action, said = "retire", None
    else:
        action = "revert"
    return Step(memory_id=one.memory_id, action=action, then=said, now=says, changes=changes)


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
    return state.revision, plan_rollback(changed, to)


async def _commit(
    rt: Runtime, services: Services, scope: Scope, *, to: Micros, meant: frozenset[str]
) -> tuple[Step, ...]:
    attempts = services.settings.decide_attempts
    for attempt in range(attempts):
        revision, portion = await _read(rt, services, scope, to, meant=meant)
        changes = ChangeSet(
            scope=scope,
            recorded_at=services.clock(),
            changes=tuple(change for one in portion for change in one.changes),
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
