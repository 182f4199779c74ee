"""What transactions do to items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ....errors import EmbeddingMismatchError
from ....types import EmbeddingIdentity
from .. import settings
from ..draft import next_unit
from ..driver import Connection
from ..rows import vector_sum
from ..vectors import identity_text, read_identity
from .rows import ITEM, Indexed, PreparedPut, is_sound, item_seal, space_seal, state_sum, terms_sum

#: Changes of so many tags are remembered, and forgotten so many at a time.
_REMEMBERED: Final = 1_024
_FORGOTTEN: Final = 256


def identity_of(connection: Connection) -> EmbeddingIdentity | None:
    """See ``ItemStore.item_identity``."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (settings.ITEM_EMBEDDING,)).fetchone()
    return None if row is None else read_identity(row[0])


def check_identity(connection: Connection, identity: EmbeddingIdentity) -> bool:
    """Whether the items have vectors of this model already.

    Raises:
        EmbeddingMismatchError: They have those of another one.
    """
    held = identity_of(connection)
    if held is not None and held != identity:
        raise EmbeddingMismatchError(
            f"the items have vectors of {held.model!r} ({held.dimension} dimensions), not of "
            f"{identity.model!r} ({identity.dimension}): use that model, or embed the items again with the "
            "store's reindex(). Nothing was changed"
        )
    return held is not None


def switch_identity(connection: Connection, identity: EmbeddingIdentity | None) -> None:
    """See ``ItemStore.switch_item_embedding``."""
    connection.execute("DELETE FROM item_vectors")
    connection.execute("DELETE FROM item_changes")
    connection.execute("UPDATE item_spaces SET tag = tag + 1")
    rows = connection.execute(
        f"SELECT {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space WHERE i.vectors <> 0"
    ).fetchall()
    for row in rows:
        if is_sound(row):  # a damaged one stays so, and is told
            set_state(connection, row[0], row[8], row[9], row[10], 0)
    settings.drop(connection, settings.ITEM_EMBEDDING)
    if identity is not None:
        settings.put(connection, settings.ITEM_EMBEDDING, identity_text(identity))


def set_state(
    connection: Connection, item: int, ttl: int | None, expires_at: int | None, terms: int, vectors: int
) -> None:
    """Store what changes without a put, under a new checksum."""
    connection.execute(
        "UPDATE items SET ttl = ?, expires_at = ?, terms = ?, vectors = ?, state_sum = ? WHERE id = ?",
        (ttl, expires_at, terms, vectors, state_sum(item, ttl, expires_at, terms, vectors), item),
    )


@dataclass(slots=True)
class _Space:
    """A namespace in this transaction: how many items it gained, and which changed."""

    id: int
    gained: int = 0
    changed: set[int] = field(default_factory=set[int])


