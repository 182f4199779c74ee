"""What comes out of an embedding model is checked, whoever made it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from memkit_core.errors import ConfigError, ModelCallError, ModelOutputError
from memkit_core.models.embed import Embedder, relevance_scale
from memkit_core.runtime import AsyncRuntime, BlockingRuntime, Gates, Workers, drive
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings
from memkit_core.types import EmbeddingIdentity

TEXTS = ["Ana lives in Madrid.", "Bob likes tea.", "柏林"]


class Given:
    """Gives whatever it was given."""

    def __init__(self, vectors: Any, **attributes: Any) -> None:
        self.vectors = vectors
        self.__dict__.update(attributes)

    def embed_documents(self, texts: list[str]) -> Any:
        return self.vectors

    def embed_query(self, text: str) -> Any:
        return self.vectors[0]


def both(embedder: Embedder, texts: list[str]) -> list[Any]:
    """Documents through every path."""
    gates, workers = Gates(), Workers(1, "test")
    return [
        embedder.embed_documents(texts),
        asyncio.run(embedder.aembed_documents(texts)),
        drive(BlockingRuntime(gates, workers).embed_documents(embedder, texts)),
        asyncio.run(AsyncRuntime(gates, workers).embed_documents(embedder, texts)),
    ]


def test_vectors_are_float32_of_unit_length() -> None:
    for vectors in both(Embedder(Given([[3.0, 4.0], [0.0, -7.0]])), ["a", "b"]):
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, [[0.6, 0.8], [0.0, -1.0]])
    query = Embedder(Given([[3.0, 4.0]])).embed_query("a")
    assert query.dtype == np.float32
    assert query.shape == (2,)


def test_sync_equals_async() -> None:
    results = both(Embedder(HashEmbeddings()), TEXTS)
    assert all(np.array_equal(results[0], other) for other in results)
    embedder = Embedder(HashEmbeddings())
    assert np.array_equal(embedder.embed_query("a b"), asyncio.run(embedder.aembed_query("a b")))


def test_extreme_numbers_have_a_direction() -> None:
    for scale in (1e-300, 1e300):
        assert np.allclose(Embedder(Given([[3 * scale, 4 * scale]])).embed_query("a"), [0.6, 0.8])
    assert np.allclose(Embedder(Given(np.array([[3, 4]], dtype=np.int8))).embed_query("a"), [0.6, 0.8])
    assert np.allclose(Embedder(Given(np.array([[3, 4]], dtype=np.float16))).embed_query("a"), [0.6, 0.8])


def test_no_texts_are_no_call() -> None:
    inner = HashEmbeddings(8)
    for vectors in both(Embedder(inner), []):
        assert vectors.shape == (0, 8)
    assert inner.calls == []


def test_many_texts_are_cut_into_batches() -> None:
    inner = HashEmbeddings(8)
    embedder = Embedder(inner, batch_texts=10)
    texts = [f"text number {n}" for n in range(25)]
    vectors = embedder.embed_documents(texts)
    assert [len(call) for call in inner.calls] == [10, 10, 5]
    assert embedder.calls(25) == 3
    assert embedder.calls(0) == 0
    assert np.array_equal(vectors, asyncio.run(embedder.aembed_documents(texts)))
    assert np.array_equal(vectors[17], embedder.embed_query(texts[17]))


@pytest.mark.parametrize("fault", ["wrong_dimension", "nan", "zero", "wrong_count", "empty"])
def test_misshapen_vectors_are_typed(fault: str) -> None:
    embedder = Embedder(FaultyEmbeddings(faults=fault))
    for attempt in (
        lambda: embedder.embed_documents(TEXTS),
        lambda: embedder.embed_query("a"),
        lambda: asyncio.run(embedder.aembed_documents(TEXTS)),
        lambda: asyncio.run(embedder.aembed_query("a")),
    ):
        with pytest.raises(ModelOutputError) as caught:
            attempt()
        assert caught.value.reason == "wrong_shape"


@pytest.mark.parametrize(
    "vectors",
    [
        None, 7, "text", [], [[]], [["a"]], [None], [[1.0], [1.0, 2.0]], [[[1.0]]], [[math.inf]],
        [[1.0], None], [[10**400]], {"a": [1.0]}, [1.0, 2.0],
    ],
)  # fmt: skip
def test_anything_else_is_typed_too(vectors: Any) -> None:
    with pytest.raises(ModelOutputError) as caught:
        Embedder(Given(vectors)).embed_documents(["a"])
    assert caught.value.reason == "wrong_shape"


@pytest.mark.parametrize("fault", ["timeout", "reset", "rate_limit", "server_error"])
def test_failed_calls_are_typed_and_keep_their_cause(fault: str) -> None:
    embedder = Embedder(FaultyEmbeddings(faults=[fault, None, fault]))
    with pytest.raises(ModelCallError, match="hash-test") as caught:
        embedder.embed_documents(TEXTS)
    assert caught.value.__cause__ is not None
    assert embedder.embed_documents(TEXTS).shape == (3, 64)
    with pytest.raises(ModelCallError):
        asyncio.run(embedder.aembed_query("a"))


def test_the_dimension_is_learned_once() -> None:
    given = Given([[1.0, 0.0]], model_name="my-model")
    embedder = Embedder(given)
    assert embedder.identity is None
    assert embedder.model == "my-model"
    embedder.embed_query("a")
    assert embedder.identity == EmbeddingIdentity("my-model", 2)
    given.vectors = [[1.0, 0.0, 0.0]]
    with pytest.raises(ModelOutputError, match="3 dimensions instead of 2"):
        embedder.embed_query("a")
    assert embedder.identity == EmbeddingIdentity("my-model", 2)


def test_the_identity_is_known_beforehand_where_it_can_be() -> None:
    assert Embedder(HashEmbeddings(32)).identity == EmbeddingIdentity("hash-test", 32)
    assert Embedder(Given([], model="m", dimensions=5)).identity == EmbeddingIdentity("m", 5)
    assert Embedder(Given([]), name="mine", dimension=7).identity == EmbeddingIdentity("mine", 7)
    assert Embedder(Given([], model=object())).model == "Given"


def test_interruptions_pass_through() -> None:
    class Interrupted(Given):
        def embed_query(self, text: str) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Embedder(Interrupted([])).embed_query("a")


@pytest.mark.parametrize("value", [None, 7, "openai:x", object(), HashEmbeddings])
def test_what_cannot_embed_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="cannot embed"):
        Embedder(value)
    with pytest.raises(ConfigError):
        Embedder(HashEmbeddings(), batch_texts=0)


def test_relevance_follows_the_model() -> None:
    mini = relevance_scale(EmbeddingIdentity("sentence-transformers/all-MiniLM-L6-v2", 384))
    assert mini == relevance_scale(EmbeddingIdentity("all-MiniLM-L6-v2", 384))
    assert (mini.relevance(-0.2), mini.relevance(0.3), mini.relevance(0.6), mini.relevance(1.0)) == (
        0,
        0.5,
        1,
        1,
    )
    assert relevance_scale(EmbeddingIdentity("text-embedding-3-small", 1536)).top == 0.6
    assert relevance_scale(EmbeddingIdentity("unheard-of", 3)).top == 0.8
    assert relevance_scale(None) == relevance_scale(EmbeddingIdentity("unheard-of", 3))
    assert Embedder(HashEmbeddings()).scale.top == 0.8
