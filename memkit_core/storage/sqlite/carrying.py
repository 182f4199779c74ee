"""What a new version takes from an earlier one of the same memory."""

from __future__ import annotations

from typing import Any

from ...protocols import RestoreMemory
from ...types import MemoryRecord, Micros
from .driver import Connection
from .prepare import PreparedUpdate
from .rows import MEMORY, RETIRED, dump_attributes, dump_metadata, vector_sum


def next_row(old: MemoryRecord, one: PreparedUpdate, now: Micros) -> tuple[Any, ...]:
    """The columns behind the unit of the version that an update opens."""
    change = one.change
    kept = None if change.lasting else old.expires_at
    return _row(
        old,
        revision=old.revision + 1,
        text=old.text if change.text is None else change.text,
        kind=old.kind if change.kind is None else change.kind,
        metadata=dump_metadata(old.metadata) if one.metadata is None else one.metadata,
        event_time=old.event_time if change.event_time is None else change.event_time,
        valid_from=change.valid_from,
        now=now,
        expires_at=kept if change.expires_at is None else change.expires_at,
        flags=old.flags if change.text is None else change.flags,
        qualities=_qualities_of(old) if change.text is None else one.qualities,
        origin=change.origin,
        trust=change.trust,
    )


def restored_row(earlier: MemoryRecord, change: RestoreMemory, revision: int, now: Micros) -> tuple[Any, ...]:
    """The columns behind the unit of the version that brings an earlier one back."""
    return _row(
        earlier,
        revision=revision,
        text=earlier.text,
        kind=earlier.kind,
        metadata=dump_metadata(earlier.metadata),
        event_time=earlier.event_time,
        valid_from=earlier.valid_from if change.valid_from is None else change.valid_from,
        now=now,
        expires_at=earlier.expires_at,
        flags=earlier.flags,
        qualities=_qualities_of(earlier),
    )


def _row(
    old: MemoryRecord,
    *,
    revision: int,
    text: str,
    kind: str,
    metadata: str,
    event_time: Micros | None,
    valid_from: Micros,
    now: Micros,
    expires_at: Micros | None,
    flags: int,
    qualities: tuple[str | None, str | None, str | None],
    origin: str | None = None,
    trust: str | None = None,
) -> tuple[Any, ...]:
    return (
        old.memory_id,
        revision,
        old.user_id,
        old.agent_id,
        old.run_id,
        old.actor_id,
        text,
        kind,
        old.memory_type,
        metadata,
        old.origin if origin is None else origin,
        old.trust if trust is None else trust,
        event_time,
        valid_from,
        None,
        old.created_at,
        now,
        None,
        None,
        None,
        expires_at,
        flags,
        *qualities,
    )


def _qualities_of(record: MemoryRecord) -> tuple[str | None, str | None, str | None]:
    support = None if record.support == "unchecked" else record.support
    return record.slot, support, dump_attributes(record.attributes)


def vector_of(connection: Connection, owner: int, record: MemoryRecord) -> bytes | None:
    """The vector of a version, None if there is none that is sound: a damaged one is made anew."""
    space = MEMORY if record.retired_at is None else RETIRED
    row = connection.execute(
        "SELECT data, crc32 FROM vectors WHERE owner = ? AND space = ? AND unit = ?",
        (owner, space, record.unit),
    ).fetchone()
    if row is None or vector_sum(owner, space, record.unit, row[0]) != row[1]:
        return None
    return bytes(row[0])


def carried_sources(connection: Connection, unit: int) -> dict[int, str]:
    """The messages that a version rests on: units and public ids, in order."""
    rows = connection.execute(
        "SELECT s.message, b.uuid, t.position FROM sources s JOIN messages t ON t.unit = s.message"
        " JOIN batches b ON b.id = t.batch WHERE s.memory = ? ORDER BY s.message",
        (unit,),
    )
    return {message: f"{uuid}:{position}" for message, uuid, position in rows}
