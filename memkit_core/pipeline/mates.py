"""What is new in one batch, held against what the same batch told before it.

Facts of one batch find no memory of each other: none of them is stored yet. Those that were said one after
the other of much the same thing go to the model once more, the earlier ones in the place of memories, under
the same rules as those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from .. import analysis
from ..protocols import Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope
from .allowance import Allowance
from .decide import ask_about
from .ground import sound_updates
from .kin import Kin
from .line import Slotted
from .moments import SKEW, begins_beside, holds_from
from .proposals import Check
from .recall import Recalled
from .services import Services
from .trust import trust_of

#: Comparing so many facts with each other takes milliseconds.
_MANY: Final = 40
_SAID_TWICE: Final = "another message of the batch says it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mated:
    """What becomes of new facts beside each other.

    Attributes:
        decisions: All decisions, of which some additions are NONE by now, or gone: what is taken back.
        until: For facts that others of the batch end: when, and by which fact (None: it was taken back).
        since: When the facts begin that end others.
        twice: For facts that say the same as an earlier one: which one.
        rejected: What was proposed and cannot be done.
    """

    decisions: tuple[Decision, ...]
    until: Mapping[int, tuple[Micros, str | int | None]] = field(
        default_factory=dict[int, tuple[Micros, str | int | None]]
    )
    since: Mapping[int, Micros] = field(default_factory=dict[int, Micros])
    twice: Mapping[int, int] = field(default_factory=dict[int, int])
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
    own: dict[int, list[Decision]] = {}
    for decision in decisions:
        own.setdefault(decision.fact, []).append(decision)
    written = {d.fact: d for d in decisions if d.operation in ("ADD", "UPDATE") and d.fact not in settled}
    # What takes a memory back may take back as well what the batch has told of it.
    asking = [n for n, done in own.items() if n in written or all(_takes_back(d) for d in done)]
    found = Kin(
        facts,
        messages,
        vectors,
        most=services.policies.decisions.candidates_per_fact,
        same=None if services.embedder is None else services.embedder.scale.same,
    )
    compare = partial(found.of, asking, [*written])
    kin = compare() if len(asking) < _MANY else await rt.compute(compare)
    if not kin:
        return Mated(decisions=tuple(decisions))
    earlier = sorted({number for row in kin.values() for number in row})
    saying = [replace(fact, text=_text(fact, written.get(n))) for n, fact in enumerate(facts)]
    told = _as_recalled(saying, messages, kin, earlier, scope, expires_at)
    answers = await ask_about(rt, services, facts, told, sorted(kin))
    check = Check(facts, messages, told, Slotted(), allowance, expires_at, frozenset())
    check.rejected += [rejection for answer in answers for rejection in answer.rejected]
    # A fact between two others stands in both places: what a model says of it and itself means nothing.
    proposed = [d for answer in answers for d in answer.decisions if not _of_itself(d, earlier)]
    valid, unsound = sound_updates(services, facts, check.run(proposed, ()), told.memories, messages)
    places = _Places(facts, messages, found, own, frozenset(written))
    for number in sorted({*written, *asking}, key=lambda one: (found.said[one], one)):
        about = [(d, earlier[d.target]) for d in valid if d.fact == number and d.target is not None]
        places.put(number, about)
    places.put_before({fact: (end, int(memory_id)) for fact, (end, memory_id) in check.until.items()})
    return Mated(
        decisions=places.decided(decisions),
        until=places.until,
        since=places.since,
        twice=places.twice,
        rejected=(*check.rejected, *unsound),
    )


class _Places:
    """Where facts stand in time beside each other: put there in the order in which they were said."""

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        kin: Kin,
        own: Mapping[int, Sequence[Decision]],
        written: frozenset[int],
    ) -> None:
        self._facts = facts
        self._messages = messages
        self._kin = kin
        self._own = own
        self._standing: dict[bytes, list[int]] = {}
        self._written = written
        self._gone: set[int] = set()
        self._texts: dict[int, str] = {}
        self.until: dict[int, tuple[Micros, str | int | None]] = {}
        self.since: dict[int, Micros] = {}
        self.twice: dict[int, int] = {}

    def put(self, number: int, about: Sequence[tuple[Decision, int]]) -> None:
        """Find the place of a fact.

        Args:
            about: The valid decisions about it, each with the earlier fact that it names.
        """
        ending = [(d, self._root(other)) for d, other in about if d.operation in ("UPDATE", "DELETE")]
        if ending:
            self._end(number, ending)
            return
        named = (self._root(other) for d, other in about if d.operation == "NONE")
        same = (other for other in self._standing_like(number))
        if (
            self._is_new(number)
            and (first := next((one for one in (*named, *same) if self._stands(one)), None)) is not None
        ):
            self.twice[number] = first
            return
        self._stand(number)

    def put_before(self, late: Mapping[int, tuple[Micros, int]]) -> None:
        """End facts where others begin that were said of a later time."""
        for number, (end, other) in late.items():
            following = self._root(other)
            if number not in self._written or number in self.twice.keys() | self._gone:
                continue
            if following in (number, *self._gone):
                continue
            end = max(self.since.get(following, end), self._begun(number))
            if number not in self.until or end < self.until[number][0]:
                self.until[number] = end, following

    def decided(self, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
        """All decisions as they stand now."""
        kept: list[Decision] = []
        for decision in decisions:
            number = decision.fact
            if decision.operation == "UPDATE" and number in self.until:  # it is no memory's last version
                kept.append(replace(decision, operation="DELETE", text=None))
                kept.append(replace(decision, operation="ADD", target=None))
            elif decision.operation != "ADD":
                kept.append(decision)
            elif number in self.twice:
                kept.append(Decision(fact=number, operation="NONE", reason=_SAID_TWICE))
            elif number not in self._gone:
                kept.append(replace(decision, text=self._texts.get(number)))
        return tuple(kept)

    def _end(self, number: int, ending: Sequence[tuple[Decision, int]]) -> None:
        """Have a fact end others, from its own time on, or be gone with them if it only takes them back."""
        takes_back = all(_takes_back(decision) for decision, _ in ending)
        if number not in self._written or (takes_back and self._is_new(number)):
            self._gone.add(number)
        ends = list(dict.fromkeys(other for _, other in ending if self._stands(other)))
        since = [self._begins(number, other) for other in ends]
        if since and number not in self._gone:
            self.since[number] = max(since)
        for other in ends:
            end = max([*since, self._begun(other)])
            self.until[other] = end, None if number in self._gone else number
        if number in self._gone:
            return
        if text := next((d.text for d, _ in ending if d.text), None):
            self._texts[number] = text
        self._stand(number)

    def _is_new(self, number: int) -> bool:
        """Whether nothing else is decided about a fact than that it is added."""
        return [decision.operation for decision in self._own[number]] == ["ADD"]

    def _begins(self, number: int, other: int) -> Micros:
        """Since when a fact holds that ends another one: before it, if somebody named such a time."""
        fact, begun = self._facts[number], self._begun(other)
        named = self._facts[other].event_time is not None
        since = begins_beside(fact, self._messages, begun, named=named, skew=SKEW)
        if since < begun and fact.event_time is not None:
            return since
        return max(since, begun + 1)  # of two messages of one instant the later one counts

    def _begun(self, number: int) -> Micros:
        return self.since.get(number, holds_from(self._facts[number], self._messages))

    def _stand(self, number: int) -> None:
        if number in self._written:
            self._standing.setdefault(analysis.text_key(self._facts[number].text), []).append(number)

    def _standing_like(self, number: int) -> Sequence[int]:
        """What says a fact word for word."""
        alike = self._standing.get(analysis.text_key(self._facts[number].text), ())
        return [other for other in alike if self._kin.says_the_same(number, other)]

    def _stands(self, number: int) -> bool:
        """Whether a fact has been put in its place and is not over."""
        return number not in self.until and number not in self._gone

    def _root(self, number: int) -> int:
        """The fact that is stored for it."""
        return self.twice.get(number, number)


def _takes_back(decision: Decision) -> bool:
    return decision.operation == "DELETE" and decision.retract


def _text(fact: Fact, written: Decision | None) -> str:
    """What will be stored for a fact."""
    return fact.text if written is None else written.text or fact.text


def _of_itself(decision: Decision, earlier: Sequence[int]) -> bool:
    target = decision.target
    return target is not None and 0 <= target < len(earlier) and earlier[target] == decision.fact


def _as_recalled(
    facts: Sequence[Fact],
    messages: Sequence[Message],
    kin: Mapping[int, Sequence[int]],
    earlier: Sequence[int],
    scope: Scope,
    expires_at: Micros | None,
) -> Recalled:
    """Earlier facts as if they had been recalled for later ones."""
    place = {number: n for n, number in enumerate(earlier)}
    offered = tuple(tuple(place[number] for number in kin.get(fact, ())) for fact in range(len(facts)))
    everything = frozenset(range(len(earlier)))
    return Recalled(
        revision=0,
        memories=tuple(_as_memory(n, facts[n], messages, scope, expires_at) for n in earlier),
        offered=offered,
        unrelated=tuple(everything.difference(row) for row in offered),
    )


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
