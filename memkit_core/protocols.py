"""What a backend must do. Conformance classes for each protocol are in ``memkit_core.testing``.

Every method is synchronous and safe to call from several threads; the runtime decides on which thread it
runs. Reads see every commit that was acknowledged before they began, from any process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from .filters import Filter
from .types import (
    EmbeddingCalls,
    EmbeddingIdentity,
    EventRecord,
    MemoryRecord,
    Message,
    MessageRecord,
    Micros,
    OwnerKey,
    Ref,
    Relation,
    Scope,
    Space,
    Usage,
    Vector,
)

T = TypeVar("T")

# ---------------------------------------------------------------- running


@runtime_checkable
class Runtime(Protocol):
    """What the pipeline may await."""

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """The reply of a LangChain runnable."""
        ...

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """Unit-length float32 vectors of shape (len(texts), dim)."""
        ...

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """A unit-length float32 vector of shape (dim,)."""
        ...

    async def call(self, function: Callable[[], T]) -> T:
        """The result of a storage call."""
        ...

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """All results in order. Waits for every child, then raises the first error in order."""
        ...

    async def wait(self, jobs: Sequence[Future[Any]], seconds: float | None) -> int:
        """How many jobs are still not done after so many seconds; None waits for all."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Nothing, later."""
        ...

    def exclusive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """``async with``: one holder of the key at a time, in this process, fair."""
        ...


