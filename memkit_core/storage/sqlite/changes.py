"""Which units changed under which tag: written by every transaction, read by those who keep warm copies.

Whoever moves a tag and notes nothing says that everything changed. Every row is under a checksum, and a
damaged one says the same: damage costs a reading and never hides a change.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Final

from .driver import Connection
from .rows import crc32

#: So many tags of a space are remembered; a copy that is further behind is read anew.
KEPT_TAGS: Final = 256
#: With more runs of consecutive units than this, reading everything costs no more.
MOST_RANGES: Final = 256

Range = tuple[int, int]


def note(connection: Connection, owner: int, space: int, tag: int, units: Collection[int]) -> None:
    """Remember that a tag of a space touched these units and no others, and forget its old tags."""
    ranges = _joined((unit, unit) for unit in units)
    if len(ranges) <= MOST_RANGES:
        data = json.dumps(ranges).encode()
        connection.execute(
            "INSERT INTO space_changes (owner, space, tag, crc32, ranges) VALUES (?, ?, ?, ?, ?)",
            (owner, space, tag, _checksum(owner, space, tag, data), data),
        )
    connection.execute(
        "DELETE FROM space_changes WHERE owner = ? AND space = ? AND tag <= ?",
        (owner, space, tag - KEPT_TAGS),
    )


def since(connection: Connection, owner: int, space: int, *, seen: int, tag: int) -> list[Range] | None:
    """The units that changed after the tag ``seen`` up to ``tag``, first and last of each run.

    None if that is not known of every tag between, or if it is too much to be worth it.
    """
    if not 0 < tag - seen <= KEPT_TAGS:
        return None
    rows = connection.execute(
        "SELECT tag, crc32, ranges FROM space_changes WHERE owner = ? AND space = ? AND tag BETWEEN ? AND ?",
        (owner, space, seen + 1, tag),
    ).fetchall()
    if len(rows) != tag - seen or any(_checksum(owner, space, row[0], row[2]) != row[1] for row in rows):
        return None
    ranges = _joined((first, last) for row in rows for first, last in json.loads(row[2]))
    return ranges if len(ranges) <= MOST_RANGES else None


def damaged(connection: Connection) -> list[tuple[int, int, int]]:
    """Owner, space and tag of the rows that do not match their checksums."""
    rows = connection.execute("SELECT owner, space, tag, crc32, ranges FROM space_changes")
    return [(o, s, t) for o, s, t, checksum, ranges in rows if _checksum(o, s, t, ranges) != checksum]


def _checksum(owner: int, space: int, tag: int, ranges: object) -> int:
    # Damage can change what kind of value a column holds.
    return crc32(repr((owner, space, tag, ranges)).encode())


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The same units in as few runs as possible, in order."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
