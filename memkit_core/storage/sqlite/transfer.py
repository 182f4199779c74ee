"""Everything a file holds as plain records, in the order it was stored, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ... import analysis
from ...errors import ConflictError, IntegrityError, TransferError, UsageError
from ...protocols import Damage
from ...types import EmbeddingIdentity, OwnerKey, Scope
from .draft import EVENT_INSERT, MEMORY_INSERT, claim_dimension
from .driver import Connection, Error, typed
from .prepare import payload_hash
from .reindex import rebuild_owner
from .repair import add_names, inspect
from .rows import MEMORY, RETIRED, SPACE_CODES, TURN, digest, dump_metadata, vector_sum
from .seals import BATCH_SEALED, batch_seal, closed_seal, hidden_seal, memory_seal, owner_seal
from .vectors import identity_of, set_identity

Sink = Callable[[Mapping[str, Any]], None]

_TABLES: Final = ("owners", "batches", "messages", "memories", "events")
_BATCH: Final = (
    "uuid, user_id, agent_id, run_id, pending, size, recorded_at, job, attempts, not_before, last_error,"
    " idempotency_key, fingerprint, result"
)
_MESSAGE: Final = (
    "position, role, actor_id, content, origin, flags, observed_at, recorded_at, indexed, hidden_at"
)
_MEMORY: Final = (
    "memory_id, revision, user_id, agent_id, run_id, actor_id, text, kind, memory_type, metadata, origin,"
    " trust, event_time, valid_from, valid_to, created_at, recorded_at, retired_at, deleted_at,"
    " superseded_by, expires_at, flags"
)
_EVENT: Final = "sequence, memory_id, operation, revision, reason, actor_id, recorded_at"


def names_of(columns: str) -> list[str]:
    """The column names in a list of them."""
    return [name.strip() for name in columns.split(",")]


def _prefixed(columns: str, table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in names_of(columns))


# ---------------------------------------------------------------- out


def dump(connection: Connection, sink: Sink, owners: Collection[OwnerKey] | None) -> None:
    """See ``MaintainableStore.dump``, inside the caller's transaction."""
    damage = inspect(connection, lambda _: None).found
    if damage:
        raise IntegrityError(
            f"the store is damaged ({damage[0].table} {damage[0].key}: {damage[0].problem}), and damage "
            "must not travel: see memory.admin.doctor(). Nothing was written"
        )
    chosen = _chosen(connection, owners)
    identity = identity_of(connection)
    counts = {
        table: connection.execute(
            f"SELECT count(*) FROM {table} WHERE {'id' if table == 'owners' else 'owner'} IN {chosen}"
        ).fetchone()[0]
        for table in _TABLES
    }
    embedding = None if identity is None else {"model": identity.model, "dimension": identity.dimension}
    sink({"kind": "header", "embedding": embedding, "analyzer": analysis.ANALYZER, "counts": counts})
    rows = connection.execute(
        f"SELECT kind, value, revision, created_at FROM owners WHERE id IN {chosen} ORDER BY id"
    )
    for kind, value, revision, created_at in rows:
        sink({"kind": "owner", "of": kind, "value": value, "revision": revision, "created_at": created_at})
    names = names_of(_BATCH)
    for row in connection.execute(f"SELECT {_BATCH} FROM batches WHERE owner IN {chosen} ORDER BY id"):
        sink({"kind": "batch", **dict(zip(names, row, strict=True))})
    _dump_messages(connection, sink, chosen)
    _dump_memories(connection, sink, chosen)
    names = names_of(_EVENT)
    for batch, *row in connection.execute(
        f"SELECT b.uuid, {_prefixed(_EVENT, 'e')} FROM events e LEFT JOIN batches b ON b.id = e.batch"
        f" WHERE e.owner IN {chosen} ORDER BY e.sequence"
    ):
        sink({"kind": "event", **dict(zip(names, row, strict=True)), "batch": batch})


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
    names, sessions = names_of(_MESSAGE), dict[int, int]()
    rows = connection.execute(
        f"SELECT b.uuid, t.session, t.session_position, v.data, {_prefixed(_MESSAGE, 't')} FROM messages t"
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
    names = names_of(_MEMORY)
    rows = connection.execute(
        f"SELECT m.unit, v.data, {_prefixed(_MEMORY, 'm')} FROM memories m LEFT JOIN vectors v"
        f" ON v.owner = m.owner AND v.unit = m.unit"
        f" AND v.space = CASE WHEN m.retired_at IS NULL THEN {MEMORY} ELSE {RETIRED} END"
        f" WHERE m.owner IN {chosen} ORDER BY m.unit"
    )
    for unit, vector, *row in rows:
        record = dict(zip(names, row, strict=True))
        record["metadata"] = json.loads(record["metadata"])
        record["kind_of_fact"] = record.pop("kind")
        cited = connection.execute(
            "SELECT b.uuid, t.position FROM sources s JOIN messages t ON t.unit = s.message"
            " JOIN batches b ON b.id = t.batch WHERE s.memory = ? ORDER BY s.message",
            (unit,),
        )
        sources = [f"{uuid}:{position}" for uuid, position in cited]
        sink({"kind": "memory", **record, "sources": sources, "vector": vector})


# ---------------------------------------------------------------- in


def load(connection: Connection, records: Iterable[Mapping[str, Any]], indexes: Collection[str]) -> None:
    """See ``MaintainableStore.load``, inside the caller's transaction."""
    empty = connection.execute("SELECT 1 FROM owners LIMIT 1").fetchone() is None
    before = None if empty else inspect(connection, lambda _: None)
    loading = _Loading(connection, tuple(indexes))
    for record in records:
        try:
            loading.take(record)
        except UsageError as error:
            raise _refused(str(error)) from error
        except Error as error:
            if isinstance(typed(error, ""), ConflictError):
                raise _refused(
                    f"an id of kind {record['kind']} is in it twice, or in the store already"
                ) from None
            raise
    loading.finish()
    # What doctor would find afterwards must not come in; what it would have found before may stay.
    after = inspect(connection, lambda _: None)
    known = set[Damage]() if before is None else set(before.found)
    new = [damage for damage in after.found if damage not in known]
    if new or after.total > (0 if before is None else before.total):
        first = f"{new[0].table} {new[0].key}: {new[0].problem}" if new else "it adds to the store's damage"
        raise _refused(first)


def _refused(problem: str) -> TransferError:
    return TransferError(f"the file does not hold together: {problem}. Nothing was changed", reason="invalid")


def _last(connection: Connection, table: str) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


class _Loading:
    """One import on its way in. Numbers are given anew, in the order of the file."""

    def __init__(self, connection: Connection, indexes: tuple[str, ...]) -> None:
        self._connection = connection
        self._indexes = indexes
        self._owners: dict[OwnerKey, int] = {}
        self._dimension: int | None = None
        self._sequence = 0
        self._numbers: set[int] = set()
        self._unit = {table: _last(connection, table) for table in ("messages", "memories")}
        self._next_message = self._unit["messages"] + 1
        self._sessions = _last(connection, "sessions")
        self._first_session = self._sessions
        self._keep_sequences = connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
        self._takers: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "header": self._header,
            "owner": self._owner,
            "batch": self._batch,
            "message": self._message,
            "memory": self._memory,
            "event": self._event,
        }

    def take(self, record: Mapping[str, Any]) -> None:
        """Store one record."""
        self._takers[record["kind"]](record)

    def _header(self, record: Mapping[str, Any]) -> None:
        embedding = record["embedding"]
        if embedding is not None:
            self._dimension = embedding["dimension"]
            set_identity(self._connection, EmbeddingIdentity(embedding["model"], embedding["dimension"]))

    def _owner(self, record: Mapping[str, Any]) -> None:
        key = OwnerKey(record["of"], record["value"])
        values = (record["of"], record["value"], record["revision"], record["created_at"])
        if self._connection.execute(
            "SELECT 1 FROM owners WHERE kind = ? AND value = ?", values[:2]
        ).fetchone():
            raise ConflictError(
                f"the store has memories of {key} already, and two histories cannot be joined: import into "
                "an empty store, or export without that owner. Nothing was changed"
            )
        number = self._connection.execute(
            "INSERT INTO owners (kind, value, revision, created_at, content_hash) VALUES (?, ?, ?, ?, ?)",
            (*values, owner_seal(*values)),
        ).lastrowid
        assert number is not None  # a row was inserted
        self._owners[key] = number
        self._numbers.add(number)

    def _owner_of(self, record: Mapping[str, Any]) -> int:
        scope = Scope(user_id=record["user_id"], agent_id=record["agent_id"], run_id=record["run_id"])
        try:
            return self._owners[scope.owner]
        except KeyError:
            raise _refused(f"there is no {scope.owner}") from None

    def _batch(self, record: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {name: record[name] for name in names_of(_BATCH)}
        values |= {"first_unit": self._next_message, "lease": None, "lease_until": None}
        self._next_message += record["size"]
        row = tuple(values[name] for name in names_of(BATCH_SEALED))
        self._connection.execute(
            f"INSERT INTO batches (owner, content_hash, {BATCH_SEALED}) VALUES ({', '.join('?' * 19)})",
            (self._owner_of(record), batch_seal(row), *row),
        )

    def _batch_of(self, uuid: str) -> tuple[Any, ...]:
        row = self._connection.execute(
            "SELECT id, owner, user_id, agent_id, run_id, first_unit, size FROM batches WHERE uuid = ?",
            (uuid,),
        ).fetchone()
        if row is None or row[1] not in self._numbers:
            raise _refused(f"there is no batch {uuid[:80]}")
        return tuple(row)

    def _message(self, record: Mapping[str, Any]) -> None:
        batch, owner, *ids, first_unit, _ = self._batch_of(record["batch"])
        self._unit["messages"] += 1
        unit = self._unit["messages"]
        if unit != first_unit + record["position"]:
            raise _refused(f"message {record['batch']}:{record['position']} is not in its place")
        session = self._first_session + record["session"]
        if session > self._sessions + 1:
            raise _refused(f"session {record['session']} begins before the one ahead of it")
        self._sessions = max(session, self._sessions)
        columns = {name: record[name] for name in names_of(_MESSAGE)}
        seal = digest([f"{record['batch']}:{record['position']}", *ids, *list(columns.values())[1:9]])
        hidden_at = columns["hidden_at"]
        vector = record["vector"]
        columns |= {
            **dict(zip(("user_id", "agent_id", "run_id"), ids, strict=True)),
            "unit": unit,
            "batch": batch,
            "owner": owner,
            "length": 0,
            "embedded": int(vector is not None),
            "session": session,
            "session_position": record["place"],
            "content_hash": seal if hidden_at is None else hidden_seal(seal, hidden_at),
        }
        self._connection.execute(
            f"INSERT INTO messages ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            tuple(columns.values()),
        )
        if vector is not None:
            if hidden_at is not None or not columns["indexed"]:
                raise _refused(
                    f"message {record['batch']}:{record['position']} is out of search, with a vector"
                )
            self._vector(owner, "turn", unit, vector, f"{record['batch']}:{record['position']}", 1)

    def _vector(self, owner: int, space: Any, unit: int, data: bytes, ref_id: str, revision: int) -> None:
        code = SPACE_CODES[space]
        if self._dimension not in (None, len(data) // 2):
            raise _refused(f"the vector of {ref_id} is not of {self._dimension} dimensions")
        claim_dimension(self._connection, len(data) // 2)
        self._connection.execute(
            "INSERT INTO vectors (owner, space, unit, crc32, data) VALUES (?, ?, ?, ?, ?)",
            (owner, code, unit, vector_sum(owner, code, unit, data), data),
        )
        if code != RETIRED:
            self._connection.executemany(
                "INSERT INTO index_work (index_name, owner, space, unit, ref_id, revision, removed)"
                " VALUES (?, ?, ?, ?, ?, ?, 0)",
                [(name, owner, code, unit, ref_id, revision) for name in self._indexes],
            )

    def _memory(self, record: Mapping[str, Any]) -> None:
        self._unit["memories"] += 1
        unit, owner = self._unit["memories"], self._owner_of(record)
        values: dict[str, Any] = {**record, "kind": record["kind_of_fact"]}
        values["metadata"] = dump_metadata(record["metadata"])
        row = tuple(values[name] for name in names_of(_MEMORY))
        sources = sorted(self._cited(owner, source) for source in record["sources"])
        closing = (values["valid_to"], values["retired_at"], values["deleted_at"], values["superseded_by"])
        seal = memory_seal(payload_hash(row), sources)
        if values["retired_at"] is not None:
            seal = closed_seal(seal, *closing)
        vector = record["vector"]
        key = analysis.text_key(record["text"])
        self._connection.execute(MEMORY_INSERT, (unit, *row, owner, key, 0, seal, int(vector is not None)))
        self._connection.executemany(
            "INSERT INTO sources (memory, message) VALUES (?, ?)", [(unit, source) for source in sources]
        )
        if vector is not None:
            space = "memory" if values["retired_at"] is None else "retired"
            self._vector(owner, space, unit, vector, record["memory_id"], record["revision"])

    def _cited(self, owner: int, source: str) -> int:
        uuid, _, position = source.rpartition(":")
        _, whose, *_, first_unit, size = self._batch_of(uuid)
        number = int(position) if position.isascii() and position.isdigit() and len(position) < 10 else size
        if whose != owner or number >= size or str(number) != position:
            raise _refused(f"there is no message {source[:80]} of this owner")
        unit: int = first_unit + number
        return unit

    def _event(self, record: Mapping[str, Any]) -> None:
        if record["sequence"] <= self._sequence:
            raise _refused(f"event {record['sequence']} stands behind a later one")
        self._sequence = record["sequence"]
        row = self._connection.execute(
            "SELECT owner FROM memories WHERE memory_id = ? AND revision = ?",
            (record["memory_id"], record["revision"]),
        ).fetchone()
        if row is None or row[0] not in self._numbers:
            raise _refused(f"there is no memory {record['memory_id']}")
        batch = None if record["batch"] is None else self._batch_of(record["batch"])[0]
        payload = [*(record[name] for name in names_of(_EVENT)[1:]), batch]
        number = self._connection.execute(EVENT_INSERT, (row[0], *payload, digest(payload))).lastrowid
        if self._keep_sequences:
            self._connection.execute(
                "UPDATE events SET sequence = ? WHERE sequence = ?", (record["sequence"], number)
            )

    def finish(self) -> None:
        """Derive what the records imply."""
        connection = self._connection
        if self._unit["messages"] + 1 != self._next_message:
            raise _refused("messages are missing")
        connection.execute(
            "INSERT INTO sessions (id, owner, agent_id, run_id, latest_at, size)"
            " SELECT session, owner, agent_id, run_id, max(observed_at), count(*) FROM messages"
            " WHERE session > ? GROUP BY session ORDER BY session",
            (self._first_session,),
        )
        add_names(connection)
        for owner in self._owners.values():
            rebuild_owner(connection, owner)
