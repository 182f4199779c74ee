"""What can have one value at a time ("lives in", "works at"), resolved in code: no model decides here.

A slot is a line of time. Each version of a memory in it holds over an interval, and so does each new fact:
from its own time until something later is known. Whatever the order in which things are learned, the line
comes out the same: at any instant the value is the one that began to hold last, of two that began together
the one that was recorded last. Only what is trusted takes part; values that merely resemble each other are
never merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .. import analysis
from ..protocols import AmendMemory, Query, RetireMemory, Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope
from .allowance import Allowance
from .commit import Cuts, no_cuts
from .ground import doubts_beside
from .known import is_narrower, outlasts
from .moments import holds_from, is_constant, may_follow, said_at
from .recall import Recalled
from .services import Services
from .trust import TRUSTED, forbidden, trust_of
from .vetoes import cuts_of
from .wording import amends, holds_now, holds_still, says_more

#: Why a fact is stored as one of the past.
LATER_KNOWN: Final = "something later is known already"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    """What becomes of the facts that a slot settles.

    Attributes:
        decisions: One per settled fact. ``target`` numbers ``memories``.
        memories: The memories that are targets here.
        corrections: Closed versions that held for a shorter time, and further current ones that hold no more.
        until: For facts that were true only until something that is known already: until when, and what
            came then (a memory's id, or the number of a fact).
        cuts: See ``Cuts``; for every version that a correction may be about.
        rejected: Why something was not changed.
    """

    decisions: tuple[Decision, ...] = ()
    memories: tuple[MemoryRecord, ...] = ()
    corrections: tuple[AmendMemory | RetireMemory, ...] = ()
    until: Mapping[int, tuple[Micros, str | int]] = field(default_factory=dict[int, tuple[Micros, str | int]])
    cuts: Cuts = field(default_factory=no_cuts)
    rejected: tuple[Rejection, ...] = ()

    @property
    def destructive(self) -> int:
        """How many memories it changes."""
        updates = sum(decision.operation == "UPDATE" for decision in self.decisions)
        return updates + len(self.corrections)

    @property
    def facts(self) -> frozenset[int]:
        """The facts that need no further decision."""
        return frozenset(decision.fact for decision in self.decisions)


async def settle_by_slots(
    rt: Runtime,
    services: Services,
    scope: Scope,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    recalled: Recalled,
    allowance: Allowance,
    *,
    expires_at: Micros | None,
) -> tuple[Slotted, Recalled]:
    """What slots settle, and what was recalled with the memories that are targets of it.

    Args:
        allowance: What the facts' adds may change; what is done here is taken from it.
        expires_at: When the facts will expire.
    """
    news: dict[int, tuple[Fact, Micros]] = {}
    for number, fact in enumerate(facts) if services.policies.decisions.slots else ():
        if fact.slot is not None and _settles(fact, scope):
            since = said_at if is_constant(fact.slot) else holds_from
            news[number] = (fact, since(fact, messages))
    if not news:
        return Slotted(), recalled
    keys = list(dict.fromkeys(str(fact.slot) for fact, _ in news.values()))
    query = Query(scope=scope, now=services.clock())
    found = await rt.call(lambda: services.store.slots(query, keys, history=True))
    versions = {slot: counting(rows, query.now) for slot, rows in found.items()}
    news = {
        number: (fact, since)
        for number, (fact, since) in news.items()
        if not any(
            forbidden(fact, row) or outweighs(row, fact) or _disputes(fact, since, row, messages)
            for row in versions.get(str(fact.slot), ())
        )
    }
    slotted = settle_slots(news, versions, allowance, scope=scope, expires_at=expires_at)
    return _joined(slotted, recalled)


def _settles(fact: Fact, scope: Scope) -> bool:
    """Whether code may settle a fact about a slot: it is believed, and says one thing only."""
    trusted = trust_of(fact.origin, user_id=scope.user_id) == TRUSTED
    return trusted and not says_more(fact.text)


def outweighs(row: MemoryRecord, fact: Fact) -> bool:
    """Whether what holds is borne out by its messages, and the fact not by its own nor by what holds."""
    if row.retired_at is not None or row.support != "supported" or fact.support != "doubtful":
        return False
    return bool(doubts_beside(fact, row))


def _disputes(fact: Fact, since: Micros, row: MemoryRecord, messages: Sequence[Message]) -> bool:
    """Whether a fact may be a correction of what holds, rather than what was before it.

    "In Rome since 2019", said when "in Paris since 2020" held already: the dates do not tell which. Nor do
    they if "moved to Rome today" is said on the day on which Paris was.
    """
    if row.retired_at is not None or not since < row.valid_from <= said_at(fact, messages):
        return False
    if analysis.text_key(fact.text) == analysis.text_key(row.text):
        return False
    value = frozenset(analysis.query_terms(fact.text)).difference(analysis.query_terms(row.text))
    said = [messages[position].content for position in fact.cites]
    if holds_still(fact.text) or may_follow(fact, messages, row.valid_from):
        return True
    return any(amends(text) or holds_now(text, value) for text in said)


def counting(rows: Iterable[MemoryRecord], now: Micros) -> list[MemoryRecord]:
    """The versions that say something of their slot."""
    return [row for row in rows if _counts(row, now)]


def _counts(row: MemoryRecord, now: Micros) -> bool:
    """Whether a version says something of its slot: not if it was taken back, or has expired."""
    if row.trust != TRUSTED or (row.expires_at is not None and row.expires_at <= now):
        return False
    return row.retired_at is None or row.superseded_by is not None


def _joined(slotted: Slotted, recalled: Recalled) -> tuple[Slotted, Recalled]:
    """Both with one numbering of memories."""
    memories = list(recalled.memories)
    place = {memory.memory_id: number for number, memory in enumerate(memories)}
    for memory in slotted.memories:
        if memory.memory_id not in place:
            place[memory.memory_id] = len(memories)
            memories.append(memory)
    decisions = tuple(
        decision
        if decision.target is None
        else replace(decision, target=place[slotted.memories[decision.target].memory_id])
        for decision in slotted.decisions
    )
    return replace(slotted, decisions=decisions), replace(recalled, memories=tuple(memories))


def settle_slots(
    facts: Mapping[int, tuple[Fact, Micros]],
    versions: Mapping[str, Sequence[MemoryRecord]],
    allowance: Allowance | None = None,
    *,
    scope: Scope | None = None,
    expires_at: Micros | None,
) -> Slotted:
    """The facts of a batch against all that is known of their slots.

    Args:
        facts: By number in the batch, each with its slot and the instant from which it holds.
        versions: By slot: every trusted version, closed ones included.
        allowance: A slot that needs more is left alone, and its facts are added. None: no limit.
        scope: What the facts are told for; None: all that is known was told for it.
        expires_at: When the facts will expire.
    """
    lines: dict[str, list[tuple[int, Fact, Micros]]] = {}
    for number, (fact, since) in facts.items():
        lines.setdefault(str(fact.slot), []).append((number, fact, since))
    whole = Slotted()
    for slot, news in lines.items():
        known = versions.get(slot, ())
        if not known and len(news) == 1:
            continue  # a memory without a slot may say the same: the model compares them
        current = [row for row in known if row.retired_at is None]
        if len(_lasting(current)) > 1 or _at_once(news) or _sooner_gone(news, current, expires_at):
            continue  # several values stand side by side: this is no matter of time alone
        line = _Line(known, scope)
        for number, fact, since in sorted(news, key=lambda item: (item[2], item[0])):
            line.insert(number, fact, since)
        told = line.told()
        if allowance is not None:
            numbers = [number for number, _, _ in news]
            if told.destructive and not allowance.covers(numbers, told.destructive):
                told = _left_alone(news)
            allowance.spend(numbers, told.destructive)
        whole = _both(whole, told)
    return whole


def _at_once(news: Sequence[tuple[int, Fact, Micros]]) -> bool:
    """Whether different values begin at one instant: two addresses in one breath, not one after another."""
    return len({since for _, _, since in news}) < len({analysis.text_key(fact.text) for _, fact, _ in news})


def _lasting(rows: Sequence[MemoryRecord]) -> set[bytes]:
    """The values of those that expire last."""
    longest = (row for row in rows if not any(outlasts(other.expires_at, row.expires_at) for other in rows))
    return {analysis.text_key(row.text) for row in longest}


def _sooner_gone(
    news: Sequence[tuple[int, Fact, Micros]], rows: Sequence[MemoryRecord], expires_at: Micros | None
) -> bool:
    """Whether a value would end one that it expires before: what is told for a time ends nothing lasting."""
    for row in rows:
        key = analysis.text_key(row.text)
        for _, fact, since in news:
            if since < row.valid_from:
                if outlasts(expires_at, row.expires_at):
                    return True
            elif outlasts(row.expires_at, expires_at) and analysis.text_key(fact.text) != key:
                return True
    return False


def _left_alone(news: Sequence[tuple[int, Fact, Micros]]) -> Slotted:
    reason = "too many updates and deletions in one call"
    return Slotted(
        decisions=tuple(Decision(fact=number, operation="ADD", reason=reason) for number, _, _ in news),
        rejected=tuple(Rejection(item=f"UPDATE by {fact.text}", reason=reason) for _, fact, _ in news),
    )


def _both(one: Slotted, other: Slotted) -> Slotted:
    first = len(one.memories)
    moved = tuple(
        decision if decision.target is None else replace(decision, target=first + decision.target)
        for decision in other.decisions
    )
    return Slotted(
        decisions=one.decisions + moved,
        memories=one.memories + other.memories,
        corrections=one.corrections + other.corrections,
        until={**one.until, **other.until},
        cuts={**one.cuts, **other.cuts},
        rejected=one.rejected + other.rejected,
    )


@dataclass(slots=True)
class _Span:
    """One value over one interval; of a version that is stored, or of a fact that is new."""

    start: Micros
    end: Micros | None
    key: object
    order: tuple[Micros, int]
    record: MemoryRecord | None = None
    fact: int | None = None
    narrower: bool = False

    def holds(self, instant: Micros) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)


class _Line:
    """The values of one slot over time."""

    def __init__(self, known: Sequence[MemoryRecord], scope: Scope | None) -> None:
        self._spans = [
            _Span(
                start=record.valid_from,
                end=record.valid_to if record.retired_at is not None else None,
                key=analysis.text_key(record.text),
                order=(record.recorded_at, record.revision),
                record=record,
                narrower=scope is not None and is_narrower(record, scope),
            )
            for record in known
            if record.retired_at is None or record.valid_to is None or record.valid_to > record.valid_from
        ]
        self._repeats: dict[int, _Span] = {}

    def insert(self, number: int, fact: Fact, since: Micros) -> None:
        """Put one fact in its place, behind what began to hold before it or together with it."""
        key = analysis.text_key(fact.text)
        holding = [span for span in self._spans if span.holds(since)]
        before = max(holding, key=lambda s: (s.start, s.order), default=None)
        again = before is not None and before.key == key
        own = [span for span in holding if span.key == key and not span.narrower] if again else []
        repeated = max(own, key=lambda s: (s.start, s.order), default=None)
        # What a run was told later stands beside it, as it does if it is told in that order.
        later = [span.start for span in self._spans if span.start > since and not span.narrower]
        for span in holding:
            # What is said again ends other values beside it, and nothing of the past.
            if not again or (span.key != key and span.end is None):
                span.end = since
        if repeated is not None:
            self._repeats[number] = repeated
            return
        end = min(later, default=None)
        self._spans.append(_Span(start=since, end=end, key=key, order=(since, number), fact=number))

    def told(self) -> Slotted:
        """What has to be done so that the store agrees with the line."""
        decisions: list[Decision] = []
        memories: list[MemoryRecord] = []
        until: dict[int, tuple[Micros, str | int]] = {}
        newest = max(
            (span for span in self._spans if span.fact is not None and span.end is None),
            key=lambda span: span.start,
            default=None,
        )
        replaced = [s for s in self._spans if s.record and s.record.retired_at is None and s.end is not None]
        replaced = [s for s in replaced if not s.narrower] or replaced
        target = max(replaced, key=lambda s: (s.start, s.order), default=None) if newest is not None else None
        if newest is not None:
            decisions.append(_current(newest, target, memories))
        for span in self._spans:
            if span.fact is not None and span is not newest:
                assert span.end is not None
                until[span.fact] = (span.end, self._successor(span))
                decisions.append(Decision(fact=span.fact, operation="ADD", reason=LATER_KNOWN))
        decisions += [_repeated(number, said, memories) for number, said in self._repeats.items()]
        return Slotted(
            decisions=tuple(decisions),
            memories=tuple(memories),
            corrections=tuple(self._corrections(newest, target)),
            until=until,
            cuts=cuts_of(
                [span.record for span in self._spans if span.record is not None],
                [(span.start, span.fact) for span in self._spans if span.fact is not None],
            ),
        )

    def _successor(self, span: _Span) -> str | int:
        following = min(
            (other for other in self._spans if other.start >= (span.end or 0) and other is not span),
            key=lambda other: other.start,
        )
        if following.fact is not None:
            return following.fact
        assert following.record is not None
        return following.record.memory_id

    def _heir(self, target: _Span | None) -> str | None:
        """The memory that goes on: the one that is updated, or that was said again."""
        spans = [span for span in (target, *self._repeats.values()) if span is not None]
        return next((span.record.memory_id for span in spans if span.record is not None), None)

    def _corrections(
        self, newest: _Span | None, target: _Span | None
    ) -> Iterator[AmendMemory | RetireMemory]:
        for span in self._spans:
            record = span.record
            if record is None or span.end is None:
                continue
            if record.retired_at is None and span is not target:
                yield RetireMemory(
                    memory_id=record.memory_id,
                    expected_revision=record.revision,
                    valid_to=span.end,
                    superseded_by=self._heir(target),
                    reason="another value of the same",
                )
                continue
            # An update closes its target when the new value begins; a value in between began earlier.
            closes = newest.start if span is target and newest is not None else record.valid_to
            if span.end != closes:
                yield AmendMemory(
                    memory_id=record.memory_id,
                    revision=record.revision,
                    valid_to=span.end,
                    reason="something in between became known",
                )


def _current(newest: _Span, target: _Span | None, memories: list[MemoryRecord]) -> Decision:
    assert newest.fact is not None
    if target is None or target.record is None:
        return Decision(fact=newest.fact, operation="ADD")
    memories.append(target.record)
    return Decision(
        fact=newest.fact, operation="UPDATE", target=len(memories) - 1, reason="a later value of the same"
    )


def _repeated(number: int, said: _Span, memories: list[MemoryRecord]) -> Decision:
    if said.record is None or said.record.retired_at is not None:
        return Decision(fact=number, operation="NONE", reason="known already")
    memories.append(said.record)
    return Decision(fact=number, operation="NONE", target=len(memories) - 1, reason="known already")
