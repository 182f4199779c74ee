"""The SQLite record store: prepare on the caller's thread, then read, or hand the work to the writer."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from ...errors import StorageUnavailableError, UsageError
from ...protocols import (
    Candidates,
    Changed,
    ChangeSet,
    CommitReceipt,
    IndexWork,
    NewBatch,
    OwnerState,
    Query,
    SearchRequest,
    StoredBatch,
    Unembedded,
)
from ...types import (
    EmbeddingIdentity,
    EventRecord,
    MemoryRecord,
    MessageRecord,
    Micros,
    OwnerKey,
    Scope,
    Usage,
    Vector,
)
from . import batches, past, reads, versions, writes
from . import vectors as late_vectors
from .annotate import annotate
from .driver import Connection, Durability
from .forks import register
from .pending import begin_anew, strike_out
from .pool import Pool
from .prepare import prepare_batch, prepare_commit
from .rows import find_owner, pack_vector
from .settings import start_counts
from .upkeep import Upkeep
from .writer import Writer

if TYPE_CHECKING:
    from .warm import WarmCache

#: Bytes of warm copies of owners' vectors and keywords that a store keeps by default.
DEFAULT_CACHE_BYTES: Final = 256 * 1024 * 1024
_TABLES: Final = (
    "owners actors memories events batches sessions messages sources postings unit_stats vectors"
    " metadata_keys index_work space_changes usage spending amendments item_spaces items item_vectors"
    " item_postings item_changes checkpoint_threads checkpoints checkpoint_values checkpoint_writes"
    " checkpoint_parts checkpoint_claims"
).split()


def open_sqlite(
    path: str | os.PathLike[str], *, durability: Durability = "full", cache_bytes: int = DEFAULT_CACHE_BYTES
) -> SqliteStore:
    """The record store in a SQLite file, which is created if it is not there. See ``SqliteStore``."""
    return SqliteStore(path, durability=durability, cache_bytes=cache_bytes)


class SqliteStore(Upkeep):
    """A ``MaintainableStore`` in one SQLite file, for any number of threads and processes.

    Args:
        path: The file, or ``":memory:"`` for a store that ends with this object.
        durability: ``full`` survives power loss; ``relaxed`` may lose the last commits then, but nothing
            when only the process dies.
        cache_bytes: How much memory the warm copies of owners' vectors and keywords may take.

    Raises:
        StorageUnavailableError: The file cannot be opened, or belongs to something else.
        SchemaVersionError: A newer memkit wrote it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        if durability not in ("full", "relaxed"):
            raise UsageError(f"durability is 'full' or 'relaxed', not {durability!r}")
        name = os.fspath(path)
        self._path = name if name == ":memory:" else str(Path(name).absolute())
        self._pool = Pool(self._path, durability)
        self._writer = Writer(self._pool)
        self._cache_bytes = cache_bytes
        self._cache: WarmCache | None = None
        self._finalizer = weakref.finalize(self, _shut_down, self._writer, self._pool)
        register(self._writer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def location(self) -> str:
        """See ``RecordStore.location``."""
        return self._pool.location

    def embedding_identity(self) -> EmbeddingIdentity | None:
        """See ``RecordStore.embedding_identity``."""
        with self._pool.read() as connection:
            return late_vectors.identity_of(connection)

    def set_embedding_identity(self, identity: EmbeddingIdentity) -> None:
        """See ``RecordStore.set_embedding_identity``."""
        self._writer.run(lambda connection: late_vectors.set_identity(connection, identity))

    def append(self, batch: NewBatch) -> StoredBatch:
        """See ``RecordStore.append``."""
        prepared = prepare_batch(batch)
        return self._writer.run(lambda connection: batches.append(connection, prepared))

    def commit(self, changes: ChangeSet) -> CommitReceipt:
        """See ``RecordStore.commit``."""
        prepared = prepare_commit(changes)
        return self._writer.run(lambda connection: writes.commit(connection, prepared))

    def owner_state(self, owner: OwnerKey) -> OwnerState:
        """See ``RecordStore.owner_state``."""
        with self._pool.read() as connection:
            return reads.owner_state(connection, owner)

    def get(self, memory_id: str, scope: Scope | None = None) -> MemoryRecord | None:
        """See ``RecordStore.get``."""
        with self._pool.read() as connection:
            owner = 0 if scope is None else find_owner(connection, scope)[0]
            return versions.current_version(connection, scope, owner, memory_id)

    def read(
        self, query: Query, units: Collection[int], *, damaged: set[int] | None = None, alike: bool = False
    ) -> list[MemoryRecord]:
        """See ``RecordStore.read``."""
        with self._pool.read() as connection:
            return reads.read(connection, query, units, damaged, alike=alike)

    def scan(
        self,
        query: Query,
        *,
        limit: int,
        after: tuple[Micros, str] | None = None,
        damaged: set[int] | None = None,
    ) -> list[MemoryRecord]:
        """See ``RecordStore.scan``."""
        if limit < 0:
            raise UsageError(f"limit must not be negative, it is {limit}")
        with self._pool.read() as connection:
            return reads.scan(connection, query, limit=limit, after=after, damaged=damaged)

    def count(self, query: Query) -> int:
        """See ``RecordStore.count``."""
        with self._pool.read() as connection:
            return reads.count(connection, query)

    def history(self, memory_id: str, scope: Scope | None = None) -> list[EventRecord]:
        """See ``RecordStore.history``."""
        with self._pool.read() as connection:
            return reads.history(connection, memory_id, scope)

    def slots(
        self, query: Query, slots: Collection[str], *, history: bool = False
    ) -> dict[str, tuple[MemoryRecord, ...]]:
        """See ``RecordStore.slots``."""
        with self._pool.read() as connection:
            return past.slots(connection, query, slots, history=history)

    def changed_since(
        self, scope: Scope, time: Micros, *, memory_ids: Collection[str] | None = None, page: int = 500
    ) -> Iterator[tuple[Changed, ...]]:
        """See ``RecordStore.changed_since``. No transaction is open between two pages."""
        if page < 1:
            raise UsageError(f"page must be positive, it is {page}")
        with self._pool.read() as connection:
            ids = past.changed_ids(connection, scope, time, memory_ids)
        return self._changed(scope, time, ids, page)

    def _changed(
        self, scope: Scope, time: Micros, ids: Sequence[str], page: int
    ) -> Iterator[tuple[Changed, ...]]:
        for start in range(0, len(ids), page):
            with self._pool.read() as connection:
                found = past.changed(connection, scope, time, ids[start : start + page])
            yield found

    def search(self, request: SearchRequest) -> Candidates:
        """See ``RecordStore.search``."""
        # numpy is loaded by the first search, not by opening a store.
        from .search import search
        from .warm import WarmCache

        if self._cache is None:
            self._cache = WarmCache(self._cache_bytes)
            register(self._cache)
        with self._pool.read() as connection:
            return search(connection, self._cache, request)

    def messages(
        self, scope: Scope, units: Collection[int], *, damaged: set[int] | None = None
    ) -> list[MessageRecord]:
        """See ``RecordStore.messages``."""
        with self._pool.read() as connection:
            return reads.messages(connection, scope, units, damaged)

    def retire_all(
        self,
        query: Query,
        *,
        recorded_at: Micros,
        reason: str,
        hide_messages: bool,
        indexes: tuple[str, ...] = (),
    ) -> int:
        """See ``RecordStore.retire_all``."""
        return self._writer.run(
            lambda connection: versions.retire_all(
                connection, query, recorded_at=recorded_at, reason=reason, hide=hide_messages, indexes=indexes
            )
        )

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
        """See ``RecordStore.claim_batches``."""
        return self._writer.run(
            lambda connection: batches.claim(
                connection,
                limit=limit,
                now=now,
                lease_micros=lease_micros,
                owner=owner,
                recorded_before=recorded_before,
                batch_ids=batch_ids,
                except_ids=except_ids,
                early=early,
            )
        )

    def release_batch(
        self,
        batch_id: str,
        lease: str | None,
        *,
        error: str,
        not_before: Micros,
        usage: Mapping[tuple[OwnerKey | None, str], Usage] = {},
    ) -> None:
        """See ``RecordStore.release_batch``."""
        self._writer.run(
            lambda connection: batches.release(
                connection, batch_id, lease, error=error, not_before=not_before, usage=usage
            )
        )

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
        """See ``RecordStore.annotate_batch``."""
        self._writer.run(
            lambda connection: annotate(
                connection, batch_id, lease, texts=texts, job=job, now=now, indexes=indexes
            )
        )

    def batch(self, batch_id: str) -> StoredBatch | None:
        """See ``RecordStore.batch``."""
        with self._pool.read() as connection:
            return reads.read_batch(connection, batch_id)

    def pending_batches(self, owner: OwnerKey | None = None) -> int:
        """See ``RecordStore.pending_batches``."""
        with self._pool.read() as connection:
            return reads.pending_batches(connection, owner)

    def index_work(self, index: str, *, limit: int) -> list[IndexWork]:
        """See ``RecordStore.index_work``."""
        with self._pool.read() as connection:
            return reads.index_work(connection, index, limit)

    def finish_index_work(self, index: str, done: Sequence[int], failed: Mapping[int, str]) -> None:
        """See ``RecordStore.finish_index_work``."""

        def work(connection: Connection) -> None:
            strike_out(
                connection,
                "index_name = ? AND sequence IN (SELECT value FROM json_each(?))",
                (index, json.dumps([*done])),
            )
            connection.executemany(
                "UPDATE index_work SET attempts = attempts + 1, last_error = ?"
                " WHERE index_name = ? AND sequence = ?",
                [(error, index, sequence) for sequence, error in failed.items()],
            )

        self._writer.run(work)

    def missing_vectors(self, *, limit: int, retired: bool = False) -> list[Unembedded]:
        """See ``RecordStore.missing_vectors``."""
        with self._pool.read() as connection:
            return late_vectors.missing_vectors(connection, limit, retired=retired)

    def put_vectors(
        self,
        vectors: Sequence[tuple[Unembedded, Vector]],
        *,
        indexes: tuple[str, ...] = (),
        embedding: EmbeddingIdentity | None = None,
    ) -> None:
        """See ``RecordStore.put_vectors``."""
        packed = [(unit, pack_vector(vector)) for unit, vector in vectors]
        self._writer.run(lambda connection: late_vectors.put_vectors(connection, packed, indexes, embedding))

    def metadata_keys(self) -> frozenset[str]:
        """See ``RecordStore.metadata_keys``."""
        with self._pool.read() as connection:
            return frozenset(name for (name,) in connection.execute("SELECT name FROM metadata_keys"))

    def is_empty(self) -> bool:
        """See ``RecordStore.is_empty``."""
        with self._pool.read() as connection:
            return connection.execute("SELECT 1 FROM memories LIMIT 1").fetchone() is None

    def reset(self) -> None:
        """See ``RecordStore.reset``. The file is compacted afterwards and its journal emptied."""

        def work(connection: Connection) -> None:
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table}")
            # Who it is stays, and which indexes are still to be emptied.
            connection.execute(
                "DELETE FROM meta WHERE key NOT IN ('schema_version', 'analyzer', 'store_id')"
                " AND key NOT LIKE 'rebuild:%'"
            )
            begin_anew(connection)
            start_counts(connection)

        self._writer.run(work, after=_compact)

    def size_bytes(self) -> int:
        """See ``RecordStore.size_bytes``. For a store in memory: the size of its pages."""
        if self._path == ":memory:":
            with self._pool.read() as connection:
                pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
                size: int = connection.execute("PRAGMA page_size").fetchone()[0]
                return pages * size
        with self._pool.read():  # also says whether the store is open
            files = [Path(self._path + suffix) for suffix in ("", "-wal", "-shm")]
            try:
                return sum(file.stat().st_size for file in files if file.exists())
            except OSError as error:
                raise StorageUnavailableError(f"cannot read the size of {self.location}: {error}") from error

    def close(self) -> None:
        """See ``RecordStore.close``."""
        self._finalizer()


def _shut_down(writer: Writer, pool: Pool) -> None:
    writer.close()
    pool.close()


def _compact(connection: Connection) -> None:
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
