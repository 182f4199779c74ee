"""The rows of one transaction, collected and then written table by table in sorted runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from ...errors import EmbeddingMismatchError, UsageError
from ...types import Micros
from .changes import note
from .driver import Connection
from .prepare import Terms
from .rows import MEMORY, RETIRED, TURN, digest, vector_sum
from .seals import WORK_SUMMED, work_sum
from .settings import put
from .tallies import Tally

MEMORY_INSERT: Final = (
    "INSERT INTO memories (unit, memory_id, revision, user_id, agent_id, run_id, actor_id, text, kind,"
    " memory_type, metadata, origin, trust, event_time, valid_from, valid_to, created_at, recorded_at,"
    " retired_at, deleted_at, superseded_by, expires_at, flags, slot, support, attributes, owner, text_key,"
    " length, content_hash, embedded)"
    f" VALUES ({', '.join('?' * 31)})"
)
_MESSAGE_INSERT: Final = (
    "INSERT INTO messages (unit, batch, position, owner, user_id, agent_id, run_id, role, actor_id, content,"
    " origin, flags, session, session_position, observed_at, recorded_at, indexed, length, content_hash)"
    f" VALUES ({', '.join('?' * 19)})"
)
EVENT_INSERT: Final = (
    "INSERT INTO events (owner, memory_id, operation, revision, reason, actor_id, recorded_at, batch,"
    " content_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
WORK_INSERT: Final = f"INSERT INTO index_work ({WORK_SUMMED}, crc32) VALUES ({', '.join('?' * 8)})"
_STATS_UPSERT: Final = (
    "INSERT INTO unit_stats (owner, space, n, total_len, tag) VALUES (?1, ?2, ?3, ?4,"
    " 1 + coalesce((SELECT max(tag) FROM space_changes WHERE owner = ?1 AND space = ?2), 0))"
    " ON CONFLICT (owner, space) DO UPDATE SET n = n + excluded.n,"
    # A tag that damage has lowered must not take a value again that it had.
    " total_len = total_len + excluded.total_len, tag = max(tag + 1, excluded.tag) RETURNING tag"
)


def next_unit(connection: Connection, table: str) -> int:
    """The number that the next row of ``memories`` or ``messages`` gets; never one that was used before."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 if row is None else int(row[0]) + 1


