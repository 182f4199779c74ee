"""memkit for LangGraph: the long-term store, the checkpoint saver and nodes, on one database.

Names are imported on first use, since LangGraph itself takes its time. They need the extra ``langgraph``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from memkit_core.adapting import authenticated_user, resolve_user

    from .namespaces import user_label, user_namespace, user_of
    from .nodes import create_recall_node, create_remember_node
    from .opening import open_checkpointer, open_store
    from .saver import MemkitSaver
    from .store import MemkitStore

__all__ = [
    "MemkitSaver",
    "MemkitStore",
    "authenticated_user",
    "create_recall_node",
    "create_remember_node",
    "open_checkpointer",
    "open_store",
    "resolve_user",
    "user_label",
    "user_namespace",
    "user_of",
]

_HOMES: Final = {
    "MemkitSaver": "saver",
    "MemkitStore": "store",
    "authenticated_user": "memkit_core.adapting",
    "create_recall_node": "nodes",
    "create_remember_node": "nodes",
    "open_checkpointer": "opening",
    "open_store": "opening",
    "resolve_user": "memkit_core.adapting",
    "user_label": "namespaces",
    "user_namespace": "namespaces",
    "user_of": "namespaces",
}
#: What the extra brings.
_EXTRA: Final = frozenset({"langchain", "langchain_core", "langgraph"})


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(module if "." in module else f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        from memkit_core.errors import MissingDependencyError

        raise MissingDependencyError(f"memkit_langgraph.{name}", extra="langgraph") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
