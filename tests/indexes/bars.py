"""What every vector index must reach inside 20,000 entries of others, and what a memory over it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.indexes import LangChainVectorIndex
from memkit_core.protocols import IndexEntry, InspectableIndex, VectorIndex
from memkit_core.testing import HashEmbeddings, VectorIndexConformance
from memkit_core.types import OwnerKey, Ref

DIMENSION = 32
SIZES = {"ten": 10, "hundred": 100, "thousand": 1_000}
ROWS = 20_000
OTHERS = 10
TOPICS = ("tea", "chess", "Berlin", "piano", "rowing", "maths", "bread", "Kyoto", "sailing", "jazz")


def floats(rng: np.random.Generator, count: int) -> Any:
    vectors = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def crowd(rows: int = ROWS) -> Iterator[list[IndexEntry]]:
    """Owners of 10, 100 and 1,000 entries and ten large ones, mixed, in portions."""
    rng = np.random.default_rng(7)
    owners = [name for name, size in SIZES.items() for _ in range(size)]
    owners += [f"crowd {number % OTHERS}" for number in range(rows - len(owners))]
    rng.shuffle(owners)
    vectors = floats(rng, rows)
    entries = [
        IndexEntry(owner=OwnerKey("user", owner), ref=Ref("memory", f"{owner}-{number}"), vector=vector)
        for number, (owner, vector) in enumerate(zip(owners, vectors, strict=True))
    ]
    for start in range(0, rows, 1_000):
        yield entries[start : start + 1_000]


class IndexBars(VectorIndexConformance):
    """The conformance class, and the bars of a large index. Give it the fixture ``index``."""

    checks: int = 20_000

    def test_small_owners_among_many_and_no_leak(self, index: VectorIndex) -> None:
        for portion in crowd():
            index.add(portion)
        rng = np.random.default_rng(8)
        for name, size in SIZES.items():
            for limit in (10, 100):
                found = index.propose(OwnerKey("user", name), floats(rng, 1)[0], space="memory", limit=limit)
                assert len(set(found)) == min(limit, size)
        checked = 0
        while checked < self.checks:
            for owner in ("thousand", *(f"crowd {number}" for number in range(OTHERS))):
                key, question = OwnerKey("user", owner), floats(rng, 1)[0]
                found = index.propose(key, question, space="memory", limit=1_000)
                assert len(found) == 1_000
                assert [ref for ref in found if ref.id.rpartition("-")[0] != owner] == []
                checked += len(found)
        assert index.propose(OwnerKey("agent", "thousand"), question, space="memory", limit=10) == []
        assert index.propose(OwnerKey("user", "thousand"), question, space="turn", limit=10) == []

    def test_keys_list_what_it_holds(self, index: VectorIndex) -> None:
        assert isinstance(index, InspectableIndex)
        entries = next(crowd(1_500))
        index.add(entries)
        assert sorted(index.keys()) == sorted(entry.ref.key for entry in entries)
        gone = entries[0]
        index.delete(gone.owner, [gone.ref])
        index.delete(gone.owner, [gone.ref])
        assert gone.ref.key not in set(index.keys())


def fill(memory: Memory, users: int = 3, rows: int = 120) -> None:
    for user in range(users):
        texts = [f"User {user} likes {TOPICS[n % 10]} number {n} on day {n * 7 % 31}." for n in range(rows)]
        memory.add(texts, user_id=f"user {user}", infer=False)
    victim = memory.get_all(user_id="user 0", limit=5).results
    memory.update(victim[0].id, "User 0 likes nothing but silence.")
    memory.delete(victim[1].id)


def answers(memory: Memory) -> list[list[tuple[str, float, float]]]:
    questions = ("Who likes chess?", "tea on day 14", "silence", "What about Kyoto and jazz?")
    return [
        [
            (hit.memory, hit.score, hit.relevance)
            for hit in memory.search(text, user_id=user, limit=15)
            if hit.score > 0  # which of the worthless ones fill up a list is nobody's business
        ]
        for text in questions
        for user in ("user 0", "user 1", "user 2", "nobody")
    ]


def assert_equal(
    ours: list[list[tuple[str, float, float]]], theirs: list[list[tuple[str, float, float]]]
) -> None:
    for mine, others in zip(ours, theirs, strict=True):
        assert [one[0] for one in mine] == [one[0] for one in others]
        assert [one[1:] for one in mine] == [pytest.approx(one[1:], abs=1e-3) for one in others]


def opened(path: Path, index: Any = None, **config: Any) -> Memory:
    return Memory(
        llm="verbatim",
        embedder=HashEmbeddings(DIMENSION),
        store=str(path),
        vector_store=index,
        config=MemoryConfig(**config),
    )


class MemoryBars:
    """A memory over the index answers as one without. The fixture ``make`` makes a fresh index or store."""

    def test_the_embedded_store_s_scores(self, make: Callable[[], Any], tmp_path: Path) -> None:
        with opened(tmp_path / "alone.db") as alone:
            fill(alone)
            wanted = answers(alone)
        for units in (0, 20_000):
            with opened(tmp_path / f"{units}.db", make(), exact_scan_units=units) as memory:
                fill(memory)
                assert_equal(answers(memory), wanted)
                assert memory.search("tea", user_id="user 1").degraded == []

    def test_wiped_in_mid_run_then_rebuilt(self, make: Callable[[], Any], tmp_path: Path) -> None:
        made = make()
        index = made if isinstance(made, VectorIndex) else LangChainVectorIndex(made)
        with (
            opened(tmp_path / "alone.db") as alone,
            opened(tmp_path / "m.db", index, exact_scan_units=0) as memory,
        ):
            for each in (alone, memory):
                fill(each)
            wanted = answers(alone)
            index.clear()
            assert memory.add("I play the cello.", user_id="ann").status == "complete"
            assert any("reindex" in text for text in memory.search("tea", user_id="user 1").degraded)
            assert_equal(answers(memory), wanted)
            assert memory.admin.reindex().failed == []
            assert_equal(answers(memory), wanted)
            assert memory.search("tea", user_id="user 1").degraded == []
