"""A rebuild that was cut short, at whatever point, is finished by the next opening or flush."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memkit_core.indexes import ChromaVectorIndex
from memkit_core.protocols import IndexEntry
from memkit_core.storage.sqlite import SqliteStore
from memkit_core.testing import InMemoryVectorIndex
from memkit_core.types import OwnerKey, Ref, Space, Vector

from .bars import answers, assert_equal, fill, opened

KILLED = """
    import sys, threading
    from memkit_core import Memory
    from memkit_core.indexes import ChromaVectorIndex
    from memkit_core.testing import HashEmbeddings

    class Stuck(ChromaVectorIndex):
        added = cleared = 0

        def stop(self):
            print("now", flush=True)
            threading.Event().wait()

        def clear(self):
            super().clear()
            self.cleared += 1
            if sys.argv[3] == "cleared":
                self.stop()

        def add(self, entries):
            super().add(entries)
            self.added += bool(self.cleared)
            if self.added == 2:
                self.stop()

    memory = Memory("verbatim", HashEmbeddings(32), sys.argv[1], vector_store=Stuck(sys.argv[2]))
    memory.admin.reindex()
"""


class Kept(InMemoryVectorIndex):
    """What it holds outlives it; it hangs while it is held."""

    def __init__(self) -> None:
        super().__init__("kept")
        self.free = threading.Event()
        self.free.set()
        self.clears = 0

    def add(self, entries: Sequence[IndexEntry]) -> None:
        assert self.free.wait(60)
        super().add(entries)

    def clear(self) -> None:
        assert self.free.wait(60)
        self.clears += 1
        super().clear()

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        assert self.free.wait(60)
        return super().propose(owner, vector, space=space, limit=limit)

    def close(self) -> None:
        """It stays."""

    def count(self) -> int:
        return sum(len(refs) for refs in self._vectors.values())


@pytest.mark.parametrize("when", ["cleared", "filling"])
def test_killed_midway(when: str, tmp_path: Path) -> None:
    pytest.importorskip("chromadb")
    store, folder = tmp_path / "m.db", tmp_path / "c"
    with opened(store, ChromaVectorIndex(folder), exact_scan_units=0) as memory:
        fill(memory)
        wanted = answers(memory)
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(store), str(folder), when]
    with subprocess.Popen(script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    with SqliteStore(store) as records:
        assert (records.index_rebuilds() != ()) == (when == "cleared")
    index = ChromaVectorIndex(folder)
    with opened(store, index, exact_scan_units=0) as memory:
        assert_equal(answers(memory), wanted)
        assert memory.flush().failed == []
        assert_equal(answers(memory), wanted)
        assert memory.search("tea", user_id="user 1").degraded == []
        assert memory.admin.doctor().findings == []
        assert memory.admin.health().ok


def test_the_opening_finishes_it_and_searches_say_so_meanwhile(tmp_path: Path) -> None:
    index = Kept()
    with opened(tmp_path / "m.db", index) as memory:
        fill(memory)
        wanted, full = answers(memory), index.count()
    with SqliteStore(tmp_path / "m.db") as records:
        records.request_index_rebuild("kept")
    InMemoryVectorIndex.clear(index)
    index.free.clear()
    with opened(tmp_path / "m.db", index, exact_scan_units=0, index_timeout=30) as memory:
        assert any("lacks entries" in text for text in memory.search("tea", user_id="user 1").degraded)
        assert "lacks entries" in str(memory.admin.health())
        assert_equal(answers(memory), wanted)
        index.free.set()
        assert memory.flush().failed == []
        assert (index.clears, index.count()) == (1, full)
        assert memory.search("tea", user_id="user 1").degraded == []
        assert_equal(answers(memory), wanted)
        assert memory.admin.health().ok


def test_flush_finishes_what_another_process_began(tmp_path: Path) -> None:
    index = Kept()
    with opened(tmp_path / "m.db", index, exact_scan_units=0) as memory:
        fill(memory)
        wanted, full = answers(memory), index.count()
        with SqliteStore(tmp_path / "m.db") as records:
            records.request_index_rebuild("kept")
            InMemoryVectorIndex.clear(index)
            assert not memory.admin.health().ok
            assert memory.flush().failed == []
            assert records.index_rebuilds() == ()
        assert index.count() == full
        assert_equal(answers(memory), wanted)
        assert memory.admin.health().ok


def test_a_rebuild_elsewhere_ends_the_complaint_here(tmp_path: Path) -> None:
    index = Kept()
    with opened(tmp_path / "m.db", index) as one, opened(tmp_path / "m.db", index) as two:
        one.add("I play the cello.", user_id="ann")
        InMemoryVectorIndex.clear(index)
        assert one.search("cello", user_id="ann").degraded != []
        assert two.admin.reindex().ok
        one.flush()
        assert one.search("cello", user_id="ann").degraded == []


def test_reset_empties_the_index_and_forgets_what_was_wrong_with_it(tmp_path: Path) -> None:
    index = Kept()
    with opened(tmp_path / "m.db", index) as memory:
        memory.add("I play the cello.", user_id="ann")
        InMemoryVectorIndex.clear(index)
        assert memory.search("cello", user_id="ann").degraded != []
        assert memory.admin.reset(confirm=True).ok
        memory.add("I row.", user_id="ann")
        assert memory.search("rowing", user_id="ann").degraded == []
        assert index.count() == 2


def test_reset_does_not_wait_for_an_index_that_hangs(tmp_path: Path) -> None:
    index = Kept()
    with opened(tmp_path / "m.db", index, index_timeout=0.05) as memory:
        memory.add("I play the cello.", user_id="ann")
        index.free.clear()
        result = memory.admin.reset(confirm=True)
        assert [failure.error_type for failure in result.failed] == ["TimeoutError"]
        assert not result.ok
        assert memory.count(user_id="ann") == 0
        assert memory.search("cello", user_id="ann").results == []
        index.free.set()
        for thread in threading.enumerate():
            if thread.name.startswith("memkit-index"):
                thread.join(30)
    with opened(tmp_path / "m.db", index) as memory:
        assert memory.flush().failed == []
        assert index.count() == 0
        assert memory.admin.health().ok


class Slow(Kept):
    """An index that answers after a while."""

    seconds = 0.0

    def _wait(self) -> None:
        threading.Event().wait(self.seconds)

    def add(self, entries: Sequence[IndexEntry]) -> None:
        self._wait()
        super().add(entries)

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        self._wait()
        return super().propose(owner, vector, space=space, limit=limit)


@pytest.mark.parametrize(("seconds", "timeout"), [(0.02, 30.0), (0.6, 0.1)])
def test_a_slow_index(seconds: float, timeout: float, tmp_path: Path) -> None:
    def ask(memory: Any) -> Any:
        return memory.search("Which boat?", user_id="ann")

    index = Slow()
    with opened(tmp_path / "m.db", index, index_timeout=timeout, exact_scan_units=0) as memory:
        index.seconds = seconds
        added = [memory.add(f"I own boat {n}.", user_id="ann") for n in range(4)]
        in_time = timeout > seconds
        assert [one.status == "complete" for one in added] == [in_time] * 4
        found = ask(memory)
        assert len(found.results) == 4
        assert (found.degraded == []) == in_time
        index.seconds = 0.0
        for thread in threading.enumerate():
            if thread.name.startswith("memkit-index"):
                thread.join(30)
        assert memory.flush().failed == []
        assert ask(memory).degraded == []
        assert len(ask(memory).results) == 4
        assert index.count() == 8


def test_an_index_wiped_behind_our_back_is_found_by_health_and_doctor(tmp_path: Path) -> None:
    chromadb: Any = pytest.importorskip("chromadb")
    from chromadb.config import Settings

    with opened(tmp_path / "m.db", ChromaVectorIndex(tmp_path / "c")) as memory:
        fill(memory, users=1)
        settings = Settings(anonymized_telemetry=False)
        client = chromadb.PersistentClient(str(tmp_path / "c"), settings=settings)
        collection = client.get_collection("memkit", embedding_function=None)
        collection.delete(ids=collection.get(include=[])["ids"])
        assert "refs are missing" in str(memory.admin.health())
        report = memory.admin.doctor()
        assert [finding.kind for finding in report.findings] == ["index"]
        client.delete_collection("memkit")
        client.close()
        assert not memory.admin.health().ok
        assert not memory.admin.doctor().ok
        assert memory.admin.doctor(repair=True).ok
        assert memory.admin.health().ok
