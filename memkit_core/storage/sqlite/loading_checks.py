"""What can be said of records only when all of them are there, each finding with its line and field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...errors import TransferError
from .driver import Connection

_TABLES: Final = {
    "owner": "owners",
    "batch": "batches",
    "message": "messages",
    "memory": "memories",
    "event": "events",
}
#: (table, field, problem, the rows behind number ?1 that have it).
_CHECKS: Final = (
    (
        "messages",
        "indexed",
        "it is not that of the whole batch",
        (
            "SELECT t.unit AS number FROM messages t JOIN batches b ON b.id = t.batch"
            " JOIN messages f ON f.unit = b.first_unit WHERE t.unit > ?1 AND t.indexed <> f.indexed"
        ),
    ),
    (
        "messages",
        "place",
        "it is not the number of messages before it in the session",
        (
            "SELECT unit AS number FROM (SELECT unit, session_position, row_number() OVER"
            " (PARTITION BY session ORDER BY unit) AS place FROM messages WHERE unit > ?1)"
            " WHERE session_position <> place - 1"
        ),
    ),
    (
        "messages",
        "session",
        "a session is of one owner, agent and run",
        (
            "SELECT unit AS number FROM (SELECT unit, owner, agent_id, run_id, first_value(owner) OVER w"
            " AS o, first_value(agent_id) OVER w AS a, first_value(run_id) OVER w AS r FROM messages"
            " WHERE unit > ?1 WINDOW w AS (PARTITION BY session ORDER BY unit))"
            " WHERE owner <> o OR agent_id IS NOT a OR run_id IS NOT r"
        ),
    ),
    (
        "messages",
        "session",
        "a later one has begun already",
        (
            "SELECT unit AS number FROM (SELECT unit, session, max(session) OVER"
            " (PARTITION BY owner, agent_id, run_id ORDER BY unit) AS latest FROM messages WHERE unit > ?1)"
            " WHERE session < latest"
        ),
    ),
    (
        "memories",
        "superseded_by",
        "the revision that replaces it is not there",
        (
            "SELECT m.unit AS number FROM memories m WHERE m.unit > ?1 AND m.retired_at IS NOT NULL"
            " AND m.deleted_at IS NULL AND m.memory_id = CASE WHEN EXISTS (SELECT 1 FROM amendments a"
            " WHERE a.unit = m.unit) THEN (SELECT a.superseded_by FROM amendments a WHERE a.unit = m.unit"
            " ORDER BY a.until LIMIT 1) ELSE m.superseded_by END"
            " AND NOT EXISTS (SELECT 1 FROM memories n"
            " WHERE n.memory_id = m.memory_id AND n.revision = m.revision + 1)"
        ),
    ),
    (
        "memories",
        "superseded_by",
        "the memory that replaces it is another owner's",
        (
            "SELECT m.unit AS number FROM memories m JOIN memories s ON s.memory_id = m.superseded_by"
            " AND s.revision = 1 WHERE m.unit > ?1 AND s.owner <> m.owner"
        ),
    ),
    (
        "memories",
        "revision",
        "no event tells of it",
        (
            "SELECT m.unit AS number FROM memories m WHERE m.unit > ?1 AND NOT EXISTS (SELECT 1 FROM events e"
            " WHERE e.memory_id = m.memory_id AND e.revision = m.revision"
            " AND e.operation IN ('ADD', 'UPDATE', 'RESTORE'))"
        ),
    ),
    (
        "memories",
        "deleted_at",
        "no event tells of it",
        (
            "SELECT m.unit AS number FROM memories m WHERE m.unit > ?1 AND m.deleted_at IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM events e"
            " WHERE e.memory_id = m.memory_id AND e.revision = m.revision AND e.operation = 'DELETE')"
        ),
    ),
)


def refused(line: int, field: str, problem: str) -> TransferError:
    """The error about a field of a record, which is the file's line of that number."""
    return TransferError(f"line {line}: {field}: {problem}. Nothing was changed", reason="invalid")


class Places:
    """Which line of the file became which row: rows are numbered in the order of their lines.

    Args:
        before: By table, the last number that was given before the import.
    """

    def __init__(self, before: Mapping[str, int]) -> None:
        self.before = before
        self._lines: dict[str, int] = {}

    def begin(self, kind: str, line: int) -> None:
        """A record of this kind stands in this line."""
        if kind in _TABLES:
            self._lines.setdefault(_TABLES[kind], line)

    def line(self, table: str, number: int) -> int:
        """The line that became this row."""
        return self._lines[table] + number - self.before[table] - 1


def check_whole(connection: Connection, places: Places) -> None:
    """Everything that one record alone does not tell.

    Raises:
        TransferError: Some records contradict each other.
    """
    for table, field, problem, rows in _CHECKS:
        (number,) = connection.execute(
            f"SELECT min(number) FROM ({rows})", (places.before[table],)
        ).fetchone()
        if number is not None:
            raise refused(places.line(table, number), field, problem)
    counted = dict(
        connection.execute(
            "SELECT owner, count(*) FROM events WHERE sequence > ? GROUP BY owner", (places.before["events"],)
        ).fetchall()
    )
    for owner, revision in connection.execute(
        "SELECT id, revision FROM owners WHERE id > ? ORDER BY id", (places.before["owners"],)
    ):
        # Every commit that counts has left an event, and every event was part of one.
        if revision > counted.get(owner, 0) or (revision == 0) != (owner not in counted):
            raise refused(
                places.line("owners", owner), "revision", "the events give another number of commits"
            )
