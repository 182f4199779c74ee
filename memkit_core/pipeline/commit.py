"""Decisions to one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from .. import analysis
from ..protocols import (
    AddMemory,
    AmendMemory,
    Change,
    ChangeSet,
    CiteMemory,
    CommitReceipt,
    RetireMemory,
    UpdateMemory,
)
from ..types import Decision, Fact, MemoryRecord, Micros
from .account import Account
from .anew import in_turn
from .known import is_narrower, said_again, slot_left
from .moments import SKEW, begins_beside, holds_from, positions
from .planned import Batch, Cuts, Plan
from .services import Services
from .trust import trust_of


def plan_commit(
    batch: Batch,
    decisions: Sequence[Decision],
    memories: Sequence[MemoryRecord],
    *,
    skip_duplicates: bool,
    until: Mapping[int, tuple[Micros, str | int | None]] = MappingProxyType({}),
    since: Mapping[int, Micros] = MappingProxyType({}),
    twice: Mapping[int, int] = MappingProxyType({}),
    corrections: Sequence[AmendMemory | RetireMemory] = (),
    cuts: Cuts = MappingProxyType({}),
) -> Plan:
    """The changes that carry out the decisions.

    Args:
        until, corrections, cuts: See ``Slotted``. Corrections come last, when an update has closed what
            they correct.
        since: When facts begin that others of the batch end with. ``twice``: See ``Mated``.
    """
    changes: list[Change] = []
    outcomes: list[int | None] = [None] * len(decisions)
    batch = replace(batch, since=since, also=_also(decisions, until, twice))
    heirs = _heirs(batch, decisions, memories)
    changing = _changing(decisions, memories, corrections)
    replaced: list[RetireMemory] = []
    for place in in_turn(decisions, batch.facts, batch.messages, memories):
        decision = decisions[place]
        if decision.operation == "NONE":
            target = None if decision.target is None else memories[decision.target]
            told = () if target is None else _repeated(batch, decision, target, changing)
            outcomes[place] = len(changes) if len(told) > 1 else None
            changes += told
            continue
        outcomes[place] = len(changes)
        if decision.operation == "ADD":
            closed = until.get(decision.fact)
            changes.append(_addition(batch, decision, closed, skip_duplicate=skip_duplicates))
            continue
        assert decision.target is not None
        target = memories[decision.target]
        if decision.operation == "UPDATE" and is_narrower(target, batch.scope):
            heir = _heir(batch, decision, target, skip_duplicate=skip_duplicates)
            changes.append(heir)
            replaced.append(_replaced(target, heir, corrections))
        elif decision.operation == "UPDATE":
            changes.append(_update(batch, decision, target))
        else:
            changes.append(_retirement(batch, decision, target, heirs.get(decision.fact)))
    first = len(changes)
    ends = {(retired.memory_id, retired.expected_revision) for retired in replaced}
    changes += replaced
    changes += [
        c for c in corrections if not isinstance(c, AmendMemory) or (c.memory_id, c.revision) not in ends
    ]
    return Plan(
        changes=tuple(changes),
        corrections=tuple(range(first, len(changes))),
        decisions=tuple(decisions),
        outcomes=_with_repeated(decisions, outcomes, twice),
        memories=tuple(memories),
        facts=tuple(batch.facts),
        cuts=cuts,
        followed={fact: heir for fact, (_, heir) in until.items() if isinstance(heir, int)},
    )


def _changing(
    decisions: Sequence[Decision],
    memories: Sequence[MemoryRecord],
    corrections: Sequence[AmendMemory | RetireMemory],
) -> set[str]:
    return {correction.memory_id for correction in corrections} | {
        memories[decision.target].memory_id
        for decision in decisions
        if decision.operation in ("UPDATE", "DELETE") and decision.target is not None
    }


def _with_repeated(
    decisions: Sequence[Decision], outcomes: Sequence[int | None], twice: Mapping[int, int]
) -> tuple[int | None, ...]:
    """The outcomes, of which those that repeat another fact of the batch are what that one is written by."""
    writes = ("ADD", "UPDATE")
    made = {d.fact: number for d, number in zip(decisions, outcomes, strict=True) if d.operation in writes}
    return tuple(
        made[twice[d.fact]] if d.operation == "NONE" and d.fact in twice else number
        for d, number in zip(decisions, outcomes, strict=True)
    )


def _addition(
    batch: Batch, decision: Decision, closed: tuple[Micros, str | int | None] | None, *, skip_duplicate: bool
) -> AddMemory:
    fact = batch.facts[decision.fact]
    valid_to, successor = closed or (None, None)
    valid_from = batch.since.get(decision.fact, holds_from(fact, batch.messages))
    text = decision.text or fact.text
    return AddMemory(
        memory_id=batch.new_ids[decision.fact],
        scope=batch.scope,
        text=text,
        kind=fact.kind,
        memory_type=batch.options.memory_type,
        metadata=batch.options.metadata,
        actor_id=fact.actor_id,
        origin=fact.origin,
        trust=trust_of(fact.origin, user_id=batch.scope.user_id),
        event_time=fact.event_time,
        valid_from=valid_from,
        expires_at=batch.options.expires_at,
        flags=analysis.text_flags(text),
        sources=_sources(batch, decision.fact),
        vector=batch.vectors.get(text),
        skip_duplicate=skip_duplicate,
        reason=decision.reason,
        slot=fact.slot,
        attributes=fact.attributes,
        support=fact.support,
        valid_to=None if valid_to is None else max(valid_to, valid_from),
        superseded_by=batch.new_ids[successor] if isinstance(successor, int) else successor,
    )


def _heir(batch: Batch, decision: Decision, target: MemoryRecord, *, skip_duplicate: bool) -> AddMemory:
    """What takes the place of a memory of a narrower scope: it is seen wherever its fact is."""
    update = _update(batch, decision, target)
    addition = _addition(batch, decision, None, skip_duplicate=skip_duplicate)
    return replace(
        addition,
        text=update.text or addition.text,
        kind=update.kind or target.kind,
        metadata={**target.metadata, **addition.metadata},
        valid_from=update.valid_from,
        flags=update.flags,
        vector=update.vector,
        slot=update.slot,
        attributes=update.attributes,
    )


def _replaced(
    target: MemoryRecord, heir: AddMemory, corrections: Sequence[AmendMemory | RetireMemory]
) -> RetireMemory:
    """The end of a memory of a narrower scope, which may have come before that of its heir began."""
    sooner = (
        c.valid_to
        for c in corrections
        if isinstance(c, AmendMemory) and (c.memory_id, c.revision) == (target.memory_id, target.revision)
    )
    return RetireMemory(
        memory_id=target.memory_id,
        expected_revision=target.revision,
        valid_to=next(sooner, heir.valid_from),
        superseded_by=heir.memory_id,
        reason="replaced by what is told for a wider scope",
    )


def _update(batch: Batch, decision: Decision, target: MemoryRecord) -> UpdateMemory:
    fact = batch.facts[decision.fact]
    trust = trust_of(fact.origin, user_id=batch.scope.user_id)
    # Trusted words never vouch for untrusted ones, so the model may not join them.
    text = fact.text if trust != target.trust else decision.text or fact.text
    return UpdateMemory(
        memory_id=target.memory_id,
        expected_revision=target.revision,
        text=text,
        metadata={**target.metadata, **batch.options.metadata} if batch.options.metadata else None,
        kind=fact.kind if target.kind == "other" or fact.attributes else None,
        event_time=fact.event_time,
        valid_from=_since(batch, decision.fact, target),
        expires_at=batch.options.expires_at,
        lasting=batch.options.expires_at is None and target.expires_at is not None,
        flags=analysis.text_flags(text),
        sources=_sources(batch, decision.fact),
        vector=batch.vectors.get(text),
        reason=decision.reason,
        origin=fact.origin,
        trust=trust,
        slot=fact.slot or slot_left(target, text),
        attributes=fact.attributes or target.attributes,
        support=fact.support,
    )


def _repeated(
    batch: Batch, decision: Decision, target: MemoryRecord, changing: set[str]
) -> tuple[Change, ...]:
    """What a memory that is said again takes from it: maybe more than it had, and one more source."""
    cited = CiteMemory(memory_id=target.memory_id, sources=_sources(batch, decision.fact))
    options = batch.options
    more = None
    if target.memory_id not in changing:
        more = said_again(target, options.metadata, options.expires_at)
    if more is None:
        return (cited,)
    changing.add(target.memory_id)
    return more, cited


def _heirs(
    batch: Batch, decisions: Sequence[Decision], memories: Sequence[MemoryRecord]
) -> Mapping[int, str]:
    """For each fact that is written, the id of the memory that will say it."""
    heirs = {d.fact: batch.new_ids[d.fact] for d in decisions if d.operation in ("ADD", "UPDATE")}
    for d in decisions:
        target = None if d.target is None else memories[d.target]
        if d.operation == "UPDATE" and target is not None and not is_narrower(target, batch.scope):
            heirs[d.fact] = target.memory_id
    return heirs


def _retirement(batch: Batch, decision: Decision, target: MemoryRecord, heir: str | None) -> RetireMemory:
    return RetireMemory(
        memory_id=target.memory_id,
        expected_revision=target.revision,
        valid_to=_since(batch, decision.fact, target),
        superseded_by=heir,
        reason=decision.reason,
    )


def _since(batch: Batch, number: int, target: MemoryRecord) -> Micros:
    """Since when a fact holds that ends a memory, or what another fact of the batch was until then."""
    named = target.event_time is not None
    since = begins_beside(batch.facts[number], batch.messages, target.valid_from, named=named, skew=SKEW)
    return batch.since.get(number, since)


def _also(
    decisions: Sequence[Decision],
    until: Mapping[int, tuple[Micros, str | int | None]],
    twice: Mapping[int, int],
) -> Mapping[int, Sequence[int]]:
    """For each fact the others that its memory rests on: what says the same, what is joined in its text."""
    also: dict[int, list[int]] = {}
    for number, first in twice.items():
        also.setdefault(first, []).append(number)
    joined = {d.fact for d in decisions if d.operation == "ADD" and d.text}
    for number, (_, heir) in until.items():
        if heir in joined and isinstance(heir, int):
            also.setdefault(heir, []).append(number)
    return also


def _sources(batch: Batch, number: int) -> tuple[int, ...]:
    told = [batch.facts[fact] for fact in (number, *batch.also.get(number, ()))]
    places = dict.fromkeys(place for fact in told for place in positions(fact, batch.messages))
    return tuple(batch.units[place] for place in places)


def written_texts(facts: Sequence[Fact], decisions: Sequence[Decision]) -> list[str]:
    """Texts that a decision wrote and no fact holds: they still need vectors."""
    known = {fact.text for fact in facts}
    return [d.text for d in decisions if d.text and d.text not in known]


async def write(account: Account, services: Services, changes: ChangeSet) -> CommitReceipt:
    """The receipt; what it all cost by now is in the same transaction, with what others owe."""

    def work() -> CommitReceipt:
        with account.bill.carrying() as spent:
            return services.store.commit(replace(changes, usage=spent))

    return await account.call(work)
