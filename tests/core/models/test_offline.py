"""The offline embedding model: what it computes, that it needs nothing, and that it survives a fork."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from memkit_core.errors import ConfigError, MissingDependencyError
from memkit_core.models import offline
from memkit_core.models.embed import Embedder
from memkit_core.models.offline import OfflineEmbeddings, offline_available
from memkit_core.models.resolve import resolve_embeddings
from memkit_core.types import EmbeddingIdentity

needs_model = [
    pytest.mark.embedded,
    pytest.mark.skipif(not offline_available(), reason="the extra `embedded` is not installed"),
]


def marked(function: Any) -> Any:
    for mark in needs_model:
        function = mark(function)
    return function


TEXTS = [
    "Ana moved to Madrid in May.",
    "The train to Berlin was late.",
    "",
    "I have a dog called Rex, who loves long walks on the beach " * 40,
    "柏林的冬天很冷",
    "x",
    "\ud800 lone surrogates \0 are text to nobody".encode("utf-8", "ignore").decode(),
]


@marked
def test_near_in_meaning_is_near_in_space() -> None:
    embedder = Embedder(OfflineEmbeddings())
    facts = embedder.embed_documents(["Ana moved to Madrid in May.", "Bob cooks pasta.", "The car is red."])
    for question, best in (
        ("Where does Ana live?", 0),
        ("What food does Bob make?", 1),
        ("vehicle colour", 2),
    ):
        assert int((facts @ embedder.embed_query(question)).argmax()) == best


@marked
def test_vectors_have_the_promised_shape() -> None:
    vectors = np.array(OfflineEmbeddings().embed_documents(TEXTS))
    assert vectors.shape == (len(TEXTS), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert OfflineEmbeddings().embed_documents([]) == []
    assert Embedder(OfflineEmbeddings()).identity == EmbeddingIdentity("all-MiniLM-L6-v2", 384)


@marked
def test_neighbours_in_a_batch_change_next_to_nothing() -> None:
    model = OfflineEmbeddings()
    together = np.array(model.embed_documents(TEXTS * 12))
    alone = np.array([model.embed_query(text) for text in TEXTS] * 12)
    # 8-bit arithmetic scales by the batch; the direction stays.
    assert ((together * alone).sum(axis=1) > 0.99).all()


@marked
def test_only_the_first_256_tokens_are_read() -> None:
    model = OfflineEmbeddings()
    start = "word " * 300
    assert np.allclose(model.embed_query(start), model.embed_query(start + "and something else"), atol=1e-6)


@marked
def test_sync_equals_async_and_threads() -> None:
    model = OfflineEmbeddings()
    expected = model.embed_documents(TEXTS)
    assert asyncio.run(model.aembed_documents(TEXTS)) == expected
    assert asyncio.run(model.aembed_query("x")) == model.embed_query("x")
    with ThreadPoolExecutor(4) as pool:
        assert all(result == expected for result in pool.map(model.embed_documents, [TEXTS] * 8))


def _embed_in_child(queue: Any) -> None:
    queue.put(OfflineEmbeddings().embed_query("after the fork"))


@marked
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking while threads live is what is tested
def test_a_forked_child_embeds() -> None:
    expected = OfflineEmbeddings().embed_query("after the fork")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_embed_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.join(60)
    assert child.exitcode == 0


@marked
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "WEIGHTS_SHA256", "0" * 64)
    monkeypatch.setattr(offline, "_loader", offline._Loader())
    with pytest.raises(ConfigError, match="force-reinstall"):
        OfflineEmbeddings().embed_query("a")


def test_without_the_extra_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "_WEIGHTS", "no_such_package_anywhere")
    monkeypatch.setattr(offline, "_loader", offline._Loader())
    assert not offline_available()
    with pytest.raises(MissingDependencyError, match=r"memkit-core\[embedded\]"):
        OfflineEmbeddings().embed_query("a")
    with pytest.raises(MissingDependencyError, match=r"memkit-core\[embedded\]"):
        resolve_embeddings("embedded")


def test_asking_and_making_load_nothing() -> None:
    code = (
        "import sys\n"
        "from memkit_core.models.offline import OfflineEmbeddings, offline_available\n"
        "from memkit_core.models.embed import Embedder\n"
        "offline_available(); Embedder(OfflineEmbeddings()).identity\n"
        "print([m for m in ('onnxruntime', 'tokenizers', 'numpy', 'langchain_core') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@marked
def test_langchain_takes_it_for_an_embedding_model() -> None:
    stores = pytest.importorskip("langchain_core.vectorstores")
    store = stores.InMemoryVectorStore(OfflineEmbeddings())
    store.add_texts(["Ana lives in Madrid.", "Bob likes tea."])
    assert store.similarity_search("What does Bob drink?", k=1)[0].page_content == "Bob likes tea."
