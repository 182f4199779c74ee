"""What is peculiar to the SQLite store: files it cannot use, full disks, interrupts, one-statement facts."""

from __future__ import annotations

import gc
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memkit_core import Memory, analysis
from memkit_core.errors import IntegrityError, SchemaVersionError, StorageUnavailableError, UsageError
from memkit_core.protocols import AddMemory, ChangeSet, Query, SearchRequest
from memkit_core.storage.sqlite import open_sqlite
from memkit_core.storage.sqlite.driver import BUSY_SECONDS, check_version, has_reset_bug

sys.path.insert(0, str(Path(__file__).parent))
from sqlite_checks import SCOPE, T0, check_whole, write_one

ALL = Query(scope=SCOPE, now=T0)


def test_missing_folder_and_folder_as_file(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError, match="create it first"):
        open_sqlite(tmp_path / "nowhere" / "memkit.db")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(StorageUnavailableError, match="name a file inside"):
        open_sqlite(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageUnavailableError):
        open_sqlite(tmp_path / "file" / "memkit.db")
    with pytest.raises(UsageError, match="durability"):
        open_sqlite(tmp_path / "memkit.db", durability="none")  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a folder that nobody can write")
def test_folder_that_cannot_be_written() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot"):
        open_sqlite("/proc/self/memkit.db")


def test_file_of_something_else(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database, but long enough to be read as one" * 100)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    for file in (garbage, foreign):
        before = file.read_bytes()
        with pytest.raises(StorageUnavailableError):
            open_sqlite(file)
        assert file.read_bytes() == before


def test_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        write_one(store, "m")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError, match=r"upgrade memkit-core.*Nothing was changed"):
        open_sqlite(path)
    assert path.read_bytes() == before


def test_reopen_finds_everything(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(str(path)) as store:
        write_one(store, "m")
        expected = store.get("m")
    with open_sqlite(path, durability="relaxed") as store:
        assert store.get("m") == expected
        assert store.location == f"SQLite file {path}"
    assert not path.with_name("memkit.db-wal").exists()


def test_another_analyzer_rebuilds_the_keywords(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        write_one(store, "m")
        write_one(store, "n")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 'older' WHERE key = 'analyzer'")
        db.execute("UPDATE postings SET term = term || 'x'")
        db.execute("UPDATE unit_stats SET n = 7")
    db.close()
    with open_sqlite(path) as store:
        request = SearchRequest(query=ALL, terms=analysis.query_terms("known"))
        assert len(store.search(request).scored) == 2
    check_whole(path)


def test_full_disk_changes_nothing_and_reads_go_on(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        write_one(store, "first")
        connection = store._pool.take()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")
        store._pool.give_back(connection)
        big = AddMemory(memory_id="big", scope=SCOPE, text="long words " * 10_000, valid_from=T0)
        outcomes: list[str] = []

        def write(n: int) -> None:
            try:
                if n % 2:
                    write_one(store, f"small {n}")
                else:
                    store.commit(ChangeSet(scope=SCOPE, recorded_at=T0, changes=(big,)))
                outcomes.append("ok")
            except StorageUnavailableError as error:
                outcomes.append("full" if "free some space" in str(error) else str(error))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("full") >= 4
        assert set(outcomes) <= {"ok", "full"}
        assert store.count(ALL) == 1 + outcomes.count("ok")
        assert store.get("big") is None
    check_whole(path)


def test_one_callers_error_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        outcomes: list[str] = []

        def write(n: int) -> None:
            try:
                write_one(store, "same" if n % 2 else f"m{n}")
                outcomes.append("ok")
            except Exception as error:  # noqa: BLE001 - the kind is what is checked
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("ok") == 21
        assert outcomes.count("ConflictError") == 19
        assert store.count(ALL) == 21
    check_whole(path)


def test_interrupt_while_waiting(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    script = f"""
import os, signal, sys, threading, time
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from sqlite_checks import write_one
from memkit_core.storage.sqlite import open_sqlite
store = open_sqlite({str(path)!r})
write_one(store, "first")
armed = False
def on_interrupt(*_):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, on_interrupt)
def interrupt():
    while True:
        time.sleep(0.003)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
hits = 0
for n in range(5000):
    try:
        armed = True
        write_one(store, f"m{{n}}")
    except KeyboardInterrupt:
        hits += 1
    armed = False
    if hits == 30:
        break
store.close()
print(hits)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    check_whole(path)


def test_damaged_rows_are_typed(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        write_one(store, "m")
        write_one(store, "n")
        with sqlite3.connect(path) as db:
            db.execute("UPDATE memories SET metadata = '{' WHERE memory_id = 'm'")
            db.execute("UPDATE vectors SET data = zeroblob(4) WHERE space = 0")
        db.close()
        with pytest.raises(IntegrityError):
            store.get("m")
        assert store.get("n") is not None
        write_one(store, "o")
        with pytest.raises(IntegrityError):
            store.search(SearchRequest(query=ALL, vector=[1.0, 0.0]))


def test_reset_leaves_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as store:
        write_one(store, "canary7391")
        store.reset()
        for file in tmp_path.iterdir():
            assert b"canary7391" not in file.read_bytes()


def test_settings_and_no_leftovers(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "memkit.db")
    connection = store._pool.take()
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "busy_timeout": 30_000}
    for name, value in wanted.items():
        assert connection.execute(f"PRAGMA {name}").fetchone()[0] == value
    store._pool.give_back(connection)
    write_one(store, "m")
    thread = store._writer._thread
    assert thread is not None
    del store, connection
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_versions_with_the_wal_fault(caplog: pytest.LogCaptureFixture) -> None:
    faulty = [(3, 40, 1), (3, 44, 5), (3, 50, 6), (3, 51, 2), (3, 45, 0)]
    sound = [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 0)]
    assert all(has_reset_bug(version) for version in faulty)
    assert not any(has_reset_bug(version) for version in sound)
    with caplog.at_level(logging.DEBUG):
        check_version()
        check_version()
    assert len(caplog.records) <= 1


@pytest.mark.slow
def test_a_locked_file_costs_a_call_one_wait(tmp_path: Path) -> None:
    memory = Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db")
    other = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    with memory:
        memory.add("I like figs.", user_id="u")  # what it cost is still to be written
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(StorageUnavailableError, match="locked"):
            memory.add("I own a yak.", user_id="u")
        assert time.monotonic() - begun < 1.5 * BUSY_SECONDS
        other.execute("ROLLBACK")
        assert memory.add("I own a yak.", user_id="u").status == "complete"
    other.close()
