"""memkit for LlamaIndex: an agent's memory, a memory block, a retriever, tools, and bridges for its models.

Names are imported on first use, since LlamaIndex itself takes its time. They need the extra ``llamaindex``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .block import MemkitMemoryBlock
    from .bridges import LlamaIndexChatModel, LlamaIndexEmbeddings
    from .links import attach
    from .memory import MemkitMemory
    from .retriever import MemkitRetriever
    from .tools import MemkitToolSpec

__all__ = [
    "LlamaIndexChatModel",
    "LlamaIndexEmbeddings",
    "MemkitMemory",
    "MemkitMemoryBlock",
    "MemkitRetriever",
    "MemkitToolSpec",
    "attach",
]

_HOMES: Final = {
    "LlamaIndexChatModel": "bridges",
    "LlamaIndexEmbeddings": "bridges",
    "MemkitMemory": "memory",
    "MemkitMemoryBlock": "block",
    "MemkitRetriever": "retriever",
    "MemkitToolSpec": "tools",
    "attach": "links",
}
#: What the extra brings.
_EXTRA: Final = frozenset({"langchain_core", "llama_index"})


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

        raise MissingDependencyError(f"memkit_llamaindex.{name}", extra="llamaindex") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
