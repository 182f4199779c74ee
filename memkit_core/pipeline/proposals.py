"""What a model proposes to do with facts, held against the rules.

An unknown number, a second operation on one memory, a deletion without cited evidence, a change of a memory
about something else or of a later time is rejected and reported, and the rest is applied. A fact is never
lost over it: without a valid decision it is added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from .. import analysis
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros
from .allowance import Allowance
from .known import competes, completes, lasts, outlasts, says
from .line import LATER_KNOWN, Slotted
from .moments import is_late, is_plan, was_ahead
from .recall import Recalled
from .slots import outweighs
from .trust import forbidden, stands_for

#: A fact that a model takes for known is not dropped on its word alone.
_NOT_SAID: Final = "no memory that was offered says it"
#: What one run or agent was told is no news there; for the whole scope it is.
ONLY_NARROWER: Final = "known from a run or an agent only"
_SAID_THE_SAME: Final = "it said the same as what does not hold any more"
_TOO_MANY: Final = "too many updates and deletions in one call"


class Check:
    """Applies the rules to proposals, one after the other."""

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        recalled: Recalled,
        slotted: Slotted,
        allowance: Allowance,
        expires_at: Micros | None,
        narrower: frozenset[int],
    ) -> None:
        self._facts = facts
        self._messages = messages
        self._memories = memories = recalled.memories
        self._recalled = recalled
        self._expires_at = expires_at
        self._allowance = allowance
        self._narrower = narrower
        self._meant: set[int | None] = set()
        changed = {correction.memory_id for correction in slotted.corrections}
        self._taken = {n for n, memory in enumerate(memories) if memory.memory_id in changed}
        self._taken |= {
            d.target for d in slotted.decisions if d.target is not None and d.operation == "UPDATE"
        }
        self.rejected: list[Rejection] = list(slotted.rejected)
        self.until: dict[int, tuple[Micros, str]] = {}

    def run(self, proposed: Sequence[Decision], open_facts: Sequence[int]) -> list[Decision]:
        """The valid decisions; a fact that is left without one is added."""
        self._meant = {d.target for d in proposed if d.operation in ("UPDATE", "DELETE")}
        valid: list[Decision] = []
        by_fact: defaultdict[int, list[Decision]] = defaultdict(list)
        lost: set[int] = set()
        for proposal in proposed:
            decision = self._widest(proposal)
            kept = self._without_effect(decision)
            problem = self._problem(decision, by_fact[decision.fact])
            if problem is None and kept.operation == "NONE":
                known = self._known(kept)
                problem = _NOT_SAID if known is None else None
                kept = known or kept
            if problem is not None:
                shown = f"{decision.operation} target={decision.target} fact={decision.fact}"
                self.rejected.append(Rejection(item=shown, reason=problem))
                if problem == _NOT_SAID:
                    lost.add(decision.fact)
                continue
            by_fact[kept.fact].append(kept)
            valid.append(kept)
            if kept.operation in ("UPDATE", "DELETE"):
                assert kept.target is not None
                self._taken.add(kept.target)
                self._allowance.spend([kept.fact])
        for decision in tuple(valid):
            twins = self._twins(decision)
            by_fact[decision.fact] += twins
            valid += twins
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
        if (problem := self._refusal(decision)) is not None:
            return problem
        if decision.target in self._taken:
            return "the memory is the target of another operation"
        if not self._allowance.covers([decision.fact]):
            return _TOO_MANY
        return None

    def _refusal(self, decision: Decision) -> str | None:
        """Why a fact may not change a memory, None if it may."""
        assert decision.target is not None
        fact, memory = self._facts[decision.fact], self._memories[decision.target]
        if decision.operation == "DELETE" and not fact.cites:
            return "a deletion needs a cited message"
        if (problem := forbidden(fact, memory)) is not None:
            return problem
        if None not in (fact.slot, memory.slot) and fact.slot != memory.slot:
            return "the memory is about something else"
        return None if self._unchanged(decision) else self._weaker(decision, fact, memory)

    def _foreign(self, fact: int, memory: int) -> bool:
        """Whether a memory has nothing to do with a fact, as far as embeddings tell."""
        unrelated = self._recalled.unrelated
        return bool(unrelated) and memory in unrelated[fact]

    def _similar(self, fact: int, memory: int) -> bool:
        """Whether a memory is as close to a fact as other words for it, as far as embeddings tell."""
        similar = self._recalled.similar
        return bool(similar) and memory in similar[fact]

    def _known(self, decision: Decision) -> Decision | None:
        """What a NONE comes to: the memory that says the fact is the one it names, else another one offered.

        What is said in a run or by an agent only is an ADD. None: no memory says it.
        """
        fact = self._facts[decision.fact]
        named = [] if decision.target is None else [decision.target]
        offered = [n for n in self._recalled.offered[decision.fact] if not self._foreign(decision.fact, n)]
        elsewhere = Decision(fact=decision.fact, operation="ADD", reason=ONLY_NARROWER)
        found: Decision | None = None
        # A model that names a run's memory may as well mean the one that says it for all.
        meant = [*named, *offered] if decision.target in self._narrower else named
        for number in (*named, *offered):
            memory = self._memories[number]
            similar = number in meant and self._similar(decision.fact, number)
            if not stands_for(memory, fact) or not says(memory, fact, similar=similar):
                continue
            if number not in self._narrower:
                if lasts(memory, self._expires_at):
                    return replace(decision, target=number)
            else:
                found = elsewhere
        return found

    def _widest(self, decision: Decision) -> Decision:
        """A proposal about what the whole scope knows word for word is about the whole scope's memory."""
        if decision.target not in self._narrower or decision.fact < 0:
            return decision
        target = self._memories[decision.target]
        alike = (n for n in self._alike(target) if n not in self._narrower and n not in self._meant)
        widest = next(alike, decision.target)
        if decision.operation != "NONE":
            self._meant = self._meant - {decision.target} | {widest}
        return replace(decision, target=widest)

    def _alike(self, memory: MemoryRecord) -> Sequence[int]:
        """The memories that say the same word for word, of the same speaker and believed as much."""
        return [
            number
            for number, other in enumerate(self._memories)
            if (other.actor_id, other.trust) == (memory.actor_id, memory.trust)
            and _same_words(other, memory.text)
        ]

    def _twins(self, decision: Decision) -> Sequence[Decision]:
        """What else ends with a memory that is changed: what runs and agents say word for word as it did.

        What they were told after the fact was said stays. They are what is changed once more, not more of it:
        what an add may change does not count them.
        """
        if not self._narrower or decision.operation not in ("UPDATE", "DELETE"):
            return ()
        assert decision.target is not None
        twins: list[Decision] = []
        for number in self._alike(self._memories[decision.target]):
            end = replace(decision, operation="DELETE", target=number, text=None, reason=_SAID_THE_SAME)
            late = is_late(self._facts[decision.fact], self._messages, self._memories[number].valid_from)
            if number not in self._taken and not late and self._refusal(end) is None:
                self._taken.add(number)
                twins.append(end)
        return twins

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
            # What a run was told later stands beside what was told for all, in whatever order they come.
            past = past and decision.target not in self._narrower
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
        same = _same_words(memory, decision.text or fact.text)
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


def _same_words(memory: MemoryRecord, text: str) -> bool:
    return analysis.text_key(memory.text) == analysis.text_key(text)
