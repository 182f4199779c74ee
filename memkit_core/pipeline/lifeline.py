"""What one memory says over time, and the changes that make it say again what it said. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..protocols import AmendMemory, Change, RestoreMemory, RetireMemory
from ..types import MemoryRecord, Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time over which a version of a memory is believed to have held.

    Attributes:
        end: None while it holds.
    """

    start: Micros
    end: Micros | None
    record: MemoryRecord

    def like(self, other: Stretch) -> bool:
        """Whether both begin together and say the same."""
        return self.start == other.start and _content(self.record) == _content(other.record)


def _content(record: MemoryRecord) -> tuple[object, ...]:
    return (
        *(record.text, record.kind, dict(record.metadata), record.origin, record.trust, record.event_time),
        *(record.valid_from, record.expires_at, record.slot, dict(record.attributes), record.support),
        record.sources,
    )


def stretches(versions: Sequence[MemoryRecord]) -> tuple[Stretch, ...]:
    """When each version of a memory held, in the order of time; none that never did.

    Args:
        versions: All that are known of one memory, in the order of their revisions.
    """
    found: list[Stretch] = []
    cut: Micros | None = None
    for record in reversed(versions):
        end = _earliest(cut, None if record.retired_at is None else record.valid_to)
        if end is None or record.valid_from < end:
            found.append(Stretch(start=record.valid_from, end=end, record=record))
        # Whatever is said later counts from the time on that it speaks of, be it a new text or an end.
        cut = _earliest(cut, record.valid_from, None if record.deleted_at is None else record.valid_to)
    return tuple(reversed(found))


def _earliest(*times: Micros | None) -> Micros | None:
    return min((time for time in times if time is not None), default=None)


def changes_back(
    then: Sequence[MemoryRecord], now: Sequence[MemoryRecord], reason: str
) -> tuple[Change, ...]:
    """What makes a memory say of every time what it said, in the order given; empty if it says so already.

    Args:
        then: Its versions as they were known, in the order of their revisions; none if it was not there.
        now: Its versions as they are known now.
        reason: What the history says of it.
    """
    return tuple(_changes(then, now, reason))


def _changes(then: Sequence[MemoryRecord], now: Sequence[MemoryRecord], reason: str) -> Iterator[Change]:
    wanted, found = list(stretches(then)), list(stretches(now))
    while wanted and found and wanted[0].like(found[0]) and wanted[0].end == found[0].end:
        del wanted[0], found[0]
    if not wanted and not found:
        return
    memory_id = now[-1].memory_id
    # A memory's own id says that its next version came after, which is not so of its last one.
    after = then[-1].superseded_by if then and then[-1].superseded_by != memory_id else None
    if wanted and found and wanted[0].like(found[0]) and _longer(found[0], wanted[0]):
        kept, sooner = found.pop(0), wanted.pop(0).end
        assert sooner is not None  # it was shorter
        yield _ended(kept, sooner, reason, None if wanted else after)
    yield from _taken_back(found, wanted[0].start if wanted else None, reason)
    for place, stretch in enumerate(wanted, 1):
        following = wanted[place] if place < len(wanted) else None
        yield RestoreMemory(
            memory_id=memory_id, revision=stretch.record.revision, valid_from=stretch.start, reason=reason
        )
        if stretch.end is not None and (following is None or stretch.end < following.start):
            yield RetireMemory(
                memory_id=memory_id,
                valid_to=stretch.end,
                superseded_by=after if following is None else None,
                reason=reason,
            )


def _longer(one: Stretch, other: Stretch) -> bool:
    return other.end is not None and (one.end is None or one.end > other.end)


def _ended(stretch: Stretch, end: Micros, reason: str, after: str | None) -> Change:
    record = stretch.record
    if record.retired_at is None:
        return RetireMemory(memory_id=record.memory_id, valid_to=end, superseded_by=after, reason=reason)
    return AmendMemory(
        memory_id=record.memory_id,
        revision=record.revision,
        valid_to=end,
        superseded_by=after,
        reason=reason,
    )


def _taken_back(found: Sequence[Stretch], begin: Micros | None, reason: str) -> Iterator[Change]:
    """End what never held as far as is known again, but for what is said anew from ``begin`` on."""
    before = [stretch for stretch in found if begin is None or stretch.start < begin]
    if not before:
        return
    if found[-1].record.retired_at is None:  # where that ends, all before it does
        yield _ended(found[-1], before[0].start, reason, None)
        return
    for stretch in before:
        yield _ended(stretch, stretch.start, reason, None)
