"""Batches of messages: stored, replayed under a key, leased, completed, released."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ...errors import ConflictError, KeyReusedError
from ...protocols import NewBatch, StoredBatch
from ...types import Micros, OwnerKey, Scope, Usage
from .draft import Draft, next_unit
from .driver import Connection
from .items.writes import put_all
from .prepare import PreparedBatch, Terms
from .rows import BATCH_COLUMNS, TURN, batch_of
from .seals import BATCH_SEALED, batch_seal, hidden_seal, owner_seal, seal_batch
from .tallies import settle
from .usage import record_usage

#: A longer pause than this between two messages begins a new session.
SESSION_GAP: Final[Micros] = 30 * 60 * 1_000_000
#: Characters of jobs that are claimed at once, unless a single one is longer.
_CLAIMED_CHARS: Final = 64_000_000


_BATCH_INSERT: Final = (
    f"INSERT INTO batches (owner, content_hash, {BATCH_SEALED}) VALUES ({', '.join('?' * 19)})"
)


def owner_for_writing(connection: Connection, key: OwnerKey, now: Micros) -> tuple[int, int]:
    """The owner's id and revision; the owner is recorded if it is new."""
    row = connection.execute(
        "SELECT id, revision FROM owners WHERE kind = ? AND value = ?", (key.kind, key.value)
    ).fetchone()
    if row is not None:
        return row[0], row[1]
    cursor = connection.execute(
        "INSERT INTO owners (kind, value, created_at, content_hash) VALUES (?, ?, ?, ?)",
        (key.kind, key.value, now, owner_seal(key.kind, key.value, 0, now)),
    )
    assert cursor.lastrowid is not None  # a row was inserted
    return cursor.lastrowid, 0


