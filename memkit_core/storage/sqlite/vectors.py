"""Whose vectors the store holds, the units that have none yet, and the vectors made for them later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from ...errors import EmbeddingMismatchError, IntegrityError
from ...protocols import Unembedded
from ...types import EmbeddingIdentity, OwnerKey, Space
from .changes import note_everything
from .draft import Draft, claim_dimension
from .driver import Connection
from .rows import SPACE_CODES, crc32
from .settings import drop, put


def missing_vectors(connection: Connection, limit: int, *, retired: bool = False) -> list[Unembedded]:
    """See ``RecordStore.missing_vectors``."""
    state = "NOT" if retired else ""
    memories = connection.execute(
        "SELECT m.recorded_at, ?, m.unit, o.kind, o.value, m.text FROM memories m"
        f" JOIN owners o ON o.id = m.owner WHERE m.embedded = 0 AND m.retired_at IS {state} NULL"
        " ORDER BY m.unit LIMIT ?",
        ("retired" if retired else "memory", limit),
    ).fetchall()
    turns: list[tuple[Any, ...]] = []
    if not retired:
        turns = connection.execute(
            "SELECT t.recorded_at, 'turn', t.unit, o.kind, o.value, t.content FROM messages t"
            " JOIN owners o ON o.id = t.owner"
            " WHERE t.embedded = 0 AND t.indexed = 1 AND t.hidden_at IS NULL ORDER BY t.unit LIMIT ?",
            (limit,),
        ).fetchall()
    oldest = sorted(memories + turns, key=itemgetter(0))[:limit]
    return [
        Unembedded(space=space, unit=unit, owner=OwnerKey(kind, value), text=text)
        for _, space, unit, kind, value, text in oldest
    ]


_MEMORY: Final = (
    "SELECT o.id, m.memory_id, m.revision FROM memories m JOIN owners o ON o.id = m.owner"
    " WHERE m.unit = ? AND o.kind = ? AND o.value = ? AND m.retired_at IS"
)
_PLACES: Final[dict[Space, str]] = {
    "memory": f"{_MEMORY} NULL",
    "retired": f"{_MEMORY} NOT NULL",
    "turn": "SELECT o.id, b.uuid || ':' || t.position, 1 FROM messages t JOIN owners o ON o.id = t.owner"
    " JOIN batches b ON b.id = t.batch WHERE t.unit = ? AND o.kind = ? AND o.value = ?"
    " AND t.hidden_at IS NULL AND t.indexed = 1",
}


def put_vectors(
    connection: Connection,
    vectors: Sequence[tuple[Unembedded, bytes]],
    indexes: tuple[str, ...],
    embedding: EmbeddingIdentity | None,
) -> None:
    """See ``RecordStore.put_vectors``."""
    check_identity(connection, embedding)
    drafts: dict[int, Draft] = {}
    for unit, data in vectors:
        owner = unit.owner
        row = connection.execute(_PLACES[unit.space], (unit.unit, owner.kind, owner.value)).fetchone()
        if row is not None:
            draft = drafts.setdefault(row[0], Draft(connection, row[0], indexes))
            draft.vector(SPACE_CODES[unit.space], unit.unit, data)
            if unit.space != "retired":  # derived indexes hold the present only
                draft.work(SPACE_CODES[unit.space], unit.unit, row[1], row[2], removed=False)
    for draft in drafts.values():
        draft.flush()


def identity_of(connection: Connection) -> EmbeddingIdentity | None:
    """See ``RecordStore.embedding_identity``."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'embedding'").fetchone()
    if row is None:
        return None
    return read_identity(row[0])


@lru_cache(maxsize=8)  # every commit with a vector asks, and the text is the same for years
def read_identity(value: str) -> EmbeddingIdentity:
    """The identity that a stored value names.

    Raises:
        IntegrityError: It does not match its checksum.
    """
    text, _, checksum = value.rpartition(" ")
    if checksum != str(crc32(text.encode("utf-8", "surrogateescape"))):
        raise IntegrityError(
            "the name of the embedding model does not match its checksum: restore the file from a backup, or "
            "embed everything again with memory.admin.reindex(embedder=...)"
        )
    stored = json.loads(text)
    return EmbeddingIdentity(model=stored["model"], dimension=stored["dimension"])


def check_identity(connection: Connection, identity: EmbeddingIdentity | None) -> EmbeddingIdentity | None:
    """Refuse vectors of another model than the store's, which may have moved since it was opened.

    Returns:
        The store's, None if it has none yet or no model was named.

    Raises:
        EmbeddingMismatchError: They are of another one. Nothing was changed.
    """
    if identity is None:
        return None
    stored = identity_of(connection)
    if stored is not None and stored != identity:
        raise EmbeddingMismatchError(
            f"the store holds vectors of {stored.model!r} ({stored.dimension} dimensions), not of "
            f"{identity.model!r} ({identity.dimension}): use that model, or embed everything again with "
            "admin.reindex(embedder=...). Nothing was changed"
        )
    return stored


def set_identity(connection: Connection, identity: EmbeddingIdentity) -> None:
    """See ``RecordStore.set_embedding_identity``."""
    if check_identity(connection, identity) is None:
        claim_dimension(connection, identity.dimension)
        _write_identity(connection, identity)


def switch_embedding(connection: Connection, identity: EmbeddingIdentity) -> None:
    """See ``MaintainableStore.switch_embedding``."""
    connection.execute("DELETE FROM vectors")
    connection.execute("UPDATE memories SET embedded = 0 WHERE embedded <> 0")
    connection.execute("UPDATE messages SET embedded = 0 WHERE embedded <> 0")
    connection.execute("UPDATE unit_stats SET tag = tag + 1")
    note_everything(connection)
    for key in ("embedding", "dimension"):
        drop(connection, key)
    claim_dimension(connection, identity.dimension)
    _write_identity(connection, identity)


def identity_text(identity: EmbeddingIdentity) -> str:
    """What ``read_identity`` reads."""
    text = json.dumps({"model": identity.model, "dimension": identity.dimension})
    return f"{text} {crc32(text.encode())}"


def _write_identity(connection: Connection, identity: EmbeddingIdentity) -> None:
    put(connection, "embedding", identity_text(identity))
