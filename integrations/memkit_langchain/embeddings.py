"""A memory's embedding model for other parts of LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import lend
from memkit_core.errors import UsageError

if TYPE_CHECKING:
    from memkit_core.adapting import Embedder


class MemkitEmbeddings(Embeddings):
    """A memory's own embedding model as LangChain's, for a vector store beside the memories for instance.

    One model is loaded for both, and its vectors are checked: of unit length, all of one dimension. It works
    as long as the memory is open.

    Args:
        memory: Either face; both sync and async methods work.

    Raises:
        UsageError: The memory embeds nothing (``embedder="none"``), or it is closed; also when a text is
            embedded after it was closed.
    """

    def __init__(self, memory: Memory | AsyncMemory) -> None:
        self._memory = memory
        self._open()

    def __repr__(self) -> str:
        return f"MemkitEmbeddings({self.model!r})"

    @property
    def model(self) -> str:
        """The model's name, as the store records it."""
        return self._open().model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text, in order. No texts: no call of the model.

        Raises:
            ModelCallError: The model failed.
            ModelOutputError: It returned no proper vectors.
        """
        vectors: list[list[float]] = self._open().embed_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question. Raises as ``embed_documents``."""
        vector: list[float] = self._open().embed_query(text).tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See ``embed_documents``. A model without async methods runs on a thread."""
        vectors: list[list[float]] = (await self._open().aembed_documents(texts)).tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """See ``embed_query``. A model without async methods runs on a thread."""
        vector: list[float] = (await self._open().aembed_query(text)).tolist()
        return vector

    def _open(self) -> Embedder:
        embedder = lend(self._memory).embedder
        if embedder is None:
            raise UsageError("this memory embeds nothing: open it with an embedder")
        return embedder
