"""What the SQLite store does for ``memory.admin``."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ...errors import IntegrityError
from ...protocols import Inspected
from . import settings, vectors
from .pending import strike_out
from .reindex import rebuild_terms
from .rows import MEMORY, SPACE_NAMES, TURN, checksum
from .seals import WORK_SUM, WORK_SUMMED
from .spending import read_spending
from .usage import read_counts, read_usage, record_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ...types import EmbeddingIdentity, OwnerKey, Usage
    from .checkpoints.store import SqliteCheckpoints
    from .driver import Connection
    from .items.store import SqliteItems
    from .pool import Pool
    from .writer import Writer


class Upkeep:
    """``MaintainableStore``, over the pool and the writer of the store that inherits it."""

    _pool: Pool
    _writer: Writer
    _cache_bytes: int

    @cached_property
    def items(self) -> SqliteItems:
        """The item store in the same file. Its warm copies may take as much memory again as the memories'."""
        from .items.store import SqliteItems

        return SqliteItems(self._pool, self._writer, cache_bytes=self._cache_bytes)

    @cached_property
    def checkpoints(self) -> SqliteCheckpoints:
        """The checkpoint store in the same file."""
        from .checkpoints.store import SqliteCheckpoints

        return SqliteCheckpoints(self._pool, self._writer)

    def rebuild_terms(self, *, after: int = 0) -> tuple[int, int]:
        """See ``MaintainableStore.rebuild_terms``."""
        return self._writer.run(lambda connection: rebuild_terms(connection, after))

    def count_units(self) -> int:
        """See ``MaintainableStore.count_units``."""
        with self._pool.read() as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM memories) + (SELECT count(*) FROM messages)"
            ).fetchone()
        return int(found[0])

    def switch_embedding(self, identity: EmbeddingIdentity) -> None:
        """See ``MaintainableStore.switch_embedding``."""
        self._writer.run(lambda connection: vectors.switch_embedding(connection, identity))

    def store_id(self) -> str:
        """See ``MaintainableStore.store_id``."""
        with self._pool.read() as connection:
            held = _store_id(connection)
        return held or self._writer.run(_make_store_id)

    def request_index_rebuild(self, index: str) -> None:
        """See ``MaintainableStore.request_index_rebuild``."""
        self._writer.run(lambda connection: settings.put(connection, settings.REBUILD + index, index))

    def enqueue_index(self, index: str) -> int:
        """See ``MaintainableStore.enqueue_index``."""
        return self._writer.run(lambda connection: _enqueue(connection, index))

    def inspect(self, step: Callable[[int], None] = lambda _: None) -> Inspected:
        """See ``MaintainableStore.inspect``. One read transaction; others go on writing."""
        from .repair import inspect

        with self._pool.read() as connection:
            return inspect(connection, step).told()

    def repair(self, step: Callable[[int], None] = lambda _: None) -> None:
        """See ``MaintainableStore.repair``."""
        from .repair import repair

        self._writer.run(lambda connection: repair(connection, step))

    def accept_losses(self, step: Callable[[int], None] = lambda _: None) -> Inspected:
        """See ``MaintainableStore.accept_losses``."""
        from .losses import accept_losses

        return self._writer.run(lambda connection: accept_losses(connection, step)).told()

    def dump(
        self,
        sink: Callable[[Mapping[str, Any]], None],
        *,
        owners: Collection[OwnerKey] | None = None,
        skip_damaged: bool = False,
        step: Callable[[int], None] = lambda _: None,
    ) -> Inspected:
        """See ``MaintainableStore.dump``. One read transaction; others go on writing."""
        from .transfer import dump, dump_rest

        with self._pool.read() as connection:
            if skip_damaged:
                return dump_rest(connection, sink, owners, step)
            dump(connection, sink, owners, step)
            return Inspected(found=(), total=0)

    def load(
        self,
        records: Callable[[], Iterable[Mapping[str, Any]]],
        *,
        indexes: tuple[str, ...] = (),
        step: Callable[[int], None] = lambda _: None,
    ) -> None:
        """See ``MaintainableStore.load``."""
        from .loading import load

        self._writer.run(lambda connection: load(connection, records(), indexes, step))

    def record_usage(self, spent: Mapping[tuple[OwnerKey | None, str], Usage]) -> None:
        """See ``MaintainableStore.record_usage``."""
        self._writer.run(lambda connection: record_usage(connection, spent))

    def usage(self, owner: OwnerKey | None = None) -> dict[tuple[OwnerKey | None, str], Usage]:
        """See ``MaintainableStore.usage``."""
        with self._pool.read() as connection:
            return read_usage(connection, owner)

    def spending(self, owner: OwnerKey | None, kind: str, period: str) -> Usage:
        """See ``MaintainableStore.spending``."""
        with self._pool.read() as connection:
            return read_spending(connection, owner, kind, period)

    def counts(self) -> dict[str, int]:
        """See ``MaintainableStore.counts``."""
        with self._pool.read() as connection:
            return read_counts(connection)

    def probe(self) -> None:
        """See ``MaintainableStore.probe``."""
        self._writer.run(lambda connection: connection.execute("DELETE FROM meta WHERE key = ''").rowcount)

    def index_refs(self, index: str) -> dict[str, bool]:
        """See ``MaintainableStore.index_refs``."""
        with self._pool.read() as connection:
            return _refs(connection, index)

    def pending_index_work(self) -> dict[str, int]:
        """See ``MaintainableStore.pending_index_work``."""
        with self._pool.read() as connection:
            return dict(
                connection.execute(
                    "SELECT index_name, count(*) FROM index_work GROUP BY index_name"
                ).fetchall()
            )

    def index_rebuilds(self) -> tuple[str, ...]:
        """See ``MaintainableStore.index_rebuilds``."""
        with self._pool.read() as connection:
            notes = settings.rebuild_notes(connection)
        return tuple(sorted({name for name in notes.values() if name is not None}))


