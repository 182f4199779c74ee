"""What can be worked out before a transaction, on the caller's thread: terms, hashes, packed vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import analysis
from ...errors import NotFoundError, UsageError
from ...protocols import (
    AddMemory,
    AmendMemory,
    Change,
    ChangeSet,
    CiteMemory,
    NewBatch,
    RestoreMemory,
    RetireMemory,
    UpdateMemory,
)
from ...types import Micros, Scope, Vector
from .items.rows import PreparedPut, prepare
from .rows import digest, dump_attributes, dump_metadata, pack_vector, payload_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A unit's terms with their frequencies."""

    counts: Mapping[str, int]
    length: int

    @classmethod
    def of(cls, text: str, actor_id: str | None, time: Micros | None) -> Terms:
        """The terms under which a unit is indexed."""
        counts = analysis.unit_terms(text, actor_id=actor_id, time=time)
        return cls(counts=counts, length=counts.total())


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedMessage:
    """A message's own columns; what the database decides (unit, session) is still missing."""

    role: str
    actor_id: str | None
    content: str
    origin: str
    flags: int
    observed_at: Micros
    terms: Terms
    content_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """A batch and its messages."""

    batch: NewBatch
    messages: tuple[PreparedMessage, ...]
    beside: Sequence[PreparedPut] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAdd:
    """A new memory; ``row`` has the columns of ``rows.RECORD_COLUMNS`` behind the unit."""

    change: AddMemory
    row: tuple[Any, ...]
    text_key: bytes
    terms: Terms
    vector: bytes | None
    content_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedUpdate:
    """An update; its terms depend on what is stored."""

    change: UpdateMemory
    metadata: str | None
    vector: bytes | None
    qualities: tuple[str | None, str | None, str | None]


Prepared = PreparedAdd | PreparedUpdate | RetireMemory | CiteMemory | AmendMemory | RestoreMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCommit:
    """Everything one transaction does, ready to be written."""

    changes: ChangeSet
    batch: PreparedBatch | None
    prepared: tuple[Prepared, ...]
    message_vectors: Mapping[int, bytes] = field(default_factory=dict[int, bytes])

    @property
    def has_vectors(self) -> bool:
        """Whether it brings any vector."""
        return bool(self.message_vectors) or any(
            one.vector is not None for one in self.prepared if isinstance(one, PreparedAdd | PreparedUpdate)
        )


def prepare_batch(batch: NewBatch) -> PreparedBatch:
    """A batch with its messages analysed.

    Raises:
        UsageError: An item beside it cannot be stored, or has vectors.
    """
    if any(put.vectors for put in batch.beside):
        raise UsageError("items that are put beside a batch have no vectors")
    messages: list[PreparedMessage] = []
    for position, message in enumerate(batch.messages):
        if batch.index:
            terms = Terms.of(message.content, message.actor_id, message.observed_at)
        else:
            terms = Terms(counts={}, length=0)
        flags = analysis.text_flags(message.content)
        payload = [
            f"{batch.batch_id}:{position}",
            *(batch.scope.user_id, batch.scope.agent_id, batch.scope.run_id),
            message.role,
            message.actor_id,
            message.content,
            message.origin,
            flags,
            message.observed_at,
            batch.recorded_at,
            int(batch.index),
        ]
        messages.append(
            PreparedMessage(
                role=message.role,
                actor_id=message.actor_id,
                content=message.content,
                origin=message.origin,
                flags=flags,
                observed_at=message.observed_at,
                terms=terms,
                content_hash=digest(payload),
            )
        )
    return PreparedBatch(batch=batch, messages=tuple(messages), beside=prepare(batch.beside))


def prepare_commit(changes: ChangeSet) -> PreparedCommit:
    """A change set, ready to be written.

    Raises:
        NotFoundError: A new memory would lie outside the change set's scope.
        UsageError: Metadata is not JSON, or a vector is unusable.
    """
    batch = changes.batch
    if batch is not None and batch.scope.owner != changes.scope.owner:
        raise UsageError("a batch belongs to the owner of the change set it is committed with")
    vectors: dict[int, bytes] = {}
    for unit, vector in changes.message_vectors.items():
        vectors[unit] = pack_vector(vector)
    return PreparedCommit(
        changes=changes,
        batch=None if batch is None else prepare_batch(batch),
        prepared=tuple(_prepare(change, changes) for change in changes.changes),
        message_vectors=vectors,
    )


def _packed(vector: Vector | None) -> bytes | None:
    return None if vector is None else pack_vector(vector)


def _prepare(change: Change, changes: ChangeSet) -> Prepared:
    if isinstance(change, AddMemory):
        return _prepare_add(change, changes.scope, changes.recorded_at)
    if isinstance(change, UpdateMemory):
        metadata = None if change.metadata is None else dump_metadata(change.metadata)
        return PreparedUpdate(
            change=change, metadata=metadata, vector=_packed(change.vector), qualities=qualities(change)
        )
    return change


def qualities(change: AddMemory | UpdateMemory) -> tuple[str | None, str | None, str | None]:
    """The columns slot, support and attributes of a change's text."""
    support = None if change.support == "unchecked" else change.support
    return change.slot, support, dump_attributes(change.attributes)


def _prepare_add(change: AddMemory, outer: Scope, recorded_at: Micros) -> PreparedAdd:
    scope = change.scope
    if not outer.admits(user_id=scope.user_id, agent_id=scope.agent_id, run_id=scope.run_id):
        raise NotFoundError(f"the new memory {change.memory_id} is outside the scope of its change set")
    closed = change.valid_to is not None
    if change.valid_to is not None and change.valid_to < change.valid_from:
        raise UsageError("a memory cannot have ended before it began: valid_to is before valid_from")
    if change.superseded_by is not None and (not closed or change.superseded_by == change.memory_id):
        raise UsageError("superseded_by is for a new memory with valid_to, and names another memory")
    row = (
        change.memory_id,
        1,
        scope.user_id,
        scope.agent_id,
        scope.run_id,
        change.actor_id,
        change.text,
        change.kind,
        change.memory_type,
        dump_metadata(change.metadata),
        change.origin,
        change.trust,
        change.event_time,
        change.valid_from,
        change.valid_to,
        recorded_at,
        recorded_at,
        recorded_at if closed else None,
        None,
        change.superseded_by,
        change.expires_at,
        change.flags,
        *qualities(change),
    )
    content_hash = payload_hash(row)  # first, as it refuses what cannot be stored
    return PreparedAdd(
        change=change,
        row=row,
        text_key=analysis.text_key(change.text),
        terms=Terms.of(change.text, change.actor_id, change.event_time),
        vector=_packed(change.vector),
        content_hash=content_hash,
    )
