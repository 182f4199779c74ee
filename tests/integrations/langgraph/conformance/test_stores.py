"""The conformance suite on memkit's store, and on the stores that come with LangGraph.

What those fail stands in docs/howto/store-conformance.md; ``conftest.py`` expects exactly that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from memkit_core import AsyncMemory, Memory
from memkit_core.testing import AsyncBaseStoreConformance, BaseStoreConformance, HashEmbeddings
from memkit_langgraph import MemkitStore


class TestMemkitStore(BaseStoreConformance):
    extended_filters = True

    def open_store(self, *, index: Any, ttl: Any) -> AbstractContextManager[BaseStore]:
        return MemkitStore.from_conn_string(":memory:", index=index, ttl=ttl)


class TestMemkitStoreAsync(AsyncBaseStoreConformance):
    extended_filters = True

    def open_store(self, *, index: Any, ttl: Any) -> AbstractAsyncContextManager[BaseStore]:
        return MemkitStore.from_conn_string(":memory:", index=index, ttl=ttl)


class TestMemkitStoreOverAMemory(BaseStoreConformance):
    """On a file, beside memories."""

    extended_filters = True

    @contextmanager
    def open_store(self, *, index: Any, ttl: Any) -> Generator[BaseStore]:
        with Memory(llm="verbatim", embedder=HashEmbeddings(), store="sqlite://:memory:") as memory:
            memory.add("I live in Oslo.", user_id="ann")
            yield MemkitStore(memory, index=index or False, ttl=ttl)
            assert memory.count(user_id="ann") == 1


class TestMemkitStoreOverAMemoryAsync(AsyncBaseStoreConformance):
    extended_filters = True

    @asynccontextmanager
    async def open_store(self, *, index: Any, ttl: Any) -> AsyncGenerator[BaseStore]:
        async with AsyncMemory(llm="verbatim", embedder="none", store="sqlite://:memory:") as memory:
            yield MemkitStore(memory, index=index or False, ttl=ttl)


class TestInMemoryStore(BaseStoreConformance):
    supports_ttl = False

    def open_store(self, *, index: Any, ttl: Any) -> BaseStore:
        return InMemoryStore(index=index)


class TestInMemoryStoreAsync(AsyncBaseStoreConformance):
    supports_ttl = False

    def open_store(self, *, index: Any, ttl: Any) -> BaseStore:
        return InMemoryStore(index=index)


@pytest.mark.slow  # its clock counts in seconds
class TestSqliteStore(BaseStoreConformance):
    supports_index = False  # it needs a Python whose sqlite3 loads extensions
    lifetime = 5.0

    @contextmanager
    def open_store(self, *, index: Any, ttl: Any) -> Generator[BaseStore]:
        sqlite = pytest.importorskip("langgraph.store.sqlite")
        with sqlite.SqliteStore.from_conn_string(":memory:", ttl=ttl) as store:
            store.setup()
            yield store


@pytest.mark.slow
class TestSqliteStoreAsync(AsyncBaseStoreConformance):
    supports_index = False
    lifetime = 5.0

    @asynccontextmanager
    async def open_store(self, *, index: Any, ttl: Any) -> AsyncGenerator[BaseStore]:
        sqlite = pytest.importorskip("langgraph.store.sqlite.aio")
        async with sqlite.AsyncSqliteStore.from_conn_string(":memory:", ttl=ttl) as store:
            await store.setup()
            yield store


def _outcome(suite: type[BaseStoreConformance], name: str) -> Callable[[], None]:
    return getattr(suite(), name)  # type: ignore[no-any-return]


def test_a_store_that_lies_is_found_out() -> None:
    class Forgetful(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            return [None for _ in ops]

    class Suite(BaseStoreConformance):
        def open_store(self, *, index: Any, ttl: Any) -> BaseStore:
            return Forgetful(index=index)

    with pytest.raises(AssertionError):
        _outcome(Suite, "test_what_is_put_is_got")()


def test_a_blocking_store_is_never_waited_for() -> None:
    class Suite(BaseStoreConformance):
        @asynccontextmanager
        async def open_store(self, *, index: Any, ttl: Any) -> AsyncGenerator[BaseStore]:
            await asyncio.sleep(0)
            yield InMemoryStore()

    with pytest.raises(AttributeError):
        _outcome(Suite, "test_what_is_put_is_got")()


def test_capabilities_leave_tests_out() -> None:
    class Suite(BaseStoreConformance):
        supports_index = False
        supports_ttl = False

        def open_store(self, *, index: Any, ttl: Any) -> BaseStore:
            raise NotImplementedError

    for name in ("test_the_nearest_comes_first", "test_what_has_expired_is_swept"):
        with pytest.raises(pytest.skip.Exception):
            _outcome(Suite, name)()


def test_the_documented_failures_are_tests_of_the_suite(documented: dict[str, set[str]]) -> None:
    tests = {name for name in dir(BaseStoreConformance) if name.startswith("test_")}
    for store, failing in documented.items():
        assert failing, store
        assert failing <= tests, failing - tests
