"""What was said of one thing over time, and what changed since a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from ...protocols import Changed, Query
from ...types import MemoryRecord, Micros, Scope
from .conditions import query_condition, scope_condition, version_condition
from .driver import Connection
from .reads import as_known_at, belonging
from .rows import M_RECORD_COLUMNS, find_owner, records_of


def slots(
    connection: Connection, query: Query, keys: Collection[str], *, history: bool
) -> dict[str, tuple[MemoryRecord, ...]]:
    """See ``RecordStore.slots``."""
    found: dict[str, tuple[MemoryRecord, ...]] = dict.fromkeys(keys, ())
    owner, _ = find_owner(connection, query.scope)
    if not owner or not found:
        return found
    condition, values = (version_condition if history else query_condition)(query, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM json_each(?) k CROSS JOIN memories m INDEXED BY memories_slots"
        f" ON m.slot = k.value WHERE m.slot IS NOT NULL AND {condition} ORDER BY m.unit",
        (json.dumps(list(found), ensure_ascii=False), *values),
    ).fetchall()
    records = belonging(records_of(connection, rows), query.scope)
    for record in as_known_at(connection, records, None if history else query.known_at):
        assert record.slot is not None  # that is how it was found
        found[record.slot] = (*found[record.slot], record)
    return found


def changed_ids(
    connection: Connection, scope: Scope, time: Micros, among: Collection[str] | None
) -> list[str]:
    """The memories of a scope of which a version was recorded, retired or amended after a time, in order."""
    owner, _ = find_owner(connection, scope)
    condition, values = scope_condition(scope, owner)
    if among is not None:
        rows = connection.execute(
            "SELECT DISTINCT m.memory_id FROM json_each(?) u CROSS JOIN memories m ON m.memory_id = u.value"
            f" WHERE {condition} AND (m.recorded_at > ? OR m.retired_at > ? OR EXISTS"
            " (SELECT 1 FROM amendments a WHERE a.unit = m.unit AND a.until > ?)) ORDER BY 1",
            (json.dumps(list(among), ensure_ascii=False), *values, time, time, time),
        )
        return [memory_id for (memory_id,) in rows]
    # New memories that are current, later versions, and closed ones: each has an index that begins there.
    # Amended are closed versions only: the owner's are looked through, and nobody else's.
    rows = connection.execute(
        "SELECT m.memory_id FROM memories m INDEXED BY memories_listing"
        f" WHERE {condition} AND m.retired_at IS NULL AND m.created_at > ?"
        " UNION SELECT m.memory_id FROM memories m INDEXED BY memories_revised"
        f" WHERE {condition} AND m.revision > 1 AND m.recorded_at > ?"
        " UNION SELECT m.memory_id FROM memories m INDEXED BY memories_closed"
        f" WHERE {condition} AND m.retired_at IS NOT NULL AND m.retired_at > ?"
        " UNION SELECT m.memory_id FROM memories m INDEXED BY memories_closed"
        " CROSS JOIN amendments a ON a.unit = m.unit"
        f" WHERE {condition} AND m.retired_at IS NOT NULL AND a.until > ? ORDER BY 1",
        (*values, time, *values, time, *values, time, *values, time),
    )
    return [memory_id for (memory_id,) in rows]


def changed(connection: Connection, scope: Scope, time: Micros, ids: Sequence[str]) -> tuple[Changed, ...]:
    """Memories as they were known at a time, and as they are now."""
    owner, _ = find_owner(connection, scope)
    condition, values = scope_condition(scope, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM json_each(?) u CROSS JOIN memories m ON m.memory_id = u.value"
        f" WHERE {condition} ORDER BY m.revision",
        (json.dumps(list(ids), ensure_ascii=False), *values),
    ).fetchall()
    now: dict[str, tuple[MemoryRecord, ...]] = {}
    then: dict[str, tuple[MemoryRecord, ...]] = {}
    records = belonging(records_of(connection, rows), scope)
    for record, earlier in zip(records, as_known_at(connection, records, time), strict=True):
        now[record.memory_id] = (*now.get(record.memory_id, ()), record)
        if record.recorded_at <= time:
            then[record.memory_id] = (*then.get(record.memory_id, ()), earlier)
    return tuple(
        Changed(one, _current(then.get(one, ())), _current(now[one]), then.get(one, ()), now[one])
        for one in ids
        if one in now
    )


def _current(versions: Sequence[MemoryRecord]) -> MemoryRecord | None:
    """The version without an end, if there is one; of two that one instant knew, the later."""
    return next((one for one in reversed(versions) if one.retired_at is None), None)
