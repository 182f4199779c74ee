"""What a write hands to the record store, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..types import EmbeddingIdentity, MemoryRecord, Message, Micros, OwnerKey, Scope, Support, Usage, Vector
from .items import ItemPut


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """The messages of one ``add``, to be made durable before any model is called.

    Attributes:
        batch_id: A new UUID; ``f"{batch_id}:{position}"`` becomes each message's public id.
        index: Whether the messages become searchable units of their own (False if the same commit
            stores each of them word for word as a memory).
        job: What a resumed extraction needs to know (JSON), None if nothing is left to do after this.
        idempotency_key, fingerprint: The caller's key and a hash of what was asked under it.
        beside: Items that the store's ``items`` put in the same transaction, at ``beside_at``; for a batch
            that is replayed as well. ``append`` alone takes them.
    """

    batch_id: str
    scope: Scope
    messages: tuple[Message, ...]
    recorded_at: Micros
    index: bool = True
    job: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    beside: tuple[ItemPut, ...] = ()
    beside_at: Micros = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBatch:
    """A batch as it stands in the store.

    Attributes:
        units: The messages' unit numbers, in order.
        attempts: How many times its extraction was claimed.
        lease: Proof of a claim; needed to complete or release the batch. None if not claimed.
        result: The stored result (JSON) if the batch is done and had an idempotency key.
        replayed: The batch was there before, under the same idempotency key.
        begins: It has just begun a session: nothing was said in it before, though memories may have been
            stored as they stand. False also if that is not known.
    """

    batch_id: str
    scope: Scope
    state: Literal["pending", "done"]
    units: tuple[int, ...]
    recorded_at: Micros
    job: str | None = None
    attempts: int = 0
    lease: str | None = None
    last_error: str | None = None
    result: str | None = None
    replayed: bool = False
    begins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMemory:
    """Store a new memory.

    Attributes:
        sources: Unit numbers of the messages it rests on; positions in ``ChangeSet.batch`` if that is given.
        skip_duplicate: If a live memory of the same owner, narrowing ids and actor has the same normalised
            text, is believed as much and lasts as long, attach the sources to that one and report its id.
        slot, attributes, support: As in ``Fact``.
        valid_to: Until when it held, if it is known to be over: the version is stored as a closed one, never
            current and never a duplicate. ``superseded_by``: the memory that says what came after it.
    """

    memory_id: str
    scope: Scope
    text: str
    kind: str = "other"
    memory_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    actor_id: str | None = None
    origin: str = "user"
    trust: str = "trusted"
    event_time: Micros | None = None
    valid_from: Micros
    expires_at: Micros | None = None
    flags: int = 0
    sources: tuple[int, ...] = ()
    vector: Vector | None = None
    skip_duplicate: bool = False
    reason: str = ""
    slot: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    support: Support = "unchecked"
    valid_to: Micros | None = None
    superseded_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMemory:
    """Close the current version of a memory and open the next one.

    Fields left None keep their value; without text the sources and the vector stay too. With a text,
    ``slot``, ``attributes`` and ``support`` are those of the new text.
    ``expected_revision`` None: whatever is current. ``actor_id``: who changes it, for the history.
    ``origin``, ``trust``: of the new text; None as well: as before.
    ``lasting``: without ``expires_at`` the new version does not expire, even if the one before did.
    """

    memory_id: str
    expected_revision: int | None = None
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    kind: str | None = None
    event_time: Micros | None = None
    valid_from: Micros
    expires_at: Micros | None = None
    actor_id: str | None = None
    flags: int = 0
    sources: tuple[int, ...] = ()
    vector: Vector | None = None
    reason: str = ""
    slot: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    support: Support = "unchecked"
    origin: str | None = None
    trust: str | None = None
    lasting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireMemory:
    """Close a memory without a next version: no longer true, or deleted by its user.

    Attributes:
        superseded_by: The memory that replaces it; if that is one of the same change set that turns out to be
            a duplicate, the memory that was there is named.
        hide_sources: Also take messages out of search that no other live memory cites.
    """

    memory_id: str
    expected_revision: int | None = None
    valid_to: Micros
    superseded_by: str | None = None
    hide_sources: bool = False
    actor_id: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CiteMemory:
    """Attach further messages to the current version of a memory: they say the same again.

    No new version and no event; reported as ``duplicate``.
    """

    memory_id: str
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendMemory:
    """Say that a closed version held for a shorter time than was thought: something came in between.

    What was believed before stays readable under its knowledge time. An event AMEND records it.

    Attributes:
        revision: Which version of the memory; it must be closed.
        valid_to: Until when it held; not after its present end, not before its beginning.
        superseded_by: What came in between; None: what was named before.
    """

    memory_id: str
    revision: int
    valid_to: Micros
    superseded_by: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreMemory:
    """Open a new current version of a memory with the content of an earlier one. Its event is RESTORE.

    A current version is closed for it, as by an update. Messages that were hidden stay hidden.

    Attributes:
        revision: The version whose text, metadata, kind, trust, slot, sources, vector and expiry come back.
        valid_from: Since when it holds again; None: as the earlier version says.
    """

    memory_id: str
    revision: int
    valid_from: Micros | None = None
    reason: str = ""


Change = AddMemory | UpdateMemory | RetireMemory | CiteMemory | AmendMemory | RestoreMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A pending batch that a commit finishes.

    Attributes:
        lease: What it was claimed under, None: not claimed.
        result: Makes the JSON to keep with it for its idempotency key, from what became of the changes.
            Called inside the transaction; if it raises, nothing is applied.
    """

    batch_id: str
    lease: str | None = None
    result: Callable[[tuple[Applied, ...]], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Everything one transaction does.

    Attributes:
        scope: Every touched memory must be inside it, else ``NotFoundError``.
        expected_revision: The owner revision that was read before deciding; ``ConflictError`` if it moved.
            None: apply to whatever is there.
        embedding: Which model made the vectors in here; ``EmbeddingMismatchError`` if the store has moved to
            another one meanwhile. None: not checked.
        usage: What was spent, by owner (None: nobody's) and operation, to be added to the totals; also when
            the batch turns out to be a replay.
        batch: New messages to store in the same transaction.
        message_vectors: Vectors of stored messages, by unit (by position in ``batch`` if that is given).
        complete: Pending batches of this owner to mark done.
        result: As in ``Completion``, for ``batch``.
        indexes: Names of derived indexes that need work for every touched unit.
    """

    scope: Scope
    recorded_at: Micros
    changes: tuple[Change, ...] = ()
    expected_revision: int | None = None
    batch: NewBatch | None = None
    message_vectors: Mapping[int, Vector] = field(default_factory=dict[int, Vector])
    complete: tuple[Completion, ...] = ()
    result: Callable[[tuple[Applied, ...]], str] | None = None
    indexes: tuple[str, ...] = ()
    embedding: EmbeddingIdentity | None = None
    usage: Mapping[tuple[OwnerKey | None, str], Usage] = field(
        default_factory=dict[tuple[OwnerKey | None, str], Usage]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one change, in the order given.

    Attributes:
        outcome: ``applied``, or ``duplicate`` (a ``CiteMemory``, or an ``AddMemory`` with ``skip_duplicate``;
            ``record`` is the memory that was there).
        previous: The version before: for updates, deletions and amendments; for restored memories the one
            that was current, if there was one.
    """

    outcome: Literal["applied", "duplicate"]
    record: MemoryRecord
    previous: MemoryRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReceipt:
    """The outcome of a commit; everything in it is durable."""

    revision: int
    applied: tuple[Applied, ...]
    batch: StoredBatch | None = None
