"""What chat models cost by day and month, for budgets: one row for each owner, and one for all together."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from ...errors import IntegrityError
from ...types import OwnerKey, Usage, period_of
from .driver import Connection
from .inspection import Inspection
from .rows import checksum

#: The row of all owners together.
_ALL: Final = 0
_SUMMED: Final = (
    "owner, day, day_calls, day_input, day_output, month_calls, month_input, month_output, calls, input,"
    " output"
)
_PLACES: Final = {"day": 2, "month": 5, "ever": 8}
_REPLACE: Final = f"INSERT OR REPLACE INTO spending ({_SUMMED}, crc32) VALUES ({', '.join('?' * 12)})"
_TOTALS: Final = (
    "SELECT owner, sum(chat_calls), sum(input_tokens), sum(output_tokens) FROM usage GROUP BY owner"
    " HAVING sum(chat_calls) + sum(input_tokens) + sum(output_tokens) > 0"
)


def add_spending(
    connection: Connection, owner: int, spent: Iterable[Usage], *, now: float | None = None
) -> None:
    """Add to what an owner has spent (0: nobody in particular), and to the whole. Embeddings do not count."""
    total = sum(spent, Usage())
    more = (total.chat_calls, total.input_tokens, total.output_tokens)
    if not any(more):
        return
    day = period_of("day", int((time.time() if now is None else now) * 1_000_000))
    for number in {owner, _ALL}:
        _add(connection, number, day, more)


def _add(connection: Connection, owner: int, day: str, more: tuple[int, int, int]) -> None:
    there = connection.execute(f"SELECT {_SUMMED}, crc32 FROM spending WHERE owner = ?", (owner,)).fetchone()
    if there is None:
        row, damage = (owner, day, *more, *more, *more), 0
    else:
        *held, stored = there
        damage = checksum(*held) ^ stored
        if damage:
            return  # what cannot be added to stays, and is told
        _, before, *sums = held
        # A clock that was set back goes on with the later day: nothing is forgiven.
        day = max(day, before)
        kept = [day == before] * 3 + [day[:7] == before[:7]] * 3 + [True] * 3
        row = (owner, day, *(s * k + m for s, k, m in zip(sums, kept, more * 3, strict=True)))
    connection.execute(_REPLACE, (*row, checksum(*row)))


def read_spending(connection: Connection, owner: OwnerKey | None, kind: str, period: str) -> Usage:
    """See ``MaintainableStore.spending``."""
    values: tuple[str, ...] = ()
    if owner is None:
        condition = "owner = 0"
    else:
        condition = "owner = (SELECT id FROM owners WHERE kind = ? AND value = ?)"
        values = (owner.kind, owner.value)
    found = connection.execute(f"SELECT {_SUMMED}, crc32 FROM spending WHERE {condition}", values).fetchone()
    if found is None:
        return Usage()
    *row, stored = found
    if checksum(*row) != stored:
        raise IntegrityError(
            "what was spent is damaged, and a budget cannot be held: see memory.admin.doctor()"
        )
    if period_of_day(kind, row[1]) < period:
        return Usage()
    place = _PLACES[kind]
    calls, tokens_in, tokens_out = row[place : place + 3]
    return Usage(chat_calls=calls, input_tokens=tokens_in, output_tokens=tokens_out)


def period_of_day(kind: str, day: str) -> str:
    """The period that a day is in, as ``types.period_of`` writes it."""
    return {"day": day, "month": day[:7], "ever": ""}[kind]


def start_spending(connection: Connection) -> None:
    """Begin with what was spent ever, in a file of an earlier schema; of days and months it knows nothing."""
    rows = connection.execute(_TOTALS).fetchall()
    whole = tuple(map(sum, zip(*(row[1:] for row in rows), strict=True))) if rows else (0, 0, 0)
    totals = {owner: tuple(sums) for owner, *sums in rows if owner}
    if any(whole):
        totals[_ALL] = whole
    for owner, sums in totals.items():
        row = (owner, "", *([0] * 6), *sums)
        connection.execute(_REPLACE, (*row, checksum(*row)))


def inspect_spending(connection: Connection, seen: Inspection) -> None:
    """What was spent, against checksums and against what operations cost."""
    totals: dict[int, list[int]] = {}
    for owner, *sums in connection.execute(_TOTALS):
        for number in {owner, _ALL}:
            held = totals.setdefault(number, [0, 0, 0])
            totals[number] = [one + other for one, other in zip(held, sums, strict=True)]
    for stored, *row in connection.execute(f"SELECT crc32, {_SUMMED} FROM spending"):
        expected = totals.pop(row[0], None)
        if checksum(*row) != stored:
            seen.truth("spending", str(row[0]), "it does not match its checksum")
        elif expected != row[8:] and row[0] != _ALL:
            seen.truth("spending", str(row[0]), "it is not what the owner's operations cost")
        elif expected != row[8:]:
            seen.truth("spending", str(row[0]), "it is not what all operations cost")
    for owner in totals:
        if owner == _ALL or any(totals[owner]):
            seen.truth("spending", str(owner), "it was lost")
