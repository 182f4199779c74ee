"""What a commit is to do, and what the caller is told of what it did. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ..protocols import AddMemory, AmendMemory, Applied, Change, RetireMemory, UpdateMemory
from ..results import MemoryChange
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope, to_datetime

#: The memory type of an agent's recorded run.
PROCEDURAL: Final = "procedural_memory"

#: By memory and revision: the new facts that begin while that version held, and when, in the order of time.
Cuts: TypeAlias = Mapping[tuple[str, int], tuple[tuple[Micros, int], ...]]
no_cuts: Final = dict[tuple[str, int], tuple[tuple[Micros, int], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an ``add`` says about every memory it makes."""

    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expires_at: Micros | None = None
    memory_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Changes in the order they are applied, and for each decision where its outcome will be found.

    Attributes:
        outcomes: Per decision its change's number; None for a NONE that brings nothing new.
        corrections: Numbers of changes that no decision stands for: what else had to make room in time.
        facts: What was decided about.
        cuts: Which facts a correction is on account of. ``followed``: the fact that a fact ends with.
    """

    changes: tuple[Change, ...]
    decisions: tuple[Decision, ...]
    outcomes: tuple[int | None, ...]
    memories: tuple[MemoryRecord, ...]
    facts: tuple[Fact, ...] = ()
    corrections: tuple[int, ...] = ()
    cuts: Cuts = field(default_factory=no_cuts)
    followed: Mapping[int, int] = field(default_factory=dict[int, int])

    def made(self) -> dict[int, int]:
        """For each fact that is written, the number of the change that writes it."""
        return {
            decision.fact: number
            for decision, number in zip(self.decisions, self.outcomes, strict=True)
            if number is not None and decision.operation in ("ADD", "UPDATE")
        }

    def results(self, applied: Sequence[Applied]) -> list[MemoryChange]:
        """One entry per decision, then one for every other memory that was changed."""
        told = [
            _known(self.memories, decision)
            if number is None
            else self._changed(decision, number, applied[number])
            for decision, number in zip(self.decisions, self.outcomes, strict=True)
        ]
        return told + [changed(applied[number], self._reason(number)) for number in self.corrections]

    def _reason(self, number: int) -> str:
        change = self.changes[number]
        assert isinstance(change, AmendMemory | RetireMemory)
        return change.reason

    def _changed(self, decision: Decision, number: int, applied: Applied) -> MemoryChange:
        planned = self.changes[number]
        none = decision.operation == "NONE"
        if none and isinstance(planned, UpdateMemory) and planned.text is None:
            # It was said with new metadata, or for longer.
            return changed(applied, planned.reason)
        change = changed(applied, decision.reason)
        if none:  # another fact of the batch says it, and is what was written
            return change.model_copy(update={"event": "NONE", "held_until": None})
        if applied.outcome == "duplicate" and isinstance(planned, AddMemory):
            lost = [key for key in planned.metadata if key not in applied.record.metadata]
            if lost:
                reason = f"{change.reason}; its metadata stays as it is, without {', '.join(lost)}"
                change = change.model_copy(update={"reason": reason})
        if change.event not in ("ADD", "UPDATE") or not 0 <= decision.fact < len(self.facts):
            return change
        return change.model_copy(update={"doubts": list(self.facts[decision.fact].doubts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What decisions are carried out on.

    Attributes:
        units: For each message, what ``AddMemory.sources`` calls it.
        new_ids: A fresh id for each fact.
        since: When facts begin that others of the batch end with.
        also: For facts whose memory rests on more than they cite: the facts that cite that.
    """

    scope: Scope
    messages: Sequence[Message]
    units: Sequence[int]
    facts: Sequence[Fact]
    vectors: Mapping[str, Any]
    options: Options
    new_ids: Sequence[str]
    since: Mapping[int, Micros] = field(default_factory=dict[int, Micros])
    also: Mapping[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])


def changed(applied: Applied, reason: str = "") -> MemoryChange:
    """The public account of an applied change."""
    record, previous = applied.record, applied.previous
    if applied.outcome == "duplicate":
        return MemoryChange(
            id=record.memory_id,
            memory=record.text,
            event="NONE",
            revision=record.revision,
            reason="remembered word for word",
            sources=list(record.sources),
            support=record.support,
            trust=record.trust,
        )
    event: Literal["ADD", "UPDATE", "DELETE", "AMEND"] = "ADD" if previous is None else "UPDATE"
    if record.retired_at is not None and previous is not None:  # else it was over from the start
        event = "DELETE" if previous.retired_at is None else "AMEND"
    return MemoryChange(
        id=record.memory_id,
        memory=record.text,
        event=event,
        previous_memory=None if previous is None else previous.text,
        revision=record.revision,
        reason=reason,
        sources=list(record.sources),
        support=record.support,
        trust=record.trust,
        held_until=None if previous is not None or record.valid_to is None else to_datetime(record.valid_to),
    )


def _known(memories: Sequence[MemoryRecord], decision: Decision) -> MemoryChange:
    if decision.target is None or not 0 <= decision.target < len(memories):
        return MemoryChange(id=None, memory="", event="NONE", reason=decision.reason)
    memory = memories[decision.target]
    return MemoryChange(
        id=memory.memory_id,
        memory=memory.text,
        event="NONE",
        revision=memory.revision,
        reason=decision.reason,
        sources=list(memory.sources),
        support=memory.support,
        trust=memory.trust,
    )
