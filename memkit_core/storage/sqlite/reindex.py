"""The keyword index made anew from the texts, owner by owner."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from ... import analysis
from .changes import note_everything
from .driver import Connection
from .prepare import Terms
from .rows import MEMORY, RETIRED, TURN

_CHUNK: Final = 1_000
#: Units that one transaction derives anew at least, if there are so many.
PORTION: Final = 2_000

UNITS: Final = {
    MEMORY: "SELECT unit FROM memories WHERE owner = ? AND retired_at IS NULL",
    RETIRED: "SELECT unit FROM memories WHERE owner = ? AND retired_at IS NOT NULL",
    TURN: "SELECT unit FROM messages WHERE owner = ? AND hidden_at IS NULL AND indexed = 1",
}
_MEMORY_ROWS: Final = (
    "SELECT m.unit, m.text, m.actor_id, m.event_time FROM json_each(?) u JOIN memories m ON m.unit = u.value"
)
ROWS: Final = {
    MEMORY: _MEMORY_ROWS,
    RETIRED: _MEMORY_ROWS,
    TURN: "SELECT t.unit, t.content, t.actor_id, t.observed_at FROM json_each(?) u"
    " JOIN messages t ON t.unit = u.value",
}


def stored_terms(text: Any, actor_id: Any, at: Any) -> Terms:
    """The terms of a row as it is; none for one that is damaged beyond analysis, which its hash tells."""
    try:
        return Terms.of(text, actor_id, at)
    except (ArithmeticError, AttributeError, OSError, TypeError, ValueError):
        return Terms(counts={}, length=0)


def stored_key(text: Any) -> bytes:
    """The key of a row's text; empty for one that is no text any more, which its hash tells."""
    return analysis.text_key(text) if isinstance(text, str) else b""


def owners_in(connection: Connection, table: str) -> list[int]:
    """The owners that occur in a table keyed by owner first: one look-up each, not a scan."""
    rows = connection.execute(
        f"WITH RECURSIVE o(id) AS (SELECT min(owner) FROM {table} UNION ALL"
        f" SELECT (SELECT min(owner) FROM {table} WHERE owner > o.id) FROM o WHERE o.id IS NOT NULL)"
        " SELECT id FROM o WHERE id IS NOT NULL"
    )
    return [owner for (owner,) in rows]


def drop_strays(connection: Connection) -> None:
    """Remove keywords and statistics of owners that are not there."""
    known = {owner for (owner,) in connection.execute("SELECT id FROM owners")}
    for table in ("postings", "unit_stats"):
        for owner in owners_in(connection, table):
            if owner not in known:
                connection.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))


def rebuild_postings(connection: Connection) -> None:
    """Replace all postings, lengths, text keys and statistics, inside the caller's transaction."""
    position = -1
    while position:
        position, _ = rebuild_terms(connection, max(position, 0))


def rebuild_terms(connection: Connection, after: int) -> tuple[int, int]:
    """See ``MaintainableStore.rebuild_terms``. Positions are owners' numbers."""
    if not after:
        drop_strays(connection)
    done = 0
    while done < PORTION:
        row = connection.execute("SELECT min(id) FROM owners WHERE id > ?", (after,)).fetchone()
        if row[0] is None:
            return 0, done
        after = row[0]
        done += rebuild_owner(connection, after)
    return after, done


def rebuild_owner(connection: Connection, owner: int) -> int:
    """Replace one owner's postings, lengths, text keys and statistics; returns how many units it has."""
    connection.execute("DELETE FROM postings WHERE owner = ?", (owner,))
    # Readers keep copies under the tag: it must move, and never to a value that it had.
    connection.execute("UPDATE unit_stats SET n = 0, total_len = 0, tag = tag + 1 WHERE owner = ?", (owner,))
    connection.execute("DELETE FROM unit_stats WHERE owner = ? AND space NOT IN (0, 1, 2)", (owner,))
    total = 0
    for space, select in UNITS.items():
        units = [unit for (unit,) in connection.execute(select, (owner,))]
        total += len(units)
        for start in range(0, len(units), _CHUNK):
            _rebuild(connection, owner, space, units[start : start + _CHUNK])
    note_everything(connection, owner)
    return total


def _rebuild(connection: Connection, owner: int, space: int, units: list[int]) -> None:
    rows: list[tuple[Any, ...]] = connection.execute(ROWS[space], (json.dumps(units),)).fetchall()
    found = [(unit, text, stored_terms(text, actor_id, at)) for unit, text, actor_id, at in rows]
    connection.executemany(
        "INSERT INTO postings (owner, space, term, unit, tf, len) VALUES (?, ?, ?, ?, ?, ?)",
        sorted(
            (owner, space, term, unit, tf, terms.length)
            for unit, _, terms in found
            for term, tf in terms.counts.items()
        ),
    )
    if space == TURN:
        connection.executemany(
            "UPDATE messages SET length = ?2 WHERE unit = ?1 AND length <> ?2",
            [(unit, terms.length) for unit, _, terms in found],
        )
    else:
        connection.executemany(
            "UPDATE memories SET length = ?2, text_key = ?3"
            " WHERE unit = ?1 AND (length <> ?2 OR text_key <> ?3)",
            [(unit, terms.length, stored_key(text)) for unit, text, terms in found],
        )
    connection.execute(
        "INSERT INTO unit_stats (owner, space, n, total_len, tag) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (owner, space) DO UPDATE SET n = n + excluded.n,"
        " total_len = total_len + excluded.total_len",
        (owner, space, len(found), sum(terms.length for *_, terms in found), time.time_ns() // 1_000_000),
    )
