"""LangChain's own in-memory store as an index, and what is said about stores that cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from memkit_core import ConfigError, Memory, UsageError
from memkit_core.indexes import LangChainVectorIndex, StoredVectors
from memkit_core.protocols import IndexEntry
from memkit_core.testing import InMemoryVectorIndex
from memkit_core.types import OwnerKey, Ref

from .bars import DIMENSION, IndexBars, MemoryBars, answers, assert_equal, crowd, fill, opened

ANN = OwnerKey("user", "ann")


class AppendOnly(InMemoryVectorStore):
    """A store that can neither delete nor look up ids, and makes ids of its own."""

    delete = VectorStore.delete
    get_by_ids = VectorStore.get_by_ids

    def add_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        fresh = [str(len(self.store) + number) for number in range(len(documents))]
        return super().add_documents(documents, fresh)


class Unfiltered(AppendOnly):
    """A store that cannot filter either."""

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        assert not kwargs
        return super().similarity_search_by_vector(embedding, k)


@pytest.fixture
def index() -> LangChainVectorIndex:
    return LangChainVectorIndex(InMemoryVectorStore(StoredVectors()))


class TestLangChainInMemory(IndexBars):
    pass


class TestMemoryOverLangChainInMemory(MemoryBars):
    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        return lambda: InMemoryVectorStore(StoredVectors())


class TestMemoryOverAnExactIndex(MemoryBars):
    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        return InMemoryVectorIndex


class TestMemoryOverAnAppendOnlyStore(MemoryBars):
    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        def empty() -> Unfiltered:
            return Unfiltered(StoredVectors())

        return lambda: LangChainVectorIndex(empty(), recreate=empty)


def test_small_owners_are_found_by_fetching_more() -> None:
    index = LangChainVectorIndex(Unfiltered(StoredVectors()))
    rows = [entry for portion in crowd(3_000) for entry in portion]
    index.add(rows)
    for owner, size in (("ten", 10), ("hundred", 100)):
        found = index.propose(OwnerKey("user", owner), rows[0].vector, space="memory", limit=100)
        assert len(found) == size
        assert {ref.id.rpartition("-")[0] for ref in found} == {owner}


def test_a_model_in_a_public_attribute_is_asked_for_the_texts_of_others_only() -> None:
    class Counting(DeterministicFakeEmbedding):
        asked: list[str] = []  # noqa: RUF012 - a pydantic field

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            self.asked.extend(texts)
            return super().embed_documents(texts)

    model = Counting(size=2)
    store = InMemoryVectorStore(model)
    index = LangChainVectorIndex(store)
    index.add([IndexEntry(owner=ANN, ref=Ref("memory", "m"), vector=[1.0, 0.0])])
    assert model.asked == []
    assert index.propose(ANN, [1.0, 0.0], space="memory", limit=3) == [Ref("memory", "m")]
    store.add_texts(["something else"])
    assert model.asked == ["something else"]
    assert index.propose(ANN, [1.0, 0.0], space="memory", limit=3) == [Ref("memory", "m")]


def test_what_cannot_be_an_index_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    class Hidden(InMemoryVectorStore):
        embeddings = property(lambda self: self._model)  # type: ignore[assignment]

        def __init__(self) -> None:
            self._model = DeterministicFakeEmbedding(size=2)

    class NoVectors(InMemoryVectorStore):
        similarity_search_by_vector = VectorStore.similarity_search_by_vector

    with pytest.raises(ConfigError, match="StoredVectors"):
        LangChainVectorIndex(Hidden())
    with pytest.raises(ConfigError, match="similarity_search_by_vector"):
        Memory(store=tmp_path / "m.db", vector_store=NoVectors(StoredVectors()))
    with pytest.raises(ConfigError, match="LangChain vector store"):
        Memory(store=tmp_path / "m.db", vector_store=object())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_stored_vectors_refuse_texts_that_are_not_memkit_s() -> None:
    with pytest.raises(UsageError, match="embeds no text"):
        StoredVectors().embed_query("What is the dimension?")
    assert StoredVectors(3).embed_query("What is the dimension?") == [1.0, 0.0, 0.0]


def test_the_same_ref_of_two_owners_in_one_call(index: LangChainVectorIndex) -> None:
    other = OwnerKey("agent", "ann")
    one, two = [1.0] + [0.0] * 7, [0.0] * 7 + [1.0]
    ref = Ref("memory", "m")
    index.add([IndexEntry(owner=ANN, ref=ref, vector=one), IndexEntry(owner=other, ref=ref, vector=two)])
    index.delete(other, [ref])
    assert index.propose(ANN, one, space="memory", limit=5) == [ref]
    assert index.propose(other, one, space="memory", limit=5) == []


def test_an_append_only_store_is_emptied_by_being_made_anew() -> None:
    index = LangChainVectorIndex(AppendOnly(StoredVectors(DIMENSION)))
    index.clear()  # it is empty
    index.add(next(crowd(1_200)))
    with pytest.raises(UsageError, match="recreate"):
        index.clear()
    index = LangChainVectorIndex(
        AppendOnly(StoredVectors(DIMENSION)), recreate=lambda: AppendOnly(StoredVectors(DIMENSION))
    )
    entries = next(crowd(1_200))
    index.add(entries)
    assert len(list(index.keys())) == len(entries)
    index.clear()
    assert list(index.keys()) == []


def test_stale_refs_of_an_append_only_store_push_nothing_out(tmp_path: Path) -> None:
    store = AppendOnly(StoredVectors())
    with opened(tmp_path / "a.db", store, exact_scan_units=0) as memory, opened(tmp_path / "b.db") as alone:
        for each in (memory, alone):
            fill(each, users=1, rows=150)
            for item in each.get_all(user_id="user 0", limit=40).results:
                each.update(item.id, f"{item.memory} Or so they say.")
        assert len(store.store) > 190
        assert_equal(answers(memory), answers(alone))
        assert memory.search("tea", user_id="user 0").degraded == []
