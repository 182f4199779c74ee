"""What a migration does that SQL alone cannot: checksums for the rows of a file of an earlier schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .changes import note_everything
from .driver import Connection
from .pending import begin_anew
from .rows import checksum, digest
from .seals import NO_TALLY, USAGE_SUMMED, WORK_SUM, owner_seal
from .settings import REBUILD, start_counts
from .spending import start_spending
from .tallies import present_all


def _add_checksums(connection: Connection) -> None:
    connection.execute(f"UPDATE index_work AS w SET crc32 = {WORK_SUM}")
    rows = connection.execute(f"SELECT {USAGE_SUMMED} FROM usage").fetchall()
    connection.executemany(
        "UPDATE usage SET crc32 = ? WHERE owner = ? AND operation = ?",
        [(checksum(*row), *row[:2]) for row in rows],
    )
    connection.execute(
        "UPDATE meta SET value = substr(key, ?) WHERE substr(key, 1, ?) = ?",
        (len(REBUILD) + 1, len(REBUILD), REBUILD),
    )
    connection.executemany(
        "UPDATE meta SET crc32 = ? WHERE key = ?",
        [(checksum(*row), row[0]) for row in connection.execute("SELECT key, value FROM meta").fetchall()],
    )
    tallies = present_all(connection)
    owners = connection.execute("SELECT id, content_hash, kind, value, revision, created_at FROM owners")
    for owner, seal, kind, value, revision, created_at in owners.fetchall():
        text = tallies[owner].text() if owner in tallies else NO_TALLY
        # A damaged one keeps its hash, which then still tells.
        sound = digest([kind, value, revision, created_at]) == seal
        connection.execute(
            "UPDATE owners SET tally = ?, content_hash = ? WHERE id = ?",
            (text, owner_seal(kind, value, revision, created_at, text) if sound else seal, owner),
        )
    note_everything(connection)
    begin_anew(connection)
    start_counts(connection)


#: Behind the statements of the migration with this number.
UPGRADES: Final[Mapping[int, Callable[[Connection], None]]] = {3: _add_checksums, 5: start_spending}
