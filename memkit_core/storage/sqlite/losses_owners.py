"""Owners, settings and costs whose damage is accepted: named and counted anew from what there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from ...types import Micros
from . import settings
from .driver import Connection
from .items.writes import switch_identity
from .seals import NO_TALLY, is_sound_row, owner_seal
from .spending import start_spending
from .tallies import Tally, present_all

_OWNED: Final = ("batches", "messages", "memories", "events", "usage")

#: Told of what was done: table, key and what.
Tell = Callable[[str, object, str], None]


def give_up_settings(connection: Connection, keys: Iterable[str], tell: Tell) -> None:
    """Remove damaged settings; with the name of the embedding model all vectors."""
    for key in keys:
        if key == settings.COUNTS:
            tell("meta", key, "what there is was counted anew")
            continue
        gone = connection.execute("DELETE FROM meta WHERE key = ?", (key,)).rowcount
        if key == "embedding":  # whose vectors they are, nobody knows
            gone += connection.execute("DELETE FROM vectors").rowcount
        if key == settings.ITEM_EMBEDDING:
            switch_identity(connection, None)
        if gone:
            with_vectors = key in ("embedding", settings.ITEM_EMBEDDING)
            tell("meta", key, "it was removed" + (", and all its vectors" * with_vectors))


def name_owners(connection: Connection, damaged: Iterable[int], tell: Tell) -> bool:
    """Name damaged and lost owners by what their rows say; returns whether there were any."""
    numbers = set(damaged)
    for table in _OWNED[:3]:
        rows = connection.execute(
            f"SELECT DISTINCT owner FROM {table} WHERE owner NOT IN (SELECT id FROM owners)"
        )
        numbers |= {owner for (owner,) in rows if isinstance(owner, int)}
    for number in sorted(numbers):
        named = _named(connection, number)
        row = connection.execute("SELECT revision FROM owners WHERE id = ?", (number,)).fetchone()
        connection.execute("DELETE FROM owners WHERE id = ?", (number,))
        if named is None:
            tell("owners", number, "it was removed, it has no rows")
            continue
        kind, value, since = named
        other = connection.execute(
            "SELECT id FROM owners WHERE kind = ? AND value = ?", (kind, value)
        ).fetchone()
        if other is not None:
            for table in _OWNED[:4]:
                connection.execute(f"UPDATE {table} SET owner = ? WHERE owner = ?", (other[0], number))
            tell("owners", number, "what it had was given to the owner of the same name")
            continue
        revision = row[0] if row and isinstance(row[0], int) and 0 < row[0] < 2**53 else 1
        connection.execute(
            "INSERT INTO owners (id, kind, value, revision, created_at, tally, content_hash)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, kind, value, revision, since, NO_TALLY, owner_seal(kind, value, revision, since)),
        )
        tell("owners", number, "its row was made anew from what it has")
    return bool(numbers)


def _named(connection: Connection, number: int) -> tuple[str, str, Micros] | None:
    """The kind and value of an owner as most of its rows have them, and since when."""
    union = " UNION ALL ".join(
        f"SELECT user_id, agent_id, run_id, recorded_at FROM {table} WHERE owner = :owner"
        for table in _OWNED[:3]
    )
    rows = connection.execute(
        f"SELECT user_id, agent_id, run_id, min(recorded_at) FROM ({union}) GROUP BY 1, 2, 3"
        " ORDER BY count(*) DESC",
        {"owner": number},
    ).fetchall()
    for *ids, since in rows:
        for kind, value in zip(("user", "agent", "run"), ids, strict=True):
            if isinstance(value, str) and value and isinstance(since, int):
                return kind, value, since
    return None


def give_up_costs(connection: Connection, keys: Iterable[str], spending: bool, tell: Tell) -> None:
    """Remove damaged totals, and begin anew what follows from them."""
    damaged = [key for key in keys if "/" in key]
    for key in damaged:
        owner, _, operation = key.partition("/")
        connection.execute("DELETE FROM usage WHERE owner = ? AND operation = ?", (int(owner), operation))
        tell("usage", key, "it was removed")
    if damaged or spending:
        connection.execute("DELETE FROM spending")
        start_spending(connection)
        tell("spending", "", "days and months begin anew, with what was spent ever")


def recount_all(connection: Connection, tell: Tell) -> None:
    """Take what is there as all there is to be."""
    there = present_all(connection)
    owners = connection.execute(
        "SELECT id, kind, value, revision, created_at, tally, content_hash FROM owners"
    ).fetchall()
    for owner, kind, value, revision, created_at, tally, seal in owners:
        if not is_sound_row([kind, value, revision, created_at, tally], seal):
            continue  # its own damage is the next round's
        counted = there.get(owner, Tally())
        events = counted.of("events")[0]
        commits = max(min(revision, events), int(events > 0))  # each has left an event
        if counted.sums != Tally(json.loads(tally)).sums or commits != revision:
            text = counted.text() if counted else NO_TALLY
            connection.execute(
                "UPDATE owners SET revision = ?, tally = ?, content_hash = ? WHERE id = ?",
                (commits, text, owner_seal(kind, value, commits, created_at, text), owner),
            )
            tell("owners", owner, "what it has was counted anew")
    settings.start_counts(connection)
