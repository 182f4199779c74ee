"""Everything derived against what the rows give: keywords, statistics, vectors, names, pending work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from .changes import damaged
from .driver import Connection
from .inspection import Inspection
from .pending import lost
from .reindex import ROWS, UNITS, owners_in, stored_key, stored_terms
from .rows import MEMORY, RETIRED, TURN, vector_sum
from .seals import WORK_SUM

_CHUNK: Final = 1_000
_MASK: Final = 2**64 - 1
_TABLES: Final = {MEMORY: "memories", RETIRED: "memories", TURN: "messages"}
_STORED: Final = {
    "memories": "SELECT unit, length, embedded, text_key FROM memories WHERE unit IN"
    " (SELECT value FROM json_each(?))",
    "messages": "SELECT unit, length, embedded, NULL FROM messages WHERE unit IN"
    " (SELECT value FROM json_each(?))",
}


def inspect_derived(connection: Connection, seen: Inspection) -> None:
    """Keywords, lengths, statistics and vectors, owner by owner."""
    owners = {owner for (owner,) in connection.execute("SELECT id FROM owners")}
    for owner in sorted(owners):
        _Owner(connection, seen, owner).inspect()
    for table in ("postings", "unit_stats", "vectors"):
        for owner in owners_in(connection, table):
            if owner not in owners:
                seen.derived(table, owner, "there is no such owner")
                seen.stale.add(owner)
                if table == "vectors":
                    rows = connection.execute(
                        "SELECT owner, space, unit FROM vectors WHERE owner = ?", (owner,)
                    )
                    seen.bad_vectors.update(rows)


class _Owner:
    """One owner's derived rows against those that its texts give."""

    def __init__(self, connection: Connection, seen: Inspection, owner: int) -> None:
        self._connection = connection
        self._seen = seen
        self._owner = owner
        # What a unit's keywords are, in any order: a sum of hashes. Far smaller than the keywords.
        self._keywords: dict[tuple[int, int], int] = {}
        rows = connection.execute("SELECT space, unit, term, tf, len FROM postings WHERE owner = ?", (owner,))
        for space, unit, term, tf, length in rows:
            key = (space, unit)
            self._keywords[key] = (self._keywords.get(key, 0) + hash((term, tf, length))) & _MASK
        self._vectors: set[tuple[int, int]] = self._sound_vectors()

    def inspect(self) -> None:
        """Add what is wrong to the inspection."""
        totals: dict[int, tuple[int, int]] = {}
        for space, select in UNITS.items():
            units = [unit for (unit,) in self._connection.execute(select, (self._owner,))]
            length = 0
            for start in range(0, len(units), _CHUNK):
                length += self._inspect_units(space, units[start : start + _CHUNK])
            totals[space] = (len(units), length)
        for space, unit in self._keywords:
            self._stale("postings", f"{space}/{unit}", "it belongs to no text")
        for space, unit in sorted(self._vectors):
            self._seen.derived("vectors", f"{self._owner}/{space}/{unit}", "it belongs to no text")
            self._seen.bad_vectors.add((self._owner, space, unit))
        self._inspect_statistics(totals)

    def _stale(self, table: str, key: object, problem: str) -> None:
        self._seen.derived(table, f"{self._owner}/{key}", problem)
        self._seen.stale.add(self._owner)

    def _sound_vectors(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        size: int | None = None
        for space, unit, checksum, data in self._connection.execute(
            "SELECT space, unit, crc32, data FROM vectors WHERE owner = ?", (self._owner,)
        ):
            size = len(data) if size is None else size
            if vector_sum(self._owner, space, unit, data) != checksum or len(data) != size:
                self._seen.derived(
                    "vectors", f"{self._owner}/{space}/{unit}", "it does not match its checksum"
                )
                self._seen.bad_vectors.add((self._owner, space, unit))
            else:
                found.add((space, unit))
        return found

    def _inspect_units(self, space: int, units: list[int]) -> int:
        """A portion of the texts of one space; returns their length in terms."""
        self._seen.step(len(units))
        table, numbers, total = _TABLES[space], json.dumps(units), 0
        stored: Mapping[int, tuple[Any, ...]] = {
            row[0]: row[1:] for row in self._connection.execute(_STORED[table], (numbers,))
        }
        for unit, text, actor_id, at in self._connection.execute(ROWS[space], (numbers,)):
            terms = stored_terms(text, actor_id, at)
            length = terms.length
            total += length
            expected = 0
            for term, tf in terms.counts.items():
                expected += hash((term, tf, length))
            if self._keywords.pop((space, unit), 0) != expected & _MASK:
                self._stale("postings", f"{space}/{unit}", "they are not the keywords of the text")
            held_length, embedded, text_key = stored[unit]
            if held_length != length:
                self._stale(table, unit, "its length is not that of the text")
            if table == "memories" and text_key != stored_key(text):
                self._stale(table, unit, "its key is not that of the text")
            there = (space, unit) in self._vectors
            self._vectors.discard((space, unit))
            if embedded != int(there) and (self._owner, space, unit) not in self._seen.bad_vectors:
                self._seen.derived(table, unit, "it is marked wrongly as having or lacking a vector")
        return total

    def _inspect_statistics(self, totals: Mapping[int, tuple[int, int]]) -> None:
        stored = {
            space: (n, total)
            for space, n, total in self._connection.execute(
                "SELECT space, n, total_len FROM unit_stats WHERE owner = ?", (self._owner,)
            )
        }
        for space in stored.keys() | totals.keys():
            if stored.get(space, (0, 0)) != totals.get(space, (0, 0)) or space not in totals:
                self._stale("unit_stats", space, "they are not the counts of the texts")


def inspect_names(connection: Connection, seen: Inspection) -> None:
    """The lists of actors and of metadata keys."""
    actors: set[tuple[int, str]] = set(connection.execute("SELECT owner, name FROM actors"))
    for owner, name in actors ^ seen.actors:
        seen.derived("actors", f"{owner}/{name}", "the list of actors is not that of the texts")
    keys = {name for (name,) in connection.execute("SELECT name FROM metadata_keys")}
    for name in keys ^ seen.metadata_keys:
        seen.derived("metadata_keys", name, "the list of keys is not that of the memories")


def inspect_work(connection: Connection, seen: Inspection) -> None:
    """Pending index work against the texts it is about, and the notes of what changed."""
    for owner, space, tag in damaged(connection):
        seen.derived("space_changes", f"{owner}/{space}/{tag}", "it does not match its checksum")
    for owner, space in connection.execute(
        "SELECT u.owner, u.space FROM unit_stats u WHERE u.tag IS NOT (SELECT max(c.tag)"
        " FROM space_changes c WHERE c.owner = u.owner AND c.space = u.space)"
    ):
        seen.derived("unit_stats", f"{owner}/{space}", "its tag is not the last one that is noted")
    for (sequence,) in connection.execute(DAMAGED_WORK):
        seen.derived("index_work", sequence, "it does not match its checksum")
    if lost(connection):
        seen.derived("index_work", "", "work was lost that no index has done")
    for (sequence,) in connection.execute(STRAY_WORK):
        seen.derived("index_work", sequence, "it is about nothing that is there")


NUMBERED: Final = {
    "owners": "id",
    "memories": "unit",
    "events": "sequence",
    "batches": "id",
    "sessions": "id",
    "messages": "unit",
    "items": "id",
    "item_spaces": "id",
    "index_work": "sequence",
}


def inspect_numbers(connection: Connection, seen: Inspection) -> None:
    """The last numbers that were given out, against the rows that have them."""
    for table, column in NUMBERED.items():
        (highest,) = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
        given = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'", (table,)
        ).fetchall()
        if highest is not None and (len(given) != 1 or given[0][0] < highest):
            seen.derived("sqlite_sequence", table, "its last number is below that of a row")


DAMAGED_WORK: Final = (
    f"SELECT w.sequence FROM index_work w WHERE w.crc32 IS NOT {WORK_SUM}"
    " OR typeof(w.index_name) <> 'text' OR typeof(w.ref_id) <> 'text'"
)
STRAY_WORK: Final = (
    "SELECT w.sequence FROM index_work w LEFT JOIN memories m ON w.space = 0 AND m.unit = w.unit"
    " AND m.owner = w.owner AND m.memory_id = w.ref_id AND m.revision = w.revision"
    " LEFT JOIN messages t ON w.space = 1 AND t.unit = w.unit AND t.owner = w.owner"
    " LEFT JOIN batches b ON b.id = t.batch"
    " WHERE NOT coalesce(m.unit IS NOT NULL"
    " OR (b.uuid || ':' || t.position = w.ref_id AND w.revision = 1), 0)"
    " OR w.removed NOT IN (0, 1) OR (w.removed = 1 AND coalesce(m.retired_at, t.hidden_at) IS NULL)"
)
