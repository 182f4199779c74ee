"""Finding items by vectors and by words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp, SearchOp

from memkit_core import EmbeddingMismatchError, Memory, ModelError
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore

NS = ("docs",)


class Counting:
    """An embedding model that keeps what it was asked."""

    def __init__(self, size: int = 32) -> None:
        self._words = HashEmbeddings(size)
        self.documents: list[list[str]] = []
        self.queries: list[str] = []
        self.broken = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.broken:
            raise OSError("down")
        self.documents.append(texts)
        return self._words.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        if self.broken:
            raise OSError("down")
        self.queries.append(text)
        return self._words.embed_query(text)


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def counted(tmp_path: Path, model: Counting) -> Any:
    with Memory(llm="verbatim", embedder=model, store=tmp_path / "c.db") as memory:
        yield MemkitStore(memory, index={"dims": 32, "fields": ["text", "more[*].x"]})


def test_one_call_embeds_a_batch_and_no_text_twice(counted: MemkitStore, model: Counting) -> None:
    counted.batch(
        [
            PutOp(NS, "a", {"text": "tea"}),
            PutOp(NS, "b", {"text": "tea", "more": [{"x": "milk"}, {"x": "tea"}, {"y": 1}]}),
            PutOp(NS, "c", {"text": "gone"}),
            PutOp(NS, "c", {"text": "coffee"}),
            PutOp(NS, "d", {"text": "unseen"}, index=False),
            PutOp(NS, "e", {"other": "nothing"}),
        ]
    )
    assert model.documents == [["tea", "milk", "coffee"]]
    found = counted.batch([SearchOp(NS, query="tea"), SearchOp((), query="tea"), SearchOp(NS, query="milk")])
    assert model.queries == ["tea", "milk"]
    assert next(iter(found[2])).key == "b"  # type: ignore[union-attr]


async def test_async_calls_embed_the_same(counted: MemkitStore, model: Counting) -> None:
    await asyncio.gather(*(counted.aput(NS, str(n), {"text": f"note {n}"}) for n in range(5)))
    assert sorted(text for texts in model.documents for text in texts) == [f"note {n}" for n in range(5)]
    assert len(await counted.asearch(NS, query="note 3")) == 5
    assert model.queries == ["note 3"]


def test_a_field_that_goes_takes_its_vectors_along(counted: MemkitStore) -> None:
    counted.put(NS, "a", {"text": "tea", "more": [{"x": "milk"}]})
    best = counted.search(NS, query="milk")[0].score
    assert best is not None
    assert best > 0.9
    counted.put(NS, "a", {"text": "tea"})
    score = counted.search(NS, query="milk")[0].score
    assert score is not None
    assert score < best
    counted.put(NS, "a", {"text": "tea"}, index=False)
    assert counted.search(NS, query="milk")[0].score is None
    counted.put(NS, "a", {"text": "tea", "note": "milk"}, index=["note"])
    assert counted.search(NS, query="milk")[0].score == pytest.approx(best)


def test_warm_copies_follow_every_change(memory: Memory) -> None:
    model: Any = {"dims": 512, "embed": HashEmbeddings(512), "fields": ["text"]}
    store, other = MemkitStore(memory, index=model), MemkitStore(memory, index=model)
    for number in range(60):
        store.put(NS, str(number % 25), {"text": f"word{number}"})
        found = other.search(NS, query=f"word{number}", limit=1)
        assert found[0].value == {"text": f"word{number}"}
        if number % 7 == 0:
            store.delete(NS, str(number % 25))
            assert all(
                item.key != str(number % 25) for item in other.search(NS, query=f"word{number}", limit=50)
            )


def test_ties_are_in_one_order(store: MemkitStore) -> None:
    for number in range(20):
        store.put(NS, str(number), {"text": "the same"})
    once = [item.key for item in store.search(NS, query="the same", limit=20)]
    paged = [
        item.key for at in range(0, 20, 3) for item in store.search(NS, query="the same", limit=3, offset=at)
    ]
    assert paged == once


def test_a_model_that_fails_changes_nothing(counted: MemkitStore, model: Counting) -> None:
    counted.put(NS, "a", {"text": "tea"})
    model.broken = True
    with pytest.raises(ModelError):
        counted.batch([PutOp(NS, "a", {"text": "coffee"}), PutOp(NS, "b", {"n": 1})])
    item = counted.get(NS, "a")
    assert item is not None
    assert item.value == {"text": "tea"}
    assert len(counted.search(NS)) == 1


def test_words_find_without_a_model(memory: Memory) -> None:
    store = MemkitStore(memory, index=False)
    store.put(NS, "a", {"text": "She drinks green tea"})
    store.put(NS, "b", {"text": "He prefers coffee"})
    store.put(NS, "c", {"text": "猫が好き"})
    assert store.search(NS, query="which teas?")[0].key == "a"
    assert store.search(NS, query="猫")[0].key == "c"
    found = store.search(NS, query="coffee")
    assert found[0].key == "b"
    assert found[0].score is not None
    assert 0 < found[0].score <= 1
    assert [item.score for item in found[1:]] == [None, None]


def test_hybrid_ranks_by_both(memory: Memory) -> None:
    store = MemkitStore(memory, ranking="hybrid")
    for number in range(10):
        store.put(NS, str(number), {"text": f"report {number} about ships"})
    found = store.search(NS, query="report 7")
    assert found[0].key == "7"
    assert found[0].score == 1.0
    scores = [item.score or 0.0 for item in found]
    assert scores == sorted(scores, reverse=True)


def test_another_model_is_refused_until_all_is_embedded_anew(memory: Memory) -> None:
    store = MemkitStore(memory)
    for number in range(3):
        store.put(NS, str(number), {"text": f"note {number}"})
    before = [(item.key, item.updated_at) for item in store.search(NS)]
    other = MemkitStore(memory, index={"dims": 8, "embed": HashEmbeddings(8)})
    with pytest.raises(EmbeddingMismatchError, match="reindex"):
        other.put(NS, "x", {"text": "y"})
    with pytest.raises(EmbeddingMismatchError, match="reindex"):
        other.search(NS, query="note")
    assert other.reindex() == 3
    assert other.search(NS, query="note 2", limit=1)[0].key == "2"
    assert [(item.key, item.updated_at) for item in other.search(NS)] == before
    with pytest.raises(EmbeddingMismatchError):
        store.search(NS, query="note")


async def test_functions_embed_too(memory: Memory) -> None:
    words = HashEmbeddings(24)

    async def embed(texts: Any) -> list[list[float]]:
        return words.embed_documents(list(texts))

    store = MemkitStore(memory, index={"dims": 24, "embed": embed, "fields": ["text"]})
    await store.aput(NS, "a", {"text": "tea"})
    assert (await store.asearch(NS, query="tea"))[0].score == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ModelError):
        store.search(NS, query="tea")  # no synchronous way to ask it


def test_blank_queries_ask_nothing(counted: MemkitStore, model: Counting) -> None:
    counted.put(NS, "a", {"text": " "})
    assert model.documents == []
    assert [item.score for item in counted.search(NS, query="  ")] == [None]
    assert model.queries == []