def replay(connection: Connection, owner: int, batch: NewBatch) -> StoredBatch | None:
    """The earlier batch under the same idempotency key, None if there is none.

    Raises:
        KeyReusedError: The key was used for something else.
    """
    if batch.idempotency_key is None:
        return None
    row = connection.execute(
        f"SELECT {BATCH_COLUMNS}, fingerprint FROM batches WHERE owner = ? AND idempotency_key = ?",
        (owner, batch.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    if row[-1] != batch.fingerprint:
        raise KeyReusedError(
            "this idempotency_key was used before with other content: use a new key for a new request. "
            "Nothing was changed"
        )
    return batch_of(row, replayed=True)


def append(connection: Connection, prepared: PreparedBatch) -> StoredBatch:
    """See ``RecordStore.append``."""
    batch = prepared.batch
    owner, _ = owner_for_writing(connection, batch.scope.owner, batch.recorded_at)
    if batch.beside:
        put_all(connection, prepared.beside, batch.beside_at, None)
    earlier = replay(connection, owner, batch)
    if earlier is not None:
        return earlier
    draft = Draft(connection, owner)
    stored = insert_batch(draft, prepared)
    draft.count_batch()
    draft.flush()
    settle(connection, owner, draft.written)
    return stored


def insert_batch(draft: Draft, prepared: PreparedBatch) -> StoredBatch:
    """Store a batch with its messages; ``draft.batch`` is its row from then on."""
    batch, connection = prepared.batch, draft.connection
    scope, first = batch.scope, next_unit(connection, "messages")
    row = (
        batch.batch_id,
        scope.user_id,
        scope.agent_id,
        scope.run_id,
        int(batch.job is not None),
        first,
        len(batch.messages),
        batch.recorded_at,
        batch.job,
        *(0, None, None, 0, None),
        batch.idempotency_key,
        batch.fingerprint,
        None,
    )
    cursor = connection.execute(_BATCH_INSERT, (draft.owner, batch_seal(row), *row))
    draft.batch = cursor.lastrowid
    begins = _insert_messages(draft, prepared, first)
    return StoredBatch(
        batch_id=batch.batch_id,
        scope=scope,
        state="done" if batch.job is None else "pending",
        units=tuple(range(first, first + len(batch.messages))),
        recorded_at=batch.recorded_at,
        job=batch.job,
        begins=begins,
    )


def _insert_messages(draft: Draft, prepared: PreparedBatch, first: int) -> bool:
    """Write them; returns whether the first of them begins a session."""
    batch, begins = prepared.batch, False
    scope = batch.scope
    sessions = _Sessions(draft, scope)
    for position, message in enumerate(prepared.messages):
        session, place = sessions.place(message.observed_at)
        if position == 0:
            begins = place == 0 or _silent(draft, session, place, first)
        draft.message(
            (
                first + position,
                draft.batch,
                position,
                draft.owner,
                scope.user_id,
                scope.agent_id,
                scope.run_id,
                message.role,
                message.actor_id,
                message.content,
                message.origin,
                message.flags,
                session,
                place,
                message.observed_at,
                batch.recorded_at,
                int(batch.index),
                message.terms.length,
                message.content_hash,
            ),
            message.terms,
            actor_id=message.actor_id,
            indexed=batch.index,
        )
    sessions.save()
    return begins


#: So many messages before a batch are looked at for one that was said.
_LOOKED_AT: Final = 24


def _silent(draft: Draft, session: int, place: int, first: int) -> bool:
    """Whether a session holds nothing but memories stored as they stand; False if that is long to tell."""
    rows = draft.connection.execute(
        "SELECT session, indexed FROM messages WHERE owner = ? AND hidden_at IS NULL AND unit < ?"
        " ORDER BY unit DESC LIMIT ?",
        (draft.owner, first, _LOOKED_AT),
    ).fetchall()
    own = [indexed for there, indexed in rows if there == session]
    return len(own) == place and not any(own)


class _Sessions:
    """The running session of one scope, continued or begun message by message."""

    def __init__(self, draft: Draft, scope: Scope) -> None:
        self._connection = draft.connection
        self._key = (draft.owner, scope.agent_id, scope.run_id)
        row = self._connection.execute(
            "SELECT id, latest_at, size FROM sessions WHERE owner = ? AND agent_id IS ? AND run_id IS ?"
            " ORDER BY id DESC LIMIT 1",
            self._key,
        ).fetchone()
        session: tuple[int, Micros, int] = row if row is not None else (0, 0, 0)
        self._session, self._latest, self._size = session

    def place(self, observed_at: Micros) -> tuple[int, int]:
        """The session of the next message and its place there."""
        if not self._session or abs(observed_at - self._latest) > SESSION_GAP:
            self.save()
            cursor = self._connection.execute(
                "INSERT INTO sessions (owner, agent_id, run_id, latest_at, size) VALUES (?, ?, ?, ?, 0)",
                (*self._key, observed_at),
            )
            assert cursor.lastrowid is not None  # a row was inserted
            self._session, self._latest, self._size = cursor.lastrowid, observed_at, 0
        self._latest = max(self._latest, observed_at)
        self._size += 1
        return self._session, self._size - 1

    def save(self) -> None:
        """Keep how far the session has come."""
        if self._session:
            self._connection.execute(
                "UPDATE sessions SET latest_at = ?, size = ? WHERE id = ?",
                (self._latest, self._size, self._session),
            )


def complete_batch(
    connection: Connection, owner: int, batch_id: str, *, lease: str | None, now: Micros
) -> int:
    """Mark a pending batch done; returns its row.

    Raises:
        ConflictError: It is done, gone, or leased to somebody else.
    """
    row = connection.execute(
        "SELECT id, pending, lease, lease_until FROM batches WHERE uuid = ? AND owner = ?", (batch_id, owner)
    ).fetchone()
    if row is None or not row[1]:
        raise ConflictError(f"batch {batch_id} is done already, or not there. Nothing was changed")
    if lease is not None and row[2] != lease:
        raise ConflictError(f"the lease of batch {batch_id} was lost. Nothing was changed")
    if lease is None and row[2] is not None and row[3] > now:
        raise ConflictError(f"batch {batch_id} is being worked on elsewhere. Nothing was changed")
    connection.execute(
        "UPDATE batches SET pending = 0, lease = NULL, lease_until = NULL, last_error = NULL, job = NULL"
        " WHERE id = ?",
        (row[0],),
    )
    seal_batch(connection, row[0])
    return int(row[0])


def _as_fit(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows of ``BATCH_COLUMNS``, as many as memory is meant for: jobs may hold images."""
    fitting, chars = list[tuple[Any, ...]](), 0
    for row in rows:
        job = batch_of(row).job
        chars += len(job or "")
        if fitting and chars > _CLAIMED_CHARS:
            break
        fitting.append(row)
    return fitting


def claim(
    connection: Connection,
    *,
    limit: int,
    now: Micros,
    lease_micros: int,
    owner: OwnerKey | None,
    recorded_before: Micros | None,
    batch_ids: Collection[str] | None,
    except_ids: Collection[str],
    early: bool,
) -> list[StoredBatch]:
    """See ``RecordStore.claim_batches``."""
    condition, values = "", list[Any]()
    if owner is not None:
        condition += " AND owner = (SELECT id FROM owners WHERE kind = ? AND value = ?)"
        values += (owner.kind, owner.value)
    if recorded_before is not None:
        condition += " AND (attempts > 0 OR recorded_at < ?)"
        values.append(recorded_before)
    if not early:
        condition += " AND not_before <= ?"
        values.append(now)
    if batch_ids is not None:
        condition += " AND uuid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(batch_ids)))
    if except_ids:
        condition += " AND uuid NOT IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(except_ids)))
    rows = connection.execute(
        f"SELECT {BATCH_COLUMNS} FROM batches WHERE pending = 1"
        f" AND (lease_until IS NULL OR lease_until <= ?){condition} ORDER BY id LIMIT ?",
        (now, *values, limit),
    )
    claimed: list[StoredBatch] = []
    for row in _as_fit(rows):
        lease = secrets.token_hex(16)
        connection.execute(
            "UPDATE batches SET lease = ?, lease_until = ?, attempts = attempts + 1 WHERE id = ?",
            (lease, now + lease_micros, row[0]),
        )
        seal_batch(connection, row[0])
        claimed.append(batch_of((*row[:10], row[10] + 1, lease, *row[12:])))
    return claimed


def release(
    connection: Connection,
    batch_id: str,
    lease: str | None,
    *,
    error: str,
    not_before: Micros,
    usage: Mapping[tuple[OwnerKey | None, str], Usage],
) -> None:
    """See ``RecordStore.release_batch``. A claim has counted its attempt already."""
    record_usage(connection, usage)
    row = connection.execute(
        "SELECT id FROM batches WHERE uuid = ? AND lease IS ? AND pending = 1", (batch_id, lease)
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE batches SET attempts = attempts + (lease IS NULL), lease = NULL, lease_until = NULL,"
            " last_error = ?, not_before = ? WHERE id = ?",
            (error, not_before, row[0]),
        )
        seal_batch(connection, row[0])


def hide_messages(draft: Draft, units: Iterable[int], now: Micros) -> None:
    """Take messages out of search and out of ``messages``; their rows stay as evidence of what was."""
    draft.flush()
    rows: list[tuple[Any, ...]] = draft.connection.execute(
        "SELECT t.unit, t.content, t.actor_id, t.observed_at, t.indexed, t.position, b.uuid, t.content_hash"
        " FROM json_each(?) u CROSS JOIN messages t ON t.unit = u.value JOIN batches b ON b.id = t.batch"
        " WHERE t.owner = ? AND t.hidden_at IS NULL",
        (json.dumps(list(units)), draft.owner),
    ).fetchall()
    for unit, content, actor_id, observed_at, indexed, position, uuid, _ in rows:
        if indexed:
            draft.unindex_message(unit, Terms.of(content, actor_id, observed_at))
            draft.work(TURN, unit, f"{uuid}:{position}", 1, removed=True)
    draft.connection.executemany(
        "UPDATE messages SET hidden_at = ?, length = 0, embedded = 0, content_hash = ? WHERE unit = ?",
        [(now, hidden_seal(row[-1], now), row[0]) for row in rows],
    )
