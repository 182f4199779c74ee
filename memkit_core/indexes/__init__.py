"""Vector indexes beside the record store: Chroma, and any LangChain vector store.

An index is derived. It holds refs and vectors, no text; it proposes, and the record store, which keeps every
vector, has the last word. An index that is down, slow, late or wiped can cost time, never an answer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chroma import ChromaVectorIndex
    from .langchain_vector import LangChainVectorIndex
    from .stored_vectors import StoredVectors
    from .timeouts import BoundedIndex, bounded

__all__ = ["BoundedIndex", "ChromaVectorIndex", "LangChainVectorIndex", "StoredVectors", "bounded"]

_HOMES = {
    "BoundedIndex": "timeouts",
    "bounded": "timeouts",
    "ChromaVectorIndex": "chroma",
    "LangChainVectorIndex": "langchain_vector",
    "StoredVectors": "stored_vectors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
