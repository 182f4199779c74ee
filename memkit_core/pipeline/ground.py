"""Facts held against the messages they cite: by code always, by a second model where one is given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..errors import ModelError, ModelOutputError
from ..models.structured import ask
from ..prompts import verify as prompts
from ..protocols import Runtime
from ..results import Rejection, StageFailure
from ..types import Decision, Fact, MemoryRecord, Message, Usage, clean_text
from .echo import without_recalled
from .grounding.check import doubts_about, foreign_to
from .grounding.evidence import Reader, Readings
from .services import Services

#: Characters of messages and facts that are checked at once; they take half a millisecond or less.
_SHORT: Final = 4_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """The facts with what was found about them; under ``strict`` only those that are borne out.

    Attributes:
        failed: The call of the second model, if it came to nothing.
    """

    facts: tuple[Fact, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    failed: tuple[StageFailure, ...] = ()
    usage: Usage = Usage()


_ASSENTED: Final = "its speaker only said yes to what somebody else told beside a question"


async def ground(
    rt: Runtime,
    services: Services,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    *,
    earlier: Sequence[Message] = (),
    reader: Reader | None = None,
) -> Grounded:
    """The facts with ``support`` and ``doubts``. No model failure stops it: code's verdict stands then.

    Args:
        rt: The runtime.
        services: The engine's services; with a verifier it is asked once about all facts.
        facts: What was drawn from the messages.
        messages: The batch.
        earlier: What was said before the batch, for the names that pronouns stand for.
        reader: Takes messages and facts apart, for this stage and others.
    """
    mode = services.policies.grounding.mode
    if mode == "off" or not facts:
        return Grounded(facts=tuple(facts))
    shown, _ = without_recalled(messages)
    before, _ = without_recalled(earlier)
    reader = reader or Reader()

    def check() -> list[list[str]]:
        readings = Readings(shown, before, reader=reader)
        found = [
            list(doubts_about(fact, readings.evidence(positions(fact, shown)), reader.claim(fact.text)))
            for fact in facts
        ]
        return [[*row, _ASSENTED] if fact.assented else row for fact, row in zip(facts, found, strict=True)]

    # To give a short text to another thread takes as long as to check it.
    short = sum(len(message.content) for message in shown) + sum(len(fact.text) for fact in facts) <= _SHORT
    doubts = check() if short else await rt.compute(check)
    failed: tuple[StageFailure, ...] = ()
    usage = Usage()
    if services.verifier is not None:
        try:
            usage, unjudged = await _verify(rt, services, facts, shown, doubts)
            if unjudged:
                said = f"the verifier's reply has no verdict on {unjudged} of {len(facts)} facts"
                failed = (StageFailure.of("verify", ModelOutputError(said, reason="wrong_shape")),)
        except ModelError as error:
            _log.warning("facts were not verified by a second model: %s", type(error).__name__)
            failed = (StageFailure.of("verify", error),)
            usage = error.usage or usage
    checked = [
        replace(fact, support="doubtful" if found else "supported", doubts=tuple(found))
        for fact, found in zip(facts, doubts, strict=True)
    ]
    if mode == "flag":
        return Grounded(facts=tuple(checked), failed=failed, usage=usage)
    return Grounded(
        facts=tuple(fact for fact in checked if not fact.doubts),
        rejected=tuple(
            Rejection(item=fact.text, reason="; ".join(fact.doubts)) for fact in checked if fact.doubts
        ),
        failed=failed,
        usage=usage,
    )


def positions(fact: Fact, messages: Sequence[Message]) -> tuple[int, ...]:
    """The messages that a fact rests on: those it cites, else all that it was drawn from."""
    there = tuple(position for position in fact.cites if 0 <= position < len(messages))
    if there:
        return there
    whole = range(len(messages))
    return tuple(whole if fact.context is None else whole[slice(*fact.context)])


async def _verify(
    rt: Runtime,
    services: Services,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    doubts: Sequence[list[str]],
) -> tuple[Usage, int]:
    """Add the second model's doubts to those of the code.

    Returns:
        What it cost, and how many facts it did not judge: the code's verdict alone stands for them.

    Raises:
        ModelError: It was not asked, or its answer could not be used.
    """
    answer = await ask(
        rt,
        services.verifier,
        prompts.Verdicts,
        prompts.build(facts, [positions(fact, messages) for fact in facts], messages),
        item_field="verdicts",
        name="memkit.verify",
    )
    judged = {verdict.fact for verdict in answer.value.verdicts}
    for verdict in answer.value.verdicts:
        if verdict.supported != "yes" and 0 <= verdict.fact < len(facts):
            reason = clean_text(verdict.reason).strip()[:200]
            degree = "only in part" if verdict.supported == "partly" else "not"
            said = f"the verifier finds it {degree} supported"
            doubts[verdict.fact].append(f"{said}: {reason}" if reason else said)
    return answer.usage, len(set(range(len(facts))) - judged)


def doubts_beside(fact: Fact, memory: MemoryRecord) -> tuple[str, ...]:
    """The doubts about a fact that a memory does not settle: a name or number that it holds is known."""
    nothing = Readings(()).evidence(())
    foreign = foreign_to(fact.text, (memory.text,), nothing)
    known = [doubt for doubt in foreign_to(fact.text, (), nothing) if doubt not in foreign]
    return tuple(doubt for doubt in fact.doubts if doubt not in known)


def sound_updates(
    services: Services,
    facts: Sequence[Fact],
    decisions: Sequence[Decision],
    memories: Sequence[MemoryRecord],
    messages: Sequence[Message],
) -> tuple[tuple[Decision, ...], tuple[Rejection, ...]]:
    """The decisions without texts that bring in a name or number of their own.

    What an UPDATE writes may hold what its fact, the memory and the cited messages hold. Where it holds
    more, the fact's own text takes its place, and what was written is reported.
    """
    if services.policies.grounding.mode == "off" or not any(decision.text for decision in decisions):
        return tuple(decisions), ()
    readings = Readings(without_recalled(messages)[0])
    kept: list[Decision] = []
    rejected: list[Rejection] = []
    for decision in decisions:
        if decision.operation == "UPDATE" and decision.text and decision.target is not None:
            fact = facts[decision.fact]
            known = (fact.text, memories[decision.target].text)
            evidence = readings.evidence(positions(fact, messages))
            found = () if decision.text in known else foreign_to(decision.text, known, evidence)
            if found:
                reason = f"{'; '.join(found)}, nor in the memory: the fact's own words take its place"
                rejected.append(Rejection(item=decision.text, reason=reason))
                decision = replace(decision, text=None)
        kept.append(decision)
    return tuple(kept), tuple(rejected)
