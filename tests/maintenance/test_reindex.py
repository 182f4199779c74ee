"""Everything derived can be made anew from the records, and a run that was cut short is finished."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memkit_core import AsyncMemory, EmbeddingMismatchError, Memory, UsageError
from memkit_core.protocols import IndexEntry
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings
from memkit_core.types import OwnerKey, Ref, Space

TEXTS = ["I live in Madrid", "My cat is called Mia", "I work as a nurse", "Tea is better than coffee"]


class OtherEmbeddings(HashEmbeddings):
    """Another model, of the same dimension."""

    model = "other-test"


class DictIndex:
    """A derived index in memory that counts and can be told to fail."""

    name = "dict"

    def __init__(self) -> None:
        self.entries: dict[tuple[OwnerKey, Ref], Any] = {}
        self.broken = False
        self.clears = 0

    def add(self, entries: Sequence[IndexEntry]) -> None:
        if self.broken:
            raise OSError("down")
        self.entries |= {(entry.owner, entry.ref): entry.vector for entry in entries}

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        for ref in refs:
            self.entries.pop((owner, ref), None)

    def propose(self, owner: OwnerKey, vector: Any, *, space: Space, limit: int) -> list[Ref]:
        return [ref for o, ref in self.entries if o == owner and ref.space == space][:limit]

    def clear(self) -> None:
        if self.broken:
            raise OSError("down")
        self.clears += 1
        self.entries.clear()

    def keys(self) -> Iterator[str]:
        return iter([ref.key for _, ref in self.entries])

    def close(self) -> None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memkit.db"


def fill(memory: Memory) -> None:
    for user in ("ana", "ben"):
        for text in TEXTS:
            memory.add(text, user_id=user)
    first = memory.get_all(user_id="ana").results[-1]
    memory.update(first.id, "I live in Lisbon")
    memory.delete(memory.get_all(user_id="ben").results[0].id)


def opened(path: Path, embedder: Any, **options: Any) -> Memory:
    return Memory(llm="verbatim", embedder=embedder, store=path, **options)


def answers(memory: Memory) -> list[Any]:
    return [
        [(hit.id, hit.memory, hit.score, hit.relevance) for hit in memory.search(q, user_id=user, limit=5)]
        for q in ("Where do I live?", "cat", "coffee or tea", "nurse")
        for user in ("ana", "ben")
    ]


def test_nothing_changes_in_a_sound_store(path: Path) -> None:
    embeddings = HashEmbeddings()
    with opened(path, embeddings) as memory:
        fill(memory)
        before, calls = answers(memory), len(embeddings.calls)
        result = memory.admin.reindex()
        assert result.ok
        assert result.units > 0
        assert (result.embedded, result.embedding_calls, result.index) == (0, 0, None)
        assert len(embeddings.calls) == calls
        assert answers(memory) == before


def test_keywords_and_statistics_come_back(path: Path) -> None:
    with opened(path, HashEmbeddings()) as memory:
        fill(memory)
        before = answers(memory)
    with sqlite3.connect(path) as db:
        kept = db.execute("SELECT * FROM postings ORDER BY 1, 2, 3, 4").fetchall()
        stats = db.execute("SELECT owner, space, n, total_len FROM unit_stats").fetchall()
        db.execute("DELETE FROM postings WHERE unit % 2 = 0")
        db.execute("UPDATE postings SET tf = tf + 3 WHERE unit % 3 = 0")
        db.execute("INSERT INTO postings VALUES (77, 0, 'stray', 1, 1, 1)")
        db.execute("UPDATE unit_stats SET n = n + 5")
    db.close()
    with opened(path, HashEmbeddings()) as memory:
        memory.admin.reindex()
        assert answers(memory) == before
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT * FROM postings ORDER BY 1, 2, 3, 4").fetchall() == kept
        assert db.execute("SELECT owner, space, n, total_len FROM unit_stats").fetchall() == stats
    db.close()


def test_another_embedding_model(path: Path) -> None:
    with opened(path, HashEmbeddings()) as memory:
        fill(memory)
    with pytest.raises(EmbeddingMismatchError, match="reindex"):
        opened(path, OtherEmbeddings(32))
    with opened(path, "none") as memory:
        result = memory.admin.reindex(embedder=OtherEmbeddings(32))
        assert result.ok
        assert result.embedded > 0
        after = answers(memory)
        assert memory.search("Madrid", user_id="ana", as_of="2100-01-01").degraded == []
    with opened(path, OtherEmbeddings(32)) as memory:
        assert answers(memory) == after
    with opened(path.with_name("fresh.db"), OtherEmbeddings(32)) as memory:
        fill(memory)
        fresh = answers(memory)
    assert [[hit[1:] for hit in hits] for hits in after] == [[hit[1:] for hit in hits] for hits in fresh]


def test_an_old_handle_cannot_mix_vectors(path: Path) -> None:
    with opened(path, HashEmbeddings(64)) as old, opened(path, "none") as new:
        fill(old)
        new.admin.reindex(embedder=OtherEmbeddings(64))  # the same dimension: only the name tells them apart
        with pytest.raises(EmbeddingMismatchError):
            old.search("cat", user_id="ana")
        with pytest.raises(EmbeddingMismatchError):
            old.add("I have a dog", user_id="ana")
        assert new.search("cat", user_id="ana").results


def test_a_model_that_fails_midway_degrades_visibly_and_is_taken_up_again(path: Path) -> None:
    with opened(path, HashEmbeddings()) as memory:
        fill(memory)
    faulty = FaultyEmbeddings(
        OtherEmbeddings(), faults=[None, *["timeout"] * 3]
    )  # as many as there are attempts
    with opened(path, "none") as memory:
        result = memory.admin.reindex(embedder=faulty)
        assert not result.ok
        found = memory.search("cat", user_id="ana")
        assert found.results[0].memory == "My cat is called Mia"
        assert any("no vector" in text for text in found.degraded)
        again = memory.admin.reindex()
        assert again.ok
        assert again.embedded > 0
        assert memory.search("cat", user_id="ana").degraded == []


def test_a_model_that_does_not_work_costs_nothing(path: Path) -> None:
    with opened(path, HashEmbeddings()) as memory:
        fill(memory)
        before = answers(memory)
        with pytest.raises(Exception, match="failed"):
            memory.admin.reindex(embedder=FaultyEmbeddings(OtherEmbeddings(), faults="timeout"))
        assert answers(memory) == before


def test_vectors_that_were_never_made(path: Path) -> None:
    with opened(path, "none") as memory:
        fill(memory)
    with opened(path, HashEmbeddings()) as memory:
        assert memory.search("cat", user_id="ana").degraded
        assert memory.admin.reindex().embedded > 0
        assert memory.search("cat", user_id="ana", as_of="2100-01-01").degraded == []


def test_the_derived_index_is_rebuilt_without_embedding(path: Path) -> None:
    index, embeddings = DictIndex(), HashEmbeddings()
    with opened(path, embeddings, vector_store=index) as memory:
        fill(memory)
        held, calls = set(index.entries), len(embeddings.calls)
        index.entries = dict(list(index.entries.items())[:2])
        index.entries[OwnerKey("user", "ana"), Ref("memory", "gone", 1)] = [1.0]
        result = memory.admin.reindex()
        assert (result.index, result.indexed) == ("dict", len(held))
        assert set(index.entries) == held
        assert len(embeddings.calls) == calls


def test_an_index_that_is_down_is_rebuilt_by_the_next_run(path: Path) -> None:
    index = DictIndex()
    with opened(path, HashEmbeddings(), vector_store=index) as memory:
        fill(memory)
        held = set(index.entries)
        index.broken = True
        result = memory.admin.reindex()
        assert [failure.stage for failure in result.failed] == ["index"]
        index.broken = False
        index.entries.clear()
        assert memory.admin.reindex().ok
        assert set(index.entries) == held


async def test_async_and_what_is_refused(path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder="none", store=path) as memory:
        await memory.add("I live in Rome", user_id="ana")
        assert (await memory.admin.reindex(progress=True)).units == 2
        with pytest.raises(UsageError):
            await memory.admin.reindex(embedder="none")
        with pytest.raises(UsageError):
            await memory.admin.reindex(progress="yes")  # type: ignore[arg-type]


def test_progress_is_shown_on_standard_error_if_asked_for(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(path, HashEmbeddings(), vector_store=DictIndex()) as memory:
        fill(memory)
        memory.admin.reindex()
        memory.admin.export(path.with_suffix(".jsonl"))
        assert capsys.readouterr().err == ""
        memory.admin.reindex(progress=True)
        shown = capsys.readouterr()
        assert "keywords: " in shown.err
        assert "index dict: 100%" in shown.err
        assert shown.out == ""
        memory.admin.export(path.with_suffix(".jsonl"), progress=True)
        assert "100%" in capsys.readouterr().err
