"""The test embeddings are deterministic, near for shared words, and fail only on demand."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest

import memkit_core.testing
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings, ProviderFault


def test_texts_that_share_words_are_near() -> None:
    model = HashEmbeddings()
    facts = np.array(model.embed_documents(["Ana lives in Madrid.", "Bob likes green tea.", "柏林的冬天"]))
    assert int((facts @ np.array(model.embed_query("Does Bob drink tea?"))).argmax()) == 1
    assert int((facts @ np.array(model.embed_query("Who lives in Madrid?"))).argmax()) == 0
    assert int((facts @ np.array(model.embed_query("柏林"))).argmax()) == 2


def test_vectors_are_deterministic_and_of_unit_length() -> None:
    texts = ["a plain text", "", "the", "?!", "\ud800", "x" * 10_000]
    vectors = np.array(HashEmbeddings(16).embed_documents(texts))
    assert vectors.shape == (6, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors.tolist() == asyncio.run(HashEmbeddings(16, delay=0.001).aembed_documents(texts))
    code = "import memkit_core.testing as t; print(t.HashEmbeddings(16).embed_query('a plain text'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(vectors[0].tolist())


def test_calls_are_kept() -> None:
    model = HashEmbeddings(delay=0.001)
    model.embed_documents(["a", "b"])
    asyncio.run(model.aembed_query("c"))
    assert model.calls == [("a", "b"), ("c",)]
    with pytest.raises(ValueError):
        HashEmbeddings(0)


def test_faults_come_in_order() -> None:
    model = FaultyEmbeddings(HashEmbeddings(4), faults=["server_error", None, "wrong_count", "nan"])
    with pytest.raises(ProviderFault, match="internal server error"):
        model.embed_documents(["a"])
    assert len(model.embed_query("a")) == 4
    assert asyncio.run(model.aembed_documents(["a", "b"])) == [HashEmbeddings(4).embed_query("a")]
    assert np.isnan(asyncio.run(model.aembed_query("a"))[0])
    assert model.embed_query("a") == HashEmbeddings(4).embed_query("a")
    assert model.attempts == 5
    assert (model.model, model.dimension) == ("hash-test", 4)
    with pytest.raises(ValueError, match="unknown fault"):
        FaultyEmbeddings(faults="typo")


def test_names_are_sorted_and_imported_on_first_use() -> None:
    names = memkit_core.testing.__all__
    assert names == sorted(names)
    assert dir(memkit_core.testing) == names
    assert all(
        getattr(memkit_core.testing, name).__module__.startswith("memkit_core.testing") for name in names
    )
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        memkit_core.testing.Missing  # noqa: B018
    code = (
        "import sys, memkit_core.testing as t; t.HashEmbeddings\n"
        "print([m for m in ('langchain_core', 'numpy', 'pytest') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
