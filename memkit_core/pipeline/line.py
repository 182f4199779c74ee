"""The values of one slot over time, and where a new fact belongs among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .. import analysis
from ..protocols import AmendMemory, RetireMemory
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Micros, Scope
from .known import is_narrower
from .planned import Cuts, no_cuts
from .vetoes import cuts_of

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
            came then (a memory's id, or the number of a fact; None: it was taken back).
        cuts: See ``Cuts``; for every version that a correction may be about.
        rejected: Why something was not changed.
        destructive: How many memories it changes; what a run or agent says word for word like another one of
            them does not count again.
    """

    decisions: tuple[Decision, ...] = ()
    memories: tuple[MemoryRecord, ...] = ()
    corrections: tuple[AmendMemory | RetireMemory, ...] = ()
    until: Mapping[int, tuple[Micros, str | int | None]] = field(
        default_factory=dict[int, tuple[Micros, str | int | None]]
    )
    cuts: Cuts = field(default_factory=no_cuts)
    rejected: tuple[Rejection, ...] = ()
    destructive: int = 0

    @property
    def facts(self) -> frozenset[int]:
        """The facts that need no further decision."""
        return frozenset(decision.fact for decision in self.decisions)


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


class Line:
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
        until: dict[int, tuple[Micros, str | int | None]] = {}
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
        corrections = tuple(self._corrections(newest, target))
        return Slotted(
            decisions=tuple(decisions),
            memories=tuple(memories),
            corrections=corrections,
            destructive=self._changed(target, corrections),
            until=until,
            cuts=cuts_of(
                [span.record for span in self._spans if span.record is not None],
                [(span.start, span.fact) for span in self._spans if span.fact is not None],
            ),
        )

    def _changed(self, target: _Span | None, corrections: Sequence[AmendMemory | RetireMemory]) -> int:
        """See ``Slotted.destructive``."""
        named = {
            (c.memory_id, c.revision if isinstance(c, AmendMemory) else c.expected_revision)
            for c in corrections
        }
        changed = [
            span
            for span in self._spans
            if span.record is not None
            and (span is target or (span.record.memory_id, span.record.revision) in named)
        ]
        own = [span.key for span in changed if not span.narrower]
        return len(own) + len({span.key for span in changed if span.narrower}.difference(own))

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
