"""Damage to the record that is accepted: what is lost is moved out of the way, the store is whole again.

Everything that still matches its hash stays. What does not is never guessed at: a message leaves a hidden
mark in its place, so that batches and sources keep their numbers; a memory goes with all its versions; rows
around them are sealed anew, and what each owner has is counted anew. Whatever was done is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

from ...types import Micros
from .checkpoints.inspect import give_up_checkpoints
from .chronicle import Amendment, Happened, Version, events_agree
from .driver import Connection
from .inspection import Inspection, lenient, matches
from .items.inspect import give_up_items
from .losses_owners import give_up_costs, give_up_settings, name_owners, recount_all
from .repair import inspect, repair
from .rows import M_RECORD_COLUMNS, digest, payload_hash, sources_of
from .seals import (
    BATCH_SEALED,
    batch_seal,
    closed_seal,
    hidden_seal,
    is_sound,
    memory_seal,
)

#: What stands in the place of a lost message.
LOST: Final = "[lost]"
#: One loss may uncover another: a memory that goes was named by others.
_ROUNDS: Final = 8


def accept_losses(connection: Connection, step: Callable[[int], None]) -> Inspection:
    """See ``MaintainableStore.accept_losses``, inside the caller's transaction."""
    told = Inspection(step=step)
    for _ in range(_ROUNDS):
        repair(connection, step)
        seen = inspect(connection, step)
        if not any(damage.kind == "truth" for damage in seen.found):
            return told
        with lenient(connection):
            _Loss(connection, seen, told).accept()
    return told


