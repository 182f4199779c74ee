"""Doubles and conformance classes, for memkit's own tests and for those of backends and applications.

Names are imported on first use: the chat doubles need LangChain, the conformance classes pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chat import (
        FaultyChatModel,
        ScriptedCall,
        ScriptedChatModel,
        ScriptExhaustedError,
    )
    from .embeddings import FaultyEmbeddings, HashEmbeddings
    from .faults import ProviderFault
    from .langgraph_store import AsyncBaseStoreConformance, BaseStoreConformance
    from .record_store import RecordStoreConformance
    from .recorded import RecordedCallError, RecordedChatModel, RecordingMissingError
    from .vector_index import InMemoryVectorIndex, VectorIndexConformance

__all__ = [
    "AsyncBaseStoreConformance",
    "BaseStoreConformance",
    "FaultyChatModel",
    "FaultyEmbeddings",
    "HashEmbeddings",
    "InMemoryVectorIndex",
    "ProviderFault",
    "RecordStoreConformance",
    "RecordedCallError",
    "RecordedChatModel",
    "RecordingMissingError",
    "ScriptExhaustedError",
    "ScriptedCall",
    "ScriptedChatModel",
    "VectorIndexConformance",
]

_MODULES = {
    "AsyncBaseStoreConformance": "langgraph_store",
    "BaseStoreConformance": "langgraph_store",
    "FaultyChatModel": "chat",
    "FaultyEmbeddings": "embeddings",
    "HashEmbeddings": "embeddings",
    "InMemoryVectorIndex": "vector_index",
    "ProviderFault": "faults",
    "RecordStoreConformance": "record_store",
    "RecordedCallError": "recorded",
    "RecordedChatModel": "recorded",
    "RecordingMissingError": "recorded",
    "ScriptExhaustedError": "chat",
    "ScriptedCall": "chat",
    "ScriptedChatModel": "chat",
    "VectorIndexConformance": "vector_index",
}


#: Which extra brings a distribution that one of them imports.
_EXTRAS = {"langchain_core": "models", "langgraph": "langgraph"}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        from ..errors import MissingDependencyError

        raise MissingDependencyError(f"memkit_core.testing.{name}", extra=extra) from error


def __dir__() -> list[str]:
    return __all__
