"""The file as a whole: its structure, its schema, its settings, and whether rows of the record were lost."""

from __future__ import annotations

from typing import Any

from ... import analysis
from ...errors import IntegrityError
from . import settings
from .driver import Connection
from .inspection import Inspection
from .rows import checksum
from .schema import differences
from .seals import USAGE_SUMMED
from .tallies import KINDS, Tally, read_tally
from .vectors import read_identity


def inspect_structure(connection: Connection, seen: Inspection) -> None:
    """What SQLite itself finds, and the tables, indexes and triggers against those of a new file."""
    for (line,) in connection.execute("PRAGMA integrity_check(100)").fetchall():
        if line != "ok":
            seen.add("file", "", "", line)
    for difference in differences(connection):
        seen.add(difference.kind, difference.part.table, difference.part.name, difference.problem)


def inspect_meta(connection: Connection, seen: Inspection, schema_version: int) -> None:
    """The few settings of the file, and how many of them there were."""
    meta: dict[str, Any] = {}
    notes = settings.rebuild_notes(connection)
    for key, value, stored in connection.execute("SELECT key, value, crc32 FROM meta"):
        meta[key] = value
        if key in notes:
            _inspect_note(seen, key, notes[key], sound=checksum(key, value) == stored)
        elif checksum(key, value) == stored and key not in settings.KEYS:
            seen.truth("meta", key, "there is no such setting")
        elif checksum(key, value) != stored:
            known = key in ("schema_version", "analyzer", "dimension", settings.WORK) or any(
                checksum(name, value) == stored for name in settings.KEYS
            )
            seen.add("derived" if known else "truth", "meta", str(key), "it does not match its checksum")
    if meta.get("schema_version") != str(schema_version):
        seen.derived("meta", "schema_version", "it is not this schema's")
    if meta.get("analyzer") != analysis.ANALYZER:
        seen.derived("meta", "analyzer", "the keywords are another analyzer's")
        seen.stale.update(seen.owners.values())
    _inspect_model(connection, seen, meta)


def _inspect_note(seen: Inspection, key: str, name: str | None, *, sound: bool) -> None:
    if name is None:
        seen.truth("meta", key, "it says that an index is to be rebuilt, and not which")
    elif not sound or key != settings.REBUILD + name:
        seen.derived("meta", key, "it does not match its checksum")


def _inspect_model(connection: Connection, seen: Inspection, meta: dict[str, Any]) -> None:
    dimension = connection.execute("SELECT length(data) / 2 FROM vectors LIMIT 1").fetchone()
    held = None if dimension is None else dimension[0]
    if "embedding" in meta:
        try:
            held = read_identity(meta["embedding"]).dimension
        except IntegrityError:
            seen.truth("meta", "embedding", "it does not match its checksum")
    if held is not None and meta.get("dimension") != str(held):
        seen.derived("meta", "dimension", "it is not that of the vectors")


def inspect_usage(connection: Connection, seen: Inspection) -> None:
    """What operations cost, against checksums."""
    owners = {owner for (owner,) in connection.execute("SELECT id FROM owners")}
    for stored, *row in connection.execute(f"SELECT crc32, {USAGE_SUMMED} FROM usage"):
        owner, operation = row[:2]
        if owner:
            seen.count("usage", owner, checksum(operation))
        if checksum(*row) != stored:
            seen.truth("usage", f"{owner}/{operation}", "it does not match its checksum")
        elif owner and owner not in owners:
            seen.truth("usage", f"{owner}/{operation}", "its owner is not there")


def inspect_counts(connection: Connection, seen: Inspection) -> None:
    """What is there against what was counted when it was written. Comes behind all other tables."""
    counts = settings.read_counts(connection)
    if counts is None:
        seen.truth("meta", settings.COUNTS, "what was counted is gone or damaged: losses cannot be told")
    else:
        for name, there in settings.present_counts(connection).items():
            _compare(seen, name, "all", there, counts[name])
    for owner, tally in connection.execute("SELECT id, tally FROM owners"):
        if owner not in seen.unsound:
            counted = read_tally(tally)
            present = seen.counted.get(owner, Tally())
            for kind in KINDS:
                _compare(seen, kind, f"owner {owner}", present.of(kind), counted.of(kind))


def _compare(
    seen: Inspection, table: str, whose: str, there: tuple[int, int], counted: tuple[int, int]
) -> None:
    missing = counted[0] - there[0]
    if missing > 0:
        which = f" (number {counted[1] - there[1]})" if missing == 1 and table in _NUMBERED else ""
        seen.add("truth", table, whose, f"{missing} of {counted[0]} rows were lost{which}")
    elif missing < 0:
        seen.add("truth", table, whose, f"{-missing} rows are there that were never written by memkit")
    elif there != counted:
        seen.add("truth", table, whose, "rows bear other numbers or names than they were given")


_NUMBERED = frozenset(("batches", "messages", "memories", "events"))
