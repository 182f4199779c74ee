"""The keyword index made anew from the texts, when the analyzer that wrote it was another one."""

from __future__ import annotations

from ... import analysis
from .driver import Connection
from .prepare import Terms
from .rows import MEMORY, RETIRED, TURN

_CHUNK = 1_000


def rebuild_postings(connection: Connection) -> None:
    """Replace all postings, lengths, text keys and statistics, inside the caller's transaction."""
    connection.execute("DELETE FROM postings")
    connection.execute("UPDATE unit_stats SET n = 0, total_len = 0, tag = tag + 1")
    _rebuild(
        connection,
        "memories",
        f"SELECT unit, owner, CASE WHEN retired_at IS NULL THEN {MEMORY} ELSE {RETIRED} END, text, actor_id,"
        " event_time FROM memories WHERE unit > ? ORDER BY unit LIMIT ?",
    )
    _rebuild(
        connection,
        "messages",
        f"SELECT unit, owner, {TURN}, content, actor_id, observed_at FROM messages"
        " WHERE indexed = 1 AND hidden_at IS NULL AND unit > ? ORDER BY unit LIMIT ?",
    )


def _rebuild(connection: Connection, table: str, select: str) -> None:
    last = 0
    while rows := connection.execute(select, (last, _CHUNK)).fetchall():
        last = rows[-1][0]
        units = [(row, Terms.of(*row[3:6])) for row in rows]
        connection.executemany(
            "INSERT INTO postings (owner, space, term, unit, tf, len) VALUES (?, ?, ?, ?, ?, ?)",
            sorted(
                (row[1], row[2], term, row[0], tf, terms.length)
                for row, terms in units
                for term, tf in terms.counts.items()
            ),
        )
        connection.executemany(
            f"UPDATE {table} SET length = ? WHERE unit = ?", [(terms.length, row[0]) for row, terms in units]
        )
        if table == "memories":
            connection.executemany(
                "UPDATE memories SET text_key = ? WHERE unit = ?",
                [(analysis.text_key(row[3]), row[0]) for row in rows],
            )
        connection.executemany(
            "INSERT INTO unit_stats (owner, space, n, total_len, tag) VALUES (?, ?, 1, ?, 1)"
            " ON CONFLICT (owner, space) DO UPDATE SET n = n + 1, total_len = total_len + excluded.total_len",
            [(row[1], row[2], terms.length) for row, terms in units],
        )
