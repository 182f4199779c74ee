"""The whole inspection, and the repair of what is derived."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ... import analysis
from . import schema, settings
from .batches import SESSION_GAP
from .changes import note_everything
from .checkpoints.inspect import inspect_checkpoints
from .driver import Connection, Error
from .inspect_derived import (
    DAMAGED_WORK,
    NUMBERED,
    STRAY_WORK,
    inspect_derived,
    inspect_names,
    inspect_numbers,
    inspect_work,
)
from .inspect_file import inspect_counts, inspect_meta, inspect_structure, inspect_usage
from .inspect_truth import (
    inspect_batches,
    inspect_history,
    inspect_memories,
    inspect_messages,
    inspect_owners,
)
from .inspection import Inspection, lenient
from .items.inspect import inspect_items, repair_items
from .pending import begin_anew, lost
from .pool import SCHEMA_VERSION
from .reindex import drop_strays, rebuild_owner
from .rows import MEMORY, RETIRED, TURN
from .spending import inspect_spending


def inspect(connection: Connection, step: Callable[[int], None]) -> Inspection:
    """Everything that is wrong, inside the caller's transaction."""
    seen = Inspection(step=step)
    unsound: set[int] = set()
    stages: dict[str, Callable[[], object]] = {
        "file": lambda: inspect_structure(connection, seen),
        "owners": lambda: inspect_owners(connection, seen),
        "meta": lambda: inspect_meta(connection, seen, SCHEMA_VERSION),
        "batches": lambda: unsound.update(inspect_batches(connection, seen)),
        "messages": lambda: inspect_messages(connection, seen, unsound),
        "memories": lambda: inspect_memories(connection, seen),
        "events": lambda: inspect_history(connection, seen),
        "usage": lambda: inspect_usage(connection, seen),
        "spending": lambda: inspect_spending(connection, seen),
        "items": lambda: inspect_items(connection, seen),
        "checkpoints": lambda: inspect_checkpoints(connection, seen),
        "counts": lambda: inspect_counts(connection, seen),
        "names": lambda: inspect_names(connection, seen),
        "work": lambda: inspect_work(connection, seen),
        "numbers": lambda: inspect_numbers(connection, seen),
        "derived": lambda: inspect_derived(connection, seen),
    }
    with lenient(connection):
        for name, stage in stages.items():
            try:
                stage()
            except (Error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # A damaged row may be anything at all; what cannot even be looked at is damage too.
                seen.add("file", name, "", f"it cannot be read to its end: {type(error).__name__}")
    return seen


def repair(connection: Connection, step: Callable[[int], None]) -> None:
    """See ``MaintainableStore.repair``."""
    schema.mend(connection)
    connection.execute("REINDEX")
    seen = inspect(connection, step)
    with lenient(connection):
        for (table, row), owner in seen.misplaced.items():
            _move(connection, seen, table, row, owner)
        if seen.misplaced:  # behind the memories, whose owners they follow
            connection.execute(
                "UPDATE events AS e SET owner = m.owner FROM memories m"
                " WHERE m.memory_id = e.memory_id AND m.revision = e.revision AND m.owner <> e.owner"
            )
        _repair_numbers(connection)
        _repair_names(connection)
        _repair_vectors(connection, seen)
        known = {owner for (owner,) in connection.execute("SELECT id FROM owners")}
        for owner in sorted(seen.sessions & known):
            _repair_sessions(connection, owner)
        connection.execute("DELETE FROM sessions WHERE id NOT IN (SELECT session FROM messages)")
        drop_strays(connection)
        for owner in sorted(seen.stale & known):
            rebuild_owner(connection, owner)
        _repair_work(connection)
        repair_items(connection, seen)
        settings.mend(connection)
        settings.put(connection, "analyzer", analysis.ANALYZER)
        settings.put(connection, "schema_version", str(SCHEMA_VERSION))
        # Nobody may go on with a copy of what was there before: what a tag changed is told no more.
        connection.execute(
            "UPDATE unit_stats AS u SET tag = max(tag + 1, ?, 1 + coalesce((SELECT max(c.tag)"
            " FROM space_changes c WHERE c.owner = u.owner AND c.space = u.space), 0))",
            (time.time_ns() // 1_000_000,),
        )
        connection.execute("DELETE FROM space_changes")
        note_everything(connection)


def _repair_work(connection: Connection) -> None:
    """Drop what is damaged. Which index lacks it, or what was lost, is not certain: all known are rebuilt."""
    if lost(connection) or connection.execute(f"{DAMAGED_WORK} LIMIT 1").fetchone() is not None:
        every = "SELECT DISTINCT index_name FROM index_work"
        # What a damaged row says of its index is believed only if no sound one says anything.
        names = connection.execute(f"{every} WHERE sequence NOT IN ({DAMAGED_WORK})").fetchall()
        for (name,) in names or connection.execute(every).fetchall():
            settings.put(connection, settings.REBUILD + name, name)
        connection.execute(f"DELETE FROM index_work WHERE sequence IN ({DAMAGED_WORK})")
    connection.execute(f"DELETE FROM index_work WHERE sequence IN ({STRAY_WORK})")
    begin_anew(connection)


def _move(connection: Connection, seen: Inspection, table: str, row: int, owner: int) -> None:
    if table == "events":
        return
    key = "id" if table == "batches" else "unit"
    (before,) = connection.execute(f"SELECT owner FROM {table} WHERE {key} = ?", (row,)).fetchone()
    connection.execute(f"UPDATE {table} SET owner = ? WHERE {key} = ?", (owner, row))
    seen.stale |= {before, owner}
    if table == "messages":
        seen.sessions |= {before, owner}


def _repair_numbers(connection: Connection) -> None:
    """Give out no number again that a row has."""
    for table, column in NUMBERED.items():
        (last,) = connection.execute(
            f"SELECT max(coalesce((SELECT max({column}) FROM {table}), 0), coalesce((SELECT max(seq)"
            " FROM sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'), 0))",
            (table,),
        ).fetchone()
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))


