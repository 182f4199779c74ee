"""The item store of a SQLite file: reads through the pool, writes through the one writer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ....errors import IntegrityError, UsageError
from ....protocols import (
    ItemAnswer,
    ItemGet,
    ItemPut,
    ItemQuestion,
    ItemTexts,
    Namespace,
    NamespaceListing,
    StoredItem,
)
from ....types import EmbeddingIdentity, Micros
from ..driver import Connection
from ..forks import register
from ..pool import Pool
from ..seals import is_sound_row
from ..writer import Writer
from .rows import ITEM, Indexed, check_text, decode, encode, is_sound, item_of, prepare, prepare_index, span
from .writes import check_identity, identity_of, index_all, put_all, refresh, sweep, switch_identity

if TYPE_CHECKING:
    from .warm import ItemVectors

#: Reading moves an expiry only if that moves it by this part of the time to live: it costs a write.
_WORTH_A_WRITE = 100


class SqliteItems:
    """An ``ItemStore`` over the pool and the writer of a SQLite record store.

    Args:
        cache_bytes: How much memory warm copies of vectors may take.
    """

    def __init__(self, pool: Pool, writer: Writer, *, cache_bytes: int) -> None:
        self._pool = pool
        self._writer = writer
        self._cache_bytes = cache_bytes
        self._vectors: ItemVectors | None = None

    def item_identity(self) -> EmbeddingIdentity | None:
        """See ``ItemStore.item_identity``."""
        with self._pool.read() as connection:
            return identity_of(connection)

    def ask(
        self,
        questions: Sequence[ItemQuestion],
        *,
        now: Micros,
        omit_expired: bool = False,
        embedding: EmbeddingIdentity | None = None,
    ) -> list[ItemAnswer]:
        """See ``ItemStore.ask``."""
        expired = now if omit_expired else None
        expiring: list[tuple[int, int, int]] = []
        with self._pool.read() as connection:
            if embedding is not None:
                check_identity(connection, embedding)
            answers = [self._answer(connection, asked, expired, expiring) for asked in questions]
        due = {item for item, ttl, at in expiring if now + ttl - at > ttl // _WORTH_A_WRITE}
        if due:
            self._writer.run(lambda connection: refresh(connection, sorted(due), now))
        return answers

    def _answer(
        self,
        connection: Connection,
        asked: ItemQuestion,
        expired: Micros | None,
        expiring: list[tuple[int, int, int]],
    ) -> ItemAnswer:
        if isinstance(asked, ItemGet):
            number, found = _get(connection, asked, expired)
            if asked.refresh and found is not None and found.ttl is not None:
                expiring.append((number, found.ttl, found.expires_at or 0))
            return found
        if isinstance(asked, NamespaceListing):
            return tuple(_namespaces(connection, asked, expired))
        # numpy is loaded by the first search, not by opening a store.
        from .search import search

        hits, living = search(connection, self._warm, asked, expired)
        if asked.refresh:
            expiring += living
        return tuple(hits)

    def _warm(self) -> ItemVectors:
        from .warm import ItemVectors

        if self._vectors is None:
            self._vectors = ItemVectors(self._cache_bytes)
            register(self._vectors)
        return self._vectors

    def put(
        self, puts: Sequence[ItemPut], *, now: Micros, embedding: EmbeddingIdentity | None = None
    ) -> None:
        """See ``ItemStore.put``."""
        prepared = prepare(puts)
        held = _claimed(embedding, [put.indexed for put in prepared])
        self._writer.run(lambda connection: put_all(connection, prepared, now, held))

    def scan(self, *, after: int = 0, limit: int) -> list[tuple[int, StoredItem]]:
        """See ``ItemStore.scan``."""
        with self._pool.read() as connection:
            rows = connection.execute(
                f"SELECT {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space WHERE i.id > ?"
                " ORDER BY i.id LIMIT ?",
                (after, limit),
            ).fetchall()
            return [(row[0], item_of(row)) for row in rows if is_sound(row)]

    def index(self, items: Sequence[ItemTexts], *, embedding: EmbeddingIdentity | None = None) -> None:
        """See ``ItemStore.index``."""
        prepared = [(item.number, item.updated_at, prepare_index(item.texts, item.vectors)) for item in items]
        held = _claimed(embedding, [indexed for _, _, indexed in prepared])
        self._writer.run(lambda connection: index_all(connection, prepared, held))

    def switch_item_embedding(self, identity: EmbeddingIdentity | None) -> None:
        """See ``ItemStore.switch_item_embedding``."""
        self._writer.run(lambda connection: switch_identity(connection, identity))

    def sweep(self, *, now: Micros) -> int:
        """See ``ItemStore.sweep``."""
        return self._writer.run(lambda connection: sweep(connection, now))


def _claimed(embedding: EmbeddingIdentity | None, found_by: Iterable[Indexed]) -> EmbeddingIdentity | None:
    """The model that vectors are from, None if there are none."""
    if not any(indexed.vectors for indexed in found_by):
        return None
    if embedding is None:
        raise UsageError("items with vectors come with the identity of their embedding model")
    return embedding


def _get(connection: Connection, asked: ItemGet, expired: Micros | None) -> tuple[int, StoredItem | None]:
    check_text(asked.key)
    row = connection.execute(
        f"SELECT {ITEM} FROM item_spaces s JOIN items i ON i.space = s.id"
        " WHERE s.namespace = ? AND i.key = ?",
        (encode(asked.namespace), asked.key),
    ).fetchone()
    if row is None:
        return 0, None
    item = item_of(row)
    if expired is not None and item.expires_at is not None and item.expires_at <= expired:
        return 0, None
    return row[0], item


def _namespaces(connection: Connection, asked: NamespaceListing, expired: Micros | None) -> list[Namespace]:
    if asked.limit < 0 or asked.offset < 0 or (asked.max_depth is not None and asked.max_depth < 1):
        raise UsageError("limit and offset must not be negative, and max_depth is at least 1")
    condition = "1"
    values: list[Any] = []
    fixed = max((_fixed(pattern) for pattern in asked.prefixes), key=len, default=())
    if fixed:
        condition = "s.namespace >= ? AND s.namespace < ?"
        values += span(encode(fixed))
    if expired is not None:
        condition += (
            " AND EXISTS (SELECT 1 FROM items i WHERE i.space = s.id"
            " AND (i.expires_at IS NULL OR i.expires_at > ?))"
        )
        values.append(expired)
    found: set[Namespace] = set()
    rows: Iterable[Any] = connection.execute(
        f"SELECT s.namespace, s.size, s.content_hash FROM item_spaces s WHERE {condition}", values
    )
    for text, size, seal in rows:
        namespace = decode(text)
        if all(_begins(namespace, pattern) for pattern in asked.prefixes) and all(
            _begins(namespace[::-1], pattern[::-1]) for pattern in asked.suffixes
        ):
            if not is_sound_row([text, size], seal):
                raise IntegrityError(f"the namespace {text!r} is damaged: see memory.admin.doctor()")
            found.add(namespace[: asked.max_depth])
    return sorted(found)[asked.offset : asked.offset + asked.limit]


def _fixed(pattern: Namespace) -> Namespace:
    """The labels before the first wildcard."""
    return pattern[: pattern.index("*")] if "*" in pattern else pattern


def _begins(namespace: Namespace, pattern: Namespace) -> bool:
    return len(namespace) >= len(pattern) and all(
        wanted in ("*", label) for label, wanted in zip(namespace, pattern, strict=False)
    )
