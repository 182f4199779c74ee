"""How many rows of the record each owner has: what tells that a row was lost with all that spoke of it.

Beside an owner stand, for each table, the number of its rows and the sum of the numbers that they bear. Both
are under the owner's hash, and are written in the transaction that writes or removes the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from . import settings
from .driver import Connection
from .rows import checksum
from .seals import NO_TALLY, is_sound_row, owner_seal

#: In the order of a stored tally: how many, and the sum of their numbers, of each.
KINDS: Final = ("batches", "messages", "memories", "events", "usage")
_NUMBERS: Final = {"batches": "id", "messages": "unit", "memories": "unit", "events": "sequence"}


class Tally:
    """Rows of one owner, counted."""

    __slots__ = ("sums",)

    def __init__(self, sums: Iterable[int] = ()) -> None:
        self.sums = [*sums] or [0] * (2 * len(KINDS))

    def __bool__(self) -> bool:
        return any(self.sums)

    def count(self, kind: str, number: int, total: int) -> None:
        """So many more rows (or less), and the sum of what their numbers are."""
        place = 2 * KINDS.index(kind)
        self.sums[place] += number
        self.sums[place + 1] += total

    def of(self, kind: str) -> tuple[int, int]:
        """How many rows of a kind there are, and the sum of their numbers."""
        place = 2 * KINDS.index(kind)
        return self.sums[place], self.sums[place + 1]

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(self.sums)


def read_tally(text: str) -> Tally:
    """A stored tally."""
    return Tally(json.loads(text))


def settle(connection: Connection, owner: int, more: Tally, *, revision: int | None = None) -> None:
    """Add to an owner's tally, and give it its next revision if there is one.

    The hash of a row that is damaged is left as it is: the damage must not look sound afterwards.
    """
    kind, value, before, created_at, tally, seal = connection.execute(
        "SELECT kind, value, revision, created_at, tally, content_hash FROM owners WHERE id = ?", (owner,)
    ).fetchone()
    after = before if revision is None else revision
    if not is_sound_row([kind, value, before, created_at, tally], seal):
        connection.execute("UPDATE owners SET revision = ? WHERE id = ?", (after, owner))
        return
    if tally == NO_TALLY:
        settings.bump(connection, "owners", checksum(kind, value))
    sums = read_tally(tally)
    sums.sums = [one + other for one, other in zip(sums.sums, more.sums, strict=True)]
    text = sums.text()
    connection.execute(
        "UPDATE owners SET revision = ?, tally = ?, content_hash = ? WHERE id = ?",
        (after, text, owner_seal(kind, value, after, created_at, text), owner),
    )


def recount(connection: Connection, owners: Iterable[int]) -> None:
    """Take the rows that owners without a tally have as all they are to have."""
    there = present_all(connection)
    for owner in owners:
        settle(connection, owner, there.get(owner, Tally()))


def present_all(connection: Connection) -> Mapping[int, Tally]:
    """What every owner has, counted from what is there."""
    found: dict[int, Tally] = {}
    for table, column in _NUMBERS.items():
        rows = connection.execute(f"SELECT owner, count(*), sum({column}) FROM {table} GROUP BY owner")
        for owner, number, total in rows:
            found.setdefault(owner, Tally()).count(table, number, total)
    for owner, operation in connection.execute("SELECT owner, operation FROM usage WHERE owner <> 0"):
        found.setdefault(owner, Tally()).count("usage", 1, checksum(operation))
    return found
