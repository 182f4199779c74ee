"""Facts against memories: ADD, UPDATE, DELETE or NONE.

The model sees numbers, never ids. Whatever it proposes is checked here: an unknown number, a second
operation on one memory, a deletion without cited evidence, a change of a memory about something else or of a
later time is rejected and reported, and the rest is applied. A fact is never lost over it: without a valid
decision it is added. What can have one value at a time is settled in code (``slots``), before the model is
asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final

from .. import analysis
from ..models.structured import ask
from ..models.ways import room_of
from ..prompts import decide as prompt
from ..protocols import Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, clean_text
from .allowance import Allowance
from .halving import in_halves
from .known import competes, completes, lasts, outlasts, says
from .moments import is_late, is_plan, was_ahead
from .portions import Portion, halves, portions
from .recall import Recalled
from .services import Services
from .slots import LATER_KNOWN, Slotted, outweighs
from .trust import forbidden, stands_for

#: A fact that a model takes for known is not dropped on its word alone.
_NOT_SAID: Final = "no memory that was offered says it"
_TOO_MANY: Final = "too many updates and deletions in one call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Valid decisions: every fact has at least one, no memory is the target of two.

    Attributes:
        until: For facts that what is remembered has made untrue since: from when on, and the memory's id.
    """

    decisions: tuple[Decision, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    until: Mapping[int, tuple[Micros, str]] = field(default_factory=dict[int, tuple[Micros, str]])


async def decide(
    rt: Runtime,
    services: Services,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    recalled: Recalled,
    *,
    expires_at: Micros | None,
    slotted: Slotted,
    allowance: Allowance,
) -> Decided:
    """What to do with each fact. Calls the model only about facts that may concern a memory.

    Args:
        expires_at: When what is added now will expire.
        slotted: What is settled already, with targets among ``recalled.memories``.
        allowance: What the facts' adds may change beside what is settled.

    Raises:
        ModelError: A call failed or its answer could not be used. Nothing was changed.
    """
    settled = list(slotted.decisions)
    open_facts: list[int] = []
    key = cache(analysis.text_key)  # the same memories are offered for many facts
    for number, fact in enumerate(facts):
        if number in slotted.facts:
            continue
        offered = recalled.offered[number]
        alike = [n for n in offered if repeats(fact, expires_at, recalled.memories[n], key)]
        same = next((n for n in alike if lasts(recalled.memories[n], expires_at)), next(iter(alike), None))
        if same is not None:
            settled.append(
                Decision(fact=number, operation="NONE", target=same, reason="remembered word for word")
            )
        elif not offered:
            settled.append(Decision(fact=number, operation="ADD"))
        else:
            open_facts.append(number)
    policies = services.policies
    calls = portions(
        open_facts,
        facts,
        recalled,
        most=policies.decisions.max_candidates,
        most_tokens=room_of(services.chat, policies.extraction.chunk_tokens),
    )
    ask_one, cut = partial(_ask, rt, services, facts, recalled), partial(halves, recalled)
    rows = await rt.gather(*(in_halves(rt, call, ask_one, cut) for call in calls))
    answers = [answer for row in rows for answer in row]
    check = _Check(facts, messages, recalled, slotted, allowance, expires_at)
    for answer in answers:
        check.rejected += answer.rejected
    valid = check.run([decision for answer in answers for decision in answer.decisions], open_facts)
    decisions = sorted([*settled, *valid], key=lambda decision: decision.fact)
    return Decided(
        decisions=tuple(decisions),
        rejected=tuple(check.rejected),
        until=check.until,
    )


def repeats(fact: Fact, expires_at: Micros | None, memory: MemoryRecord, key: Callable[[str], bytes]) -> bool:
    """Whether a memory says a fact already: same words, same speaker, believed as much.

    It lasts as long, or the fact may have it last longer.
    """
    if memory.actor_id != fact.actor_id or not stands_for(memory, fact):
        return False
    if not lasts(memory, expires_at) and forbidden(fact, memory) is not None:
        return False
    return key(memory.text) == key(fact.text)


async def _ask(
    rt: Runtime, services: Services, facts: Sequence[Fact], recalled: Recalled, portion: Portion
) -> Decided:
    """The model's proposals on one portion, with the batch's own numbers."""
    memories = sorted(portion.memories)
    answer = await ask(
        rt,
        services.chat,
        prompt.Decisions,
        prompt.build(
            [facts[n] for n in portion.facts],
            [recalled.memories[n] for n in memories],
            instructions=services.policies.custom_update_memory_prompt,
        ),
        item_field="decisions",
        name="memkit.decide",
    )
    return Decided(
        decisions=tuple(_decision(item, portion.facts, memories) for item in answer.value.decisions),
        rejected=tuple(
            Rejection(item=item, reason="not a decision of the expected shape") for item in answer.rejected
        ),
    )


def _own(number: int | None, numbers: Sequence[int]) -> int | None:
    """What the model calls ``number``, in the batch's own numbers; -1 if it made the number up."""
    if number is None:
        return None
    return numbers[number] if 0 <= number < len(numbers) else -1


def _decision(item: prompt.ProposedDecision, facts: Sequence[int], memories: Sequence[int]) -> Decision:
    return Decision(
        fact=facts[item.fact] if 0 <= item.fact < len(facts) else -1,
        operation=item.op,
        target=_own(item.target, memories),
        text=clean_text(item.text).strip() if item.text else None,
        reason=clean_text(item.reason).strip(),
        retract=item.retract,
    )


class _Check:
    """Applies the rules to proposals, one after the other."""

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        recalled: Recalled,
        slotted: Slotted,
        allowance: Allowance,
        expires_at: Micros | None,
    ) -> None:
        self._facts = facts
        self._messages = messages
        self._memories = memories = recalled.memories
        self._recalled = recalled
        self._expires_at = expires_at
        self._allowance = allowance
        changed = {correction.memory_id for correction in slotted.corrections}
        self._taken = {n for n, memory in enumerate(memories) if memory.memory_id in changed}
        self._taken |= {
            d.target for d in slotted.decisions if d.target is not None and d.operation == "UPDATE"
        }
        self.rejected: list[Rejection] = list(slotted.rejected)
        self.until: dict[int, tuple[Micros, str]] = {}

    def run(self, proposed: Sequence[Decision], open_facts: Sequence[int]) -> list[Decision]:
        """The valid decisions; a fact that is left without one is added."""
        valid: list[Decision] = []
        by_fact: defaultdict[int, list[Decision]] = defaultdict(list)
        lost: set[int] = set()
        for decision in proposed:
            kept = self._without_effect(decision)
            problem = self._problem(decision, by_fact[decision.fact])
            if problem is None and kept.operation == "NONE":
                said_by = self._said_by(kept)
                problem = _NOT_SAID if said_by is None else None
                kept = replace(kept, target=said_by)
            if problem is not None:
                shown = f"{decision.operation} target={decision.target} fact={decision.fact}"
                self.rejected.append(Rejection(item=shown, reason=problem))
                if problem == _NOT_SAID:
                    lost.add(decision.fact)
                continue
            by_fact[decision.fact].append(kept)
            if kept.operation in ("UPDATE", "DELETE"):
                assert kept.target is not None
                self._taken.add(kept.target)
                self._allowance.spend([kept.fact])
            valid.append(kept)
        for number in open_facts:
            own = by_fact[number]
            deletions = [d for d in own if d.operation == "DELETE"]
            if not own:
                reason = _NOT_SAID if number in lost else "no valid decision was given"
                if number in self.until:
                    reason = LATER_KNOWN
                valid.append(Decision(fact=number, operation="ADD", reason=reason))
            elif len(deletions) == len(own) and not all(d.retract for d in deletions):
                valid.append(Decision(fact=number, operation="ADD", reason=deletions[0].reason))
        return valid

    def _problem(self, decision: Decision, earlier: Sequence[Decision]) -> str | None:
        """Why a proposal cannot be carried out, None if it can."""
        if decision.fact < 0:
            return "no such fact was offered"
        if any(other.operation != "DELETE" for other in earlier) and decision.operation != "DELETE":
            return "the fact has a decision already"
        if decision.operation == "ADD" or (decision.operation == "NONE" and decision.target is None):
            return None
        if decision.target is None or not 0 <= decision.target < len(self._memories):
            return "no such memory was offered"
        if self._foreign(decision.fact, decision.target):
            return "the memory has nothing to do with the fact"
        fact, memory = self._facts[decision.fact], self._memories[decision.target]
        if decision.operation == "NONE":
            return None if stands_for(memory, fact) else "the memory is not trusted, as the fact is"
        if decision.operation == "DELETE" and not fact.cites:
            return "a deletion needs a cited message"
        if (problem := forbidden(fact, memory)) is not None:
            return problem
        if None not in (fact.slot, memory.slot) and fact.slot != memory.slot:
            return "the memory is about something else"
        if not self._unchanged(decision) and (problem := self._weaker(decision, fact, memory)) is not None:
            return problem
        if decision.target in self._taken:
            return "the memory is the target of another operation"
        if not self._allowance.covers([decision.fact]):
            return _TOO_MANY
        return None

    def _foreign(self, fact: int, memory: int) -> bool:
        """Whether a memory has nothing to do with a fact, as far as embeddings tell."""
        unrelated = self._recalled.unrelated
        return bool(unrelated) and memory in unrelated[fact]

    def _said_by(self, decision: Decision) -> int | None:
        """The memory that says what a NONE takes for known: the one it names, else another one offered."""
        fact = self._facts[decision.fact]
        named = [] if decision.target is None else [decision.target]
        offered = [n for n in self._recalled.offered[decision.fact] if not self._foreign(decision.fact, n)]
        for number in (*named, *offered):
            memory = self._memories[number]
            if stands_for(memory, fact) and lasts(memory, self._expires_at) and says(memory, fact):
                return number
        return None

    def _weaker(self, decision: Decision, fact: Fact, memory: MemoryRecord) -> str | None:
        """Why a fact may not end what a memory says, None if it may."""
        if outweighs(memory, fact):
            return "the fact is doubtful, the memory is not"
        if outlasts(memory.expires_at, self._expires_at) and not decision.retract:
            return "the fact expires before the memory"
        return self._untimely(decision, fact, memory)

    def _untimely(self, decision: Decision, fact: Fact, memory: MemoryRecord) -> str | None:
        """Why a fact comes too early to change a memory, None if it does not.

        What was said before the memory began to hold cannot end it. Rather it is the memory that ended what
        was said, if the two are about one thing and do not go together, and it lasts as long.
        """
        if is_late(fact, self._messages, memory.valid_from):
            beside = decision.operation == "UPDATE" and completes(decision.text or fact.text, memory.text)
            past = not beside and lasts(memory, self._expires_at) and competes(memory, fact)
            if past and not self._put_before(decision.fact, memory):
                return _TOO_MANY
            return "the fact was said before the memory began to hold"
        ahead = memory.event_time is not None and was_ahead(memory.event_time, fact, self._messages)
        if is_plan(fact, self._messages) and not ahead:
            return "a plan changes nothing that holds by now"
        return None

    def _put_before(self, number: int, memory: MemoryRecord) -> bool:
        """Have a fact end where a memory begins; False if no more may be changed."""
        if number not in self.until:
            if not self._allowance.covers([number]):
                return False
            self._allowance.spend([number])
        end = memory.valid_from, memory.memory_id
        self.until[number] = min(end, self.until.get(number, end))
        return True

    def _unchanged(self, decision: Decision) -> bool:
        """Whether an UPDATE writes the text that is there already, and has it last no longer."""
        assert decision.target is not None
        fact, memory = self._facts[decision.fact], self._memories[decision.target]
        text = decision.text or fact.text
        same = analysis.text_key(text) == analysis.text_key(memory.text)
        known = same and stands_for(memory, fact) and lasts(memory, self._expires_at)
        return decision.operation == "UPDATE" and known

    def _without_effect(self, decision: Decision) -> Decision:
        """An UPDATE to the text that is there already is a NONE."""
        if decision.target is None or not self._unchanged(decision):
            return decision
        return Decision(
            fact=decision.fact,
            operation="NONE",
            target=decision.target,
            reason="the text would not change",
        )
