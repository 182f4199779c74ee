"""memkit for CrewAI: the memory of a crew, an agent or a flow, a storage for CrewAI's own memory, and tools.

Names are imported on first use, since CrewAI itself takes its time. They need the extra ``crewai``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .memory import MemkitMemory
    from .storage import MemkitStorage
    from .tools import create_memory_tools

__all__ = ["MemkitMemory", "MemkitStorage", "create_memory_tools"]

_HOMES: Final = {
    "MemkitMemory": "memory",
    "MemkitStorage": "storage",
    "create_memory_tools": "tools",
}
#: What the extra brings.
_EXTRA: Final = frozenset({"crewai"})


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

        raise MissingDependencyError(f"memkit_crewai.{name}", extra="crewai") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
