"""The truth: what a record store must do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..types import (
    EmbeddingIdentity,
    EventRecord,
    MemoryRecord,
    MessageRecord,
    Micros,
    OwnerKey,
    Ref,
    Scope,
    Usage,
    Vector,
)
from .reading import Candidates, Changed, OwnerState, Query, SearchRequest, Unembedded
from .writing import ChangeSet, CommitReceipt, NewBatch, StoredBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexWork:
    """One piece of pending work for a derived index. ``vector`` None: delete the ref.

    ``attempts`` and ``last_error`` are of those that failed so far.
    """

    sequence: int
    owner: OwnerKey
    ref: Ref
    vector: Vector | None
    attempts: int = 0
    last_error: str | None = None


@runtime_checkable
class RecordStore(Protocol):
    """The truth: memories, versions, history, messages, keywords, vectors, jobs.

    Errors: ``StorageUnavailableError`` if it cannot be read or written now, ``IntegrityError`` for a row
    that fails its hash, ``UsageError`` for a call after ``close``. After any error the state is the one
    before the call.
    """

    @property
    def location(self) -> str:
        """Where it is, without secrets: for messages and reprs."""
        ...

    def embedding_identity(self) -> EmbeddingIdentity | None:
        """The model whose vectors the store holds, None if it holds none yet."""
        ...

    def set_embedding_identity(self, identity: EmbeddingIdentity) -> None:
        """Record the embedding model, once.

        Raises:
            EmbeddingMismatchError: Another one is recorded.
        """
        ...

    def append(self, batch: NewBatch) -> StoredBatch:
        """Make messages durable and findable by keyword.

        With an idempotency key that this owner used before, nothing is stored and the earlier batch is
        returned with ``replayed=True``.

        Raises:
            KeyReusedError: The key was used with another fingerprint.
        """
        ...

    def commit(self, changes: ChangeSet) -> CommitReceipt:
        """Apply all changes in one transaction, or none.

        Raises:
            ConflictError: A revision is not the expected one, the lease was lost, or the batch is done.
            NotFoundError: A memory is not current inside the scope.
            UsageError: As in ``append``.
        """
        ...

    def owner_state(self, owner: OwnerKey) -> OwnerState:
        """The owner's revision, number of live memories and actors (at most 1,000, in order of name)."""
        ...

    def get(self, memory_id: str, scope: Scope | None = None) -> MemoryRecord | None:
        """The current version of a memory, None if there is none inside the scope. Sources are filled in.

        Expired memories are returned; retired ones are not.
        """
        ...

    def read(
        self, query: Query, units: Collection[int], *, damaged: set[int] | None = None, alike: bool = False
    ) -> list[MemoryRecord]:
        """The versions with these unit numbers that satisfy the query, in any order, sources filled in.

        Args:
            damaged: Takes the unit numbers of rows that fail their hash; they are left out then, and raise
                ``IntegrityError`` without it.
            alike: Also the current memories that satisfy the query and say what one of these versions says,
                by ``analysis.text_key``.
        """
        ...

    def scan(
        self,
        query: Query,
        *,
        limit: int,
        after: tuple[Micros, str] | None = None,
        damaged: set[int] | None = None,
    ) -> list[MemoryRecord]:
        """Memories by (created_at, memory_id) descending, strictly behind ``after``. Sources filled in.

        Args:
            damaged: As in ``read``. There are ``limit`` sound ones all the same, if there are so many.
        """
        ...

    def count(self, query: Query) -> int:
        """How many memories satisfy the query."""
        ...

    def history(self, memory_id: str, scope: Scope | None = None) -> list[EventRecord]:
        """What happened to a memory, oldest first; empty if it never was inside the scope."""
        ...

    def slots(
        self, query: Query, slots: Collection[str], *, history: bool = False
    ) -> Mapping[str, tuple[MemoryRecord, ...]]:
        """For each slot the memories of the query that bear it, oldest first, sources filled in.

        Args:
            history: Every version instead that is inside the scope and satisfies the filter, closed and
                expired ones too.
        """
        ...

    def changed_since(
        self, scope: Scope, time: Micros, *, memory_ids: Collection[str] | None = None, page: int = 500
    ) -> Iterator[tuple[Changed, ...]]:
        """The memories of a scope of which a version was recorded, retired or amended after a time, by id,
        in pages.

        Which they are is settled by the call; each page tells them as they stand when it is read, so what is
        done about one page changes no other. Costs what changed and what was ever amended, not what the
        owner has.

        Args:
            memory_ids: None but these.
        """
        ...

    def search(self, request: SearchRequest) -> Candidates:
        """Candidates with exact scores. Nothing outside the owner is looked at."""
        ...

    def messages(
        self, scope: Scope, units: Collection[int], *, damaged: set[int] | None = None
    ) -> list[MessageRecord]:
        """Stored messages with these unit numbers inside the scope, in unit order; hidden ones left out.

        Args:
            damaged: As in ``read``.
        """
        ...

    def retire_all(
        self,
        query: Query,
        *,
        recorded_at: Micros,
        reason: str,
        hide_messages: bool,
        indexes: tuple[str, ...] = (),
    ) -> int:
        """Retire every memory that satisfies the query in one transaction; returns how many.

        ``hide_messages`` also takes all messages of the scope out of search and drops its pending batches.
        """
        ...

    def claim_batches(
        self,
        *,
        limit: int,
        now: Micros,
        lease_micros: int,
        owner: OwnerKey | None = None,
        recorded_before: Micros | None = None,
        batch_ids: Collection[str] | None = None,
        except_ids: Collection[str] = (),
        early: bool = False,
    ) -> list[StoredBatch]:
        """Lease pending batches, oldest first; one under an unexpired lease or before its time is skipped.

        Args:
            limit: How many at most; fewer if their jobs are long.
            recorded_before: Leave out younger batches that nobody has tried yet: somebody may be at it.
            batch_ids: None but these. ``except_ids``: none of these.
            early: Also those whose time has not come.
        """
        ...

    def release_batch(
        self,
        batch_id: str,
        lease: str | None,
        *,
        error: str,
        not_before: Micros,
        usage: Mapping[tuple[OwnerKey | None, str], Usage] = {},
    ) -> None:
        """Keep a batch pending after a failed attempt, not to be claimed before the given time.

        Counts the attempt and ends the lease. Does nothing to a batch that is done or leased by somebody
        else. What was spent is added to the totals in any case, in the same transaction.

        Args:
            usage: What was spent, by owner (None: nobody's) and operation.
        """
        ...

    def annotate_batch(
        self,
        batch_id: str,
        lease: str | None,
        *,
        texts: Mapping[int, str],
        job: str,
        now: Micros,
        indexes: tuple[str, ...] = (),
    ) -> None:
        """Give messages of a pending batch new texts, and the batch a new job, in one transaction.

        What the texts are found by goes with them; their vectors are made later. Messages that were hidden
        meanwhile stay as they are.

        Args:
            texts: Whole new texts by unit.

        Raises:
            ConflictError: The batch is done, or leased to somebody else.
        """
        ...

    def batch(self, batch_id: str) -> StoredBatch | None:
        """A batch as it stands, None if there is none."""
        ...

    def pending_batches(self, owner: OwnerKey | None = None) -> int:
        """How many batches still wait for extraction."""
        ...

    def missing_vectors(self, *, limit: int, retired: bool = False) -> list[Unembedded]:
        """Current memories and visible indexed messages that have no vector yet, oldest first.

        ``retired``: closed versions instead, which only searches with ``as_of`` read.
        """
        ...

    def put_vectors(
        self,
        vectors: Sequence[tuple[Unembedded, Vector]],
        *,
        indexes: tuple[str, ...] = (),
        embedding: EmbeddingIdentity | None = None,
    ) -> None:
        """Store vectors of existing units; units that have left their space meanwhile are skipped.

        Raises:
            EmbeddingMismatchError: The store has moved to another model than ``embedding``. Nothing was
                changed.
        """
        ...

    def index_work(self, index: str, *, limit: int) -> list[IndexWork]:
        """Pending work of a derived index, oldest first."""
        ...

    def finish_index_work(self, index: str, done: Sequence[int], failed: Mapping[int, str]) -> None:
        """Strike out finished work; count an attempt and keep the error for the rest."""
        ...

    def metadata_keys(self) -> frozenset[str]:
        """Every metadata key that any memory of the store has had."""
        ...

    def is_empty(self) -> bool:
        """Whether the store holds no memory at all, of any owner, current or not."""
        ...

    def reset(self) -> None:
        """Remove everything of every owner, for good."""
        ...

    def size_bytes(self) -> int:
        """Bytes on disk, journal included."""
        ...

    def close(self) -> None:
        """Finish acknowledged work and release everything. Calling it again does nothing."""
        ...
