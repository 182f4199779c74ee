"""Every row of the record itself against its hash, and the rows against each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from .chronicle import Amendment, Happened, Version, events_agree, fault_of_versions
from .driver import Connection
from .inspection import Inspection, matches
from .rows import RECORD_COLUMNS, payload_of
from .seals import BATCH_SEALED, closed_seal, hidden_seal, memory_seal

_MESSAGES: Final = (
    "SELECT t.unit, t.position, t.owner, t.user_id, t.agent_id, t.run_id, t.role, t.actor_id, t.content,"
    " t.origin, t.flags, t.observed_at, t.recorded_at, t.indexed, t.hidden_at, t.session, t.session_position,"
    " t.length, t.embedded, t.content_hash, b.id, b.uuid, b.first_unit, b.content_hash"
    " FROM messages t LEFT JOIN batches b ON b.id = t.batch ORDER BY t.unit"
)
_VERSIONS: Final = (
    "SELECT memory_id, revision, valid_from, recorded_at, valid_to, retired_at, deleted_at, superseded_by,"
    " owner, unit FROM memories ORDER BY memory_id, revision"
)
_EVENTS: Final = (
    "SELECT memory_id, operation, revision, owner, recorded_at, sequence FROM events"
    " ORDER BY memory_id, sequence"
)


def inspect_owners(connection: Connection, seen: Inspection) -> None:
    """Owners against their hashes."""
    rows = connection.execute("SELECT id, content_hash, kind, value, revision, created_at, tally FROM owners")
    for owner, seal, kind, value, *rest in rows:
        if matches(seal, [kind, value, *rest]):
            seen.owners[kind, value] = owner
        else:
            seen.unsound.add(owner)
            seen.truth("owners", owner, "it does not match its hash")


def inspect_batches(connection: Connection, seen: Inspection) -> set[int]:
    """Batches against their hashes; returns the numbers of the damaged ones."""
    unsound: set[int] = set()
    rows = connection.execute(f"SELECT id, owner, content_hash, {BATCH_SEALED} FROM batches")
    for number, owner, seal, *row in rows:
        right = owner
        if matches(seal, row):
            right = seen.check_owner("batches", number, owner, (row[1], row[2], row[3]))
        else:
            unsound.add(number)
            seen.truth("batches", number, "it does not match its hash")
        seen.count("batches", right, number)
    rows = connection.execute(
        "SELECT b.id, b.size, (SELECT count(*) FROM messages t WHERE t.unit >= b.first_unit"
        " AND t.unit < b.first_unit + b.size AND t.batch = b.id) AS there"
        " FROM batches b WHERE there <> b.size"
    )
    for number, size, there in rows:
        seen.truth("batches", number, f"{there} of its {size} messages are there")
    return unsound


def inspect_messages(connection: Connection, seen: Inspection, unsound: set[int]) -> None:
    """Messages against their hashes and places, and sessions against their messages."""
    sessions: dict[int, list[Any]] = {}
    for row in connection.execute(_MESSAGES):
        seen.step(1)
        unit, position, owner, *ids = row[:6]
        hidden_at, session, place, length, embedded, seal, batch, uuid, first_unit, _ = row[14:]
        right = owner
        if batch is None:
            seen.truth("messages", unit, "its batch is not there")
        else:
            if unit != first_unit + position:
                seen.truth("messages", unit, "it is not where its batch says")
            values = [f"{uuid}:{position}", *ids, *row[6:14]]
            if matches(seal, values, lambda h: h if hidden_at is None else hidden_seal(h, hidden_at)):  # noqa: B023
                right = seen.check_owner("messages", unit, owner, (ids[0], ids[1], ids[2]))
            elif batch not in unsound:
                seen.truth("messages", unit, "it does not match its hash")
        seen.count("messages", right, unit)
        if (hidden_at is not None or not row[13]) and (length or embedded):
            seen.derived("messages", unit, "it is out of search, but marked as if it were in")
        if row[7] is not None:
            seen.actors.add((owner, row[7]))
        known = sessions.setdefault(session, [owner, ids[1], ids[2], row[11], 0, True])
        if known[0] != owner:
            seen.sessions.add(owner)
        known[5] = known[5] and known[:3] == [owner, ids[1], ids[2]] and known[4] == place
        known[3] = max(known[3], row[11])
        known[4] += 1
    for session, *stored in connection.execute(
        "SELECT id, owner, agent_id, run_id, latest_at, size FROM sessions"
    ):
        given = sessions.pop(session) if session in sessions else None
        if given != [*stored, True]:
            seen.sessions |= {stored[0], stored[0] if given is None else given[0]}
            seen.derived("sessions", session, "it is not what its messages give")
    for session, known in sessions.items():
        seen.sessions.add(known[0])
        seen.derived("sessions", session, "messages name it, and it is not there")


def inspect_memories(connection: Connection, seen: Inspection) -> None:
    """Versions against their hashes, which cover the messages they rest on."""
    cited = _Cited(connection)
    for row in connection.execute(
        f"SELECT owner, content_hash, {RECORD_COLUMNS} FROM memories ORDER BY unit"
    ):
        seen.step(1)
        owner, seal, unit, *columns = row
        closing = (columns[14], columns[17], columns[18], columns[19])
        sources = cited.of(unit)

        def sealed(payload: bytes) -> bytes:
            whole = memory_seal(payload, sources)  # noqa: B023 - called at once
            return whole if closing == (None,) * 4 else closed_seal(whole, *closing)  # noqa: B023

        if matches(seal, payload_of(columns), sealed):
            right = seen.check_owner("memories", unit, owner, (columns[2], columns[3], columns[4]))
        else:
            right = owner
            seen.truth("memories", unit, f"revision {columns[1]} of {columns[0]} does not match its hash")
        seen.count("memories", right, unit)
        if columns[5] is not None:
            seen.actors.add((owner, columns[5]))
        if columns[9] != "{}":
            seen.metadata_keys.update(_keys(columns[9]))
    for memory, message in connection.execute(
        "SELECT s.memory, s.message FROM sources s LEFT JOIN memories m ON m.unit = s.memory"
        " LEFT JOIN messages t ON t.unit = s.message WHERE m.unit IS NULL OR t.unit IS NULL"
    ):
        seen.truth("sources", f"{memory}/{message}", "it joins what is not there")


def _keys(metadata: str) -> list[str]:
    try:
        parsed: Any = json.loads(metadata)
    except (TypeError, ValueError, RecursionError):
        return []  # the hash has told already
    return list(cast("dict[str, Any]", parsed)) if isinstance(parsed, dict) else []


class _Cited:
    """The messages of each version, read along with the versions."""

    def __init__(self, connection: Connection) -> None:
        rows: Iterator[tuple[int, int]] = iter(
            connection.execute("SELECT memory, message FROM sources ORDER BY memory, message")
        )
        self._groups = itertools.groupby(rows, key=lambda row: row[0])
        self._next = next(self._groups, None)

    def of(self, unit: int) -> list[int]:
        """Those of a version; ask in unit order."""
        while self._next is not None and self._next[0] < unit:
            self._next = next(self._groups, None)
        if self._next is None or self._next[0] != unit:
            return []
        messages = [message for _, message in self._next[1]]
        self._next = next(self._groups, None)
        return messages


def inspect_history(connection: Connection, seen: Inspection) -> None:
    """Events against their hashes, versions against each other, and both against one another."""
    for number, seal, *row, batch, there in connection.execute(
        "SELECT e.sequence, e.content_hash, e.memory_id, e.operation, e.revision, e.reason, e.actor_id,"
        " e.recorded_at, e.batch, b.id FROM events e LEFT JOIN batches b ON b.id = e.batch"
    ):
        if not matches(seal, [*row, batch]):
            seen.truth("events", number, "it does not match its hash")
        elif batch != there:
            seen.truth("events", number, "its batch is not there")
    amended = _amendments(connection, seen)
    versions = itertools.groupby(connection.execute(_VERSIONS), key=lambda row: row[0])
    events = itertools.groupby(connection.execute(_EVENTS), key=lambda row: row[0])
    memory_id, group = next(events, (None, iter(())))
    for name, rows in versions:
        while memory_id is not None and memory_id < name:
            _check_lost(seen, memory_id, group)
            memory_id, group = next(events, (None, iter(())))
        happened: list[tuple[Any, ...]] = []
        if memory_id == name:
            happened = list(group)
            memory_id, group = next(events, (None, iter(())))
        _check_memory(seen, name, list(rows), happened, amended)
    while memory_id is not None:
        _check_lost(seen, memory_id, group)
        memory_id, group = next(events, (None, iter(())))


def _check_lost(seen: Inspection, name: str, events: Iterator[tuple[Any, ...]]) -> None:
    seen.truth("events", name, "there is no such memory")
    for row in events:
        seen.count("events", row[3], row[5])


def _check_memory(
    seen: Inspection,
    name: str,
    rows: list[tuple[Any, ...]],
    events: list[tuple[Any, ...]],
    amended: Mapping[int, tuple[Amendment, ...]],
) -> None:
    """One memory: its revisions, how each ends where the next begins, and its events."""
    versions = [Version._make((*row[:8], amended.get(row[9], ()))) for row in rows]
    fault = fault_of_versions(versions)
    if fault is not None:
        seen.truth("memories", name, fault)
    if not events_agree(versions, [Happened(row[1], row[2], row[4]) for row in events]):
        seen.truth("events", name, "its history is not that of its versions")
    owner: int = rows[-1][8]
    right: int = seen.misplaced.get(("memories", rows[-1][9]), owner)
    for row in events:
        seen.count("events", right, row[5])
        if row[3] != right and right not in seen.unsound:
            seen.derived("events", row[5], "it is kept under the number of another owner")
            seen.misplaced["events", row[5]] = right


def _amendments(connection: Connection, seen: Inspection) -> dict[int, tuple[Amendment, ...]]:
    """What was believed of closed versions before, against its hashes, by version."""
    found: dict[int, tuple[Amendment, ...]] = {}
    for seal, there, unit, *row in connection.execute(
        "SELECT a.content_hash, m.unit, a.unit, a.until, a.valid_to, a.superseded_by FROM amendments a"
        " LEFT JOIN memories m ON m.unit = a.unit ORDER BY a.unit, a.until"
    ):
        if not matches(seal, [unit, *row]):
            seen.truth("amendments", f"{unit}/{row[0]}", "it does not match its hash")
        elif there is None:
            seen.truth("amendments", f"{unit}/{row[0]}", "its version is not there")
        found[unit] = (*found.get(unit, ()), Amendment(*row))
    return found
