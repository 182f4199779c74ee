"""Which units changed under which tag: written by every transaction, read by those who keep warm copies.

Every tag is noted, so that the last note tells what the tag must be. Every note is under a checksum; one that
is missing or damaged says that everything changed: damage costs a reading and never hides a change.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Final

from .driver import Connection
from .rows import checksum

#: So many tags of a space are remembered; a copy that is further behind is read anew.
KEPT_TAGS: Final = 256
#: Old ones are forgotten so many at once.
FORGOTTEN_AT_ONCE: Final = 32
#: With more runs of consecutive units than this, reading everything costs no more.
MOST_RANGES: Final = 256

#: Stands for all units.
_EVERYTHING: Final = b"null"

Range = tuple[int, int]


def note(connection: Connection, owner: int, space: int, tag: int, units: Collection[int]) -> None:
    """Remember that a tag of a space touched these units and no others; now and then forget its old tags."""
    ranges = _joined((unit, unit) for unit in units)
    data = json.dumps(ranges).encode() if len(ranges) <= MOST_RANGES else _EVERYTHING
    connection.execute(
        "INSERT INTO space_changes (owner, space, tag, crc32, ranges) VALUES (?, ?, ?, ?, ?)",
        (owner, space, tag, checksum(owner, space, tag, data), data),
    )
    if tag % FORGOTTEN_AT_ONCE == 0:
        connection.execute(
            "DELETE FROM space_changes WHERE owner = ? AND space = ? AND tag <= ?",
            (owner, space, tag - KEPT_TAGS),
        )


def note_everything(connection: Connection, owner: int | None = None) -> None:
    """Remember that the present tag of every space (of one owner, if given) touched all units."""
    condition, values = ("1", ()) if owner is None else ("owner = ?", (owner,))
    rows = connection.execute(
        f"SELECT owner, space, tag FROM unit_stats u WHERE {condition} AND NOT EXISTS (SELECT 1"
        " FROM space_changes c WHERE c.owner = u.owner AND c.space = u.space AND c.tag = u.tag)",
        values,
    ).fetchall()
    connection.executemany(
        "INSERT INTO space_changes (owner, space, tag, crc32, ranges) VALUES (?, ?, ?, ?, ?)",
        [(*row, checksum(*row, _EVERYTHING), _EVERYTHING) for row in rows],
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
    if len(rows) != tag - seen or any(checksum(owner, space, row[0], row[2]) != row[1] for row in rows):
        return None
    if any(row[2] == _EVERYTHING for row in rows):
        return None
    ranges = _joined((first, last) for row in rows for first, last in json.loads(row[2]))
    return ranges if len(ranges) <= MOST_RANGES else None


def damaged(connection: Connection) -> list[tuple[int, int, int]]:
    """Owner, space and tag of the rows that do not match their checksums."""
    rows = connection.execute("SELECT owner, space, tag, crc32, ranges FROM space_changes")
    return [(o, s, t) for o, s, t, stored, ranges in rows if checksum(o, s, t, ranges) != stored]


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The same units in as few runs as possible, in order."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
