"""What ``dump`` gave, stored again: every record is checked against those before it, then all together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ... import analysis
from ...errors import ConflictError, TransferError, UsageError
from ...protocols import Damage
from ...types import EmbeddingIdentity, OwnerKey, Scope
from .chronicle import Amendment, Version, amendment_seal
from .draft import EVENT_INSERT, MEMORY_INSERT, WORK_INSERT, claim_dimension, work_row
from .driver import Connection, Error, typed
from .loading_checks import Places, check_whole, refused
from .reindex import rebuild_owner
from .repair import add_names, inspect
from .rows import RETIRED, SPACE_CODES, digest, dump_attributes, dump_metadata, payload_hash, vector_sum
from .seals import BATCH_SEALED, batch_seal, closed_seal, hidden_seal, memory_seal, owner_seal
from .tallies import recount
from .transfer import AMENDMENT, BATCH, EVENT, MEMORY_COLUMNS, MESSAGE, OPTIONAL, names_of
from .vectors import set_identity

#: What every revision of a memory takes from the one before it.
_CARRIED: Final = "user_id, agent_id, run_id, actor_id, memory_type, created_at"


def load(
    connection: Connection,
    records: Iterable[Mapping[str, Any]],
    indexes: Collection[str],
    step: Callable[[int], None],
) -> None:
    """See ``MaintainableStore.load``, inside the caller's transaction."""
    empty = connection.execute("SELECT 1 FROM owners LIMIT 1").fetchone() is None
    before = None if empty else inspect(connection, step)
    loading = _Loading(connection, tuple(indexes))
    for record in records:
        try:
            loading.take(record)
        except TransferError:
            raise
        except UsageError as error:
            raise loading.wrong(record["kind"], str(error)) from error
        except Error as error:
            if not isinstance(typed(error, ""), ConflictError):
                raise
            # SQLite names the columns of the index that holds the value already.
            field = str(error).rpartition(".")[2]
            raise loading.wrong(field, "it is in the file twice, or in the store already") from None
    loading.finish(step)
    # What doctor would find afterwards must not come in; what it would have found before may stay.
    after = inspect(connection, step)
    known = set[Damage]() if before is None else set(before.found)
    new = [damage for damage in after.found if damage not in known]
    if new or after.total > (0 if before is None else before.total):
        first = f"{new[0].table} {new[0].key}: {new[0].problem}" if new else "it adds to the store's damage"
        raise TransferError(
            f"the file does not hold together: {first}. Nothing was changed", reason="invalid"
        )


def _last(connection: Connection, table: str) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


