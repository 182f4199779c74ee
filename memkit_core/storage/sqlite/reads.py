"""What is read row by row: memories by query, history, messages, owners, pending work."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

from ...errors import IntegrityError
from ...protocols import IndexWork, OwnerState, Query, StoredBatch
from ...types import EventRecord, MemoryRecord, MessageRecord, Micros, OwnerKey, Ref, Scope
from .chronicle import Happened, Version, amendments_of, as_known, events_agree, version_of
from .conditions import query_condition, scope_condition
from .driver import Connection, Error
from .inspection import lenient
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
from .seals import WORK_SUM, is_sound_row

T = TypeVar("T")

_MAX_ACTORS = 1_000


def read(
    connection: Connection,
    query: Query,
    units: Collection[int],
    damaged: set[int] | None = None,
    *,
    alike: bool = False,
) -> list[MemoryRecord]:
    """See ``RecordStore.read``."""
    owner, _ = find_owner(connection, query.scope)
    if not owner or not units:
        return []
    condition, values = query_condition(query, owner)
    named = "json_each(?) u"
    if alike:
        named = (
            "(SELECT c.unit AS value FROM json_each(?1) u CROSS JOIN memories o ON o.unit = u.value"
            " CROSS JOIN memories c INDEXED BY memories_text ON c.owner = o.owner AND c.text_key = o.text_key"
            " WHERE c.retired_at IS NULL UNION SELECT u.value FROM json_each(?1) u) u"
        )
    select = (
        f"SELECT {M_RECORD_COLUMNS} FROM {named} CROSS JOIN memories m ON m.unit = u.value WHERE {condition}"
    )
    parameters = (json.dumps(sorted(set(units))), *values)
    return _readable(connection, lambda: _versions(connection, query, select, parameters, damaged)[0])


def scan(
    connection: Connection,
    query: Query,
    *,
    limit: int,
    after: tuple[Micros, str] | None,
    damaged: set[int] | None = None,
) -> list[MemoryRecord]:
    """See ``RecordStore.scan``. For what is damaged and left out, further rows are read."""
    owner, _ = find_owner(connection, query.scope)
    if not owner:
        return []
    condition, values = query_condition(query, owner)
    found: list[MemoryRecord] = []
    while True:
        behind = "" if after is None else " AND (m.created_at, m.memory_id) < (?, ?)"
        select = (
            f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE {condition}{behind}"
            " ORDER BY m.created_at DESC, m.memory_id DESC LIMIT ?"
        )
        wanted = limit - len(found)
        parameters = (*values, *(after or ()), wanted)
        records, rows = _readable(
            connection,
            lambda: _versions(connection, query, select, parameters, damaged),  # noqa: B023 - called at once
        )
        found += records
        if len(rows) < wanted or len(found) == limit:
            return found
        after = (rows[-1][16], rows[-1][1])


def _versions(
    connection: Connection, query: Query, select: str, values: tuple[Any, ...], damaged: set[int] | None
) -> tuple[list[MemoryRecord], list[Any]]:
    """The sound versions of the query's owner among the rows that a statement finds, and these rows."""
    rows = connection.execute(select, values).fetchall()
    records = belonging(records_of(connection, rows, damaged), query.scope, damaged)
    return as_known_at(connection, records, query.known_at), rows


def _readable(connection: Connection, look: Callable[[], T]) -> T:
    """What a look finds. Texts that are no Unicode any more get marks, which fit no hash."""
    try:
        return look()
    except Error as error:
        if "decode to UTF-8" not in str(error):
            raise
    with lenient(connection):
        return look()


def as_known_at(
    connection: Connection, records: list[MemoryRecord], known_at: Micros | None
) -> list[MemoryRecord]:
    """Versions as they stood at a knowledge time (None: now), without what was said of their ends later."""
    if known_at is None:
        return records
    amended = amendments_of(connection, json.dumps([record.unit for record in records]))
    return [as_known(record, amended.get(record.unit, ()), known_at) for record in records]


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
        f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.memory_id = ? AND {condition}"
        " ORDER BY m.revision",
        (memory_id, *values),
    ).fetchall()
    versions = {record.revision: record for record in records_of(connection, rows)}
    if not versions:
        return []
    amended = amendments_of(connection, json.dumps([record.unit for record in versions.values()]))
    chain: dict[int, Version] = {
        number: version_of(record, amended.get(record.unit, ())) for number, record in versions.items()
    }
    found: list[EventRecord] = []
    events = connection.execute(
        "SELECT e.sequence, e.content_hash, b.uuid, e.memory_id, e.operation, e.revision, e.reason,"
        " e.actor_id, e.recorded_at, e.batch FROM events e LEFT JOIN batches b ON b.id = e.batch"
        " WHERE e.memory_id = ? ORDER BY e.sequence",
        (memory_id,),
    )
    for sequence, seal, batch_id, *row in events:
        operation, revision = row[1], row[2]
        now, before = versions.get(revision), versions.get(revision - 1)
        if now is None or not is_sound_row(row, seal):
            raise IntegrityError(_DAMAGED_HISTORY.format(memory_id))
        if operation == "RESTORE" and before is not None and not chain[before.revision].replaced:
            before = None  # nothing was current
        old = {"ADD": None, "UPDATE": before, "RESTORE": before}.get(operation, now)
        found.append(
            EventRecord(
                sequence=sequence,
                memory_id=memory_id,
                operation=operation,
                revision=revision,
                old_text=None if old is None else old.text,
                new_text=None if operation == "DELETE" else now.text,
                reason=row[3],
                actor_id=row[4],
                recorded_at=row[5],
                batch_id=batch_id,
            )
        )
    if not events_agree(
        list(chain.values()), [Happened(e.operation, e.revision, e.recorded_at) for e in found]
    ):
        raise IntegrityError(_DAMAGED_HISTORY.format(memory_id))
    return found


