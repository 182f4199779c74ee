"""Damaged items are told, never given out, and moved out of the way on request."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memkit_core import IntegrityError, Memory
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore

TABLES = ("item_spaces", "items", "item_vectors", "item_postings")
#: Columns that say nothing of the items themselves.
NO_PAYLOAD = {
    "item_spaces.tag": "warm copies are read anew under another tag",
    "item_changes.item": "warm copies are read anew; every hit comes from its own row",
    "item_changes.tag": "as above",
    "item_changes.space": "as above",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "items.db"
    with Memory(llm="verbatim", embedder=HashEmbeddings(16), store=path) as memory:
        store = MemkitStore(memory)
        for number in range(12):
            store.put(("u", str(number % 3)), f"k{number}", {"text": f"green tea {number}"}, ttl=1_000)
            store.put(("v",), f"k{number}", {"text": f"coffee {number}"}, index=["text"])
        assert memory.admin.doctor().ok
    return path


def opened(path: Path) -> Memory:
    return Memory(llm="verbatim", embedder=HashEmbeddings(16), store=path)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()


def flip(path: Path, rng: random.Random, table: str, column: str) -> bool:
    """Flip one bit of one value; False if the database refuses the result."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        key = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5]]
        names = ", ".join([column, *key])
        rows = db.execute(f"SELECT {names} FROM {table} WHERE {column} IS NOT NULL").fetchall()
        value, *where = rng.choice(rows)
        if isinstance(value, int):
            changed: object = value ^ (1 << rng.randrange(40))
        else:
            raw = bytearray(value.encode() if isinstance(value, str) else value)
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(7)
            changed = raw.decode() if isinstance(value, str) else bytes(raw)
        condition = " AND ".join(f"{name} = ?" for name in key)
        try:
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {condition}", (changed, *where))
        except sqlite3.IntegrityError:
            return False
    return True


def columns(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as db:
        found = [(t, row[1]) for t in TABLES for row in db.execute(f"PRAGMA table_info({t})")]
    db.close()
    return [(table, column) for table, column in found if f"{table}.{column}" not in NO_PAYLOAD]


def test_every_flipped_bit_is_told_and_mended(path: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    sound = path.read_bytes()
    for table, column in columns(path) * 3:
        copy = tmp_path / "copy.db"
        copy.write_bytes(sound)
        if not flip(copy, rng, table, column):
            continue
        with opened(copy) as memory:
            report = memory.admin.doctor()
            assert not report.ok, (table, column)
            memory.admin.doctor(repair=True, accept_loss=True)
            assert memory.admin.doctor().ok, (table, column, memory.admin.doctor().findings)
            store = MemkitStore(memory)
            # Only a namespace whose name is damaged takes all of its items along.
            assert len(store.search((), limit=100)) >= (12 if column == "namespace" else 23)
            store.reindex()
            assert all(item.score is not None for item in store.search((), query="tea", limit=100))
            assert memory.admin.doctor().ok
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"copy.db{suffix}").unlink(missing_ok=True)


def test_damaged_items_are_never_given_out(path: Path) -> None:
    change(path, "UPDATE items SET value = '{\"text\": \"forged\"}' WHERE key = 'k1'")
    with opened(path) as memory:
        store = MemkitStore(memory)
        with pytest.raises(IntegrityError, match="doctor"):
            store.get(("v",), "k1")
        with pytest.raises(IntegrityError, match="doctor"):
            store.search(("v",), limit=100)
        with pytest.raises(IntegrityError, match="doctor"):
            store.search(("v",), query="coffee", limit=100)
        assert store.get(("v",), "k2") is not None
        store.put(("v",), "k1", {"text": "put again"})
        item = store.get(("v",), "k1")
        assert item is not None
        assert item.value == {"text": "put again"}


def test_items_under_another_namespace_are_damaged(path: Path) -> None:
    change(path, "UPDATE item_spaces SET namespace = 'w.' WHERE namespace = 'v.'")
    with opened(path) as memory:
        store = MemkitStore(memory)
        with pytest.raises(IntegrityError):
            store.list_namespaces()
        with pytest.raises(IntegrityError):
            store.search(("w",))


def test_lost_rows_are_told(path: Path) -> None:
    change(path, "DELETE FROM items WHERE key = 'k5'")
    with opened(path) as memory:
        problems = {(one.table, one.kind) for one in memory.admin.doctor().findings}
        assert ("item_spaces", "truth") in problems
        assert memory.admin.doctor(repair=True, accept_loss=True)
        assert memory.admin.doctor().ok


def test_a_reset_takes_the_items_along(path: Path) -> None:
    with opened(path) as memory:
        store = MemkitStore(memory)
        memory.admin.reset(confirm=True)
        assert store.search(()) == []
        assert store.list_namespaces() == []
        store.put(("v",), "k", {"text": "anew"})
        assert store.search((), query="anew")[0].key == "k"