class _Loading:
    """One import on its way in. Numbers are given anew, in the order of the file."""

    def __init__(self, connection: Connection, indexes: tuple[str, ...]) -> None:
        self._connection = connection
        self._indexes = indexes
        self._owners: dict[OwnerKey, int] = {}
        self._numbers: set[int] = set()
        self._dimension: int | None = None
        self._line = 0
        self._places = Places(
            {
                name: _last(connection, name)
                for name in ("owners", "batches", "messages", "memories", "events")
            }
        )
        self._unit = {table: self._places.before[table] for table in ("messages", "memories")}
        self._next_message = self._unit["messages"] + 1
        self._sessions = self._first_session = _last(connection, "sessions")
        self._takers: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "header": self._header,
            "owner": self._owner,
            "batch": self._batch,
            "message": self._message,
            "memory": self._memory,
            "event": self._event,
        }

    def wrong(self, field: str, problem: str) -> TransferError:
        """The error about the record that was taken last."""
        return refused(self._line, field, problem)

    def take(self, record: Mapping[str, Any]) -> None:
        """Store one record."""
        self._line += 1
        self._places.begin(record["kind"], self._line)
        self._takers[record["kind"]](record)

    def _header(self, record: Mapping[str, Any]) -> None:
        embedding = record["embedding"]
        if embedding is not None:
            self._dimension = embedding["dimension"]
            set_identity(self._connection, EmbeddingIdentity(embedding["model"], embedding["dimension"]))

    def _owner(self, record: Mapping[str, Any]) -> None:
        key = OwnerKey(record["of"], record["value"])
        values = (record["of"], record["value"], record["revision"], record["created_at"])
        if key in self._owners:
            raise self.wrong("value", f"{key} is there twice")
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
            raise self.wrong(f"{scope.owner.kind}_id", f"there is no {str(scope.owner)[:80]}") from None

    def _batch(self, record: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {name: record[name] for name in names_of(BATCH)}
        values |= {"first_unit": self._next_message, "lease": None, "lease_until": None}
        self._next_message += record["size"]
        row = tuple(values[name] for name in names_of(BATCH_SEALED))
        self._connection.execute(
            f"INSERT INTO batches (owner, content_hash, {BATCH_SEALED}) VALUES ({', '.join('?' * 19)})",
            (self._owner_of(record), batch_seal(row), *row),
        )

    def _batch_of(self, uuid: str, field: str) -> tuple[Any, ...]:
        row = self._connection.execute(
            "SELECT id, owner, user_id, agent_id, run_id, first_unit, size, recorded_at FROM batches"
            " WHERE uuid = ?",
            (uuid,),
        ).fetchone()
        if row is None or row[1] not in self._numbers:
            raise self.wrong(field, f"there is no batch {uuid[:80]!r} in the file")
        return tuple(row)

    def _message(self, record: Mapping[str, Any]) -> None:
        batch, owner, *ids, first_unit, _, recorded_at = self._batch_of(record["batch"], "batch")
        self._unit["messages"] += 1
        unit = self._unit["messages"]
        if unit != first_unit + record["position"]:
            raise self.wrong("position", "the messages do not follow the order of their batches")
        if record["recorded_at"] != recorded_at:
            raise self.wrong("recorded_at", "it is not that of its batch")
        session = self._first_session + record["session"]
        if session > self._sessions + 1:
            raise self.wrong("session", "it begins before the one ahead of it")
        self._sessions = max(session, self._sessions)
        columns = {name: record[name] for name in names_of(MESSAGE)}
        name = f"{record['batch']}:{record['position']}"
        seal = digest([name, *ids, *list(columns.values())[1:9]])
        hidden_at, vector = columns["hidden_at"], record["vector"]
        if vector is not None and (hidden_at is not None or not columns["indexed"]):
            raise self.wrong("vector", "a message that is out of search has none")
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
            self._vector(owner, "turn", unit, vector, name, 1)

    def _vector(self, owner: int, space: Any, unit: int, data: bytes, ref_id: str, revision: int) -> None:
        code = SPACE_CODES[space]
        if self._dimension != len(data) // 2:
            raise self.wrong(
                "vector", f"it has {len(data) // 2} dimensions, the header says {self._dimension}"
            )
        claim_dimension(self._connection, len(data) // 2)
        self._connection.execute(
            "INSERT INTO vectors (owner, space, unit, crc32, data) VALUES (?, ?, ?, ?, ?)",
            (owner, code, unit, vector_sum(owner, code, unit, data), data),
        )
        if code != RETIRED:
            self._connection.executemany(
                WORK_INSERT,
                [work_row(name, owner, code, unit, ref_id, revision, 0) for name in self._indexes],
            )

    def _memory(self, record: Mapping[str, Any]) -> None:
        self._unit["memories"] += 1
        unit, owner = self._unit["memories"], self._owner_of(record)
        if record["revision"] > 1:
            self._check_successor(record)
        values: dict[str, Any] = {**dict.fromkeys(OPTIONAL), **record, "kind": record["kind_of_fact"]}
        values["metadata"] = dump_metadata(record["metadata"])
        values["attributes"] = dump_attributes(values["attributes"] or {})
        row = tuple(values[name] for name in names_of(MEMORY_COLUMNS))
        sources = [self._cited(owner, source) for source in record["sources"]]
        if sources != sorted(set(sources)):
            raise self.wrong("sources", "they do not stand in the order of the messages")
        closing = (values["valid_to"], values["retired_at"], values["deleted_at"], values["superseded_by"])
        seal = memory_seal(payload_hash(row), sources)
        if values["retired_at"] is not None:
            seal = closed_seal(seal, *closing)
        for noted in record.get("amendments", ()):
            before = (unit, *(noted[name] for name in names_of(AMENDMENT)))
            self._connection.execute(
                f"INSERT INTO amendments (unit, {AMENDMENT}, content_hash) VALUES (?, ?, ?, ?, ?)",
                (*before, amendment_seal(*before)),
            )
        vector = record["vector"]
        key = analysis.text_key(record["text"])
        self._connection.execute(MEMORY_INSERT, (unit, *row, owner, key, 0, seal, int(vector is not None)))
        self._connection.executemany(
            "INSERT INTO sources (memory, message) VALUES (?, ?)", [(unit, source) for source in sources]
        )
        if vector is not None:
            space = "memory" if values["retired_at"] is None else "retired"
            self._vector(owner, space, unit, vector, record["memory_id"], record["revision"])

    def _check_successor(self, record: Mapping[str, Any]) -> None:
        """A later revision against the one it follows."""
        row = self._connection.execute(
            f"SELECT {_CARRIED} FROM memories WHERE memory_id = ? AND revision = ? AND unit > ?",
            (record["memory_id"], record["revision"] - 1, self._places.before["memories"]),
        ).fetchone()
        if row is None:
            raise self.wrong("revision", "the one before it does not stand ahead of it")
        for name, value in zip(names_of(_CARRIED), row, strict=True):
            if record[name] != value:
                raise self.wrong(name, "it is not that of the revision before")
        before = self._version(record["memory_id"], record["revision"] - 1)
        if before.retired_at is None:
            raise self.wrong("revision", "the one before it is current")
        if before.replaced and before.retired_at != record["recorded_at"]:
            raise self.wrong("recorded_at", "the revision before does not end there")
        if before.replaced and before.ended[0] != record["valid_from"]:
            raise self.wrong("valid_from", "the revision before does not hold until then")

    def _version(self, memory_id: str, revision: int) -> Version:
        """A version that was taken already."""
        unit, *row = self._connection.execute(
            "SELECT unit, memory_id, revision, valid_from, recorded_at, valid_to, retired_at, deleted_at,"
            " superseded_by FROM memories WHERE memory_id = ? AND revision = ?",
            (memory_id, revision),
        ).fetchone()
        noted = self._connection.execute(
            f"SELECT {AMENDMENT} FROM amendments WHERE unit = ? ORDER BY until", (unit,)
        ).fetchall()
        return Version._make((*row, tuple(Amendment._make(one) for one in noted)))

    def _cited(self, owner: int, source: str) -> int:
        uuid, _, position = source.rpartition(":")
        _, whose, *_, first_unit, size, _ = self._batch_of(uuid, "sources")
        number = int(position) if position.isascii() and position.isdigit() and len(position) < 10 else size
        if whose != owner or number >= size or str(number) != position:
            raise self.wrong("sources", f"there is no message {source[:80]!r} of this owner")
        unit: int = first_unit + number
        return unit

    def _event(self, record: Mapping[str, Any]) -> None:
        row = self._connection.execute(
            "SELECT owner FROM memories WHERE memory_id = ? AND revision = ? AND unit > ?",
            (record["memory_id"], record["revision"], self._places.before["memories"]),
        ).fetchone()
        if row is None:
            raise self.wrong(
                "memory_id", f"there is no such revision of {record['memory_id'][:80]!r} in the file"
            )
        (owner,) = row
        self._check_event(record, self._version(record["memory_id"], record["revision"]))
        batch = None
        if record["batch"] is not None:
            batch, whose, *_ = self._batch_of(record["batch"], "batch")
            if whose != owner:
                raise self.wrong("batch", "it is another owner's")
        payload = [*(record[name] for name in names_of(EVENT)), batch]
        self._connection.execute(EVENT_INSERT, (owner, *payload, digest(payload)))

    def _check_event(self, record: Mapping[str, Any], version: Version) -> None:
        """An event against its version, and against the one before it."""
        operation, revision = record["operation"], record["revision"]
        last = self._connection.execute(
            "SELECT operation, revision FROM events WHERE memory_id = ? AND operation <> 'AMEND'"
            " ORDER BY sequence DESC LIMIT 1",
            (record["memory_id"],),
        ).fetchone()
        if operation == "AMEND":
            fits = last is not None and bool(version.amendments)
        elif last is None:
            fits = (operation, revision) == ("ADD", 1)
        else:
            over = last[0] == "DELETE"
            expected = {("RESTORE", last[1] + 1)}
            if not over:
                expected |= {("UPDATE", last[1] + 1), ("DELETE", last[1])}
            fits = (operation, revision) in expected
        if not fits:
            raise self.wrong("operation", f"{operation} of revision {revision} cannot happen here")
        at = version.deleted_at if operation == "DELETE" else version.recorded_at
        if operation == "AMEND":
            # Where the clock went back, the earlier belief was noted under a later time already.
            at = min(record["recorded_at"], version.amendments[-1].until)
        if record["recorded_at"] != at:
            raise self.wrong("recorded_at", f"the version says otherwise of its {operation}")

    def finish(self, step: Callable[[int], None]) -> None:
        """Check the records against each other, and derive what they imply."""
        connection = self._connection
        if self._unit["messages"] + 1 != self._next_message:
            row = connection.execute(
                "SELECT min(id) FROM batches WHERE size > 0 AND first_unit + size - 1 > ?",
                (self._unit["messages"],),
            ).fetchone()
            raise refused(self._places.line("batches", row[0]), "size", "messages are missing")
        check_whole(connection, self._places)
        connection.execute(
            "INSERT INTO sessions (id, owner, agent_id, run_id, latest_at, size)"
            " SELECT session, owner, agent_id, run_id, max(observed_at), count(*) FROM messages"
            " WHERE session > ? GROUP BY session ORDER BY session",
            (self._first_session,),
        )
        add_names(connection)
        recount(connection, self._owners.values())
        for owner in self._owners.values():
            rebuild_owner(connection, owner)
            (units,) = connection.execute(
                "SELECT coalesce(sum(n), 0) FROM unit_stats WHERE owner = ?", (owner,)
            ).fetchone()
            step(units)
