"""Embedding models behind one face that checks what comes out of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, ModelCallError, ModelError, ModelOutputError
from ..types import EmbeddingIdentity, Usage
from .offline import OfflineEmbeddings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: Texts in one call of the embedding model.
BATCH_TEXTS: Final = 256

_NAME_ATTRIBUTES: Final = ("model", "model_name", "model_id")
_DIMENSION_ATTRIBUTES: Final = ("dimension", "dimensions", "size")


@dataclass(frozen=True, slots=True)
class RelevanceScale:
    """How a model's cosines are read.

    Attributes:
        floor, top: Relevance 0 and below, relevance 1 and above, for a question and its answer.
        unrelated: Two statements below this have nothing to do with each other; None: not measured, so that
            nothing can be told. MiniLM's: 24 pairs of which one changes the other, in English, German,
            Spanish and Chinese, lie between 0.31 and 0.88 (``tests/core/decisions/test_related.py``).
        same: Two statements above this, whose names, numbers and denials agree, may be one in other words;
            None: not measured. Only where a model says so as well: opposites can be as close. Not of Chinese.
    """

    floor: float
    top: float
    unrelated: float | None = None
    same: float | None = None

    def relevance(self, cosine: float) -> float:
        """The cosine as a relevance from 0 to 1."""
        return min(1.0, max(0.0, (cosine - self.floor) / (self.top - self.floor)))


#: What a question and its answer reach. MiniLM's is measured on LoCoMo; the others follow their published
#: examples, where a clear answer lies near 0.5 to 0.6. A prefix such as "sentence-transformers/" is ignored.
_SCALES: Final = {
    "all-minilm-l6-v2": RelevanceScale(0.0, 0.6, 0.2, 0.93),
    "text-embedding-3-small": RelevanceScale(0.0, 0.6),
    "text-embedding-3-large": RelevanceScale(0.0, 0.6),
}
_DEFAULT_SCALE: Final = RelevanceScale(0.0, 0.8)


def relevance_scale(identity: EmbeddingIdentity | None) -> RelevanceScale:
    """The constants for an embedding model, cautious ones if it is not known."""
    if identity is None:
        return _DEFAULT_SCALE
    return _SCALES.get(identity.model.rpartition("/")[2].lower(), _DEFAULT_SCALE)


def is_embeddings(value: object) -> bool:
    """Whether an object embeds: it has LangChain's ``embed_documents`` and ``embed_query``."""
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("embed_documents", "embed_query")
    )


