"""An index that is down, hangs, is slow, late or wiped: adds succeed, answers stay whole, and it is said."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memkit_core import AsyncMemory
from memkit_core.indexes import BoundedIndex, ChromaVectorIndex, bounded
from memkit_core.protocols import IndexEntry, InspectableIndex, VectorIndex
from memkit_core.testing import HashEmbeddings, InMemoryVectorIndex
from memkit_core.types import OwnerKey, Ref, Space, Vector

from .bars import DIMENSION, answers, assert_equal, fill, opened

ANN = OwnerKey("user", "ann")


class Trouble(InMemoryVectorIndex):
    """An exact index that can be down, or hang until it is let go."""

    def __init__(self) -> None:
        super().__init__("trouble")
        self.down = False
        self.release = threading.Event()
        self.release.set()
        self.questions = 0

    def _now(self) -> None:
        if self.down:
            raise ConnectionError("nobody listens there")
        assert self.release.wait(60)

    def add(self, entries: Sequence[IndexEntry]) -> None:
        self._now()
        super().add(entries)

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        self._now()
        super().delete(owner, refs)

    def clear(self) -> None:
        self._now()
        super().clear()

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        self.questions += 1
        self._now()
        return super().propose(owner, vector, space=space, limit=limit)

    def close(self) -> None:
        """What it holds outlives it, as on a server."""

    def keys(self) -> Iterator[str]:
        for refs in self._vectors.values():
            yield from (ref.key for ref in refs)


def listed(index: InspectableIndex) -> list[str]:
    return sorted(index.keys())


@pytest.fixture
def index() -> Iterator[Trouble]:
    made = Trouble()
    yield made
    made.release.set()


@pytest.fixture
def wanted(tmp_path: Path) -> list[Any]:
    with opened(tmp_path / "alone.db") as alone:
        fill(alone)
        return answers(alone)


def test_down_then_up_again(index: Trouble, wanted: list[Any], tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index, exact_scan_units=0) as memory:
        index.down = True
        fill(memory)
        added = memory.add("I play the cello.", user_id="ann")
        assert added.status == "partial"
        assert [(failure.stage, failure.error_type) for failure in added.failed] == [
            ("index", "ConnectionError")
        ]
        found = memory.search("cello", user_id="ann")
        assert found.results[0].memory == "I play the cello."
        assert any("behind" in text for text in found.degraded)
        assert any("ConnectionError" in text for text in found.degraded)
        assert_equal(answers(memory), wanted)
        index.down = False
        assert memory.add("I row on Sundays.", user_id="ann").status == "complete"
        assert memory.search("cello", user_id="ann").degraded == []
        assert_equal(answers(memory), wanted)
        live = sum(memory.count(user_id=user) for user in ("user 0", "user 1", "user 2", "ann"))
        assert sum(key.startswith("memory/") for key in listed(index)) == live


def test_pending_work_is_resumed_at_the_next_open(index: Trouble, tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index) as memory:
        index.down = True
        memory.add("I play the cello.", user_id="ann")
    fresh = Trouble()
    with opened(tmp_path / "m.db", fresh) as memory:
        memory.flush()
        assert sorted(key.partition("/")[0] for key in listed(fresh)) == ["memory", "turn"]
        assert memory.search("cello", user_id="ann").degraded == []


def test_the_background_alone_drains_what_was_pending(index: Trouble, tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index) as memory:
        index.down = True
        memory.add([f"Note number {n}." for n in range(700)], user_id="ann", infer=False)
    fresh = Trouble()
    opened(tmp_path / "m.db", fresh, index_timeout=30).close()
    with opened(tmp_path / "m.db", fresh) as memory:
        assert memory.flush().failed == []
        assert len(set(listed(fresh))) == 700


def test_a_hanging_index_costs_one_wait_and_blocks_nobody(index: Trouble, tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index, index_timeout=0.2, exact_scan_units=0) as memory:
        memory.add("I like tea.", user_id="ann")
        index.release.clear()
        added = [memory.add(f"I like {word}.", user_id="ann") for word in ("chess", "jazz", "bread")]
        assert [one.failed[0].error_type for one in added] == ["TimeoutError"] * 3
        assert "earlier call" in added[2].failed[0].message
        before = index.questions
        found = memory.search("jazz", user_id="ann")
        assert found.results[0].memory == "I like jazz."
        assert any("TimeoutError" in text for text in found.degraded)
        assert index.questions == before, "nobody else waits for an index that hangs"
        index.release.set()
        for thread in threading.enumerate():
            if thread.name.startswith("memkit-index"):
                thread.join(30)
        assert memory.flush().failed == []
        assert memory.search("jazz", user_id="ann").degraded == []
        assert sum(key.startswith("memory/") for key in listed(index)) == 4


def test_wiped_in_mid_run(wanted: list[Any], tmp_path: Path) -> None:
    for units in (0, 20_000):
        index = Trouble()
        with opened(tmp_path / f"{units}.db", index, exact_scan_units=units) as memory:
            fill(memory)
            assert memory.search("tea", user_id="user 1").degraded == []
            index.clear()
            assert any("reindex" in text for text in memory.search("tea", user_id="user 1").degraded)
            assert_equal(answers(memory), wanted)


def test_a_loss_is_remembered_over_restarts_until_it_is_rebuilt(index: Trouble, tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index) as memory:
        memory.add("I play the cello.", user_id="ann")
        index.clear()
        assert memory.search("cello", user_id="ann").degraded != []
        memory.add("I like tea.", user_id="bob")
    index.down = True
    with opened(tmp_path / "m.db", index) as memory:
        memory.flush()
        assert memory.search("tea", user_id="bob").degraded != [], "whatever this owner's rows look like"
        index.down = False
        assert memory.flush().failed == []
        assert memory.search("tea", user_id="bob").degraded == []
    with opened(tmp_path / "m.db", index) as memory:
        assert memory.search("cello", user_id="ann").degraded == []


def test_wiped_and_filled_again_by_others(index: Trouble, tmp_path: Path) -> None:
    """An index that has as many refs as it is asked for, but not the nearest, is found out."""
    texts = [f"I like {word} best in week {n}." for n in range(40) for word in ("tea", "chess", "jazz")]
    later = [f"Day {n} was {n % 7} degrees cold." for n in range(130)]
    with opened(tmp_path / "m.db", index, exact_scan_units=0) as memory:
        memory.add(texts, user_id="ann", infer=False)
        index.clear()
        memory.add(later, user_id="ann", infer=False)
        found = memory.search("Which tea do I like best?", user_id="ann", limit=40)
        assert all("tea" in hit.memory for hit in found)
        assert any("reindex" in text for text in found.degraded)


def test_filters_and_narrow_scopes_never_rest_on_the_index(index: Trouble, tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", index, exact_scan_units=0) as memory:
        memory.add([f"Tea number {n}." for n in range(150)], user_id="ann", infer=False)
        memory.add("Leaves from Assam.", user_id="ann", run_id="r", infer=False, metadata={"rare": True})
        for narrowed in ({"run_id": "r"}, {"filters": {"rare": True}}):
            found = memory.search("something quite unlike it", user_id="ann", **narrowed)  # type: ignore[arg-type]
            assert [hit.memory for hit in found] == ["Leaves from Assam."]
            assert found.degraded == []


async def test_many_writers_share_the_index_work(index: Trouble, tmp_path: Path) -> None:
    async with AsyncMemory(
        llm="verbatim", embedder=HashEmbeddings(DIMENSION), store=tmp_path / "m.db", vector_store=index
    ) as memory:
        await asyncio.gather(*(memory.add(f"I own boat {n}.", user_id=f"user {n % 5}") for n in range(60)))
        await memory.flush()
        assert sum(key.startswith("memory/") for key in listed(index)) == 60


def test_bounded_keeps_what_the_index_can_do() -> None:
    plain, listing = bounded(InMemoryVectorIndex()), bounded(Trouble())
    assert isinstance(plain, VectorIndex)
    assert not isinstance(plain, InspectableIndex)
    assert isinstance(listing, InspectableIndex)
    assert bounded(plain) is plain
    assert isinstance(plain, BoundedIndex)


def test_bounded_passes_the_index_s_own_errors_on() -> None:
    class OwnTimeout(InMemoryVectorIndex):
        def add(self, entries: Sequence[IndexEntry]) -> None:
            raise TimeoutError("the server said so")

    index = bounded(OwnTimeout())
    for _ in range(2):
        with pytest.raises(TimeoutError, match="the server said so"):
            index.add([])
    assert index.propose(ANN, [1.0], space="memory", limit=1) == []


def test_a_folder_that_is_deleted_under_a_running_index_is_filled_again(tmp_path: Path) -> None:
    pytest.importorskip("chromadb")
    with opened(tmp_path / "alone.db", None) as memory:
        fill(memory)
        wanted = answers(memory)
    with opened(tmp_path / "m.db", ChromaVectorIndex(tmp_path / "c"), exact_scan_units=0) as memory:
        fill(memory)
        shutil.rmtree(tmp_path / "c")
        assert_equal(answers(memory), wanted)
        assert memory.search("tea", user_id="user 1").degraded
        assert not memory.admin.health().ok
        assert [finding.kind for finding in memory.admin.doctor().findings] == ["index"]
        assert memory.admin.reindex().ok
        assert_equal(answers(memory), wanted)
        assert memory.search("tea", user_id="user 1").degraded == []
        assert memory.admin.health().ok
        assert memory.admin.doctor().ok
        assert memory.flush().failed == []
