"""Everything a file holds as plain records, in the order it was stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from ...errors import IntegrityError
from ...protocols import Inspected
from ...types import OwnerKey
from .driver import Connection, configure, connect
from .losses import accept_losses
from .repair import inspect
from .rows import MEMORY, RETIRED, TURN
from .vectors import identity_of

Sink = Callable[[Mapping[str, Any]], None]

_TABLES: Final = ("owners", "batches", "messages", "memories", "events")
BATCH: Final = (
    "uuid, user_id, agent_id, run_id, pending, size, recorded_at, job, attempts, not_before, last_error,"
    " idempotency_key, fingerprint, result"
)
MESSAGE: Final = (
    "position, role, actor_id, content, origin, flags, observed_at, recorded_at, indexed, hidden_at"
)
MEMORY_COLUMNS: Final = (
    "memory_id, revision, user_id, agent_id, run_id, actor_id, text, kind, memory_type, metadata, origin,"
    " trust, event_time, valid_from, valid_to, created_at, recorded_at, retired_at, deleted_at,"
    " superseded_by, expires_at, flags, slot, support, attributes"
)
#: What stands in a record only where it is set.
OPTIONAL: Final = ("slot", "support", "attributes")
AMENDMENT: Final = "until, valid_to, superseded_by"
EVENT: Final = "memory_id, operation, revision, reason, actor_id, recorded_at"


def names_of(columns: str) -> list[str]:
    """The column names in a list of them."""
    return [name.strip() for name in columns.split(",")]


def _prefixed(columns: str, table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in names_of(columns))


def dump(
    connection: Connection, sink: Sink, owners: Collection[OwnerKey] | None, step: Callable[[int], None]
) -> None:
    """See ``MaintainableStore.dump``, inside the caller's transaction."""
    damage = inspect(connection, step).found
    if damage:
        raise IntegrityError(
            f"the store is damaged ({damage[0].table} {damage[0].key}: {damage[0].problem}), and damage "
            "must not travel: see memory.admin.doctor(). Nothing was written"
        )
    chosen = _chosen(connection, owners)
    counts = {
        table: connection.execute(
            f"SELECT count(*) FROM {table} WHERE {'id' if table == 'owners' else 'owner'} IN {chosen}"
        ).fetchone()[0]
        for table in _TABLES
    }
    sink({"kind": "header", "embedding": _embedding(connection, chosen), "counts": counts})
    rows = connection.execute(
        f"SELECT kind, value, revision, created_at FROM owners WHERE id IN {chosen} ORDER BY id"
    )
    for kind, value, revision, created_at in rows:
        sink({"kind": "owner", "of": kind, "value": value, "revision": revision, "created_at": created_at})
    names = names_of(BATCH)
    for row in connection.execute(f"SELECT {BATCH} FROM batches WHERE owner IN {chosen} ORDER BY id"):
        sink({"kind": "batch", **dict(zip(names, row, strict=True))})
    _dump_messages(connection, sink, chosen)
    _dump_memories(connection, sink, chosen)
    names = names_of(EVENT)
    for batch, *row in connection.execute(
        f"SELECT b.uuid, {_prefixed(EVENT, 'e')} FROM events e LEFT JOIN batches b ON b.id = e.batch"
        f" WHERE e.owner IN {chosen} ORDER BY e.sequence"
    ):
        sink({"kind": "event", **dict(zip(names, row, strict=True)), "batch": batch})


def dump_rest(
    connection: Connection, sink: Sink, owners: Collection[OwnerKey] | None, step: Callable[[int], None]
) -> Inspected:
    """The same of what is not damaged; returns what had to be left out.

    The losses are accepted in a copy of the file, so that an export is as whole as the store would be then.
    """
    if not inspect(connection, step).found:
        dump(connection, sink, owners, step)
        return Inspected(found=(), total=0)
    with TemporaryDirectory(prefix="memkit-") as folder:
        copy = configure(connect(str(Path(folder) / "copy.db")), "relaxed")
        try:
            connection.backup(copy)
            copy.execute("BEGIN IMMEDIATE")
            left_out = accept_losses(copy, step).told()
            dump(copy, sink, owners, step)
        finally:
            copy.close()
    return left_out


def _embedding(connection: Connection, chosen: str) -> dict[str, Any] | None:
    """The model of the vectors that follow; what the store holds of others must not show."""
    if connection.execute(f"SELECT 1 FROM vectors WHERE owner IN {chosen} LIMIT 1").fetchone() is None:
        return None
    identity = identity_of(connection)
    return None if identity is None else {"model": identity.model, "dimension": identity.dimension}


def _chosen(connection: Connection, owners: Collection[OwnerKey] | None) -> str:
    if owners is None:
        return "(SELECT id FROM owners)"
    numbers: list[int] = []
    for key in owners:
        row = connection.execute(
            "SELECT id FROM owners WHERE kind = ? AND value = ?", (key.kind, key.value)
        ).fetchone()
        if row is not None:
            numbers.append(row[0])
    return f"({', '.join(map(str, numbers))})"


def _dump_messages(connection: Connection, sink: Sink, chosen: str) -> None:
    names, sessions = names_of(MESSAGE), dict[int, int]()
    rows = connection.execute(
        f"SELECT b.uuid, t.session, t.session_position, v.data, {_prefixed(MESSAGE, 't')} FROM messages t"
        f" JOIN batches b ON b.id = t.batch LEFT JOIN vectors v ON v.owner = t.owner AND v.space = {TURN}"
        f" AND v.unit = t.unit WHERE t.owner IN {chosen} ORDER BY t.unit"
    )
    for uuid, session, place, vector, *row in rows:
        sink(
            {
                "kind": "message",
                "batch": uuid,
                **dict(zip(names, row, strict=True)),
                "session": sessions.setdefault(session, len(sessions) + 1),
                "place": place,
                "vector": vector,
            }
        )


def _dump_memories(connection: Connection, sink: Sink, chosen: str) -> None:
    names = names_of(MEMORY_COLUMNS)
    rows = connection.execute(
        f"SELECT m.unit, v.data, {_prefixed(MEMORY_COLUMNS, 'm')} FROM memories m LEFT JOIN vectors v"
        f" ON v.owner = m.owner AND v.unit = m.unit"
        f" AND v.space = CASE WHEN m.retired_at IS NULL THEN {MEMORY} ELSE {RETIRED} END"
        f" WHERE m.owner IN {chosen} ORDER BY m.unit"
    )
    for unit, vector, *row in rows:
        record = dict(zip(names, row, strict=True))
        record["metadata"] = json.loads(record["metadata"])
        record["kind_of_fact"] = record.pop("kind")
        for name in OPTIONAL:
            if record[name] is None:
                del record[name]
        noted = connection.execute(
            f"SELECT {AMENDMENT} FROM amendments WHERE unit = ? ORDER BY until", (unit,)
        ).fetchall()
        if noted:
            record["amendments"] = [dict(zip(names_of(AMENDMENT), one, strict=True)) for one in noted]
        if "attributes" in record:
            record["attributes"] = json.loads(record["attributes"])
        cited = connection.execute(
            "SELECT b.uuid, t.position FROM sources s JOIN messages t ON t.unit = s.message"
            " JOIN batches b ON b.id = t.batch WHERE s.memory = ? ORDER BY s.message",
            (unit,),
        )
        sources = [f"{uuid}:{position}" for uuid, position in cited]
        sink({"kind": "memory", **record, "sources": sources, "vector": vector})
