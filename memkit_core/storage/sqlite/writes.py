"""What a transaction does to apply a change set."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ... import analysis
from ...errors import ConflictError, NotFoundError, UsageError
from ...protocols import (
    AddMemory,
    AmendMemory,
    Applied,
    CiteMemory,
    CommitReceipt,
    Completion,
    RestoreMemory,
    RetireMemory,
    StoredBatch,
)
from ...types import MemoryRecord, Micros
from .batches import complete_batch, insert_batch, owner_for_writing, replay
from .carrying import carried_sources, next_row, restored_row, vector_of
from .draft import Draft, next_unit
from .driver import Connection
from .prepare import Prepared, PreparedAdd, PreparedCommit, PreparedUpdate, Terms
from .rows import (
    M_RECORD_COLUMNS,
    MEMORY,
    RECORD_COLUMNS,
    TURN,
    payload_hash,
    record_of,
    records_of,
)
from .seals import closed_seal, memory_seal, seal_batch
from .tallies import Tally, settle
from .usage import record_usage
from .vectors import check_identity, set_identity
from .versions import (
    amend_version,
    close_version,
    current_version,
    end_otherwise,
    hide_sources,
    version_of,
)


def commit(connection: Connection, prepared: PreparedCommit) -> CommitReceipt:
    """See ``RecordStore.commit``."""
    changes = prepared.changes
    if changes.embedding is not None and prepared.has_vectors:
        set_identity(connection, changes.embedding)
    else:
        check_identity(connection, changes.embedding)
    owner, revision = owner_for_writing(connection, changes.scope.owner, changes.recorded_at)
    if prepared.batch is not None:
        earlier = replay(connection, owner, prepared.batch.batch)
        if earlier is not None:
            record_usage(connection, changes.usage)
            return CommitReceipt(revision=revision, applied=(), batch=earlier)
    if changes.expected_revision is not None and changes.expected_revision != revision:
        raise ConflictError(
            f"the memories of {changes.scope.owner} changed since they were read (revision {revision}, not "
            f"{changes.expected_revision}). Nothing was changed"
        )
    applied, stored, written = _Commit(connection, owner, prepared).run()
    record_usage(connection, changes.usage)
    if any(one.outcome == "applied" for one in applied):
        revision += 1
        settle(connection, owner, written, revision=revision)
    elif written:
        settle(connection, owner, written)
    return CommitReceipt(revision=revision, applied=tuple(applied), batch=stored)


class _Commit:
    """One change set on its way into the database."""

    def __init__(self, connection: Connection, owner: int, prepared: PreparedCommit) -> None:
        self._connection = connection
        self._owner = owner
        self._prepared = prepared
        self._changes = prepared.changes
        self._now = prepared.changes.recorded_at
        self._draft = Draft(connection, owner, prepared.changes.indexes)
        self._first_message: int | None = None
        self._message_ids: dict[int, str] = {}
        self._fresh: dict[tuple[object, ...], MemoryRecord] = {}
        self._stands_for: dict[str, str] = {}  # ids of new memories that were there already
        self._unit = next_unit(connection, "memories")

    def run(self) -> tuple[list[Applied], StoredBatch | None, Tally]:
        """Apply everything, in order; returns also which rows of the record were written."""
        changes, stored = self._changes, None
        if self._prepared.batch is not None:
            stored = insert_batch(self._draft, self._prepared.batch)
            self._draft.count_batch()
            self._first_message = stored.units[0] if stored.units else 0
            self._message_ids = {unit: f"{stored.batch_id}:{i}" for i, unit in enumerate(stored.units)}
        for completion in changes.complete:
            self._complete(completion)
        if self._prepared.batch is None:
            self._read_message_ids()
        applied = [self._apply(change) for change in self._prepared.prepared]
        if self._stands_for:
            self._draft.flush()
            applied = [self._name_successor(one) for one in applied]
        self._store_message_vectors()
        self._draft.flush()
        for completion in changes.complete:
            if completion.result is not None:
                self._keep_result(completion.batch_id, completion.result(tuple(applied)))
        if changes.result is not None and stored is not None and stored.state == "done":
            stored = replace(stored, result=changes.result(tuple(applied)))
            self._keep_result(stored.batch_id, stored.result)
        return applied, stored, self._draft.written

    def _keep_result(self, batch_id: str, result: str | None) -> None:
        """Store the result with a batch that this commit has finished, if it can be asked for by a key."""
        connection = self._connection
        (batch,) = connection.execute("SELECT id FROM batches WHERE uuid = ?", (batch_id,)).fetchone()
        connection.execute(
            "UPDATE batches SET result = ? WHERE id = ? AND idempotency_key IS NOT NULL", (result, batch)
        )
        seal_batch(connection, batch)

    def _complete(self, completion: Completion) -> None:
        row = complete_batch(
            self._connection, self._owner, completion.batch_id, lease=completion.lease, now=self._now
        )
        if self._draft.batch is None:
            self._draft.batch = row

    def _read_message_ids(self) -> None:
        units = {
            unit
            for one in self._prepared.prepared
            if isinstance(one, PreparedAdd | PreparedUpdate | CiteMemory)
            for unit in (one.sources if isinstance(one, CiteMemory) else one.change.sources)
        }
        if units:
            rows = self._connection.execute(
                "SELECT t.unit, b.uuid, t.position FROM json_each(?) u CROSS JOIN messages t"
                " ON t.unit = u.value JOIN batches b ON b.id = t.batch WHERE t.owner = ?",
                (json.dumps(sorted(units)), self._owner),
            )
            self._message_ids = {unit: f"{uuid}:{position}" for unit, uuid, position in rows}

    def _cited(self, sources: tuple[int, ...]) -> dict[int, str]:
        """The public ids of cited messages by unit, in order."""
        units = sorted(set(sources))
        if self._first_message is not None:
            units = [self._first_message + position for position in units]
        try:
            return {unit: self._message_ids[unit] for unit in units}
        except KeyError:
            raise UsageError("a change cites a message that this owner does not have") from None

    def _name_successor(self, applied: Applied) -> Applied:
        """What a change came to, where it named a new memory as successor that was there already."""
        record = applied.record
        if applied.outcome == "duplicate" or record.superseded_by not in self._stands_for:
            return applied
        assert record.valid_to is not None  # what has a successor was closed
        there: str | None = self._stands_for[record.superseded_by]
        if there == record.memory_id:
            there = None
        end_otherwise(self._connection, record.unit, valid_to=record.valid_to, superseded_by=there)
        return replace(applied, record=replace(record, superseded_by=there))

    def _apply(self, one: Prepared) -> Applied:
        if isinstance(one, PreparedAdd):
            return self._add(one)
        self._draft.flush()  # earlier changes of the same set may concern the same memory
        if isinstance(one, PreparedUpdate):
            return self._update(one)
        if isinstance(one, CiteMemory):
            there = self._current(one.memory_id, None)
            return Applied(outcome="duplicate", record=self._cite(there, one.sources))
        if isinstance(one, AmendMemory):
            return self._amend(one)
        return self._restore(one) if isinstance(one, RestoreMemory) else self._retire(one)

    def _add(self, one: PreparedAdd) -> Applied:
        change, row = one.change, one.row
        key = (row[3], row[4], row[5], one.text_key)
        if change.skip_duplicate and change.valid_to is None:
            there = self._fresh.get(key) or self._stored_duplicate(key, change)
            if there is not None and there.trust in ("trusted", change.trust):
                self._stands_for[change.memory_id] = there.memory_id
                return Applied(outcome="duplicate", record=self._cite(there, change.sources))
        unit = self._unit
        self._unit += 1
        cited = self._cited(change.sources)
        draft, seal = self._draft, memory_seal(one.content_hash, cited)
        if change.valid_to is not None:
            seal = closed_seal(seal, change.valid_to, self._now, None, change.superseded_by)
        draft.memory(unit, row, text_key=one.text_key, terms=one.terms, vector=one.vector, content_hash=seal)
        draft.sources(unit, cited)
        if one.vector is not None and change.valid_to is None:
            draft.work(MEMORY, unit, change.memory_id, 1, removed=False)
        draft.event("ADD", change.memory_id, 1, reason=change.reason, actor_id=change.actor_id, at=self._now)
        record = record_of((unit, *row), tuple(cited.values()))
        if change.valid_to is None:
            self._note_fresh(key, record)
        return Applied(outcome="applied", record=record)

    def _stored_duplicate(self, key: tuple[object, ...], change: AddMemory) -> MemoryRecord | None:
        rows = self._connection.execute(
            f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.agent_id IS ? AND m.run_id IS ?"
            " AND m.actor_id IS ? AND m.text_key = ? AND m.owner = ? AND m.retired_at IS NULL"
            # What ends sooner, or is believed less, does not stand for what is said now.
            " AND (m.expires_at IS NULL OR (m.expires_at > ? AND m.expires_at >= ?))"
            " AND (m.trust = 'trusted' OR m.trust = ?) ORDER BY m.unit LIMIT 1",
            (*key, self._owner, self._now, change.expires_at, change.trust),
        ).fetchall()
        return records_of(self._connection, rows)[0] if rows else None

    def _cite(self, there: MemoryRecord, sources: tuple[int, ...]) -> MemoryRecord:
        """Attach messages to a version that is there already."""
        cited = self._cited(sources)
        self._draft.flush()
        connection = self._connection
        known = carried_sources(connection, there.unit)
        added = {unit: name for unit, name in cited.items() if unit not in known}
        if not added:
            return there
        row = connection.execute(
            f"SELECT {RECORD_COLUMNS}, content_hash FROM memories WHERE unit = ?", (there.unit,)
        ).fetchone()
        payload = payload_hash(row[1:-1])
        if row[-1] == memory_seal(payload, known):  # else it is damaged, and must not look sound again
            every = {**known, **added}
            connection.execute(
                "UPDATE memories SET content_hash = ? WHERE unit = ?",
                (memory_seal(payload, every), there.unit),
            )
        self._draft.sources(there.unit, added)
        self._draft.flush()  # a later change of the set may read it: its seal counts them already
        return replace(there, sources=tuple(name for _, name in sorted({**known, **added}.items())))

    def _current(self, memory_id: str, expected_revision: int | None) -> MemoryRecord:
        record = current_version(self._connection, self._changes.scope, self._owner, memory_id)
        if record is None:
            raise NotFoundError(f"there is no memory {memory_id!r} in this scope. Nothing was changed")
        if expected_revision is not None and record.revision != expected_revision:
            raise ConflictError(
                f"memory {memory_id} is at revision {record.revision}, not {expected_revision}: somebody "
                "changed it. Nothing was changed"
            )
        return record

    def _update(self, one: PreparedUpdate) -> Applied:
        change = one.change
        old = self._current(change.memory_id, change.expected_revision)
        carried = change.text is None and not change.sources
        vector = one.vector
        if change.text is None and vector is None:
            vector = vector_of(self._connection, self._owner, old)
        cited = carried_sources(self._connection, old.unit) if carried else self._cited(change.sources)
        closed = self._make_room(old, change.valid_from)
        record = self._open(next_row(old, one, self._now), cited, vector)
        key = record.agent_id, record.run_id, record.actor_id, analysis.text_key(record.text)
        self._note_fresh(key, record)
        self._draft.event(
            "UPDATE",
            old.memory_id,
            record.revision,
            reason=change.reason,
            actor_id=change.actor_id,
            at=self._now,
        )
        return Applied(outcome="applied", record=record, previous=closed)

    def _restore(self, change: RestoreMemory) -> Applied:
        earlier, last = self._version(change.memory_id, change.revision)
        current = current_version(self._connection, self._changes.scope, self._owner, change.memory_id)
        row = restored_row(earlier, change, last + 1, self._now)
        vector = vector_of(self._connection, self._owner, earlier)
        cited = carried_sources(self._connection, earlier.unit)
        closed = None if current is None else self._make_room(current, row[13])
        record = self._open(row, cited, vector)
        self._draft.event(
            "RESTORE", earlier.memory_id, last + 1, reason=change.reason, actor_id=None, at=self._now
        )
        return Applied(outcome="applied", record=record, previous=closed)

    def _version(self, memory_id: str, revision: int) -> tuple[MemoryRecord, int]:
        """A version inside the scope, and the memory's last revision."""
        record, last = version_of(self._connection, self._changes.scope, self._owner, memory_id, revision)
        if record is None:
            raise NotFoundError(
                f"there is no revision {revision} of memory {memory_id!r} in this scope. Nothing was changed"
            )
        return record, last

    def _make_room(self, old: MemoryRecord, valid_to: Micros) -> MemoryRecord:
        """Close a current version for the next one."""
        self._forget_fresh(old.memory_id)
        return close_version(
            self._draft,
            old,
            now=self._now,
            valid_to=valid_to,
            deleted=False,
            superseded_by=old.memory_id,
        )

    def _open(self, row: tuple[Any, ...], cited: dict[int, str], vector: bytes | None) -> MemoryRecord:
        """A new current version of a memory that is there."""
        unit, text = self._unit, row[6]
        self._unit += 1
        draft, text_key = self._draft, analysis.text_key(text)
        draft.memory(
            unit,
            row,
            text_key=text_key,
            terms=Terms.of(text, row[5], row[12]),
            vector=vector,
            content_hash=memory_seal(payload_hash(row), cited),
        )
        draft.sources(unit, cited)
        if vector is not None:
            draft.work(MEMORY, unit, row[0], row[1], removed=False)
        return record_of((unit, *row), tuple(cited.values()))

    def _amend(self, change: AmendMemory) -> Applied:
        old, _ = self._version(change.memory_id, change.revision)
        if old.retired_at is None or old.valid_to is None:
            raise UsageError(f"revision {old.revision} of {old.memory_id!r} is current: only closed ones end")
        if not old.valid_from <= change.valid_to <= old.valid_to:
            raise UsageError(
                f"revision {old.revision} of {old.memory_id!r} cannot be amended to hold longer than it did, "
                "or to end before it began. Nothing was changed"
            )
        successor = old.superseded_by if change.superseded_by is None else change.superseded_by
        record = amend_version(
            self._draft, old, now=self._now, valid_to=change.valid_to, superseded_by=successor
        )
        self._draft.event(
            "AMEND", old.memory_id, old.revision, reason=change.reason, actor_id=None, at=self._now
        )
        return Applied(outcome="applied", record=record, previous=old)

    def _retire(self, change: RetireMemory) -> Applied:
        old = self._current(change.memory_id, change.expected_revision)
        self._forget_fresh(old.memory_id)
        closed = close_version(
            self._draft,
            old,
            now=self._now,
            valid_to=change.valid_to,
            deleted=True,
            superseded_by=change.superseded_by,
        )
        self._draft.event(
            "DELETE",
            old.memory_id,
            old.revision,
            reason=change.reason,
            actor_id=change.actor_id,
            at=self._now,
        )
        if change.hide_sources:
            hide_sources(self._draft, [old.memory_id], self._now)
        return Applied(outcome="applied", record=closed, previous=old)

    def _note_fresh(self, key: tuple[object, ...], record: MemoryRecord) -> None:
        """Let what is added later in the set find what this says by now."""
        if record.expires_at is not None and record.expires_at <= self._now:
            return
        earlier = self._fresh.setdefault(key, record)
        if earlier.trust != "trusted":
            self._fresh[key] = record

    def _forget_fresh(self, memory_id: str) -> None:
        for key in [k for k, record in self._fresh.items() if record.memory_id == memory_id]:
            del self._fresh[key]

    def _store_message_vectors(self) -> None:
        vectors, batch = self._prepared.message_vectors, self._prepared.batch
        if not vectors:
            return
        offset = self._first_message or 0
        if batch is not None and batch.batch.index:  # its messages are on their way, all of them searchable
            rows = [(unit + offset, batch.batch.batch_id, unit) for unit in vectors]
        else:
            self._draft.flush()
            rows = self._connection.execute(
                "SELECT t.unit, b.uuid, t.position FROM json_each(?) u CROSS JOIN messages t"
                " ON t.unit = u.value JOIN batches b ON b.id = t.batch"
                " WHERE t.owner = ? AND t.indexed = 1 AND t.hidden_at IS NULL",
                (json.dumps([unit + offset for unit in vectors]), self._owner),
            ).fetchall()
        for unit, uuid, position in rows:
            self._draft.vector(TURN, unit, vectors[unit - offset])
            self._draft.work(TURN, unit, f"{uuid}:{position}", 1, removed=False)
