"""What is new in one batch, held against what the same batch told before it.

Facts of one batch find no memory of each other: none of them is stored yet. Those that were said one after
the other of much the same thing go to the model once more, the earlier ones in the place of memories, under
the same rules as those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .. import analysis
from ..protocols import Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope
from .allowance import Allowance
from .decide import ask_about
from .grounding.evidence import Claim
from .known import beginning_terms, completes
from .likeness import apart
from .line import Slotted
from .moments import SKEW, begins_beside, holds_from, positions
from .proposals import Check
from .recall import Recalled
from .services import Services
from .trust import trust_of

_SAID_TWICE: Final = "another message of the batch says it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mated:
    """What becomes of new facts beside each other.

    Attributes:
        decisions: All decisions, of which some additions are NONE by now, or gone: what is taken back.
        until: For facts that others of the batch end: when, and by which fact (None: it was taken back).
        rejected: What was proposed and cannot be done.
    """

    decisions: tuple[Decision, ...]
    until: Mapping[int, tuple[Micros, str | int | None]] = field(
        default_factory=dict[int, tuple[Micros, str | int | None]]
    )
    rejected: tuple[Rejection, ...] = ()


async def among_mates(
    rt: Runtime,
    services: Services,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    decisions: Sequence[Decision],
    vectors: Sequence[Any] | None,
    *,
    scope: Scope,
    expires_at: Micros | None,
    settled: frozenset[int],
    allowance: Allowance,
) -> Mated:
    """The decisions, once the facts that are added have been compared with each other.

    Args:
        vectors: One unit-length vector per fact, None without an embedding model.
        settled: Facts whose place among others is known already.

    Raises:
        ModelError: The call failed or its answer could not be used. Nothing was changed.
    """
    own: dict[int, list[str]] = {}
    for decision in decisions:
        own.setdefault(decision.fact, []).append(decision.operation)
    added = [number for number, done in own.items() if "ADD" in done and number not in settled]
    kin = _Kin(services, facts, messages, vectors).of(added)
    if not kin:
        return Mated(decisions=tuple(decisions))
    earlier = sorted({number for row in kin.values() for number in row})
    place = {number: n for n, number in enumerate(earlier)}
    offered = tuple(tuple(place[number] for number in kin.get(fact, ())) for fact in range(len(facts)))
    everything = frozenset(range(len(earlier)))
    told = Recalled(
        revision=0,
        memories=tuple(_as_memory(n, facts[n], messages, scope, expires_at) for n in earlier),
        offered=offered,
        unrelated=tuple(everything.difference(row) for row in offered),
    )
    answers = await ask_about(rt, services, facts, told, sorted(kin))
    check = Check(facts, messages, told, Slotted(), allowance, expires_at, frozenset())
    check.rejected += [rejection for answer in answers for rejection in answer.rejected]
    valid = check.run([decision for answer in answers for decision in answer.decisions], ())
    late = {fact: (end, int(memory_id)) for fact, (end, memory_id) in check.until.items()}
    kept, until = _told(facts, messages, decisions, valid, earlier, told, late)
    return Mated(decisions=kept, until=until, rejected=tuple(check.rejected))


def _told(
    facts: Sequence[Fact],
    messages: Sequence[Message],
    decisions: Sequence[Decision],
    valid: Sequence[Decision],
    earlier: Sequence[int],
    told: Recalled,
    late: Mapping[int, tuple[Micros, int]],
) -> tuple[tuple[Decision, ...], dict[int, tuple[Micros, str | int | None]]]:
    """All decisions and what ends with what, given the valid ones about facts of the batch."""
    ending = [d for d in valid if _ends(d, facts, told)]
    heirs = {d.fact for d in ending if not (d.operation == "DELETE" and d.retract)}
    retracting = {d.fact for d in ending} - heirs
    operations: dict[int, list[str]] = {}
    for decision in decisions:
        operations.setdefault(decision.fact, []).append(decision.operation)
    twice = {
        d.fact: earlier[d.target]
        for d in valid
        if d.operation == "NONE" and d.target is not None and operations[d.fact] == ["ADD"]
    }
    said = {d.fact: max(positions(facts[d.fact], messages), default=0) for d in valid}
    ended = {earlier[d.target]: said[d.fact] for d in ending if d.target is not None}
    twice = {
        fact: other
        for fact, other in twice.items()
        # What was ended before it was said again is new.
        if fact not in heirs | retracting and ended.get(other, said[fact]) >= said[fact]
    }
    ends: dict[int, tuple[Micros, str | int | None]] = {}
    since: dict[int, Micros] = {}
    for decision in sorted(ending, key=lambda one: said[one.fact]):
        assert decision.target is not None
        begins = _since(facts[decision.fact], messages, told.memories[decision.target])
        # What it ends may begin later than it says itself, behind what that one ends.
        begins = max(begins, since.get(earlier[decision.target], begins - 1) + 1)
        since[decision.fact] = max(begins, since.get(decision.fact, begins))
    for decision in ending:
        assert decision.target is not None
        number = earlier[decision.target]  # what says the same as another one ends in its person
        heir = decision.fact if decision.fact in heirs else None
        ends[twice.get(number, number)] = since[decision.fact], heir
    for fact, (end, number) in late.items():
        if twice.get(number, number) not in retracting:
            ends.setdefault(fact, (end, twice.get(number, number)))
    kept = (
        Decision(fact=d.fact, operation="NONE", reason=_SAID_TWICE)
        if d.operation == "ADD" and d.fact in twice
        else d
        for d in decisions
        if d.operation != "ADD" or d.fact not in retracting
    )
    return tuple(kept), ends


def _ends(decision: Decision, facts: Sequence[Fact], told: Recalled) -> bool:
    """Whether what a decision is about does not hold beside its fact."""
    if decision.target is None or decision.operation not in ("UPDATE", "DELETE"):
        return False
    text, before = decision.text or facts[decision.fact].text, told.memories[decision.target].text
    return decision.operation == "DELETE" or not _goes_with(text, before)


def _goes_with(text: str, before: str) -> bool:
    """Whether a text says all that another says and more of the same, so that both hold."""
    return completes(text, before) and not apart(Claim(text), Claim(before), similar=False)


def _since(fact: Fact, messages: Sequence[Message], before: MemoryRecord) -> Micros:
    named = before.event_time is not None
    since = begins_beside(fact, messages, before.valid_from, named=named, skew=SKEW)
    return max(since, before.valid_from + 1)  # of two messages of one instant the later one counts


def _as_memory(
    number: int, fact: Fact, messages: Sequence[Message], scope: Scope, expires_at: Micros | None
) -> MemoryRecord:
    """A fact as the memory that it will be, its number in the place of an id."""
    since = holds_from(fact, messages)
    return MemoryRecord(
        unit=0,
        memory_id=str(number),
        revision=1,
        user_id=scope.user_id,
        agent_id=scope.agent_id,
        run_id=scope.run_id,
        actor_id=fact.actor_id,
        text=fact.text,
        kind=fact.kind,
        memory_type=None,
        metadata={},
        origin=fact.origin,
        trust=trust_of(fact.origin, user_id=scope.user_id),
        event_time=fact.event_time,
        valid_from=since,
        valid_to=None,
        created_at=since,
        recorded_at=since,
        retired_at=None,
        deleted_at=None,
        superseded_by=None,
        expires_at=expires_at,
        slot=fact.slot,
        attributes=fact.attributes,
        support=fact.support,
    )


class _Kin:
    """Which facts may be about the same as others that were said before them."""

    def __init__(
        self,
        services: Services,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        vectors: Sequence[Any] | None,
    ) -> None:
        self._facts = facts
        self._messages = messages
        self._vectors = vectors
        self._most = services.policies.decisions.candidates_per_fact
        self._same = None if services.embedder is None else services.embedder.scale.same
        self._claims: dict[int, Claim] = {}

    def of(self, numbers: Sequence[int]) -> dict[int, list[int]]:
        """For each of these facts that has any: those of an earlier message that it may change."""
        place = {number: max(positions(self._facts[number], self._messages), default=0) for number in numbers}
        if len(set(place.values())) < 2:
            return {}
        words = {number: self._words(number) for number in numbers}
        kin: dict[int, list[int]] = {}
        for number in numbers:
            row = [
                other
                for other in numbers
                if place[other] < place[number]
                and self._comparable(number, other)
                and self._alike(number, other, words[number], words[other])
            ]
            if row:  # the latest ones: each is a candidate in the call
                kin[number] = row[-self._most :]
        return kin

    def _comparable(self, number: int, other: int) -> bool:
        one, two = self._facts[number], self._facts[other]
        slots = None in (one.slot, two.slot) or one.slot == two.slot
        return slots and (one.actor_id, one.origin) == (two.actor_id, two.origin) and one.text != two.text

    def _alike(self, number: int, other: int, words: frozenset[str], others: frozenset[str]) -> bool:
        """Whether they share most of their words, or half of them while one denies or ends something, or all
        their meaning.
        """
        shared, fewest = len(words & others), min(len(words), len(others))
        if shared and 3 * shared >= 2 * fewest:
            return True
        if shared and 2 * shared >= fewest and apart(self._claim(number), self._claim(other), similar=False):
            return True
        if self._vectors is None or self._same is None:
            return False
        return float(self._vectors[number] @ self._vectors[other]) >= self._same

    def _words(self, number: int) -> frozenset[str]:
        fact = self._facts[number]
        return frozenset(analysis.query_terms(fact.text)) - beginning_terms(self._claim(number))

    def _claim(self, number: int) -> Claim:
        if number not in self._claims:
            self._claims[number] = Claim(self._facts[number].text)
        return self._claims[number]