class Changes:
    """Items that are written or removed in one transaction; ``finish`` puts their namespaces right."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._spaces: dict[str, _Space] = {}
        self._next = next_unit(connection, "items")

    def put(self, put: PreparedPut, now: int) -> None:
        """Store or remove one item."""
        connection = self._connection
        space = self._space(put.namespace, make=put.value is not None)
        if space is None:
            return
        row = connection.execute(
            f"SELECT {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space"
            " WHERE i.space = ? AND i.key = ?",
            (space.id, put.key),
        ).fetchone()
        if put.value is None:
            if row is not None:
                self.remove(put.namespace, space.id, row[0])
            return
        created = now
        if row is not None:
            if is_sound(row):  # a damaged one is replaced: when it was made is not known then
                created = row[5]
            self._forget(space.id, row[0])
        item = self._write(space, put, None if row is None else row[0], created, now)
        space.changed.add(item)
        self._index(space.id, item, put.indexed)

    def _write(self, space: _Space, put: PreparedPut, item: int | None, created: int, now: int) -> int:
        assert put.value is not None  # its caller saw to it
        # A clock that was set back never makes an item older than it is.
        updated = max(now, created)
        expires = None if put.ttl is None else now + put.ttl
        terms, vectors = terms_sum(put.indexed.terms), len(put.indexed.vectors)
        seal = item_seal(put.namespace, put.key, put.value, put.paths, created, updated)
        if item is None:
            item, self._next = self._next, self._next + 1
            space.gained += 1
            statement = (
                "INSERT INTO items (value, paths, created_at, updated_at, ttl, expires_at, terms, vectors,"
                " state_sum, content_hash, space, key, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )
        else:
            statement = (
                "UPDATE items SET value = ?, paths = ?, created_at = ?, updated_at = ?, ttl = ?,"
                " expires_at = ?, terms = ?, vectors = ?, state_sum = ?, content_hash = ?, space = ?,"
                " key = ? WHERE id = ?"
            )
        summed = state_sum(item, put.ttl, expires, terms, vectors)
        self._connection.execute(
            statement,
            (
                *(put.value, put.paths, created, updated, put.ttl, expires, terms, vectors, summed, seal),
                *(space.id, put.key, item),
            ),
        )
        return item

    def _index(self, space: int, item: int, found_by: Indexed) -> None:
        if found_by.vectors:
            self._connection.executemany(
                "INSERT INTO item_vectors (space, item, number, crc32, data) VALUES (?, ?, ?, ?, ?)",
                [
                    (space, item, number, vector_sum(space, item, number, data), data)
                    for number, data in enumerate(found_by.vectors)
                ],
            )
        if found_by.terms:
            self._connection.executemany(
                "INSERT INTO item_postings (space, term, item, tf, len) VALUES (?, ?, ?, ?, ?)",
                [(space, term, item, tf, length) for term, tf, length in found_by.terms],
            )

    def index(self, item: int, updated_at: int, found_by: Indexed) -> None:
        """Find an item by something else, if it still is as it was."""
        row = self._connection.execute(
            f"SELECT i.space, {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space"
            " WHERE i.id = ? AND i.updated_at = ?",
            (item, updated_at),
        ).fetchone()
        if row is None or not is_sound(row[1:]):
            return
        space, row = row[0], row[1:]
        self._forget(space, item)
        self._index(space, item, found_by)
        set_state(self._connection, item, row[8], row[9], terms_sum(found_by.terms), len(found_by.vectors))
        self._spaces.setdefault(row[1], _Space(space)).changed.add(item)

    def remove(self, namespace: str, space: int, item: int) -> None:
        """Remove one item that is there."""
        found = self._spaces.setdefault(namespace, _Space(space))
        self._forget(space, item)
        self._connection.execute("DELETE FROM items WHERE id = ?", (item,))
        found.gained -= 1
        found.changed.add(item)

    def _forget(self, space: int, item: int) -> None:
        self._connection.execute("DELETE FROM item_vectors WHERE space = ? AND item = ?", (space, item))
        self._connection.execute("DELETE FROM item_postings WHERE item = ?", (item,))

    def _space(self, namespace: str, *, make: bool) -> _Space | None:
        known = self._spaces.get(namespace)
        if known is not None:
            return known
        connection = self._connection
        row = connection.execute("SELECT id FROM item_spaces WHERE namespace = ?", (namespace,)).fetchone()
        if row is None and not make:
            return None
        if row is None:
            row = connection.execute(
                "INSERT INTO item_spaces (namespace, size, tag, content_hash) VALUES (?, 0, 0, ?)"
                " RETURNING id",
                (namespace, space_seal(namespace, 0)),
            ).fetchone()
        self._spaces[namespace] = _Space(row[0])
        return self._spaces[namespace]

    def finish(self) -> None:
        """Count, tag and seal the namespaces that changed; one without items goes."""
        connection = self._connection
        for namespace, space in self._spaces.items():
            if not space.changed:
                continue
            size, tag, seal = connection.execute(
                "SELECT size, tag, content_hash FROM item_spaces WHERE id = ?", (space.id,)
            ).fetchone()
            # A damaged row stays so: a new hash would cover up what was lost.
            sound = seal == space_seal(namespace, size)
            size += space.gained
            if size <= 0 and sound:
                connection.execute("DELETE FROM item_spaces WHERE id = ?", (space.id,))
                connection.execute("DELETE FROM item_changes WHERE space = ?", (space.id,))
                continue
            connection.execute(
                "UPDATE item_spaces SET size = ?, tag = ?, content_hash = ? WHERE id = ?",
                (size, tag + 1, space_seal(namespace, size) if sound else seal, space.id),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO item_changes (space, tag, item) VALUES (?, ?, ?)",
                [(space.id, tag + 1, item) for item in space.changed],
            )
            if (tag + 1) % _FORGOTTEN == 0:
                connection.execute(
                    "DELETE FROM item_changes WHERE space = ? AND tag <= ?", (space.id, tag - _REMEMBERED)
                )


def put_all(
    connection: Connection, puts: Sequence[PreparedPut], now: int, embedding: EmbeddingIdentity | None
) -> None:
    """See ``ItemStore.put``."""
    _claim_identity(connection, embedding)
    changes = Changes(connection)
    for put in puts:
        changes.put(put, now)
    changes.finish()


def _claim_identity(connection: Connection, embedding: EmbeddingIdentity | None) -> None:
    if embedding is not None and not check_identity(connection, embedding):
        settings.put(connection, settings.ITEM_EMBEDDING, identity_text(embedding))


def index_all(
    connection: Connection,
    items: Sequence[tuple[int, int, Indexed]],
    embedding: EmbeddingIdentity | None,
) -> None:
    """See ``ItemStore.index``; items as (number, updated_at, what they are found by)."""
    _claim_identity(connection, embedding)
    changes = Changes(connection)
    for item, updated_at, found_by in items:
        changes.index(item, updated_at, found_by)
    changes.finish()


def refresh(connection: Connection, items: Iterable[int], now: int) -> None:
    """Begin the time to live of these items anew, as far as they are there and sound."""
    for item in items:
        row = connection.execute(
            f"SELECT {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space"
            " WHERE i.id = ? AND i.ttl IS NOT NULL",
            (item,),
        ).fetchone()
        if row is not None and is_sound(row):
            set_state(connection, item, row[8], max(row[9], now + row[8]), row[10], row[11])


def sweep(connection: Connection, now: int) -> int:
    """See ``ItemStore.sweep``. What is damaged stays, for ``doctor`` to tell."""
    rows = connection.execute(
        f"SELECT i.space, {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space WHERE i.expires_at <= ?",
        (now,),
    ).fetchall()
    changes = Changes(connection)
    removed = 0
    for space, *row in rows:
        if is_sound(row):
            changes.remove(row[1], space, row[0])
            removed += 1
    changes.finish()
    return removed
