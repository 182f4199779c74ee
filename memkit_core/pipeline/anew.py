"""Decisions of one batch about one memory, in the order in which they were said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..protocols import RetireMemory
from ..types import Decision, Fact, MemoryRecord, Message
from .grounding.evidence import Claim
from .known import completes
from .likeness import apart
from .line import Slotted
from .moments import positions

_ANEW: Final = "said again after its end"


def said_anew(
    decisions: Sequence[Decision],
    facts: Sequence[Fact],
    messages: Sequence[Message],
    memories: Sequence[MemoryRecord],
    slotted: Slotted,
) -> tuple[Decision, ...]:
    """The decisions, in which what a batch says again of a memory that it has ended is new."""
    ended = ends(decisions, facts, messages, memories)
    over = {change.memory_id for change in slotted.corrections if isinstance(change, RetireMemory)}
    for number, memory in enumerate(memories):
        if memory.memory_id in over and number not in ended:
            of_slot = [fact for fact in slotted.facts if facts[fact].slot == memory.slot]
            ended[number] = max((_said(facts[fact], messages) for fact in of_slot), default=0)
    return tuple(
        Decision(fact=decision.fact, operation="ADD", reason=_ANEW)
        if decision.operation == "NONE"
        and decision.target in ended
        and _said(facts[decision.fact], messages) > ended[decision.target]
        else decision
        for decision in decisions
    )


def in_turn(
    decisions: Sequence[Decision],
    facts: Sequence[Fact],
    messages: Sequence[Message],
    memories: Sequence[MemoryRecord],
) -> Sequence[int]:
    """The order in which decisions can be carried out, as their numbers.

    What was said before a memory's end is one more source of it before it ends; what is added comes last: it
    may say what something has just been changed to, or what is over.
    """
    if all(decision.operation == "ADD" for decision in decisions):
        return range(len(decisions))
    ended = ends(decisions, facts, messages, memories)

    def turn(number: int) -> int:
        decision = decisions[number]
        if decision.operation == "NONE":
            return 0 if decision.target in ended else 2
        return 2 if decision.operation == "ADD" else 1

    return sorted(range(len(decisions)), key=turn)


def ends(
    decisions: Sequence[Decision],
    facts: Sequence[Fact],
    messages: Sequence[Message],
    memories: Sequence[MemoryRecord],
) -> dict[int, int]:
    """The memories that do not go on as they are, each with the message that ends it."""
    ended: dict[int, int] = {}
    for decision in decisions:
        target = decision.target
        if target is None or decision.operation not in ("UPDATE", "DELETE"):
            continue
        text = decision.text or facts[decision.fact].text
        if decision.operation == "DELETE" or not _goes_on(memories[target].text, text):
            ended[target] = _said(facts[decision.fact], messages)
    return ended


def _said(fact: Fact, messages: Sequence[Message]) -> int:
    return max(positions(fact, messages), default=0)


def _goes_on(before: str, text: str) -> bool:
    """Whether a text still says what was said before."""
    return completes(text, before) and not apart(Claim(text), Claim(before), similar=False)