class Draft:
    """Rows to be written for one owner. ``flush`` writes them; until then the database knows nothing.

    Attributes:
        batch: The batch that is being worked on.
        written: The rows of the record that were written and are not in the owner's tally yet; ``settle``
            puts them there, in the same transaction.
    """

    def __init__(self, connection: Connection, owner: int, indexes: tuple[str, ...] = ()) -> None:
        self.connection = connection
        self.owner = owner
        self.batch: int | None = None
        self.written = Tally()
        self._indexes = indexes
        self._memories: list[tuple[Any, ...]] = []
        self._messages: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._sources: list[tuple[int, int]] = []
        self._postings: list[tuple[int, int, str, int, int, int]] = []
        self._moved: list[tuple[int, int, str, int]] = []
        self._removed: list[tuple[int, int, str, int]] = []
        self._vectors: list[tuple[int, int, int, int, bytes]] = []
        self._work: list[tuple[Any, ...]] = []
        self._stats: dict[int, list[int]] = {}
        self._touched: dict[int, set[int]] = {MEMORY: set(), TURN: set(), RETIRED: set()}
        self._actors: dict[str, None] = {}
        self._keys: set[str] = set()
        self._embedded: dict[int, list[tuple[int]]] = {MEMORY: [], TURN: []}
        self._dimension = 0

    def count_batch(self) -> None:
        """The batch that is being worked on was written just now."""
        assert self.batch is not None  # it has a number, then
        self.written.count("batches", 1, self.batch)

    def memory(
        self,
        unit: int,
        row: Sequence[Any],
        *,
        text_key: bytes,
        terms: Terms,
        vector: bytes | None,
        content_hash: bytes,
    ) -> None:
        """A new version, from its columns behind the unit; one that is closed from the start is retired."""
        space = MEMORY if row[17] is None else RETIRED
        self._memories.append(
            (unit, *row, self.owner, text_key, terms.length, content_hash, int(vector is not None))
        )
        if vector is not None:
            self._add_vector(space, unit, vector)
        if row[5] is not None:
            self._actors.setdefault(row[5])
        if row[9] != "{}":
            self._keys.update(json.loads(row[9]))
        self._index(space, unit, terms)

    def message(self, row: tuple[Any, ...], terms: Terms, *, actor_id: str | None, indexed: bool) -> None:
        """A new message, with all its columns."""
        self._messages.append(row)
        if actor_id is not None:
            self._actors.setdefault(actor_id)
        if indexed:
            self._index(TURN, row[0], terms)

    def _index(self, space: int, unit: int, terms: Terms) -> None:
        owner, length = self.owner, terms.length
        self._postings += [(owner, space, term, unit, tf, length) for term, tf in terms.counts.items()]
        self._touch(space, unit, 1, length)

    def _touch(self, space: int, unit: int, number: int, length: int) -> None:
        stats = self._stats.setdefault(space, [0, 0])
        stats[0] += number
        stats[1] += length
        self._touched[space].add(unit)

    def sources(self, unit: int, messages: Collection[int]) -> None:
        """What a version rests on."""
        self._sources += [(unit, message) for message in set(messages)]

    def vector(self, space: int, unit: int, data: bytes) -> None:
        """The vector of a unit that is already written, or will be by the next ``flush``."""
        self._add_vector(space, unit, data)
        self._embedded[TURN if space == TURN else MEMORY].append((unit,))

    def _add_vector(self, space: int, unit: int, data: bytes) -> None:
        self._vectors.append((self.owner, space, unit, vector_sum(self.owner, space, unit, data), data))
        self._touch(space, unit, 0, 0)
        self._dimension = len(data) // 2

    def event(
        self, operation: str, memory_id: str, revision: int, *, reason: str, actor_id: str | None, at: Micros
    ) -> None:
        """An entry of a memory's history."""
        payload = (self.owner, memory_id, operation, revision, reason, actor_id, at, self.batch)
        self._events.append((*payload, digest(payload[1:8])))

    def work(self, space: int, unit: int, ref_id: str, revision: int, *, removed: bool) -> None:
        """Pending work for every derived index."""
        for name in self._indexes:
            self._work.append(work_row(name, self.owner, space, unit, ref_id, revision, int(removed)))

    def retire(self, unit: int, terms: Terms) -> None:
        """Move a version that is already written from the current space to the retired one."""
        owner = self.owner
        self._moved += [(owner, MEMORY, term, unit) for term in terms.counts]
        self._retire_vector(unit)
        self._touch(MEMORY, unit, -1, -terms.length)
        self._touch(RETIRED, unit, 1, terms.length)

    def _retire_vector(self, unit: int) -> None:
        place = (self.owner, MEMORY, unit)
        row = self.connection.execute(
            "SELECT data, crc32 FROM vectors WHERE owner = ? AND space = ? AND unit = ?", place
        ).fetchone()
        if row is not None:
            # What did not match before must not match afterwards.
            damage = row[1] ^ vector_sum(*place, row[0])
            checksum = vector_sum(self.owner, RETIRED, unit, row[0]) ^ damage
            self.connection.execute(
                "UPDATE vectors SET space = ?, crc32 = ? WHERE owner = ? AND space = ? AND unit = ?",
                (RETIRED, checksum, *place),
            )

    def unindex_message(self, unit: int, terms: Terms) -> None:
        """Take a message out of search."""
        owner = self.owner
        self._removed += [(owner, TURN, term, unit) for term in terms.counts]
        self.connection.execute(
            "DELETE FROM vectors WHERE owner = ? AND space = ? AND unit = ?", (owner, TURN, unit)
        )
        self._touch(TURN, unit, -1, -terms.length)

    def flush(self) -> None:
        """Write everything that was collected."""
        many = self.connection.executemany
        if self._dimension:
            self._check_dimension()
        self._write_record(many)
        _write(many, "INSERT INTO sources (memory, message) VALUES (?, ?)", self._sources)
        self._postings.sort()
        _write(
            many,
            "INSERT INTO postings (owner, space, term, unit, tf, len) VALUES (?, ?, ?, ?, ?, ?)",
            self._postings,
        )
        _write(
            many,
            f"UPDATE postings SET space = {RETIRED} WHERE owner = ? AND space = ? AND term = ? AND unit = ?",
            self._moved,
        )
        _write(
            many,
            "DELETE FROM postings WHERE owner = ? AND space = ? AND term = ? AND unit = ?",
            self._removed,
        )
        _write(
            many,
            "INSERT OR REPLACE INTO vectors (owner, space, unit, crc32, data) VALUES (?, ?, ?, ?, ?)",
            self._vectors,
        )
        _write(many, "UPDATE memories SET embedded = 1 WHERE unit = ?", self._embedded[MEMORY])
        _write(many, "UPDATE messages SET embedded = 1 WHERE unit = ?", self._embedded[TURN])
        _write(many, WORK_INSERT, self._work)
        if self._actors:
            actors = [(self.owner, name) for name in self._actors]
            many("INSERT OR IGNORE INTO actors (owner, name) VALUES (?, ?)", actors)
            self._actors.clear()
        if self._keys:
            many(
                "INSERT OR IGNORE INTO metadata_keys (name) VALUES (?)",
                [(key,) for key in sorted(self._keys)],
            )
            self._keys.clear()
        self._write_stats()

    def _write_record(self, many: Any) -> None:
        for kind, rows in (("memories", self._memories), ("messages", self._messages)):
            if rows:
                self.written.count(kind, len(rows), sum(row[0] for row in rows))
        _write(many, MEMORY_INSERT, self._memories)
        _write(many, _MESSAGE_INSERT, self._messages)
        if self._events:
            number = len(self._events)
            _write(many, EVENT_INSERT, self._events)
            (last,) = self.connection.execute("SELECT last_insert_rowid()").fetchone()
            self.written.count("events", number, number * last - number * (number - 1) // 2)

    def _write_stats(self) -> None:
        for space, (number, total) in self._stats.items():
            rows = self.connection.execute(_STATS_UPSERT, (self.owner, space, number, total)).fetchall()
            note(self.connection, self.owner, space, rows[0][0], self._touched[space])
            self._touched[space].clear()
        self._stats.clear()

    def _check_dimension(self) -> None:
        lengths = {len(row[4]) // 2 for row in self._vectors}
        if len(lengths) > 1:
            raise UsageError(f"vectors of different dimensions in one commit: {sorted(lengths)}")
        claim_dimension(self.connection, self._dimension)
        self._dimension = 0


def work_row(
    name: str, owner: int, space: int, unit: int, ref_id: str, revision: int, removed: int
) -> tuple[Any, ...]:
    """A row of ``WORK_INSERT``."""
    row = (name, owner, space, unit, ref_id, revision, removed)
    return (*row, work_sum(*row))


def claim_dimension(connection: Connection, dimension: int) -> None:
    """Record the dimension of the store's vectors, once.

    Raises:
        EmbeddingMismatchError: The store has vectors of another dimension.
    """
    row = connection.execute("SELECT value FROM meta WHERE key = 'dimension'").fetchone()
    if row is None:
        put(connection, "dimension", str(dimension))
    elif int(row[0]) != dimension:
        raise EmbeddingMismatchError(
            f"the store holds vectors of {row[0]} dimensions, not {dimension}: use the embedding model it "
            "was made with, or embed everything again (reindex). Nothing was changed"
        )


def _write(many: Any, sql: str, rows: list[Any]) -> None:
    if rows:
        many(sql, rows)
        rows.clear()
