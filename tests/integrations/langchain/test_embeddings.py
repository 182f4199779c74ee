"""A memory's embedding model in LangChain's own suites and in a vector store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import ModelCallError, UsageError
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings
from memkit_langchain import MemkitEmbeddings


class _Of:
    @pytest.fixture(autouse=True)
    def _memory(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MemkitEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"memory": self.memory}


class TestUnit(_Of, EmbeddingsUnitTests):
    pass


class TestIntegration(_Of, EmbeddingsIntegrationTests):
    pass


async def test_a_vector_store_shares_the_memory_s_model(tmp_path: Path) -> None:
    model = HashEmbeddings()
    with Memory(llm="verbatim", embedder=model, store=tmp_path / "m.db") as memory:
        embeddings = MemkitEmbeddings(memory)
        assert embeddings.model == "hash-test"
        store = InMemoryVectorStore(embeddings)
        store.add_texts(["A fern needs shade.", "Bees need flowers."])
        assert store.similarity_search("flowers for bees", k=1)[0].page_content == "Bees need flowers."
        found = await store.asimilarity_search("flowers for bees", k=1)
        assert found[0].page_content == "Bees need flowers."
        calls = len(model.calls)
        assert embeddings.embed_documents([]) == [] == await embeddings.aembed_documents([])
        assert len(model.calls) == calls
    with pytest.raises(UsageError, match="closed"):
        embeddings.embed_query("bees")


async def test_of_the_asynchronous_face(tmp_path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "m.db") as memory:
        embeddings = MemkitEmbeddings(memory)
        assert await embeddings.aembed_query("bees") == embeddings.embed_query("bees")


def test_a_memory_without_a_model_has_none_to_lend(tmp_path: Path) -> None:
    with (
        Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory,
        pytest.raises(UsageError, match="embeds nothing"),
    ):
        MemkitEmbeddings(memory)


async def test_a_model_that_fails_raises_memkit_s_error(tmp_path: Path) -> None:
    faulty = FaultyEmbeddings(faults="server_error")
    with Memory(llm="verbatim", embedder=faulty, store=tmp_path / "m.db") as memory:
        embeddings = MemkitEmbeddings(memory)
        with pytest.raises(ModelCallError):
            embeddings.embed_documents(["bees"])
        with pytest.raises(ModelCallError):
            await embeddings.aembed_query("bees")