def _store_id(connection: Connection) -> str:
    row = connection.execute("SELECT value, crc32 FROM meta WHERE key = ?", (settings.STORE_ID,)).fetchone()
    if row is None:
        return ""
    if row[1] != checksum(settings.STORE_ID, row[0]):
        raise IntegrityError(
            "the store's own id does not match its checksum, so that no index can be told whose it is: open "
            "it without the index, restore it from a backup or export it into a new store"
        )
    return str(row[0])


def _make_store_id(connection: Connection) -> str:
    if not _store_id(connection):
        settings.put(connection, settings.STORE_ID, uuid4().hex)
    return _store_id(connection)


def _refs(connection: Connection, index: str) -> dict[str, bool]:
    refs = {
        f"memory/{memory_id}/{revision}": True
        for memory_id, revision in connection.execute(
            f"SELECT m.memory_id, m.revision FROM memories m JOIN vectors v ON v.owner = m.owner"
            f" AND v.space = {MEMORY} AND v.unit = m.unit WHERE m.retired_at IS NULL"
        )
    }
    for uuid, position in connection.execute(
        "SELECT b.uuid, t.position FROM messages t JOIN batches b ON b.id = t.batch"
        f" JOIN vectors v ON v.owner = t.owner AND v.space = {TURN} AND v.unit = t.unit"
        " WHERE t.hidden_at IS NULL AND t.indexed = 1"
    ):
        refs[f"turn/{uuid}:{position}/1"] = True
    for space, ref_id, revision in connection.execute(
        "SELECT space, ref_id, revision FROM index_work WHERE index_name = ?", (index,)
    ):
        refs[f"{SPACE_NAMES[space]}/{ref_id}/{revision}"] = False
    return refs


def _enqueue(connection: Connection, index: str) -> int:
    strike_out(connection, "index_name = ?", (index,))
    insert = f"INSERT INTO index_work ({WORK_SUMMED}, crc32) SELECT *, {WORK_SUM} FROM"
    memories = connection.execute(
        f"{insert} (SELECT ? AS index_name, v.owner AS owner, v.space AS space, v.unit AS unit,"
        " m.memory_id AS ref_id, m.revision AS revision, 0 AS removed FROM vectors v"
        f" JOIN memories m ON m.unit = v.unit WHERE v.space = {MEMORY}) w",
        (index,),
    ).rowcount
    turns = connection.execute(
        f"{insert} (SELECT ? AS index_name, v.owner AS owner, v.space AS space, v.unit AS unit,"
        " b.uuid || ':' || t.position AS ref_id, 1 AS revision, 0 AS removed FROM vectors v"
        f" JOIN messages t ON t.unit = v.unit JOIN batches b ON b.id = t.batch WHERE v.space = {TURN}) w",
        (index,),
    ).rowcount
    settings.drop_notes(connection, index)
    return memories + turns
