"""A pytest plugin: LangGraph's own test modules meet memkit's store where they name one of theirs.

It is loaded into a pytest of its own, ``pytest -p memkit_upstream``, with this folder on the path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from deselected import DESELECTED

from memkit_core import Memory
from memkit_langgraph import MemkitStore

#: What has to be closed when the test that opened it is over: their store in memory needs no closing.
_OPEN = ExitStack()


def _index(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Their SQLite store calls by another name what the contract, and every other store, calls ``fields``."""
    if given is None:
        return None
    fields = given.get("fields") or given.get("text_fields")
    kept = {name: part for name, part in given.items() if name in ("dims", "embed")}
    return kept | ({"fields": fields} if fields else {})


class Connected(MemkitStore):
    """In the place of a store that is opened by ``from_conn_string``."""

    @classmethod
    def from_conn_string(cls, conn_string: str, *, index: Any = None, ttl: Any = None) -> Any:
        return super().from_conn_string(conn_string, index=_index(index), ttl=ttl)


class Made(MemkitStore):
    """In the place of a store that is simply made."""

    def __init__(self, *, index: Any = None) -> None:
        memory = _OPEN.enter_context(Memory(llm="verbatim", embedder="none", store="sqlite://:memory:"))
        super().__init__(memory, index=_index(index) or False)


_PLACES = {"SqliteStore": Connected, "AsyncSqliteStore": Connected, "InMemoryStore": Made}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        module = item.module  # type: ignore[attr-defined]
        for name, place in _PLACES.items():
            if hasattr(module, name):
                setattr(module, name, place)
        (dropped if _name(item) in DESELECTED[_suite(item)] else kept).append(item)
    wanted = {name for suite in set(map(_suite, items)) for name in DESELECTED[suite]}
    if stale := wanted - set(map(_name, dropped)):
        raise pytest.UsageError(f"upstream has no such tests: {sorted(stale)}")
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


def _name(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", None) or item.name)


def _suite(item: pytest.Item) -> str:
    """The distribution and the file: ``langgraph_checkpoint/test_store.py``."""
    return f"{item.path.parents[1].name.rpartition('-')[0]}/{item.path.name}"


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    _OPEN.close()
