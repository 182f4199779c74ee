"""Two record stores never disturb each other through an index that both name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from memkit_core import IndexMismatchError
from memkit_core.indexes import ChromaVectorIndex, LangChainVectorIndex, StoredVectors
from memkit_core.testing import InMemoryVectorIndex

from .bars import DIMENSION, answers, assert_equal, fill, opened
from .test_langchain_in_memory import AppendOnly, Unfiltered

pytest.importorskip("chromadb")


def chroma(tmp_path: Path, **options: Any) -> ChromaVectorIndex:
    return ChromaVectorIndex(tmp_path / "c", **options)


def held(index: Any) -> list[str]:
    return sorted(index.keys())


def test_a_collection_of_another_store_is_refused_untouched(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db", chroma(tmp_path), exact_scan_units=0) as mine:
        fill(mine)
        wanted = answers(mine)
    looked = chroma(tmp_path)
    before = held(looked)
    with pytest.raises(IndexMismatchError, match="adopt"):
        opened(tmp_path / "b.db", chroma(tmp_path))
    assert held(looked) == before
    looked.close()
    with opened(tmp_path / "b.db", chroma(tmp_path, collection="b")) as other:
        other.add("I row.", user_id="user 1")
    with opened(tmp_path / "a.db", chroma(tmp_path), exact_scan_units=0) as mine:
        assert mine.search("tea", user_id="user 1").degraded == []
        assert_equal(answers(mine), wanted)


def test_a_store_restored_from_an_export_adopts_once(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db", chroma(tmp_path), exact_scan_units=0) as memory:
        fill(memory)
        wanted = answers(memory)
        memory.admin.export(tmp_path / "all.jsonl")
    with opened(tmp_path / "b.db") as memory:
        memory.admin.import_(tmp_path / "all.jsonl")
    with pytest.raises(IndexMismatchError):
        opened(tmp_path / "b.db", chroma(tmp_path))
    for adopt in (True, False):
        index = chroma(tmp_path, adopt=adopt)
        with opened(tmp_path / "b.db", index, exact_scan_units=0) as memory:
            assert memory.flush().failed == []
            assert_equal(answers(memory), wanted)
            assert memory.search("tea", user_id="user 1").degraded == []
            assert memory.admin.health().ok
    with pytest.raises(IndexMismatchError):
        opened(tmp_path / "a.db", chroma(tmp_path))


def test_a_collection_taken_over_while_it_is_open(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db", chroma(tmp_path), exact_scan_units=0) as old:
        old.add("I play the cello.", user_id="ann")
        with opened(tmp_path / "b.db", chroma(tmp_path, adopt=True), exact_scan_units=0) as new:
            new.add("I row.", user_id="ann")
            assert old.add("I sing.", user_id="ann").failed != []
            assert "another record store" in str(old.add("I dance.", user_id="ann").failed[0])
            assert {hit.memory for hit in old.search("What?", user_id="ann")} == {
                "I play the cello.",
                "I sing.",
                "I dance.",
            }
            assert old.admin.reindex().failed != []
            assert old.admin.reset(confirm=True).failed != []
            found = new.search("Who rows?", user_id="ann")
            assert ([hit.memory for hit in found], found.degraded) == (["I row."], [])


def test_a_collection_of_another_program_is_refused(tmp_path: Path) -> None:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(tmp_path / "c"), settings=Settings(anonymized_telemetry=False))
    client.create_collection("memkit", embedding_function=None).add(ids=["1"], embeddings=[[1.0, 0.0]])
    client.create_collection("empty", embedding_function=None)
    with pytest.raises(IndexMismatchError, match="another program"):
        opened(tmp_path / "a.db", ChromaVectorIndex(client=client))
    assert client.get_collection("memkit", embedding_function=None).count() == 1
    with opened(tmp_path / "a.db", ChromaVectorIndex(client=client, collection="empty")) as memory:
        memory.add("I row.", user_id="ann")
        assert memory.search("Who rows?", user_id="ann").degraded == []
    client.close()


def test_a_store_that_was_filled_before_its_index_came(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as memory:
        fill(memory)
        wanted = answers(memory)
    with opened(tmp_path / "a.db", chroma(tmp_path), exact_scan_units=0) as memory:
        assert memory.flush().failed == []
        assert_equal(answers(memory), wanted)
        assert memory.search("tea", user_id="user 1").degraded == []
        assert memory.admin.doctor().findings == []


def test_an_index_that_is_down_at_opening_looks_later(tmp_path: Path) -> None:
    class Late(InMemoryVectorIndex):
        foreign = 0
        asked = 0

        def claim(self, store_id: str, *, dimension: int | None) -> bool:
            self.asked += 1
            raise ConnectionError("nobody listens there")

    index = Late()
    with opened(tmp_path / "a.db", index) as memory:
        assert memory.add("I row.", user_id="ann").status == "complete"
    assert index.asked == 1


@pytest.mark.parametrize("kind", [InMemoryVectorStore, Unfiltered])
def test_stores_share_a_langchain_store(kind: type[InMemoryVectorStore], tmp_path: Path) -> None:
    shared = kind(StoredVectors(DIMENSION))
    shared.add_documents([Document("not memkit's")], ids=["theirs"])
    with opened(tmp_path / "a.db") as alone:
        fill(alone)
        wanted = answers(alone)
        alone.admin.export(tmp_path / "all.jsonl")
    # The same owners, and through an import the same refs.
    mine, yours = LangChainVectorIndex(shared, name="m"), LangChainVectorIndex(shared, name="y")
    with (
        opened(tmp_path / "m.db", mine, exact_scan_units=0) as one,
        opened(tmp_path / "y.db", yours, exact_scan_units=0) as two,
    ):
        for memory in (one, two):
            memory.admin.import_(tmp_path / "all.jsonl")
            memory.add("I play the cello.", user_id="user 9")
        assert_equal(answers(one), wanted)
        assert_equal(answers(two), wanted)
        if kind is Unfiltered:
            assert mine.foreign > 0
            assert "of others left out" in str(one.admin.health())
        before = held(yours)
        cleared = one.admin.reset(confirm=True)
        assert cleared.ok == (kind is InMemoryVectorStore), "one that deletes nothing is not emptied"
        assert held(yours) == before
        assert (held(mine) == []) == cleared.ok
        assert two.admin.reindex().ok == cleared.ok
        assert_equal(answers(two), wanted)
        assert len([one for one in shared.store.values() if one["text"] == "not memkit's"]) == 1


def test_a_store_is_not_made_anew_while_others_have_entries_in_it(tmp_path: Path) -> None:
    shared = AppendOnly(StoredVectors(DIMENSION))
    mine = LangChainVectorIndex(shared, name="m", recreate=lambda: AppendOnly(StoredVectors(DIMENSION)))
    with (
        opened(tmp_path / "m.db", mine) as one,
        opened(tmp_path / "y.db", LangChainVectorIndex(shared)) as two,
    ):
        one.add("I row.", user_id="ann")
        two.add("I sing.", user_id="ann")
        assert "what others keep" in str(one.admin.reindex().failed[0])
        assert len(shared.store) == 4
