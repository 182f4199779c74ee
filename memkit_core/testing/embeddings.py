"""Embedding models for tests: one that is deterministic, and one that fails on demand."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..analysis import unit_terms
from .faults import CALL_FAULTS, check_fault

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
else:
    Embeddings = object  # what takes embeddings asks for their methods; LangChain would cost every import


class HashEmbeddings(Embeddings):
    """Deterministic vectors in which texts that share words are near. For tests only, never for users.

    Each word stem adds to one of ``dimension`` components, chosen by a hash: nothing is understood, and
    unrelated words may collide.

    Args:
        dimension: Of the vectors.
        delay: Seconds that each call takes.

    Attributes:
        calls: The texts of every call so far.
    """

    model = "hash-test"

    def __init__(self, dimension: int = 64, *, delay: float = 0.0) -> None:
        if dimension < 1:
            raise ValueError("dimension must be at least 1")
        self.dimension = dimension
        self.delay = delay
        self.calls: list[tuple[str, ...]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of unit length per text."""
        if self.delay:
            threading.Event().wait(self.delay)
        self.calls.append(tuple(texts))
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The same vector as for a document."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See ``embed_documents``."""
        if self.delay:
            import asyncio

            await asyncio.sleep(self.delay)
        self.calls.append(tuple(texts))
        return [self._vector(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        """See ``embed_query``."""
        return (await self.aembed_documents([text]))[0]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        # A text without words still needs a direction.
        for term, count in (unit_terms(text) or {text: 1}).items():
            digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            vector[int.from_bytes(digest, "big") % self.dimension] += 1.0 + math.log(count)
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector]


class FaultyEmbeddings(Embeddings):
    """An embedding model that fails when it is told to, and otherwise does what the wrapped one does.

    Args:
        inner: The model that does the work, by default ``HashEmbeddings()``.
        faults: One name for every call, or one name (or None) per call in order; further calls are good.
            Names: timeout, reset, rate_limit, server_error, wrong_dimension, nan, zero, wrong_count, empty.

    Attributes:
        attempts: How many calls were made, failed ones included.
    """

    def __init__(self, inner: Any = None, *, faults: str | Sequence[str | None] = ()) -> None:
        self._inner = HashEmbeddings() if inner is None else inner
        self._always = faults if isinstance(faults, str) else None
        self._faults = [] if isinstance(faults, str) else list(faults)
        for fault in [self._always, *self._faults]:
            check_fault(fault, EMBEDDING_FAULTS)
        self._lock = threading.Lock()
        self.attempts = 0
        self.model: str = getattr(self._inner, "model", type(self._inner).__name__)
        self.dimension: int | None = getattr(self._inner, "dimension", None)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The wrapped model's vectors, or the fault of this call."""
        fault = self._next()
        return _spoiled(fault, self._inner.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The wrapped model's vector, or the fault of this call."""
        fault = self._next()
        spoiled = _spoiled(fault, [self._inner.embed_query(text)])
        return spoiled[0] if spoiled else []

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See ``embed_documents``."""
        fault = self._next()
        return _spoiled(fault, await self._inner.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """See ``embed_query``."""
        fault = self._next()
        spoiled = _spoiled(fault, [await self._inner.aembed_query(text)])
        return spoiled[0] if spoiled else []

    def _next(self) -> str | None:
        with self._lock:
            self.attempts += 1
            fault = self._always or (self._faults.pop(0) if self._faults else None)
        if fault is not None and fault in CALL_FAULTS:
            error = CALL_FAULTS[fault]()
            raise error
        return fault


#: Names of the faults of an embedding model, each with what goes wrong.
EMBEDDING_FAULTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(CALL_FAULTS, "the call raises"),
    "wrong_dimension": "vectors one component too long",
    "nan": "vectors with NaN in them",
    "zero": "vectors of zeros",
    "wrong_count": "one vector too few",
    "empty": "no vectors at all",
}


def _spoiled(fault: str | None, vectors: list[list[float]]) -> list[list[float]]:
    match fault:
        case "wrong_dimension":
            return [[*vector, 0.5] for vector in vectors]
        case "nan":
            return [[math.nan, *vector[1:]] for vector in vectors]
        case "zero":
            return [[0.0] * len(vector) for vector in vectors]
        case "wrong_count":
            return vectors[:-1]
        case "empty":
            return []
        case _:
            return vectors
