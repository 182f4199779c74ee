"""memkit for LangChain: a middleware for agents, a retriever, memory as tools, and parts of plain chains.

Names are imported on first use, since LangChain itself takes its time. They need the extra ``langchain``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .chains import create_recall, create_remember
    from .embeddings import MemkitEmbeddings
    from .history import MemoryChatMessageHistory
    from .middleware import MemoryMiddleware
    from .retriever import MemoryRetriever
    from .tools import create_memory_tools

__all__ = [
    "MemkitEmbeddings",
    "MemoryChatMessageHistory",
    "MemoryMiddleware",
    "MemoryRetriever",
    "create_memory_tools",
    "create_recall",
    "create_remember",
]

_HOMES: Final = {
    "MemkitEmbeddings": "embeddings",
    "MemoryChatMessageHistory": "history",
    "MemoryMiddleware": "middleware",
    "MemoryRetriever": "retriever",
    "create_memory_tools": "tools",
    "create_recall": "chains",
    "create_remember": "chains",
}
#: What the extra brings.
_EXTRA: Final = frozenset({"langchain", "langchain_core", "langgraph"})


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        from memkit_core.errors import MissingDependencyError

        raise MissingDependencyError(f"memkit_langchain.{name}", extra="langchain") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