class _Loss:
    """One round: everything that an inspection found damaged in the record."""

    def __init__(self, connection: Connection, seen: Inspection, told: Inspection) -> None:
        self._connection = connection
        self._told = told
        self._keys: dict[str, list[Any]] = {}
        for table, key in seen.damaged:
            self._keys.setdefault(table, []).append(key)

    def accept(self) -> None:
        """Move it out of the way."""
        connection = self._connection
        give_up_settings(connection, self._names("meta"), self._tell)
        if name_owners(connection, self._numbers("owners"), self._tell):
            recount_all(connection, self._tell)
            return  # what is damaged beside is told when every row has its owner again
        self._rejoin()
        for (batch,) in connection.execute(
            "SELECT DISTINCT batch FROM messages WHERE batch NOT IN (SELECT id FROM batches)"
        ).fetchall():
            self._batch(batch)
        for number in self._numbers("batches"):
            self._batch(number)
        units = json.dumps(self._numbers("messages"))
        for (batch,) in connection.execute(
            "SELECT DISTINCT batch FROM messages WHERE unit IN (SELECT value FROM json_each(?))", (units,)
        ).fetchall():
            self._batch(batch)
        self._sources()
        self._amendments()
        self._memories()
        self._histories()
        if {"items", "item_spaces"} & self._keys.keys():
            give_up_items(connection, self._tell)
        if any(table.startswith("checkpoint") for table in self._keys):
            give_up_checkpoints(connection, self._tell)
        give_up_costs(connection, self._names("usage"), "spending" in self._keys, self._tell)
        recount_all(connection, self._tell)

    def _numbers(self, table: str) -> list[int]:
        return [key for key in self._keys.get(table, ()) if isinstance(key, int)]

    def _names(self, table: str) -> list[str]:
        return [key for key in self._keys.get(table, ()) if isinstance(key, str)]

    def _tell(self, table: str, key: object, what: str) -> None:
        self._told.truth(table, key, what)

    # ------------------------------------------------------------ batches and messages

    def _rejoin(self) -> None:
        """Give messages back to the batch that their numbers lie in."""
        self._connection.execute(
            "UPDATE messages AS t SET batch = b.id FROM batches b WHERE t.batch NOT IN"
            " (SELECT id FROM batches) AND t.unit >= b.first_unit AND t.unit < b.first_unit + b.size"
        )

    def _batch(self, number: int) -> None:
        """Make a batch whole: its row if that is damaged or lost, and a mark for each message that is."""
        connection = self._connection
        messages = connection.execute(
            "SELECT unit, position, owner, user_id, agent_id, run_id, role, actor_id, content, origin, flags,"
            " observed_at, recorded_at, indexed, hidden_at, content_hash FROM messages WHERE batch = ?"
            " ORDER BY unit",
            (number,),
        ).fetchall()
        row = connection.execute(
            f"SELECT content_hash, owner, {BATCH_SEALED} FROM batches WHERE id = ?", (number,)
        ).fetchone()
        if row is not None and matches(row[0], [*row[2:]]):
            owner, uuid, *ids = row[1:6]
            first, size, at = row[7], row[8], row[9]
        else:
            made = self._made_anew(number, row, messages)
            if made is None:
                connection.execute("DELETE FROM batches WHERE id = ?", (number,))
                connection.execute("DELETE FROM messages WHERE batch = ?", (number,))
                self._tell("batches", number, "it was removed: nothing of it can be read")
                return
            owner, uuid, ids, first, size, at = made
        sound = {message[0] for message in messages if _is_whole(uuid, ids, first, message)}
        for message in messages:
            if message[0] not in sound and not first <= message[0] < first + size:
                connection.execute("DELETE FROM messages WHERE unit = ?", (message[0],))
        indexed = next((message[13] for message in messages if message[0] in sound), 1)
        for unit in range(first, first + size):
            if unit not in sound:
                self._mark(unit, number, (owner, *ids), f"{uuid}:{unit - first}", at, indexed)

    def _made_anew(
        self, number: int, row: Any, messages: list[Any]
    ) -> tuple[int, str, list[str | None], int, int, Micros] | None:
        """Store a batch as its messages give it: done, without job, key and result."""
        connection = self._connection
        stored = row[2] if row is not None and isinstance(row[2], str) else ""
        placed = [m for m in messages if isinstance(m[1], int) and 0 <= m[1] < 1_000_000]
        if not placed:
            return None
        first = placed[0][0] - placed[0][1]
        whole = [m for m in placed if _is_whole(stored, list(m[3:6]), first, m)]
        owner = (whole or placed)[0][2]
        named = connection.execute("SELECT kind, value FROM owners WHERE id = ?", (owner,)).fetchone()
        if named is None:
            return None
        ids: list[str | None] = [named[1] if named[0] == kind else None for kind in ("user", "agent", "run")]
        uuid = str(uuid4())
        if whole:
            ids, uuid = list(whole[0][3:6]), stored
        elif "\N{REPLACEMENT CHARACTER}" not in stored and stored:
            uuid = stored
        times = [m[12] for m in whole or placed if isinstance(m[12], int)]
        at = min(times, default=0)
        size = max(m[1] for m in placed) + 1
        values = (uuid, *ids, 0, first, size, at, None, 0, None, None, 0, None, None, None, None)
        names = [name.strip() for name in BATCH_SEALED.split(",")]
        connection.execute("DELETE FROM batches WHERE id = ?", (number,))
        connection.execute(
            f"INSERT INTO batches (id, owner, {', '.join(names)}, content_hash)"
            f" VALUES ({', '.join('?' * (len(names) + 3))})",
            (number, owner, *values, batch_seal(values)),
        )
        self._tell("batches", number, "it was made anew from its messages, without its job and result")
        return owner, uuid, ids, first, size, at

    def _mark(
        self,
        unit: int,
        batch: int,
        owner: tuple[int, *tuple[str | None, ...]],
        name: str,
        at: Micros,
        indexed: int,
    ) -> None:
        """Put a hidden mark in the place of a lost message."""
        said = (*owner[1:], "user", None, LOST, "user", 0, at, at, indexed)
        seal = hidden_seal(digest([name, *said]), at)
        position = int(name.rpartition(":")[2])
        self._connection.execute("DELETE FROM messages WHERE unit = ?", (unit,))
        self._connection.execute(
            "INSERT INTO messages (unit, batch, position, owner, user_id, agent_id, run_id, role, actor_id,"
            " content, origin, flags, observed_at, recorded_at, indexed, hidden_at, session,"
            " session_position, length, embedded, content_hash)"
            f" VALUES ({', '.join('?' * 16)}, 0, 0, 0, 0, ?)",
            (unit, batch, position, owner[0], *said, at, seal),
        )
        self._tell("messages", unit, "it was lost: a hidden mark stands in its place")

    # ------------------------------------------------------------ memories

    def _sources(self) -> None:
        """Strike out that memories rest on messages that are not there."""
        connection = self._connection
        connection.execute("DELETE FROM sources WHERE memory NOT IN (SELECT unit FROM memories)")
        rows = connection.execute(
            "SELECT DISTINCT s.memory FROM sources s LEFT JOIN messages t ON t.unit = s.message"
            " WHERE t.unit IS NULL"
        ).fetchall()
        for (unit,) in rows:
            row = connection.execute(
                f"SELECT {M_RECORD_COLUMNS} FROM memories m WHERE m.unit = ?", (unit,)
            ).fetchone()
            if not is_sound(row, sources_of(connection, [unit]).get(unit, {})):
                continue  # it goes as a whole
            connection.execute(
                "DELETE FROM sources WHERE memory = ? AND message NOT IN (SELECT unit FROM messages)", (unit,)
            )
            seal = memory_seal(payload_hash(row[1:26]), sources_of(connection, [unit]).get(unit, {}))
            closing = tuple(row[number] for number in (15, 18, 19, 20))
            if closing != (None,) * 4:
                seal = closed_seal(seal, *closing)
            connection.execute("UPDATE memories SET content_hash = ? WHERE unit = ?", (seal, unit))
            self._tell("sources", unit, "messages that it rested on are not there any more")

    def _amendments(self) -> None:
        for key in self._names("amendments"):
            unit, _, until = key.partition("/")
            gone = self._connection.execute(
                "DELETE FROM amendments WHERE CAST(unit AS TEXT) = ? AND CAST(until AS TEXT) = ?",
                (unit, until),
            ).rowcount
            if gone:
                self._tell("amendments", key, "it was removed")

    def _memories(self) -> None:
        units = json.dumps(self._numbers("memories"))
        rows = self._connection.execute(
            "SELECT DISTINCT memory_id FROM memories WHERE unit IN (SELECT value FROM json_each(?))", (units,)
        )
        for name in dict.fromkeys([*(name for (name,) in rows.fetchall()), *self._names("memories")]):
            self._drop(name)

    def _drop(self, memory_id: str) -> None:
        """Remove a memory with all that belongs to it. Others may go on naming it as what replaced them."""
        connection = self._connection
        # A damaged id may be no text: the unit numbers are found by what was read of it.
        rows = connection.execute("SELECT unit, memory_id FROM memories").fetchall()
        units = [unit for unit, name in rows if name == memory_id]
        if not units:
            return
        for unit in units:
            connection.execute("DELETE FROM sources WHERE memory = ?", (unit,))
            connection.execute("DELETE FROM amendments WHERE unit = ?", (unit,))
            connection.execute("DELETE FROM vectors WHERE space <> 1 AND unit = ?", (unit,))
            connection.execute("DELETE FROM memories WHERE unit = ?", (unit,))
        connection.execute("DELETE FROM events WHERE memory_id = ?", (memory_id,))
        self._tell("memories", memory_id, f"it was removed, with {len(units)} versions and its history")

    def _histories(self) -> None:
        """Write damaged histories anew as the versions tell them; if they do not, the memory goes."""
        connection = self._connection
        self._nameless_batches()
        numbers = json.dumps(self._numbers("events"))
        rows = connection.execute(
            "SELECT DISTINCT memory_id FROM events WHERE sequence IN (SELECT value FROM json_each(?))",
            (numbers,),
        )
        for name in dict.fromkeys([*(name for (name,) in rows.fetchall()), *self._names("events")]):
            versions = connection.execute(
                "SELECT memory_id, revision, valid_from, recorded_at, valid_to, retired_at, deleted_at,"
                " superseded_by, unit, owner FROM memories WHERE memory_id = ? ORDER BY revision",
                (name,),
            ).fetchall()
            gone = connection.execute("DELETE FROM events WHERE memory_id = ?", (name,)).rowcount
            if not versions:
                if gone:
                    self._tell("events", name, "what happened to a memory that is lost was removed")
                continue
            happened = _events_of([Version._make((*row[:8], self._amended(row[8]))) for row in versions])
            if happened is None:
                self._drop(name)
                continue
            for event in happened:
                row = [name, event.operation, event.revision, "", None, event.at]
                connection.execute(
                    "INSERT INTO events (memory_id, operation, revision, reason, actor_id, recorded_at,"
                    " owner, content_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, versions[0][9], digest([*row, None])),
                )
            self._tell("events", name, "its history was made anew from its versions, without reasons")

    def _nameless_batches(self) -> None:
        """Let events that are sound themselves name no batch that is not there."""
        rows = self._connection.execute(
            "SELECT sequence, content_hash, memory_id, operation, revision, reason, actor_id, recorded_at,"
            " batch FROM events WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM batches)"
        ).fetchall()
        for sequence, seal, *row, batch in rows:
            if matches(seal, [*row, batch]):
                self._connection.execute(
                    "UPDATE events SET batch = NULL, content_hash = ? WHERE sequence = ?",
                    (digest([*row, None]), sequence),
                )
                self._keys["events"] = [key for key in self._keys.get("events", ()) if key != sequence]
                self._tell("events", sequence, "the batch that it came with is not there any more")

    def _amended(self, unit: int) -> tuple[Amendment, ...]:
        return tuple(
            Amendment._make(row)
            for row in self._connection.execute(
                "SELECT until, valid_to, superseded_by FROM amendments WHERE unit = ? ORDER BY until", (unit,)
            )
        )


def _is_whole(uuid: str, ids: list[str | None], first: int, message: Any) -> bool:
    """Whether a message matches its hash as one of this batch, and stands in its place."""
    hidden_at, seal = message[14], message[15]
    if [*message[3:6]] != ids or message[0] != first + message[1]:
        return False
    values = [f"{uuid}:{message[1]}", *message[3:14]]
    return matches(seal, values, lambda h: h if hidden_at is None else hidden_seal(h, hidden_at))


def _events_of(versions: list[Version]) -> list[Happened] | None:
    """What must have happened to a memory, None if its versions do not tell."""
    found: list[Happened] = []
    try:
        for number, one in enumerate(versions):
            opened = "ADD" if not number else "UPDATE" if versions[number - 1].replaced else "RESTORE"
            found.append(Happened(opened, one.revision, one.recorded_at))
            if one.deleted_at is not None:
                found.append(Happened("DELETE", one.revision, one.deleted_at))
            found += [Happened("AMEND", one.revision, noted.until) for noted in one.amendments]
        found.sort(key=lambda event: event.at)  # stable: what happened at once stays in order
        return found if events_agree(versions, found) else None
    except TypeError:
        return None  # a time is none
