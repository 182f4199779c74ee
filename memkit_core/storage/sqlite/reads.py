"""What is read row by row: memories by query, history, messages, owners, pending work."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from ...protocols import IndexWork, OwnerState, Query, StoredBatch
from ...types import EventRecord, MemoryRecord, MessageRecord, Micros, OwnerKey, Ref, Scope
from .conditions import query_condition, scope_condition
from .driver import Connection
from .rows import (
    BATCH_COLUMNS,
    M_RECORD_COLUMNS,
    MEMORY,
    SPACE_NAMES,
    TURN,
    batch_of,
    find_owner,
    records_of,
    unpack_vector,
)

_MAX_ACTORS = 1_000


def read(connection: Connection, query: Query, units: Collection[int]) -> list[MemoryRecord]:
    """See ``RecordStore.read``."""
    owner, _ = find_owner(connection, query.scope)
    if not owner or not units:
        return []
    condition, values = query_condition(query, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM json_each(?) u CROSS JOIN memories m ON m.unit = u.value"
        f" WHERE {condition}",
        (json.dumps(sorted(set(units))), *values),
    ).fetchall()
    return records_of(connection, rows)


def scan(
    connection: Connection, query: Query, *, limit: int, after: tuple[Micros, str] | None
) -> list[MemoryRecord]:
    """See ``RecordStore.scan``."""
    owner, _ = find_owner(connection, query.scope)
    if not owner:
        return []
    condition, values = query_condition(query, owner)
    if after is not None:
        condition += " AND (m.created_at, m.memory_id) < (?, ?)"
        values += after
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE {condition}"
        " ORDER BY m.created_at DESC, m.memory_id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return records_of(connection, rows)


def count(connection: Connection, query: Query) -> int:
    """See ``RecordStore.count``."""
    owner, _ = find_owner(connection, query.scope)
    if not owner:
        return 0
    condition, values = query_condition(query, owner)
    found: int = connection.execute(f"SELECT count(*) FROM memories m WHERE {condition}", values).fetchone()[
        0
    ]
    return found


def history(connection: Connection, memory_id: str, scope: Scope | None) -> list[EventRecord]:
    """See ``RecordStore.history``. The texts are those of the versions around each event."""
    condition, values = "1", list[Any]()
    if scope is not None:
        condition, values = scope_condition(scope, find_owner(connection, scope)[0])
    rows = connection.execute(
        "SELECT e.sequence, e.operation, e.revision, e.reason, e.actor_id, e.recorded_at, b.uuid, m.text,"
        " before.text FROM events e"
        " JOIN memories m ON m.memory_id = e.memory_id AND m.revision = e.revision"
        " LEFT JOIN memories before ON before.memory_id = e.memory_id AND before.revision = e.revision - 1"
        f" LEFT JOIN batches b ON b.id = e.batch WHERE e.memory_id = ? AND {condition} ORDER BY e.sequence",
        (memory_id, *values),
    )
    return [
        EventRecord(
            sequence=sequence,
            memory_id=memory_id,
            operation=operation,
            revision=revision,
            old_text={"ADD": None, "UPDATE": before}.get(operation, text),
            new_text=None if operation == "DELETE" else text,
            reason=reason,
            actor_id=actor_id,
            recorded_at=recorded_at,
            batch_id=batch_id,
        )
        for sequence, operation, revision, reason, actor_id, recorded_at, batch_id, text, before in rows
    ]


def messages(connection: Connection, scope: Scope, units: Collection[int]) -> list[MessageRecord]:
    """See ``RecordStore.messages``."""
    owner, _ = find_owner(connection, scope)
    if not owner or not units:
        return []
    condition, values = scope_condition(scope, owner, "t")
    rows = connection.execute(
        "SELECT t.role, t.content, t.actor_id, t.observed_at, t.origin, t.unit, b.uuid, t.position,"
        " t.user_id, t.agent_id, t.run_id, t.session, t.recorded_at FROM json_each(?) u CROSS JOIN messages t"
        " ON t.unit = u.value JOIN batches b ON b.id = t.batch"
        f" WHERE {condition} AND t.hidden_at IS NULL ORDER BY t.unit",
        (json.dumps(sorted(set(units))), *values),
    )
    return [
        MessageRecord(
            role=role,
            content=content,
            actor_id=actor_id,
            observed_at=observed_at,
            origin=origin,
            unit=unit,
            message_id=f"{uuid}:{position}",
            user_id=user_id,
            agent_id=agent_id,
            run_id=run_id,
            session=session,
            recorded_at=recorded_at,
        )
        for (
            role,
            content,
            actor_id,
            observed_at,
            origin,
            unit,
            uuid,
            position,
            user_id,
            agent_id,
            run_id,
            session,
            recorded_at,
        ) in rows
    ]


def owner_state(connection: Connection, key: OwnerKey) -> OwnerState:
    """See ``RecordStore.owner_state``."""
    row = connection.execute(
        "SELECT o.id, o.revision, COALESCE(s.n, 0), COALESCE(t.n, 0) FROM owners o"
        " LEFT JOIN unit_stats s ON s.owner = o.id AND s.space = ?"
        " LEFT JOIN unit_stats t ON t.owner = o.id AND t.space = ? WHERE o.kind = ? AND o.value = ?",
        (MEMORY, TURN, key.kind, key.value),
    ).fetchone()
    if row is None:
        return OwnerState()
    actors = connection.execute(
        "SELECT name FROM actors WHERE owner = ? ORDER BY id LIMIT ?", (row[0], _MAX_ACTORS)
    ).fetchall()
    _, revision, memories, turns = row
    return OwnerState(
        revision=revision, live_memories=memories, turns=turns, actors=tuple(name for (name,) in actors)
    )


def read_batch(connection: Connection, batch_id: str) -> StoredBatch | None:
    """See ``RecordStore.batch``."""
    row = connection.execute(f"SELECT {BATCH_COLUMNS} FROM batches WHERE uuid = ?", (batch_id,)).fetchone()
    return None if row is None else batch_of(row)


def pending_batches(connection: Connection, owner: OwnerKey | None) -> int:
    """See ``RecordStore.pending_batches``."""
    if owner is None:
        found = connection.execute("SELECT count(*) FROM batches WHERE pending = 1").fetchone()
    else:
        found = connection.execute(
            "SELECT count(*) FROM batches b JOIN owners o ON o.id = b.owner"
            " WHERE b.pending = 1 AND o.kind = ? AND o.value = ?",
            (owner.kind, owner.value),
        ).fetchone()
    return int(found[0])


def index_work(connection: Connection, index: str, limit: int) -> list[IndexWork]:
    """See ``RecordStore.index_work``. A unit that has left its space since is to be deleted."""
    rows = connection.execute(
        "SELECT w.sequence, o.kind, o.value, w.space, w.ref_id, w.revision, w.attempts, v.data, v.crc32,"
        " w.owner, w.unit"
        " FROM index_work w JOIN owners o ON o.id = w.owner LEFT JOIN vectors v ON w.removed = 0"
        " AND v.owner = w.owner AND v.space = w.space AND v.unit = w.unit"
        " WHERE w.index_name = ? ORDER BY w.sequence LIMIT ?",
        (index, limit),
    ).fetchall()
    return [
        IndexWork(
            sequence=sequence,
            owner=OwnerKey(kind, value),
            ref=Ref(SPACE_NAMES[int(space)], ref_id, revision),
            vector=None if data is None else unpack_vector((number, space, unit), data, checksum),
            attempts=attempts,
        )
        for sequence, kind, value, space, ref_id, revision, attempts, data, checksum, number, unit in rows
    ]
