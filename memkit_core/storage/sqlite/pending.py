"""Whether pending index work was lost: of what was ever noted, each piece waits still or was struck out.

The numbers of index work have no gaps, so it is enough to count what is struck out, with the sum of its
numbers: noting work costs nothing more. A file that has not counted yet begins with what waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from . import settings
from .driver import Connection
from .rows import checksum


def strike_out(connection: Connection, condition: str, values: Iterable[object]) -> None:
    """Delete index work that is done, or no longer wanted, and count it."""
    given = tuple(values)
    number, total = connection.execute(
        f"SELECT count(*), coalesce(sum(sequence), 0) FROM index_work WHERE {condition}", given
    ).fetchone()
    struck = _read(connection)
    if struck is None:
        begin_anew(connection)
        struck = _read(connection) or (0, 0)
    connection.execute(f"DELETE FROM index_work WHERE {condition}", given)
    if number:
        _write(connection, struck[0] + number, struck[1] + total)


def begin_anew(connection: Connection) -> None:
    """Take what waits as all that is to wait."""
    last, number, total = _there(connection)
    _write(connection, last - number, last * (last + 1) // 2 - total)


def lost(connection: Connection) -> bool:
    """Whether work is gone that nobody struck out."""
    struck = _read(connection)
    last, number, total = _there(connection)
    return struck is not None and struck != (last - number, last * (last + 1) // 2 - total)


def _there(connection: Connection) -> tuple[int, int, int]:
    """The last number that was given out, how much waits, and the sum of its numbers."""
    row = connection.execute(
        "SELECT coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'index_work'), 0), count(*),"
        " coalesce(sum(sequence), 0) FROM index_work"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def _read(connection: Connection) -> tuple[int, int] | None:
    row = connection.execute("SELECT value, crc32 FROM meta WHERE key = ?", (settings.WORK,)).fetchone()
    if row is None or checksum(settings.WORK, row[0]) != row[1]:
        return None
    number, total = json.loads(row[0])
    return number, total


def _write(connection: Connection, number: int, total: int) -> None:
    settings.put(connection, settings.WORK, json.dumps([number, total]))