class Embedder:
    """An embedding model whose vectors are float32, of unit length and all of one dimension.

    Args:
        embeddings: Any object with LangChain's ``embed_documents`` and ``embed_query``.
        name: Names the model in the store; by default its ``model``, ``model_name`` or ``model_id``
            attribute, else its class.
        dimension: Of its vectors, if known; otherwise learned with the first call.
        batch_texts: Texts in one call of the model.

    Raises:
        ConfigError: The object cannot embed.
    """

    def __init__(
        self,
        embeddings: Any,
        *,
        name: str | None = None,
        dimension: int | None = None,
        batch_texts: int = BATCH_TEXTS,
    ) -> None:
        if not is_embeddings(embeddings):
            raise ConfigError(
                f"{_described(embeddings)} cannot embed: it needs embed_documents and embed_query"
            )
        if batch_texts < 1:
            raise ConfigError("batch_texts must be at least 1")
        self._embeddings = embeddings
        self._batch_texts = batch_texts
        self._lock = threading.Lock()
        self._model = name or _attribute(embeddings, _NAME_ATTRIBUTES, str) or type(embeddings).__name__
        self._dimension: int | None = dimension or _attribute(embeddings, _DIMENSION_ATTRIBUTES, int)

    def __repr__(self) -> str:
        return f"Embedder({self._model!r}, dimension={self._dimension})"

    @property
    def model(self) -> str:
        """The model's name, as the store records it."""
        return self._model

    @property
    def identity(self) -> EmbeddingIdentity | None:
        """Model and dimension; None until the dimension is known, at the latest after the first call."""
        return None if self._dimension is None else EmbeddingIdentity(self._model, self._dimension)

    @property
    def scale(self) -> RelevanceScale:
        """How this model's cosines become relevance."""
        return relevance_scale(EmbeddingIdentity(self._model, self._dimension or 0))

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"the embedding model {self._model!r}"

    @property
    def local(self) -> bool:
        """Whether it is memkit's own, which computes here: there is nothing to wait for."""
        return isinstance(self._embeddings, OfflineEmbeddings)

    def portions(self, texts: Sequence[str]) -> list[list[str]]:
        """The texts as they go into single calls of the model."""
        return list(self._batches(texts))

    def calls(self, texts: int) -> int:
        """How many calls of the model it takes to embed so many texts."""
        return -(-texts // self._batch_texts)

    def embed_documents(self, texts: Sequence[str]) -> Floats:
        """Vectors of shape (len(texts), dim), float32, unit length. No texts: no call.

        Raises:
            ModelCallError: The model failed; ``__cause__`` is the provider's error.
            ModelOutputError: ``wrong_shape``: not one proper vector of the known dimension for each text.
                Both carry the ``usage`` of all calls that were made.
        """
        parts: list[Floats] = []
        for batch in self._batches(texts):
            with _counted(len(parts) + 1):
                try:
                    vectors = self._embeddings.embed_documents(batch)
                except Exception as error:  # whatever a provider raises becomes one typed error
                    raise self._failed(error) from error
                parts.append(self._checked(vectors, len(batch)))
        return self._joined(parts)

    def embed_query(self, text: str) -> Floats:
        """A vector of shape (dim,), float32, unit length. Raises as ``embed_documents``."""
        try:
            vector = self._embeddings.embed_query(text)
        except Exception as error:  # whatever a provider raises becomes one typed error
            raise self._failed(error) from error
        checked: Floats = self._checked([vector], 1)[0]
        return checked

    async def aembed_documents(self, texts: Sequence[str]) -> Floats:
        """See ``embed_documents``. A model without async methods runs on a thread."""
        parts: list[Floats] = []
        for batch in self._batches(texts):
            with _counted(len(parts) + 1):
                parts.append(self._checked(await self._acall("documents", batch), len(batch)))
        return self._joined(parts)

    async def aembed_query(self, text: str) -> Floats:
        """See ``embed_query``. A model without async methods runs on a thread."""
        checked: Floats = self._checked([await self._acall("query", text)], 1)[0]
        return checked

    async def _acall(self, what: str, argument: list[str] | str) -> Any:
        method = getattr(self._embeddings, f"aembed_{what}", None)
        try:
            if method is not None:
                return await method(argument)
            return await asyncio.to_thread(getattr(self._embeddings, f"embed_{what}"), argument)
        except Exception as error:  # whatever a provider raises becomes one typed error
            raise self._failed(error) from error

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        for start in range(0, len(texts), self._batch_texts):
            yield list(texts[start : start + self._batch_texts])

    def _joined(self, parts: list[Floats]) -> Floats:
        import numpy as np

        if not parts:
            return np.empty((0, self._dimension or 0), dtype=np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _failed(self, error: Exception) -> ModelCallError:
        # The provider's own words may hold texts or keys: they stay in the cause.
        status = getattr(error, "status_code", None)
        code = f" (status {status})" if isinstance(status, int) else ""
        return ModelCallError(f"the embedding model {self._model!r} failed: {type(error).__name__}{code}")

    def _checked(self, vectors: Any, count: int) -> Floats:
        import numpy as np

        try:
            matrix = np.asarray(vectors, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self._misshapen("its vectors are not lists of numbers of one length") from None
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise self._misshapen(f"it returned an array of shape {matrix.shape} for {count} texts")
        if matrix.shape[0] != count:
            raise self._misshapen(f"it returned {matrix.shape[0]} vectors for {count} texts")
        # Divided by the largest component first, so that squares neither overflow nor vanish.
        peak = np.abs(matrix).max(axis=1, keepdims=True)
        if not np.isfinite(peak).all():  # whatever is not finite is the largest of its vector
            raise self._misshapen("it returned a vector with NaN or infinity")
        if not peak.all():
            raise self._misshapen("it returned a vector of zeros")
        matrix = matrix / peak
        matrix /= np.sqrt(np.einsum("ij,ij->i", matrix, matrix))[:, None]
        self._learn(int(matrix.shape[1]))
        unit: Floats = matrix.astype(np.float32)
        return unit

    def _learn(self, dimension: int) -> None:
        with self._lock:
            if self._dimension is None:
                self._dimension = dimension
        if dimension != self._dimension:
            raise self._misshapen(f"it returned {dimension} dimensions instead of {self._dimension}")

    def _misshapen(self, what: str) -> ModelOutputError:
        return ModelOutputError(f"the embedding model {self._model!r}: {what}", reason="wrong_shape")


@contextmanager
def _counted(calls: int) -> Generator[None]:
    """Let an error of the last of so many calls tell their number."""
    try:
        yield
    except ModelError as error:
        error.usage = Usage(embedding_calls=calls)
        raise


def _attribute(value: object, names: tuple[str, ...], kind: type[Any]) -> Any:
    """The first of the named attributes that is set and of that kind."""
    for name in names:
        found = getattr(value, name, None)
        if isinstance(found, kind) and not isinstance(found, bool) and found:
            return found
    return None


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
