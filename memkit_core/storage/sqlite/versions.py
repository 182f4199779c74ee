"""Current versions: found, ended one by one, ended all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...protocols import Query
from ...types import MemoryRecord, Micros, Scope
from .batches import hide_messages
from .chronicle import amendment_seal
from .conditions import query_condition, scope_condition
from .draft import Draft
from .driver import Connection
from .prepare import Terms
from .rows import M_RECORD_COLUMNS, MEMORY, find_owner, payload_hash, record_of, records_of, sources_of
from .seals import closed_seal, is_sound, memory_seal, seal_batch
from .tallies import settle


def current_version(
    connection: Connection, scope: Scope | None, owner: int, memory_id: str
) -> MemoryRecord | None:
    """The current version of a memory inside a scope (None: anywhere), with its sources."""
    condition, values = ("1", list[Any]()) if scope is None else scope_condition(scope, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.memory_id = ? AND m.retired_at IS NULL"
        f" AND {condition}",
        (memory_id, *values),
    ).fetchall()
    return records_of(connection, rows)[0] if rows else None


def version_of(
    connection: Connection, scope: Scope, owner: int, memory_id: str, revision: int
) -> tuple[MemoryRecord | None, int]:
    """A version of a memory inside a scope, with its sources, and the memory's last revision."""
    condition, values = scope_condition(scope, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.memory_id = ? AND m.revision = ? AND {condition}",
        (memory_id, revision, *values),
    ).fetchall()
    (last,) = connection.execute(
        "SELECT max(revision) FROM memories WHERE memory_id = ?", (memory_id,)
    ).fetchone()
    return (records_of(connection, rows)[0], last) if rows else (None, 0)


def amend_version(
    draft: Draft, old: MemoryRecord, *, now: Micros, valid_to: Micros, superseded_by: str | None
) -> MemoryRecord:
    """Give a closed version another end; what was believed until now stays in ``amendments``."""
    noted = draft.connection.execute(
        "SELECT 1 FROM amendments WHERE unit = ? AND until >= ?", (old.unit, now)
    ).fetchone()
    if noted is None:  # else what was believed before that time is told already
        before = (old.unit, now, old.valid_to or now, old.superseded_by)
        draft.connection.execute(
            "INSERT INTO amendments (unit, until, valid_to, superseded_by, content_hash)"
            " VALUES (?, ?, ?, ?, ?)",
            (*before, amendment_seal(*before)),
        )
    end_otherwise(draft.connection, old.unit, valid_to=valid_to, superseded_by=superseded_by)
    return replace(old, valid_to=valid_to, superseded_by=superseded_by)


def end_otherwise(connection: Connection, unit: int, *, valid_to: Micros, superseded_by: str | None) -> None:
    """Change how a closed version ends. The hash of a damaged row is left, and goes on telling."""
    row = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.unit = ?", (unit,)
    ).fetchone()
    sources, seal = sources_of(connection, [unit]).get(unit, {}), row[26]
    if is_sound(row, sources):
        seal = closed_seal(
            memory_seal(payload_hash(row[1:26]), sources), valid_to, row[18], row[19], superseded_by
        )
    connection.execute(
        "UPDATE memories SET valid_to = ?, superseded_by = ?, content_hash = ? WHERE unit = ?",
        (valid_to, superseded_by, seal, unit),
    )


def close_version(
    draft: Draft,
    old: MemoryRecord,
    *,
    now: Micros,
    valid_to: Micros,
    deleted: bool,
    superseded_by: str | None,
) -> MemoryRecord:
    """End a current version; returns it as it stands then."""
    draft.retire(old.unit, Terms.of(old.text, old.actor_id, old.event_time))
    closing = (valid_to, now, now if deleted else None, superseded_by)
    (seal,) = draft.connection.execute(
        "SELECT content_hash FROM memories WHERE unit = ?", (old.unit,)
    ).fetchone()
    draft.connection.execute(
        "UPDATE memories SET valid_to = ?, retired_at = ?, deleted_at = ?, superseded_by = ?,"
        " content_hash = ? WHERE unit = ?",
        (*closing, closed_seal(seal, *closing), old.unit),
    )
    draft.work(MEMORY, old.unit, old.memory_id, old.revision, removed=True)
    return replace(
        old,
        valid_to=valid_to,
        retired_at=now,
        deleted_at=now if deleted else None,
        superseded_by=superseded_by,
    )


def hide_sources(draft: Draft, memory_ids: list[str], now: Micros) -> None:
    """Take the messages out of search that these retired memories cite and no current one does."""
    draft.flush()
    rows = draft.connection.execute(
        "SELECT DISTINCT s.message FROM json_each(?) u JOIN memories m ON m.memory_id = u.value"
        " JOIN sources s ON s.memory = m.unit WHERE m.owner = ? AND NOT EXISTS (SELECT 1 FROM sources o"
        " JOIN memories l ON l.unit = o.memory WHERE o.message = s.message AND l.retired_at IS NULL)",
        (json.dumps(memory_ids), draft.owner),
    ).fetchall()
    hide_messages(draft, [row[0] for row in rows], now)


def retire_all(
    connection: Connection,
    query: Query,
    *,
    recorded_at: Micros,
    reason: str,
    hide: bool,
    indexes: Iterable[str],
) -> int:
    """See ``RecordStore.retire_all``."""
    owner, revision = find_owner(connection, query.scope)
    if not owner:
        return 0
    draft = Draft(connection, owner, tuple(indexes))
    condition, values = query_condition(query, owner)
    rows = connection.execute(
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE {condition} AND m.retired_at IS NULL"
        " ORDER BY m.unit",
        values,
    ).fetchall()
    for row in rows:
        old = record_of(row)
        close_version(draft, old, now=recorded_at, valid_to=recorded_at, deleted=True, superseded_by=None)
        draft.event("DELETE", old.memory_id, old.revision, reason=reason, actor_id=None, at=recorded_at)
    if rows and not hide:
        hide_sources(draft, [row[1] for row in rows], recorded_at)
    if hide:
        where, narrowing = scope_condition(query.scope, owner, "t")
        units = connection.execute(
            f"SELECT t.unit FROM messages t WHERE {where} AND t.hidden_at IS NULL", narrowing
        ).fetchall()
        hide_messages(draft, [unit for (unit,) in units], recorded_at)
        pending = connection.execute(
            f"SELECT t.id FROM batches t WHERE {where} AND t.pending = 1", narrowing
        ).fetchall()
        for (batch,) in pending:
            connection.execute(
                "UPDATE batches SET pending = 0, job = NULL, lease = NULL, lease_until = NULL WHERE id = ?",
                (batch,),
            )
            seal_batch(connection, batch)
    draft.flush()
    if rows:
        settle(connection, owner, draft.written, revision=revision + 1)
    return len(rows)
