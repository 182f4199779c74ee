"""A store with something of everything, and random bit flips in its file."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from memkit_core import Memory, StorageError
from memkit_core.protocols import (
    AddMemory,
    AmendMemory,
    Change,
    ChangeSet,
    NewBatch,
    RecordStore,
    RestoreMemory,
    RetireMemory,
    UpdateMemory,
)
from memkit_core.storage.sqlite import open_sqlite
from memkit_core.storage.sqlite.pool import APPLICATION_ID, statements_of
from memkit_core.storage.sqlite.rows import checksum, digest
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_core.types import Message, Scope

#: Columns that are not payload, each with its reason.
NO_PAYLOAD = {
    "index_work.sequence": "pending work does what the record holds by then, in any order",
    "index_work.attempts": "how often it failed so far; nothing depends on it",
    "index_work.last_error": "what it failed with; shown to nobody",
}
#: The first of December 2024.
EARLY = 1_733_011_200_000_000
OWNERS: list[dict[str, Any]] = [{"user_id": "ana"}, {"user_id": "ben"}, {"agent_id": "a1"}, {"run_id": "r1"}]
QUESTIONS = ("What does Ana like?", "tea number", "猫", "walking by the sea", "Noted")


class Down:
    """A derived index that is never reached, so that its work stays pending."""

    name = "down"

    def add(self, entries: Any) -> None:
        raise OSError("down")

    def delete(self, owner: Any, refs: Any) -> None:
        raise OSError("down")

    def propose(self, owner: Any, vector: Any, *, space: Any, limit: int) -> list[Any]:
        return []

    def clear(self) -> None:
        raise OSError("down")

    def close(self) -> None:
        pass


def build(path: Path, *, seed: int = 7, plain: bool = False) -> None:
    """Owners of every kind, updates, deletions, sessions, metadata, actors, expiry, keys, a pending batch.

    Args:
        plain: Without what came with schema version 4.
    """
    rng = random.Random(seed)
    things = ["tea", "chess", "the sea", "Madrid", "rain", "trains", "opera", "猫が好き", "jazz", "figs"]
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path, vector_store=Down()) as memory:
        for number in range(40):
            ids: dict[str, str] = rng.choice(
                [
                    {"user_id": "ana"},
                    {"user_id": "ben", "agent_id": "a1"},
                    {"agent_id": "a1"},
                    {"run_id": "r1"},
                ]
            )
            memory.add(
                [
                    {
                        "role": "user",
                        "name": "Ana",
                        "content": f"I like {rng.choice(things)} number {number}",
                    },
                    {"role": "assistant", "content": "Noted, anything else?"},
                ],
                **ids,  # type: ignore[arg-type]
                metadata={"n": number, "topic": rng.choice(things)} if number % 3 else None,
                observed_at=f"2025-0{1 + number % 9}-03T10:{number % 60:02}:00Z",
                expires_at="2099-01-01" if number % 4 == 0 else None,
                idempotency_key=f"key-{number}" if number % 5 == 0 else None,
                infer=number % 7 != 0,
            )
        items = memory.get_all(user_id="ana").results
        for number, item in enumerate(items[:6]):
            memory.update(item.id, f"I like {rng.choice(things)} best, version {number}", metadata={"v": 2})
        for item in items[4:8]:
            memory.delete(item.id)
        memory.delete_all(run_id="r1")
        memory.add("I like walking", run_id="r1")
    if not plain:
        with open_sqlite(path) as store:
            enrich(store)
    failing = ScriptedChatModel(replies=[])
    with Memory(llm=failing, embedder=HashEmbeddings(32), store=path) as memory:
        assert memory.add("My sister lives in Oslo", user_id="ana").status == "pending"
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path) as memory:
        memory.admin.reindex()  # nothing is left to be embedded, so that all that changes is damage


def enrich(store: RecordStore) -> None:
    """Slots, support and attributes; memories that are over, were amended, or came back."""
    scope = Scope(user_id="ana")
    unit = store.append(
        NewBatch(
            batch_id="0d1c5b1a-6d3c-4f61-9d5e-2f8f6a1c7b10",
            scope=scope,
            messages=(Message(role="user", content="I live in Bern and run", observed_at=EARLY),),
            recorded_at=EARLY,
        )
    ).units
    home = AddMemory(
        memory_id="home",
        scope=scope,
        text="Lives in Bern",
        valid_from=EARLY,
        sources=unit,
        slot="lives_in\x1fana",
        support="supported",
    )
    sport = AddMemory(
        memory_id="sport",
        scope=scope,
        text="Runs",
        valid_from=EARLY,
        sources=unit,
        support="doubtful",
        attributes={"how often": [1, 2.5, None], "猫": {"a": "b"}},
    )
    past = AddMemory(
        memory_id="past",
        scope=scope,
        text="Lived in Rome",
        valid_from=EARLY - 9_000,
        valid_to=EARLY - 5_000,
        superseded_by="home",
        sources=unit,
    )
    store.commit(ChangeSet(scope=scope, recorded_at=EARLY, changes=(home, sport, past)))
    steps: tuple[Change, ...] = (
        UpdateMemory(memory_id="home", text="Lives in Oslo", valid_from=EARLY + 10, sources=unit),
        AmendMemory(memory_id="home", revision=1, valid_to=EARLY + 8),
        AmendMemory(memory_id="home", revision=1, valid_to=EARLY + 5, superseded_by="past"),
        RetireMemory(memory_id="sport", valid_to=EARLY + 20, superseded_by="home"),
        AmendMemory(memory_id="sport", revision=1, valid_to=EARLY + 15, reason="sooner"),
        RestoreMemory(memory_id="sport", revision=1, reason="after all"),
        RestoreMemory(memory_id="home", revision=1),
        AmendMemory(memory_id="past", revision=1, valid_to=EARLY - 6_000),
        RestoreMemory(memory_id="past", revision=1, valid_from=EARLY + 30),
        RetireMemory(memory_id="past", valid_to=EARLY + 40),
    )
    for number, step in enumerate(steps, 1):
        store.commit(ChangeSet(scope=scope, recorded_at=EARLY + number, changes=(step,)))


#: What depends on when it is asked.
_MOVING: Any = {"usage": True, "results": {"__all__": {"score"}}, "excerpts": {"__all__": {"score"}}}


def seen(memory: Memory, folder: Path) -> dict[str, Any]:
    """All that users see of a store, and its export."""
    found: dict[str, Any] = {}
    for owner in OWNERS:
        for question in QUESTIONS:
            answer = memory.search(question, **owner, include=("memories", "excerpts"))
            assert not answer.degraded
            found[f"{owner} {question}"] = answer.model_dump(exclude=_MOVING)
        past = memory.search("likes", **owner, as_of="2025-06-01")
        found[f"{owner} earlier"] = past.model_dump(exclude=_MOVING)
        items = listed(memory, owner)
        found[f"{owner} all"] = [item.model_dump() for item in items]
    for memory_id in sorted(all_ids(Path(memory.admin.stats().location.removeprefix("SQLite file ")))):
        found[f"history {memory_id}"] = [event.model_dump() for event in memory.history(memory_id)]
    file = folder / "seen.jsonl"
    memory.admin.export(file)
    found["export"] = file.read_bytes()
    return found


def listed(memory: Memory, owner: dict[str, Any]) -> list[Any]:
    """Every memory of an owner, page by page."""
    page = memory.get_all(**owner, limit=15)
    items = [*page.results]
    while page.next_cursor:
        page = memory.get_all(**owner, limit=15, cursor=page.next_cursor)
        items += page.results
    return items


def all_ids(path: Path) -> set[str]:
    """Ids of all memories, also of deleted ones."""
    db = sqlite3.connect(path)
    db.text_factory = bytes
    ids = {row[0].decode("utf-8", "replace") for row in db.execute("SELECT memory_id FROM memories")}
    db.close()
    return ids


def said(memory: Memory, path: Path) -> Iterator[str]:
    """Every text that a store gives out; what it refuses to read is left out."""
    for owner in OWNERS:
        for question in QUESTIONS[:2]:
            with suppress(StorageError):
                answer = memory.search(question, **owner, include=("memories", "excerpts"))
                yield from (hit.memory for hit in answer.results)
                yield from (excerpt.text for excerpt in answer.excerpts)
        with suppress(StorageError):
            yield from (item.memory for item in listed(memory, owner))
    for memory_id in all_ids(path):
        with suppress(StorageError):
            item = memory.get(memory_id)
            if item is not None:
                yield item.memory
        with suppress(StorageError):
            for event in memory.history(memory_id):
                yield from (text for text in (event.old_memory, event.new_memory) if text is not None)


def texts(path: Path) -> set[str]:
    """Every text that a sound store holds."""
    with sqlite3.connect(path) as db:
        found = {row[0] for row in db.execute("SELECT text FROM memories UNION SELECT content FROM messages")}
    db.close()
    return found


def columns(path: Path) -> list[tuple[str, str]]:
    """Every (table, column) that counts as payload and holds anything."""
    with sqlite3.connect(path) as db:
        tables = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        found = [
            (table, row[1])
            for table in tables
            for row in db.execute(f"PRAGMA table_info({table})")
            if f"{table}.{row[1]}" not in NO_PAYLOAD
            and db.execute(f"SELECT 1 FROM {table} WHERE {row[1]} IS NOT NULL").fetchone()
        ]
    db.close()
    return found


def flip(path: Path, rng: random.Random, table: str, column: str) -> str | None:
    """Flip one bit of one value; says which, None if the database refuses the result."""
    db = sqlite3.connect(path)
    db.text_factory = bytes
    try:
        key = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5]]
        names = [name.decode() if isinstance(name, bytes) else name for name in key]
        name = column.decode() if isinstance(column, bytes) else column
        rows = db.execute(
            f"SELECT {name}, typeof({name}), {', '.join(names)} FROM {table} WHERE {name} IS NOT NULL"
            f" ORDER BY {', '.join(names)}"
        ).fetchall()
        value, kind, *where = rng.choice(rows)
        kind = kind.decode()
        if kind == "integer":
            changed: Any = value ^ (1 << rng.randrange(63 if abs(value) > 2**31 else 16))
        elif kind == "real":
            bits = struct.unpack("<q", struct.pack("<d", value))[0] ^ (1 << rng.randrange(63))
            changed = struct.unpack("<d", struct.pack("<q", bits))[0]
        else:
            raw = bytearray(value)
            if not raw:
                return None
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            changed = bytes(raw)
        target = "CAST(? AS TEXT)" if kind == "text" else "?"
        condition = " AND ".join(f"CAST({n} AS BLOB) = CAST(? AS BLOB)" for n in names)
        try:
            count = db.execute(
                f"UPDATE {table} SET {name} = {target} WHERE {condition}", (changed, *where)
            ).rowcount
        except sqlite3.IntegrityError:
            return None
        assert count == 1, (table, name, where)
        db.commit()
        return f"{table}.{name} of {where}: {value!r} became {changed!r}"
    finally:
        db.close()


def downgrade_to_3(path: Path) -> None:
    """Replace a sound, plain file by one that the first three migrations made."""
    former = path.with_suffix(".former")
    db = sqlite3.connect(former, isolation_level=None)
    for number in (1, 2, 3):
        for statement in statements_of(number):
            db.execute(statement)
    db.execute("ATTACH ? AS new", (str(path),))
    tables = [name for (name,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    db.execute("BEGIN")
    for table in tables:
        names = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
        db.execute(f"DELETE FROM main.{table}")
        db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    db.execute(
        "UPDATE meta SET value = '3', crc32 = ? WHERE key = 'schema_version'",
        (checksum("schema_version", "3"),),
    )
    db.execute("COMMIT")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.close()
    former.replace(path)


def downgrade(path: Path) -> None:
    """Give a sound, plain file the form that schema version 2 had."""
    downgrade_to_3(path)
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE owners DROP COLUMN tally")
    for table in ("meta", "usage", "index_work"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN crc32")
    actors = db.execute("SELECT owner, name FROM actors").fetchall()
    db.execute("DROP TABLE actors")
    db.execute(
        "CREATE TABLE actors (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, name TEXT NOT NULL,"
        " UNIQUE (owner, name))"
    )
    db.executemany("INSERT INTO actors (owner, name) VALUES (?, ?)", actors)
    for owner, *row in db.execute("SELECT id, kind, value, revision, created_at FROM owners").fetchall():
        db.execute("UPDATE owners SET content_hash = ? WHERE id = ?", (digest(row), owner))
    db.execute("DELETE FROM meta WHERE key = 'counts'")
    db.execute("UPDATE meta SET value = '1' WHERE key LIKE 'rebuild:%'")
    db.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    db.commit()
    db.close()