# ---------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """The messages of one ``add``, to be made durable before any model is called.

    Attributes:
        batch_id: A new UUID; ``f"{batch_id}:{position}"`` becomes each message's public id.
        index: Whether the messages become searchable units of their own (False if the same commit
            stores each of them word for word as a memory).
        job: What a resumed extraction needs to know (JSON), None if nothing is left to do after this.
        idempotency_key, fingerprint: The caller's key and a hash of what was asked under it.
    """

    batch_id: str
    scope: Scope
    messages: tuple[Message, ...]
    recorded_at: Micros
    index: bool = True
    job: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBatch:
    """A batch as it stands in the store.

    Attributes:
        units: The messages' unit numbers, in order.
        attempts: How many times its extraction was claimed.
        lease: Proof of a claim; needed to complete or release the batch. None if not claimed.
        result: The stored result (JSON) if the batch is done and had an idempotency key.
        replayed: The batch was there before, under the same idempotency key.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMemory:
    """Store a new memory.

    Attributes:
        sources: Unit numbers of the messages it rests on; positions in ``ChangeSet.batch`` if that is given.
        skip_duplicate: If a live memory of the same owner, narrowing ids and actor has the same normalised
            text, is believed as much and lasts as long, attach the sources to that one and report its id.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMemory:
    """Close the current version of a memory and open the next one.

    Fields left None keep their value; without text the sources and the vector stay too.
    ``expected_revision`` None: whatever is current. ``actor_id``: who changes it, for the history.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireMemory:
    """Close a memory without a next version: no longer true, or deleted by its user.

    Attributes:
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


Change = AddMemory | UpdateMemory | RetireMemory | CiteMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Everything one transaction does.

    Attributes:
        scope: Every touched memory must be inside it, else ``NotFoundError``.
        expected_revision: The owner revision that was read before deciding; ``ConflictError`` if it moved.
            None: apply to whatever is there.
        embedding: Which model made the vectors in here; ``EmbeddingMismatchError`` if the store has moved to
            another one meanwhile. None: not checked.
        usage: What was spent on it, by operation, to be added to the owner's totals.
        batch: New messages to store in the same transaction.
        message_vectors: Vectors of stored messages, by unit (by position in ``batch`` if that is given).
        complete: Batch to mark done, with the lease it was claimed under (None: not claimed).
        result: Makes the JSON to keep with the completed batch for its idempotency key, from what became of
            the changes. Called inside the transaction; if it raises, nothing is applied.
        indexes: Names of derived indexes that need work for every touched unit.
    """

    scope: Scope
    recorded_at: Micros
    changes: tuple[Change, ...] = ()
    expected_revision: int | None = None
    batch: NewBatch | None = None
    message_vectors: Mapping[int, Vector] = field(default_factory=dict[int, Vector])
    complete: str | None = None
    lease: str | None = None
    result: Callable[[tuple[Applied, ...]], str] | None = None
    indexes: tuple[str, ...] = ()
    embedding: EmbeddingIdentity | None = None
    usage: Mapping[str, Usage] = field(default_factory=dict[str, Usage])


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one change, in the order given.

    Attributes:
        outcome: ``applied``, or ``duplicate`` (a ``CiteMemory``, or an ``AddMemory`` with ``skip_duplicate``;
            ``record`` is the memory that was there).
        previous: The text before, for updates and deletions.
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


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which memories of a scope a verb means. Conditions are applied before any limit.

    Attributes:
        now: Expired memories (``expires_at <= now``) are left out.
        valid_at, known_at: Read an earlier truth instead of the current one.
    """

    scope: Scope
    where: Filter | None = None
    now: Micros
    valid_at: Micros | None = None
    known_at: Micros | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search over the exact indexes of the record store.

    Attributes:
        spaces: ``memory`` and, or ``turn``. The filter of ``query`` concerns memories only; turns are
            narrowed by the scope.
        terms: Distinct analysed terms of the question (``analysis.query_terms``), at most 64.
        vector: Unit-length embedding of the question, None for keywords only.
        embedding: Which model made it; ``EmbeddingMismatchError`` if the store has moved to another one
            meanwhile. None: not checked.
        pool: How many candidates each arm proposes per space.
        proposed: Further candidates, from derived indexes.
        dense: Whether the store compares the question with all of the owner's vectors. If not, ``proposed``
            stands for that arm; every candidate gets its exact cosine all the same.
        between: Also propose turns and memories of these time ranges (start inclusive, end exclusive).
    """

    query: Query
    spaces: tuple[Space, ...] = ("memory",)
    terms: tuple[str, ...] = ()
    vector: Vector | None = None
    embedding: EmbeddingIdentity | None = None
    pool: int = 100
    proposed: tuple[Ref, ...] = ()
    dense: bool = True
    between: tuple[tuple[Micros, Micros], ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit with its exact scores; what fusion needs, nothing else.

    Attributes:
        cosine: -1 to 1; None if there is no query vector or the unit has none yet.
        bm25: Okapi BM25 (k1 = 1.2, b = 0.75) over the owner's units of the same space; 0 if no term matches.
        session_bm25: The same over whole sessions, for turns; 0 for memories.
        previous, following: The neighbouring turns' unit numbers in the session, None at its ends.
        time: When it was said or happened.
    """

    space: Space
    unit: int
    cosine: float | None
    bm25: float
    session_bm25: float = 0.0
    actor_id: str | None = None
    time: Micros | None = None
    flags: int = 0
    previous: int | None = None
    following: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a search found, unordered.

    Attributes:
        scored: Every candidate once. For turns the neighbours of candidates are scored too.
        idf_mass: Per space, the sum of the idf of the request's terms (0 if no unit is there).
        session_idf_mass: The same with sessions as documents, for turns.
        cited_by: For turn units that live memories of the query cite: those memories' unit numbers.
        short: Searched spaces in which the proposals cannot be the nearest units: they are fewer than there
            must be, or many clearly nearer units came up otherwise.
        revision: The owner's revision that was read, 0 if the owner is unknown.
        without_vector: How many units of the searched spaces have no vector yet, if the request has one.
    """

    scored: tuple[Scored, ...] = ()
    idf_mass: Mapping[Space, float] = field(default_factory=dict[Space, float])
    session_idf_mass: float = 0.0
    cited_by: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    short: frozenset[Space] = frozenset()
    revision: int = 0
    without_vector: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """A unit without a vector, and the text it is made from."""

    space: Space
    unit: int
    owner: OwnerKey
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerState:
    """What is known of an owner: its revision (0: never seen), its actors, how much a search looks at."""

    revision: int = 0
    live_memories: int = 0
    turns: int = 0
    actors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexWork:
    """One piece of pending work for a derived index. ``vector`` None: delete the ref."""

    sequence: int
    owner: OwnerKey
    ref: Ref
    vector: Vector | None
    attempts: int = 0


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
            UsageError: The key was used with another fingerprint.
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
        """The owner's revision, number of live memories and actors (at most 1,000, by first appearance)."""
        ...

    def get(self, memory_id: str, scope: Scope | None = None) -> MemoryRecord | None:
        """The current version of a memory, None if there is none inside the scope. Sources are filled in.

        Expired memories are returned; retired ones are not.
        """
        ...

    def read(self, query: Query, units: Collection[int]) -> list[MemoryRecord]:
        """The versions with these unit numbers that satisfy the query, in any order, sources filled in."""
        ...

    def scan(
        self, query: Query, *, limit: int, after: tuple[Micros, str] | None = None
    ) -> list[MemoryRecord]:
        """Memories by (created_at, memory_id) descending, strictly behind ``after``. Sources filled in."""
        ...

    def count(self, query: Query) -> int:
        """How many memories satisfy the query."""
        ...

    def history(self, memory_id: str, scope: Scope | None = None) -> list[EventRecord]:
        """What happened to a memory, oldest first; empty if it never was inside the scope."""
        ...

    def search(self, request: SearchRequest) -> Candidates:
        """Candidates with exact scores. Nothing outside the owner is looked at."""
        ...

    def messages(self, scope: Scope, units: Collection[int]) -> list[MessageRecord]:
        """Stored messages with these unit numbers inside the scope, in unit order; hidden ones left out."""
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
    ) -> list[StoredBatch]:
        """Lease pending batches, oldest first; one under an unexpired lease or before its time is skipped.

        ``recorded_before`` leaves out younger batches that nobody has tried yet: somebody may be at it.
        """
        ...

    def release_batch(self, batch_id: str, lease: str | None, *, error: str, not_before: Micros) -> None:
        """Keep a batch pending after a failed attempt, not to be claimed before the given time.

        Counts the attempt and ends the lease. Does nothing if the batch is done or leased by somebody else.
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


DamageKind = Literal["truth", "derived", "file", "index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        kind: ``truth``: a part of the record, which nothing else says; restore it from a backup or an
            export. ``derived``: ``repair`` makes it anew. ``file``: the database's own structure.
            ``index``: a derived index differs from the record.
        key: Which row, as far as it can be told.
    """

    kind: DamageKind
    table: str
    key: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What an inspection found: the first thousand findings, and how many there are in all."""

    found: tuple[Damage, ...]
    total: int


@runtime_checkable
class MaintainableStore(RecordStore, Protocol):
    """A record store that ``memory.admin`` can look after. Errors as in ``RecordStore``."""

    def rebuild_terms(self, *, after: int = 0) -> tuple[int, int]:
        """Derive keywords, lengths and statistics of the next owners anew from their texts.

        Each call is one transaction over whole owners: readers see an owner before or after it, never
        between.

        Returns:
            The position to go on from (0: that was all), and how many units were done.
        """
        ...

    def count_units(self) -> int:
        """How many versions and messages there are, hidden ones included."""
        ...

    def switch_embedding(self, identity: EmbeddingIdentity) -> None:
        """Move to another embedding model: all vectors are dropped, their units wait for new ones."""
        ...

    def request_index_rebuild(self, index: str) -> None:
        """Note durably that a derived index is about to be cleared."""
        ...

    def enqueue_index(self, index: str) -> int:
        """Replace an index's pending work by all there is, and strike out the note; returns how much."""
        ...

    def inspect(self, step: Callable[[int], None] = ...) -> Inspected:
        """Everything that is wrong, from every row against its hash and against the rows around it.

        Args:
            step: Told how many more of twice ``count_units()`` steps are done.
        """
        ...

    def repair(self, step: Callable[[int], None] = ...) -> None:
        """Make anew what is derived and damaged, in one transaction. The record itself is left as it is."""
        ...

    def dump(
        self, sink: Callable[[Mapping[str, Any]], None], *, owners: Collection[OwnerKey] | None = None
    ) -> None:
        """Hand everything (or all of some owners) to ``sink`` as plain records, as of one moment.

        ``maintenance.records`` says what they look like; vectors are bytes of half precision.

        Raises:
            IntegrityError: Something is damaged.
        """
        ...

    def load(
        self, records: Callable[[], Iterable[Mapping[str, Any]]], *, indexes: tuple[str, ...] = ()
    ) -> None:
        """Store what ``dump`` gave, in one transaction; ``records`` may be called more than once.

        Whatever ``records`` raises comes out again, and nothing is changed then.

        Raises:
            ConflictError: The store has one of the owners already.
            EmbeddingMismatchError: The store holds another model's vectors.
            TransferError: The records do not hold together.
        """
        ...

    def record_usage(self, spent: Mapping[tuple[OwnerKey | None, str], Usage]) -> None:
        """Add to the totals of owners (None: nobody's) and operations."""
        ...

    def usage(self, owner: OwnerKey | None = None) -> dict[tuple[OwnerKey | None, str], Usage]:
        """The totals by owner and operation, of one owner if given."""
        ...

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind; keywords are left out, which nothing counts quickly."""
        ...

    def probe(self) -> None:
        """Begin a write and take it back. Raises as any write does if the store cannot be written."""
        ...

    def index_refs(self, index: str) -> dict[str, bool]:
        """``Ref.key`` of all that this derived index holds when it is up to date.

        False for what pending work is about, there or not.
        """
        ...

    def pending_index_work(self) -> dict[str, int]:
        """How much work is pending, by the name of the index."""
        ...

    def index_rebuilds(self) -> tuple[str, ...]:
        """Names of derived indexes whose rebuilding was begun and not brought to its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What a derived vector index is given: a ref, its owner and a unit-length vector."""

    owner: OwnerKey
    ref: Ref
    vector: Vector


@runtime_checkable
class VectorIndex(Protocol):
    """A derived index: it proposes refs, and the record store has the last word.

    It may be approximate, late or incomplete; it must not raise for unknown refs.
    """

    @property
    def name(self) -> str:
        """Names its pending work; stable over restarts."""
        ...

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """Insert or overwrite. Doing it twice is the same as once."""
        ...

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """Remove; unknown refs are no error."""
        ...

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """The nearest refs of one owner, nearest first."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@runtime_checkable
class InspectableIndex(Protocol):
    """A derived index that can say what it holds; ``admin.doctor`` compares it with the records."""

    def keys(self) -> Iterator[str]:
        """``Ref.key`` of everything it holds, in any order, each once."""
        ...


@runtime_checkable
class GraphStore(Protocol):
    """A derived entity graph: it proposes memories that are near the entities of a question."""

    @property
    def name(self) -> str:
        """Names its pending work; stable over restarts."""
        ...

    def add(self, owner: OwnerKey, ref: Ref, relations: Sequence[Relation]) -> None:
        """Attach relations to a memory version. Doing it twice is the same as once."""
        ...

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """Detach everything that rests on these refs."""
        ...

    def propose(self, owner: OwnerKey, entities: Sequence[str], *, hops: int, limit: int) -> list[Ref]:
        """Memories within ``hops`` edges of the entities, nearest first."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...
