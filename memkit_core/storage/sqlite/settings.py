"""The few settings of a file, each under a checksum, and the file's own counts."""

from __future__ import annotations

import json
from typing import Any, Final

from .driver import Connection
from .rows import checksum

#: The setting that says how many settings, owners and totals of nobody there are.
COUNTS: Final = "counts"
COUNTED: Final = ("meta", "owners", "usage")
#: What the store is called towards indexes; made when the first one is attached.
STORE_ID: Final = "store_id"
#: How much index work was struck out; see ``pending``.
WORK: Final = "index_work"
#: The model whose vectors the items have.
ITEM_EMBEDDING: Final = "item_embedding"
KEYS: Final = (
    *("schema_version", "analyzer", "embedding", "dimension", STORE_ID, COUNTS, WORK, ITEM_EMBEDDING),
)
REBUILD: Final = "rebuild:"

Count = tuple[int, int]


def put(connection: Connection, key: str, value: str) -> None:
    """Store a setting, in the place of the one that is there."""
    there = connection.execute("SELECT 1 FROM meta WHERE key = ?", (key,)).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value, crc32) VALUES (?, ?, ?)", (key, value, checksum(key, value))
    )
    if there is None and key != COUNTS:
        bump(connection, "meta", checksum(key))


def drop(connection: Connection, key: str) -> None:
    """Remove a setting if it is there."""
    if connection.execute("DELETE FROM meta WHERE key = ?", (key,)).rowcount:
        bump(connection, "meta", checksum(key), -1)


def bump(connection: Connection, name: str, mark: int, number: int = 1) -> None:
    """Count one more (or less) of the settings, owners or totals of nobody, by a mark of its own.

    Counts that are damaged or gone stay so: made anew, they would no longer tell what was lost.
    """
    counts = read_counts(connection)
    if counts is not None:
        n, total = counts[name]
        counts[name] = (n + number, total + number * mark)
        put(connection, COUNTS, json.dumps(counts))


def read_counts(connection: Connection) -> dict[str, Count] | None:
    """How many there are of each, and the sum of their marks; None if that is damaged or gone."""
    row = connection.execute("SELECT value, crc32 FROM meta WHERE key = ?", (COUNTS,)).fetchone()
    if row is None or checksum(COUNTS, row[0]) != row[1]:
        return None
    counts: dict[str, list[int]] = json.loads(row[0])
    return {name: (n, total) for name, (n, total) in counts.items()}


def present_counts(connection: Connection) -> dict[str, Count]:
    """The same, counted from what is there."""
    settings = [checksum(key) for (key,) in connection.execute("SELECT key FROM meta") if key != COUNTS]
    owners = [
        checksum(*row) for row in connection.execute("SELECT kind, value FROM owners WHERE tally <> '[]'")
    ]
    usage = [checksum(name) for (name,) in connection.execute("SELECT operation FROM usage WHERE owner = 0")]
    found = zip(COUNTED, (settings, owners, usage), strict=True)
    return {name: (len(marks), sum(marks)) for name, marks in found}


def start_counts(connection: Connection) -> None:
    """Take what is there as all there is to be: in a file that is new, emptied or of an earlier schema."""
    put(connection, COUNTS, json.dumps(present_counts(connection)))


def rebuild_notes(connection: Connection) -> dict[str, str | None]:
    """The key of every note that an index is to be rebuilt, and the index; None if that is beyond reading.

    A note says the name twice and has a checksum: of the three, two stand against a damaged one.
    """
    rows: list[tuple[Any, Any, Any]] = connection.execute("SELECT key, value, crc32 FROM meta").fetchall()
    found: dict[str, str | None] = {}
    for key, value, stored in rows:
        if key in KEYS:
            continue
        by_key = str(key).removeprefix(REBUILD)
        names = {name for name in (by_key, value) if checksum(REBUILD + str(name), name) == stored}
        if not names and key == f"{REBUILD}{value}":
            names = {value}
        if names or str(key).startswith(REBUILD):
            found[key] = str(names.pop()) if names else None
    return found


def drop_notes(connection: Connection, index: str) -> None:
    """Strike out that an index is to be rebuilt."""
    keys = [key for key, name in rebuild_notes(connection).items() if name == index]
    for key in keys:
        connection.execute("DELETE FROM meta WHERE key = ?", (key,))
    if keys:  # it was counted once, under its right key
        bump(connection, "meta", checksum(REBUILD + index), -1)


def mend(connection: Connection) -> None:
    """Write readable notes and names of settings as they were."""
    for key, name in rebuild_notes(connection).items():
        if name is not None:
            _remove(connection, key)
            _restore(connection, REBUILD + name, name)
    for key, value, stored in connection.execute("SELECT key, value, crc32 FROM meta").fetchall():
        if checksum(key, value) == stored:
            continue
        right = next((known for known in KEYS if checksum(known, value) == stored), None)
        if right is not None:
            _remove(connection, key)
            _restore(connection, right, value)


def _remove(connection: Connection, key: str) -> None:
    """Remove what reads as this key, also where its bytes are no Unicode any more."""
    for (raw,) in connection.execute("SELECT CAST(key AS BLOB) FROM meta").fetchall():
        if raw.decode("utf-8", "replace") == key:
            connection.execute("DELETE FROM meta WHERE key = CAST(? AS TEXT)", (raw,))


def _restore(connection: Connection, key: str, value: str) -> None:
    # What is put back was counted when it was first stored.
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value, crc32) VALUES (?, ?, ?)", (key, value, checksum(key, value))
    )