_DAMAGED_HISTORY: Final = (
    "the history of memory {} is damaged: see memory.admin.doctor(), and restore the file from a backup"
)


def messages(
    connection: Connection, scope: Scope, units: Collection[int], damaged: set[int] | None = None
) -> list[MessageRecord]:
    """See ``RecordStore.messages``."""
    owner, _ = find_owner(connection, scope)
    if not owner or not units:
        return []
    condition, values = scope_condition(scope, owner, "t")
    select = (
        "SELECT t.unit, t.session, t.content_hash, b.uuid || ':' || t.position, t.user_id, t.agent_id,"
        " t.run_id, t.role, t.actor_id, t.content, t.origin, t.flags, t.observed_at, t.recorded_at, t.indexed"
        " FROM json_each(?) u CROSS JOIN messages t ON t.unit = u.value JOIN batches b ON b.id = t.batch"
        f" WHERE {condition} AND t.hidden_at IS NULL ORDER BY t.unit"
    )
    parameters = (json.dumps(sorted(set(units))), *values)
    rows = _readable(connection, lambda: connection.execute(select, parameters).fetchall())
    found: list[MessageRecord] = []
    for unit, session, seal, *row in rows:
        message = _message(unit, session, row)
        if is_sound_row(row, seal) and _belongs(message, scope):
            found.append(message)
        elif damaged is None:
            raise IntegrityError(
                f"message {message.message_id} is damaged, its text cannot be trusted: see"
                " memory.admin.doctor(), and restore the file from a backup"
            )
        else:
            damaged.add(unit)
    return found


def _message(unit: int, session: int, row: list[Any]) -> MessageRecord:
    message_id, user_id, agent_id, run_id, role, actor_id, content, origin, _, observed_at = row[:10]
    return MessageRecord(
        role=role,
        content=content,
        actor_id=actor_id,
        observed_at=observed_at,
        origin=origin,
        unit=unit,
        message_id=message_id,
        user_id=user_id,
        agent_id=agent_id,
        run_id=run_id,
        session=session,
        recorded_at=row[10],
    )


def _belongs(record: MemoryRecord | MessageRecord, scope: Scope) -> bool:
    """Whether the ids of a row name the owner under whose number it was found."""
    return Scope(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id).owner == scope.owner


def belonging(
    records: list[MemoryRecord], scope: Scope, damaged: set[int] | None = None
) -> list[MemoryRecord]:
    """The records themselves; ``damaged`` takes those whose ids name another owner.

    Raises:
        IntegrityError: There is one, and nothing takes it.
    """
    strays = {record.unit: record for record in records if not _belongs(record, scope)}
    if damaged is not None:
        damaged.update(strays)
        return [record for record in records if record.unit not in strays]
    for record in strays.values():
        raise IntegrityError(
            f"memory {record.memory_id} is kept under another owner's number:"
            " memory.admin.doctor(repair=True) puts it back"
        )
    return records


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
        "SELECT name FROM actors WHERE owner = ? ORDER BY name LIMIT ?", (row[0], _MAX_ACTORS)
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
    """See ``RecordStore.index_work``. A unit that has left its space since is to be deleted.

    What does not match its checksum stays pending, untouched: it may be about anything.
    """
    rows = connection.execute(
        "SELECT w.sequence, o.kind, o.value, w.space, w.ref_id, w.revision, w.attempts, v.data, v.crc32,"
        " w.owner, w.unit, w.last_error"
        " FROM index_work w JOIN owners o ON o.id = w.owner LEFT JOIN vectors v ON w.removed = 0"
        " AND v.owner = w.owner AND v.space = w.space AND v.unit = w.unit"
        f" WHERE w.index_name = ? AND w.crc32 = {WORK_SUM}"
        " ORDER BY w.sequence LIMIT ?",
        (index, limit),
    ).fetchall()
    return [
        IndexWork(
            sequence=sequence,
            owner=OwnerKey(kind, value),
            ref=Ref(SPACE_NAMES[int(space)], ref_id, revision),
            vector=None if data is None else unpack_vector((number, space, unit), data, checksum),
            attempts=attempts,
            last_error=last_error,
        )
        for (
            sequence,
            kind,
            value,
            space,
            ref_id,
            revision,
            attempts,
            data,
            checksum,
            number,
            unit,
            last_error,
        ) in rows
    ]
