"""What a plan still has to change in time, once hooks have taken some of it away. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ..protocols import AddMemory, AmendMemory, Change, CiteMemory, RetireMemory, UpdateMemory
from ..types import Decision, MemoryRecord, Micros
from .planned import Cuts, Plan


def cuts_of(versions: Iterable[MemoryRecord], begun: Iterable[tuple[Micros, int]]) -> Cuts:
    """Which new facts begin while each version held, as it stood before them."""
    in_order = sorted(begun)
    return {
        (row.memory_id, row.revision): tuple(begin for begin in in_order if _held(row, begin[0]))
        for row in versions
    }


def _held(row: MemoryRecord, instant: Micros) -> bool:
    over = row.retired_at is not None and row.valid_to is not None and row.valid_to <= instant
    return row.valid_from <= instant and not over


def without_vetoed(
    plan: Plan, changes: Sequence[Change | None], vetoed: Collection[int]
) -> list[Change | None]:
    """The changes, in which nothing ends any more with what was vetoed: it ends with what comes next.

    Args:
        plan: As it was before any hook.
        changes: Its changes as hooks leave them; None: not to be made.
        vetoed: Numbers of the additions and updates that a hook vetoed.
    """
    if not vetoed:
        return list(changes)
    left = list(changes)
    made = plan.made()
    gone = {fact for fact, number in made.items() if number in vetoed}
    for fact in plan.followed:
        planned = left[made[fact]] if fact in made else None
        if isinstance(planned, AddMemory) and plan.followed[fact] in gone:
            valid_to, heir = _end(plan, made, gone, fact)
            left[made[fact]] = replace(planned, valid_to=valid_to, superseded_by=heir)
    for number in plan.corrections:
        correction = left[number]
        if isinstance(correction, AmendMemory | RetireMemory):
            left[number] = _corrected(plan, made, gone, correction)
    return left


def _end(
    plan: Plan, made: dict[int, int], gone: Collection[int], fact: int
) -> tuple[Micros | None, str | None]:
    """When a new value ends and with what, if the facts that are gone had never been told."""
    end: tuple[Micros | None, str | None] = (None, None)
    following: int | None = fact
    while following is not None:
        change = plan.changes[made[following]]
        end = (change.valid_to, change.superseded_by) if isinstance(change, AddMemory) else (None, None)
        following = plan.followed.get(following)
        if following not in gone:
            break
    return end


def _corrected(
    plan: Plan, made: dict[int, int], gone: Collection[int], correction: AmendMemory | RetireMemory
) -> Change | None:
    """The end of a version with the first of the new values in its time that is left; None if none is."""
    revision = correction.revision if isinstance(correction, AmendMemory) else correction.expected_revision
    begun = plan.cuts.get((correction.memory_id, revision or 0), ())
    if not any(fact in gone for _, fact in begun):
        return correction
    first = next(((instant, fact) for instant, fact in begun if fact not in gone), None)
    if first is None:
        return None
    instant, fact = first
    change = plan.changes[made[fact]]
    if isinstance(change, UpdateMemory) and change.memory_id == correction.memory_id:
        return None  # this update is what ends it
    closing = (plan.changes[made[other]] for _, other in begun if other in gone)
    still = any(isinstance(one, UpdateMemory) and one.memory_id == correction.memory_id for one in closing)
    if isinstance(correction, AmendMemory) and still:  # what was to close it was vetoed
        return RetireMemory(
            memory_id=correction.memory_id,
            expected_revision=correction.revision,
            valid_to=instant,
            superseded_by=change.memory_id if isinstance(change, AddMemory) else None,
            reason="another value of the same",
        )
    if isinstance(correction, RetireMemory) and isinstance(change, AddMemory):
        return replace(correction, valid_to=instant, superseded_by=change.memory_id)
    return replace(correction, valid_to=instant)


def left_of(plan: Plan, changes: Sequence[Change | None]) -> Plan:
    """The plan with these changes, and without the decisions whose change is None.

    An UPDATE of which only its sources are left is a NONE.
    """
    place: dict[int, int] = {}
    kept: list[Change] = []
    for number, change in enumerate(changes):
        if change is not None:
            place[number] = len(kept)
            kept.append(change)
    pairs: list[tuple[Decision, int | None]] = []
    for decision, outcome in zip(plan.decisions, plan.outcomes, strict=True):
        if outcome is None:
            pairs.append((decision, None))
        elif isinstance(changes[outcome], CiteMemory):
            none = replace(decision, operation="NONE", text=None, reason="the text would not change")
            pairs.append((none, None))
        elif outcome in place:
            pairs.append((decision, place[outcome]))
        elif decision.operation == "NONE":
            pairs.append((decision, None))
    return replace(
        plan,
        changes=tuple(kept),
        decisions=tuple(decision for decision, _ in pairs),
        outcomes=tuple(number for _, number in pairs),
        corrections=tuple(place[number] for number in plan.corrections if number in place),
    )
