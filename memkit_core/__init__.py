"""Long-term memory for agents.

    from memkit_core import Memory

    with Memory() as memory:
        memory.add("I moved to Madrid in May.", user_id="ana")
        print(memory.search("Where does Ana live?", user_id="ana"))

Every public name is here and is imported on first use: importing the package itself loads neither
numpy nor a model library nor a database driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .admin_results import (
        DoctorReport,
        ExportResult,
        Finding,
        HealthCheck,
        HealthReport,
        ImportResult,
        OwnerUsage,
        ReindexResult,
        ResetResult,
        RollbackItem,
        RollbackResult,
        StoreStats,
        UsageReport,
    )
    from .async_memory import AsyncMemory
    from .config import EmbedderConfig, GraphStoreConfig, LlmConfig, MemoryConfig, VectorStoreConfig
    from .errors import (
        BudgetExceededError,
        ConfigError,
        ConflictError,
        EmbeddingMismatchError,
        HookError,
        IndexMismatchError,
        IntegrityError,
        KeyReusedError,
        MemkitError,
        MemkitWarning,
        MissingDependencyError,
        ModelCallError,
        ModelError,
        ModelOutputError,
        ModelTimeoutError,
        ModelUnavailableError,
        NotFoundError,
        PromptTooLongError,
        SchemaVersionError,
        StorageError,
        StorageUnavailableError,
        TransferError,
        UsageError,
        VisionUnsupportedError,
    )
    from .filters import And, Contains, Eq, Exists, Gt, Gte, IContains, In, Lt, Lte, Ne, Nin, Not, Or
    from .hooks import Proposal
    from .memory import Memory
    from .results import (
        AddResult,
        ContextResult,
        DeleteAllResult,
        Excerpt,
        FlushResult,
        History,
        HistoryEvent,
        MemoryChange,
        MemoryItem,
        MemoryPage,
        SearchHit,
        SearchResult,
    )
    from .scoped import AsyncScopedMemory, ScopedMemory
    from .types import AsOf, Message, Scope, Usage, clean_text

    __version__: str

__all__ = [
    "AddResult",
    "And",
    "AsOf",
    "AsyncMemory",
    "AsyncScopedMemory",
    "BudgetExceededError",
    "ConfigError",
    "ConflictError",
    "Contains",
    "ContextResult",
    "DeleteAllResult",
    "DoctorReport",
    "EmbedderConfig",
    "EmbeddingMismatchError",
    "Eq",
    "Excerpt",
    "Exists",
    "ExportResult",
    "Finding",
    "FlushResult",
    "GraphStoreConfig",
    "Gt",
    "Gte",
    "HealthCheck",
    "HealthReport",
    "History",
    "HistoryEvent",
    "HookError",
    "IContains",
    "ImportResult",
    "In",
    "IndexMismatchError",
    "IntegrityError",
    "KeyReusedError",
    "LlmConfig",
    "Lt",
    "Lte",
    "MemkitError",
    "MemkitWarning",
    "Memory",
    "MemoryChange",
    "MemoryConfig",
    "MemoryItem",
    "MemoryPage",
    "Message",
    "MissingDependencyError",
    "ModelCallError",
    "ModelError",
    "ModelOutputError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "Ne",
    "Nin",
    "Not",
    "NotFoundError",
    "Or",
    "OwnerUsage",
    "PromptTooLongError",
    "Proposal",
    "ReindexResult",
    "ResetResult",
    "RollbackItem",
    "RollbackResult",
    "SchemaVersionError",
    "Scope",
    "ScopedMemory",
    "SearchHit",
    "SearchResult",
    "StorageError",
    "StorageUnavailableError",
    "StoreStats",
    "TransferError",
    "Usage",
    "UsageError",
    "UsageReport",
    "VectorStoreConfig",
    "VisionUnsupportedError",
    "__version__",
    "clean_text",
]

_HOMES = {
    ".admin_results": (
        *("DoctorReport", "ExportResult", "Finding", "HealthCheck", "HealthReport", "ImportResult"),
        *(
            "OwnerUsage",
            "ReindexResult",
            "ResetResult",
            "RollbackItem",
            "RollbackResult",
            "StoreStats",
            "UsageReport",
        ),
    ),
    ".config": ("EmbedderConfig", "GraphStoreConfig", "LlmConfig", "MemoryConfig", "VectorStoreConfig"),
    ".errors": (
        "BudgetExceededError",
        "ConfigError",
        "ConflictError",
        "EmbeddingMismatchError",
        "HookError",
        "IndexMismatchError",
        "IntegrityError",
        "KeyReusedError",
        "MemkitError",
        "MemkitWarning",
        "MissingDependencyError",
        "ModelCallError",
        "ModelError",
        "ModelOutputError",
        "ModelTimeoutError",
        "ModelUnavailableError",
        "NotFoundError",
        "PromptTooLongError",
        "SchemaVersionError",
        "StorageError",
        "StorageUnavailableError",
        "TransferError",
        "UsageError",
        "VisionUnsupportedError",
    ),
    ".filters": (
        *("And", "Contains", "Eq", "Exists", "Gt", "Gte", "IContains"),
        *("In", "Lt", "Lte", "Ne", "Nin", "Not", "Or"),
    ),
    ".hooks": ("Proposal",),
    ".async_memory": ("AsyncMemory",),
    ".memory": ("Memory",),
    ".scoped": ("AsyncScopedMemory", "ScopedMemory"),
    ".results": (
        "AddResult",
        "ContextResult",
        "DeleteAllResult",
        "Excerpt",
        "FlushResult",
        "History",
        "HistoryEvent",
        "MemoryChange",
        "MemoryItem",
        "MemoryPage",
        "SearchHit",
        "SearchResult",
    ),
    ".types": ("AsOf", "Message", "Scope", "Usage", "clean_text"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name], __name__), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("memkit-core")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
