"""Embeddings that compute nothing: they hand a LangChain vector store the vectors that memkit already has."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from langchain_core.embeddings import Embeddings

from ..errors import UsageError


class StoredVectors(Embeddings):
    """The embeddings object to build a LangChain vector store with, if the store is to be an index of memkit.

    memkit gives the store each entry's ref as its text; when the store asks for the text's embedding, this
    object answers with the vector from the record store. No model is called, nothing is embedded twice.

    Args:
        dimension: For stores that embed a sample text to learn the dimension: such a text gets a fixed unit
            vector. Without it, a text that memkit did not hand over is refused.
        otherwise: Answers for texts that are not memkit's, for a store that is also used by others.
    """

    def __init__(self, dimension: int | None = None, *, otherwise: Embeddings | None = None) -> None:
        self.dimension = dimension
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._held: dict[str, list[float]] = {}

    @contextmanager
    def holding(self, vectors: Mapping[str, list[float]]) -> Generator[None, None, None]:
        """Know these texts' vectors for the time of a ``with`` block."""
        with self._lock:
            self._held.update(vectors)
        try:
            yield
        finally:
            with self._lock:
                for text in vectors:
                    self._held.pop(text, None)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors that are held for these texts.

        Raises:
            UsageError: A text is not one of memkit's, and neither ``dimension`` nor ``otherwise`` was given.
        """
        with self._lock:
            found = [self._held.get(text) for text in texts]
        unknown = [text for text, vector in zip(texts, found, strict=True) if vector is None]
        if not unknown:
            others: list[list[float]] = []
        elif self._otherwise is not None:
            others = self._otherwise.embed_documents(unknown)
        else:
            others = [self._sample() for _ in unknown]
        rest = iter(others)
        return [next(rest) if vector is None else vector for vector in found]

    def embed_query(self, text: str) -> list[float]:
        """See ``embed_documents``."""
        if self._otherwise is not None:
            return self._otherwise.embed_query(text)
        return self.embed_documents([text])[0]

    def _sample(self) -> list[float]:
        if self.dimension is None:
            raise UsageError(
                "this vector store belongs to memkit, which searches it by vector: it embeds no text. If the "
                "store only wants to learn the dimension, build it with StoredVectors(dimension=…)"
            )
        return [1.0] + [0.0] * (self.dimension - 1)