_NAMED: Final = (
    "SELECT owner, actor_id AS name FROM messages WHERE actor_id IS NOT NULL"
    " UNION SELECT owner, actor_id FROM memories WHERE actor_id IS NOT NULL"
)
_KEYED: Final = (
    "SELECT DISTINCT j.key AS name FROM memories m JOIN json_each(CASE WHEN json_valid(m.metadata)"
    " THEN m.metadata ELSE '{}' END) j WHERE m.metadata <> '{}'"
)


def add_names(connection: Connection) -> None:
    """Complete the lists of actors and of metadata keys from the rows."""
    connection.execute(f"INSERT OR IGNORE INTO actors (owner, name) {_NAMED}")
    connection.execute(f"INSERT OR IGNORE INTO metadata_keys (name) {_KEYED}")


def _repair_names(connection: Connection) -> None:
    connection.execute(f"DELETE FROM actors WHERE (owner, name) NOT IN ({_NAMED})")
    connection.execute(f"DELETE FROM metadata_keys WHERE name NOT IN ({_KEYED})")
    add_names(connection)


def _repair_vectors(connection: Connection, seen: Inspection) -> None:
    """Drop what is damaged; the texts then count as not embedded yet, and get new ones."""
    connection.executemany(
        "DELETE FROM vectors WHERE owner = ? AND space = ? AND unit = ?", sorted(seen.bad_vectors)
    )
    connection.execute(
        "DELETE FROM vectors WHERE space NOT IN (0, 1, 2) OR owner NOT IN (SELECT id FROM owners)"
    )
    there = (
        "EXISTS (SELECT 1 FROM vectors v WHERE v.owner = x.owner AND v.unit = x.unit AND v.space ="
        f" CASE WHEN x.retired_at IS NULL THEN {MEMORY} ELSE {RETIRED} END)"
    )
    connection.execute(f"UPDATE memories AS x SET embedded = {there} WHERE embedded IS NOT {there}")
    connection.execute(
        "UPDATE messages SET length = 0, embedded = 0 WHERE (hidden_at IS NOT NULL OR indexed = 0)"
        " AND (length <> 0 OR embedded <> 0)"
    )
    there = (
        f"EXISTS (SELECT 1 FROM vectors v WHERE v.owner = x.owner AND v.unit = x.unit AND v.space = {TURN})"
    )
    connection.execute(
        f"UPDATE messages AS x SET embedded = {there} WHERE hidden_at IS NULL AND indexed = 1"
        f" AND embedded IS NOT {there}"
    )
    row = connection.execute("SELECT length(data) / 2 FROM vectors LIMIT 1").fetchone()
    if row is not None:
        settings.put(connection, "dimension", str(row[0]))


def _repair_sessions(connection: Connection, owner: int) -> None:
    """An owner's sessions anew, from the order and the times of its messages."""
    rows = connection.execute(
        "SELECT unit, agent_id, run_id, observed_at FROM messages WHERE owner = ?"
        " ORDER BY agent_id, run_id, unit",
        (owner,),
    ).fetchall()
    scope: tuple[object, ...] = ()
    number, latest, size = 0, 0, 0
    for unit, agent_id, run_id, observed_at in rows:
        if not size or (agent_id, run_id) != scope or abs(observed_at - latest) > SESSION_GAP:
            scope, latest, size = (agent_id, run_id), observed_at, 0
            number = (
                connection.execute(
                    "INSERT INTO sessions (owner, agent_id, run_id, latest_at, size) VALUES (?, ?, ?, ?, 0)",
                    (owner, agent_id, run_id, observed_at),
                ).lastrowid
                or 0
            )
        latest = max(latest, observed_at)
        connection.execute(
            "UPDATE messages SET session = ?, session_position = ? WHERE unit = ?", (number, size, unit)
        )
        size += 1
        connection.execute("UPDATE sessions SET latest_at = ?, size = ? WHERE id = ?", (latest, size, number))
