"""What was said before a memory began to hold: its place among the memory's earlier versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..protocols import AmendMemory, Runtime
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope
from .lifeline import Stretch, stretches
from .line import Slotted
from .moments import holds_from
from .services import Services
from .trust import forbidden


async def place_late(
    rt: Runtime,
    services: Services,
    scope: Scope,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    decisions: Sequence[Decision],
    late: Mapping[int, tuple[Micros, str]],
    slotted: Slotted,
) -> Slotted:
    """What slots settled, with the ends of the facts that came late and of the versions they cut short.

    Args:
        late: For each such fact the memory that ended it; see ``Decided.until``.
    """
    added = {decision.fact for decision in decisions if decision.operation == "ADD"}
    ends: dict[str, list[int]] = {}
    for number, (_, memory_id) in late.items():
        if number in added:
            ends.setdefault(memory_id, []).append(number)
    if not ends:
        return slotted
    versions = await rt.call(lambda: _versions(services, scope, frozenset(ends)))
    until = dict(slotted.until)
    corrections = list(slotted.corrections)
    cuts = dict(slotted.cuts)
    amended = {(c.memory_id, c.revision) for c in corrections if isinstance(c, AmendMemory)}
    for memory_id, numbers in ends.items():
        starts = sorted((holds_from(facts[number], messages), number) for number in numbers)
        line = stretches(versions.get(memory_id, ()))
        begins = [*(stretch.start for stretch in line), *(since for since, _ in starts)]
        for since, number in starts:
            until[number] = min((b for b in begins if b > since), default=late[number][0]), memory_id
            cut = next((stretch for stretch in line if _holds(stretch, since)), None)
            if cut is None or forbidden(facts[number], cut.record):
                continue
            record = cut.record
            key = memory_id, record.revision
            cuts[key] = (*cuts.get(key, ()), (since, number))
            if key not in amended:
                amended.add(key)
                reason = "something in between became known"
                corrections.append(
                    AmendMemory(memory_id=memory_id, revision=record.revision, valid_to=since, reason=reason)
                )
    return replace(slotted, until=until, corrections=tuple(corrections), cuts=cuts)


def _holds(stretch: Stretch, instant: Micros) -> bool:
    """Whether a closed version held then."""
    closed = stretch.end is not None and stretch.record.retired_at is not None
    return closed and stretch.start <= instant < (stretch.end or 0)


def _versions(
    services: Services, scope: Scope, memory_ids: frozenset[str]
) -> dict[str, Sequence[MemoryRecord]]:
    pages = services.store.changed_since(scope, 0, memory_ids=memory_ids)
    return {changed.memory_id: changed.now for page in pages for changed in page}
