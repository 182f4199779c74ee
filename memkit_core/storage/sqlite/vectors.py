"""Units that have no vector yet, and the vectors that are made for them later."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from ...protocols import Unembedded
from ...types import OwnerKey
from .draft import Draft
from .driver import Connection
from .rows import MEMORY, SPACE_CODES


def missing_vectors(connection: Connection, limit: int) -> list[Unembedded]:
    """See ``RecordStore.missing_vectors``."""
    memories = connection.execute(
        "SELECT m.recorded_at, 'memory', m.unit, o.kind, o.value, m.text FROM memories m"
        " JOIN owners o ON o.id = m.owner WHERE m.embedded = 0 AND m.retired_at IS NULL"
        " ORDER BY m.unit LIMIT ?",
        (limit,),
    ).fetchall()
    turns = connection.execute(
        "SELECT t.recorded_at, 'turn', t.unit, o.kind, o.value, t.content FROM messages t"
        " JOIN owners o ON o.id = t.owner WHERE t.embedded = 0 AND t.indexed = 1 AND t.hidden_at IS NULL"
        " ORDER BY t.unit LIMIT ?",
        (limit,),
    ).fetchall()
    oldest = sorted(memories + turns, key=itemgetter(0))[:limit]
    return [
        Unembedded(space=space, unit=unit, owner=OwnerKey(kind, value), text=text)
        for _, space, unit, kind, value, text in oldest
    ]


def put_vectors(
    connection: Connection, vectors: Sequence[tuple[Unembedded, bytes]], indexes: tuple[str, ...]
) -> None:
    """See ``RecordStore.put_vectors``."""
    drafts: dict[int, Draft] = {}
    for unit, data in vectors:
        space = SPACE_CODES[unit.space]
        if space == MEMORY:
            row = connection.execute(
                "SELECT o.id, m.memory_id, m.revision FROM memories m JOIN owners o ON o.id = m.owner"
                " WHERE m.unit = ? AND m.retired_at IS NULL AND o.kind = ? AND o.value = ?",
                (unit.unit, unit.owner.kind, unit.owner.value),
            ).fetchone()
        else:
            row = connection.execute(
                "SELECT o.id, b.uuid || ':' || t.position, 1 FROM messages t JOIN owners o ON o.id = t.owner"
                " JOIN batches b ON b.id = t.batch WHERE t.unit = ? AND t.hidden_at IS NULL AND t.indexed = 1"
                " AND o.kind = ? AND o.value = ?",
                (unit.unit, unit.owner.kind, unit.owner.value),
            ).fetchone()
        if row is not None:
            draft = drafts.setdefault(row[0], Draft(connection, row[0], indexes))
            draft.vector(space, unit.unit, data)
            draft.work(space, unit.unit, row[1], row[2], removed=False)
    for draft in drafts.values():
        draft.flush()
