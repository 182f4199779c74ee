"""Several processes, forked children and sudden ends on one SQLite file."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memkit_core.protocols import Query
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.types import Scope

sys.path.insert(0, str(Path(__file__).parent))
from sqlite_checks import SCOPE, T0, check_whole, write_one

HERE = Path(__file__).parent
ALL = Query(scope=SCOPE, now=T0)


def _write_forty(path: str, worker: int) -> None:
    with open_sqlite(path) as store:
        for n in range(40):
            write_one(store, f"{worker}-{n}")


def test_four_processes_on_one_new_file(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_forty, args=(str(path), n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with open_sqlite(path) as store:
        assert store.count(ALL) == 160
    check_whole(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_four_forked_children(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    stop = threading.Event()
    with open_sqlite(path) as store:
        write_one(store, "parent")

        def read_on() -> None:
            while not stop.is_set():
                assert store.count(ALL) >= 1

        readers = [threading.Thread(target=read_on) for _ in range(2)]
        for reader in readers:
            reader.start()
        children = [_fork_writer(store, n) for n in range(4)]
        for n in range(40):
            write_one(store, f"parent-{n}")
        statuses = [os.waitpid(child, 0)[1] for child in children]
        stop.set()
        for reader in readers:
            reader.join()
        assert statuses == [0, 0, 0, 0]
        assert store.count(ALL) == 201
    check_whole(path)


def _fork_writer(store: SqliteStore, worker: int) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for n in range(40):
                write_one(store, f"{worker}-{n}")
            status = 0 if store.count(ALL) >= 41 else 2
        finally:
            os._exit(status)
    return child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_parent_that_closes_takes_nothing_from_its_child(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    store = open_sqlite(path)
    write_one(store, "parent")
    wrote, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            write_one(store, "before")
            os.write(wrote[1], b".")
            os.read(go_on[0], 1)
            write_one(store, "after")
            status = 0
        finally:
            os._exit(status)
    os.read(wrote[0], 1)
    assert store.count(ALL) == 2
    store.close()
    os.write(go_on[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*wrote, *go_on):
        os.close(end)
    with open_sqlite(path) as store:
        assert store.count(ALL) == 3
    check_whole(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_of_a_store_in_memory_gives_a_copy() -> None:
    with open_sqlite(":memory:") as store:
        write_one(store, "parent")
        child = _fork_writer(store, 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.count(ALL) == 1


def _kill_while_writing(path: Path, rng: random.Random) -> None:
    acknowledged: list[str] = []
    child = subprocess.Popen(
        [sys.executable, str(HERE / "sqlite_checks.py"), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged.append(child.stdout.readline())
    time.sleep(rng.random() * 0.03)
    child.send_signal(signal.SIGKILL)
    acknowledged += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    with open_sqlite(path) as store:
        for line in acknowledged:
            verb, _, name = line.rstrip("\n").partition(" ")
            if len(name) != 36:
                continue  # the kill cut the line
            operations = [event.operation.lower() for event in store.history(name, SCOPE)]
            assert verb in operations, line
            record = store.get(name, SCOPE)
            assert (record is None) is ("delete" in operations)
            assert record is None or record.sources or record.text == "changed"


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    path = tmp_path / "memkit.db"
    for _ in range(kills):
        _kill_while_writing(path, rng)
    check_whole(path)


def test_two_stores_see_each_other_at_once(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with open_sqlite(path) as one, open_sqlite(path) as other:
        for n in range(20):
            write_one((one, other)[n % 2], f"m{n}")
            assert one.count(ALL) == other.count(ALL) == n + 1
        assert one.count(Query(scope=Scope(user_id="bob"), now=T0)) == 0
