"""What is damaged beyond repair can be given up: the rest is whole, and what is gone is told."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memkit_core import IntegrityError, Memory, StorageUnavailableError, UsageError
from memkit_core.storage.sqlite.store import SqliteStore
from memkit_core.testing import HashEmbeddings, InMemoryVectorIndex
from memkit_core.types import OwnerKey

from .worlds import build, columns, flip, said, texts

TRUTH = ("owners", "batches", "messages", "memories", "events", "sources", "usage", "amendments", "spending")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memkit.db"
    build(path)
    return path


class Full(SqliteStore):
    """A store on a disk without room."""

    def repair(self, step: Any = None) -> None:
        raise StorageUnavailableError("no room left")


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "memkit.db"))


def opened(path: Path | str, **more: Any) -> Memory:
    return Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path, **more)


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        (found,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.close()
    return int(found)


def lose(path: Path, rng: random.Random, table: str) -> None:
    """Delete up to three rows."""
    with sqlite3.connect(path) as db:
        key = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5])
        rows = db.execute(f"SELECT {key} FROM {table} ORDER BY {key}").fetchall()
        for row in rng.sample(rows, min(len(rows), rng.choice((1, 1, 3)))):
            db.execute(f"DELETE FROM {table} WHERE ({key}) = ({', '.join('?' * len(row))})", row)
    db.close()


@pytest.mark.parametrize("part", range(3))
def test_whatever_is_lost_the_rest_is_whole_again(sound: Path, tmp_path: Path, part: int) -> None:
    """Any flipped bit, any lost rows: then sound, told, exportable, and every text is one that was there."""
    rng = random.Random(part)
    places = [place for place in columns(sound) if place[0] in TRUTH]
    rng.shuffle(places)
    whole, path = texts(sound) | {"[lost]"}, tmp_path / "memkit.db"
    for number, (table, column) in enumerate(places[:10]):
        shutil.copy(sound, path)
        if number % 3:
            if flip(path, rng, table, column) is None:
                continue
        else:
            lose(path, rng, table)
        with opened(path) as memory:
            damaged = any(finding.kind == "truth" for finding in memory.admin.doctor().findings)
            skipped = memory.admin.export(tmp_path / "skipped.jsonl", skip_damaged=True)
            assert bool(skipped.left_out) == damaged
            report = memory.admin.doctor(repair=True, accept_loss=True)
            assert report.ok, (table, column, report)
            assert any(finding.given_up for finding in report.findings) == damaged
            assert memory.admin.doctor().ok
            assert set(said(memory, path)) <= whole
            memory.admin.export(tmp_path / "rest.jsonl")
        for name in ("skipped.jsonl", "rest.jsonl"):
            with opened(":memory:") as other:
                assert other.admin.import_(tmp_path / name).versions > 0
                assert other.admin.doctor().ok


def test_one_damaged_memory_goes_and_nothing_else(path: Path) -> None:
    change(path, "UPDATE memories SET text = 'I like beer' WHERE unit = 3")
    before = count(path, "memories")
    with opened(path) as memory:
        with pytest.raises(UsageError, match="repair"):
            memory.admin.doctor(accept_loss=True)
        with pytest.raises(IntegrityError):
            memory.admin.export(path.with_name("all.jsonl"))
        result = memory.admin.export(path.with_name("rest.jsonl"), skip_damaged=True)
        assert result.versions == before - 1
        assert "left out: memories" in repr(result)
        assert not memory.admin.doctor().ok  # the store itself is as it was
        report = memory.admin.doctor(repair=True, accept_loss=True)
        assert report.ok
        told = [str(finding) for finding in report.findings if finding.given_up]
        assert any("removed" in text and "given up" in text for text in told)
        memory.admin.export(path.with_name("again.jsonl"))
        assert memory.add("I like newts", user_id="ana").status == "complete"
        assert memory.admin.doctor().ok
    assert path.with_name("rest.jsonl").read_bytes() == path.with_name("again.jsonl").read_bytes()
    assert count(path, "memories") == before  # one less, one more


def test_nothing_is_given_up_where_nothing_is_lost(path: Path) -> None:
    change(path, "DELETE FROM postings", "UPDATE vectors SET crc32 = crc32 + 1")
    with opened(path) as memory:
        report = memory.admin.doctor(repair=True, accept_loss=True)
        assert report.ok
        assert not any(finding.given_up for finding in report.findings)
        whole = memory.admin.export(path.with_name("a.jsonl"))
        skipped = memory.admin.export(path.with_name("b.jsonl"), skip_damaged=True)
    assert whole.sha256 == skipped.sha256
    assert skipped.left_out == []


def test_an_index_lets_go_of_what_is_given_up(path: Path) -> None:
    index = InMemoryVectorIndex("inside")
    with opened(path, vector_store=index) as memory:
        memory.admin.reindex()
        change(path, "UPDATE memories SET text = 'I like beer' WHERE retired_at IS NULL AND unit % 3 = 0")
        assert memory.admin.doctor(repair=True, accept_loss=True).ok
        assert memory.admin.health().ok


@pytest.mark.parametrize("table", ["owners", "memories", "events", "batches", "messages", "sources", "usage"])
def test_a_table_that_is_gone_is_told_and_the_rest_goes_on(path: Path, table: str) -> None:
    with opened(path) as memory:
        memory.count(user_id="ana")
        change(path, f"DROP TABLE {table}")
        report = memory.admin.doctor()
        assert (table, "truth") in {(finding.table, finding.kind) for finding in report.findings}
        report = memory.admin.doctor(repair=True)
        assert not report.ok  # what was in it is counted elsewhere
        assert memory.admin.doctor(repair=True, accept_loss=True).ok
        assert memory.admin.doctor().ok
        assert memory.add("I like newts", user_id="ana").status == "complete"


def test_a_repair_that_cannot_be_written_tells_what_was_found(path: Path) -> None:
    change(path, "DELETE FROM postings WHERE unit = 3")
    store = Full(path)
    with Memory(llm="verbatim", embedder="none", store=store) as memory:
        report = memory.admin.doctor(repair=True)
    assert not report.ok
    assert any(finding.table == "postings" for finding in report.findings)
    assert any("no room left" in finding.problem for finding in report.findings)


@pytest.mark.skipif(os.name != "posix", reason="needs a process that can be killed at once")
def test_a_killed_export_leaves_nothing_for_good(path: Path) -> None:
    target = path.with_name("out.jsonl")
    script = (
        "import sys, time, memkit_core.maintenance.transfer as transfer\n"
        "from memkit_core import Memory\n"
        "write = transfer._write\n"
        "def slow(*given):\n"
        "    print('writing', flush=True); time.sleep(60)\n"
        "transfer._write = slow\n"
        "Memory(llm='verbatim', embedder='none', store=sys.argv[1]).admin.export(sys.argv[2])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(path), str(target)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"writing"
        (draft,) = path.parent.glob(".*.partial")
        long_ago = time.time() - 60
        os.utime(draft, (long_ago, long_ago))
        with opened(path) as memory:
            memory.admin.export(target)
            assert draft.exists()  # somebody is at it
            process.send_signal(signal.SIGKILL)
            process.wait()
            memory.admin.export(path.with_name("other.jsonl"))
            assert draft.exists()  # it is another file's
            memory.admin.export(target)
        assert not [*path.parent.glob(".*.partial")]
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_lost_note_of_a_change_costs_a_reading_and_no_answer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT owner, space, tag FROM space_changes").fetchall()
    db.close()
    with opened(path) as memory:
        memory.search("tea", user_id="ana")
        for number in range(3):
            memory.add(f"I like zebra {number}", user_id="ana", infer=False)
        of_ana = "owner = (SELECT id FROM owners WHERE value = 'ana') AND space = 0"
        change(
            path,
            "DELETE FROM space_changes WHERE tag = (SELECT max(tag) - 1 FROM space_changes"
            f" WHERE {of_ana}) AND {of_ana}",
            f"DELETE FROM space_changes WHERE (owner, space, tag) = ({', '.join(map(str, rows[0]))})",
        )
        found = {hit.memory for hit in memory.search("zebra", user_id="ana", limit=30)}
    assert {f"I like zebra {number}" for number in range(3)} <= found


class Silent:
    """An index that takes work or fails, and cannot say what it holds."""

    def __init__(self) -> None:
        self.inner = InMemoryVectorIndex("silent")
        self.down = False

    name = "silent"

    def add(self, entries: Any) -> None:
        if self.down:
            raise OSError("down")
        self.inner.add(entries)

    def delete(self, owner: Any, refs: Any) -> None:
        self.inner.delete(owner, refs)

    def propose(self, owner: Any, vector: Any, *, space: Any, limit: int) -> Any:
        return self.inner.propose(owner, vector, space=space, limit=limit)

    def clear(self) -> None:
        self.inner.clear()

    def close(self) -> None:
        pass


def test_lost_index_work_is_told_also_of_an_index_that_cannot_say_what_it_holds(tmp_path: Path) -> None:
    index, path = Silent(), tmp_path / "m.db"
    with opened(path, vector_store=index) as memory:
        memory.add([f"I like tea {number}" for number in range(9)], user_id="ana", infer=False)
        item = memory.get_all(user_id="ana").results[0]
        memory.update(item.id, "I like coffee", user_id="ana")
        memory.delete(item.id, user_id="ana")
        memory.admin.reindex()
        index.down = True
        memory.add("I own a green submarine", user_id="ana", infer=False)
        assert memory.admin.doctor().ok
        sick = memory.admin.health()
        assert [check.name for check in sick.checks if not check.ok] == ["index silent"]
        assert "OSError" in str(sick)
        change(path, "DELETE FROM index_work WHERE sequence = (SELECT max(sequence) FROM index_work)")
        assert [(f.kind, f.table) for f in memory.admin.doctor().findings] == [("derived", "index_work")]
        index.down = False
        assert memory.admin.doctor(repair=True).ok
        assert memory.admin.doctor().ok
        assert memory.admin.health().ok
        found = index.inner.propose(OwnerKey("user", "ana"), [1.0] * 32, space="memory", limit=50)
        assert len(found) == 9
    with opened(path) as memory:
        memory.admin.reset(confirm=True)
        assert memory.admin.doctor().ok
