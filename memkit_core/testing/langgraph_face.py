"""What the conformance tests of LangGraph's stores are made of: one way to speak to both faces of a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import datetime
from inspect import isawaitable
from typing import Any, ClassVar, Final, TypeAlias, cast

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Item, Op, SearchItem, TTLConfig

#: What ``open_store`` may return.
Opened: TypeAlias = BaseStore | AbstractContextManager[BaseStore] | AbstractAsyncContextManager[BaseStore]
_WORDS: Final = ("tea", "rain", "chess", "oslo", "cello", "peanut", "train", "moss")
DIMENSIONS: Final = len(_WORDS)


class WordEmbeddings(Embeddings):
    """A dimension for each of eight words, so that a test knows what is near to what.

    Attributes:
        documents, queries: Every text that it was given, by what it was given for.
    """

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        # A little of everything: no vector is zero, and no two texts of other words are equal.
        lower = text.lower()
        counts = [lower.count(word) + 0.001 * (place + 1) for place, word in enumerate(_WORDS)]
        length = sum(count * count for count in counts) ** 0.5
        return [count / length for count in counts]


class Face:
    """A store through one of its faces; every method is awaited, also those of the blocking one."""

    def __init__(self, store: BaseStore, *, asynchronous: bool, embeddings: WordEmbeddings) -> None:
        self.store = store
        self.embeddings = embeddings
        self._asynchronous = asynchronous

    async def put(self, namespace: Sequence[str], key: str, value: Mapping[str, Any], **options: Any) -> None:
        await self._call("put", namespace, key, dict(value), **options)

    async def get(self, namespace: Sequence[str], key: str, **options: Any) -> Item | None:
        return cast("Item | None", await self._call("get", namespace, key, **options))

    async def delete(self, namespace: Sequence[str], key: str) -> None:
        await self._call("delete", namespace, key)

    async def search(self, prefix: Sequence[str], **options: Any) -> list[SearchItem]:
        return cast("list[SearchItem]", await self._call("search", prefix, **options))

    async def keys(self, prefix: Sequence[str], **options: Any) -> list[str]:
        return [item.key for item in await self.search(prefix, **options)]

    async def namespaces(self, **options: Any) -> list[tuple[str, ...]]:
        return cast("list[tuple[str, ...]]", await self._call("list_namespaces", **options))

    async def batch(self, ops: Iterable[Op]) -> list[Any]:
        return cast("list[Any]", await self._call("batch", ops))

    async def sweep(self) -> int:
        """Expired items are removed; awaited if the store's verb is to be awaited."""
        return int(await self.done(cast("Any", self.store).sweep_ttl()))

    async def done(self, result: object) -> Any:
        """A result, awaited if it can be."""
        return await result if self._asynchronous and isawaitable(result) else result

    async def several(self, work: Sequence[Callable[[], Coroutine[Any, Any, Any]]]) -> None:
        """Do all at once: as tasks, or in threads of their own."""
        if self._asynchronous:
            await asyncio.gather(*(one() for one in work))
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(work)) as pool:
            for done in [pool.submit(drive, one()) for one in work]:
                done.result()

    async def wait(self, seconds: float) -> None:
        """Let time go by."""
        if self._asynchronous:
            await asyncio.sleep(seconds)
        else:
            _pause(seconds)

    async def _call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        if self._asynchronous:
            return await getattr(self.store, f"a{verb}")(*arguments, **options)
        return getattr(self.store, verb)(*arguments, **options)


def _pause(seconds: float) -> None:
    time.sleep(seconds)


class StoreSuite:
    """How the tests open a store, and what they may expect of it; see ``BaseStoreConformance``."""

    supports_index: ClassVar[bool] = True
    supports_ttl: ClassVar[bool] = True
    extended_filters: ClassVar[bool] = False
    lifetime: ClassVar[float] = 0.4
    asynchronous: ClassVar[bool] = False

    def open_store(self, *, index: IndexConfig | None, ttl: TTLConfig | None) -> Opened:
        """An empty store, or a context manager that gives one; made anew for every test.

        Args:
            index: What it embeds, and with what. None: nothing.
            ttl: When its items expire. None: never.
        """
        raise NotImplementedError


def conforms(
    *, fields: Sequence[str] | None = None, ttl: TTLConfig | None = None
) -> Callable[[Callable[[Any, Face], Coroutine[Any, Any, None]]], Callable[[Any], None]]:
    """Make a test of a coroutine that takes a face of an empty store.

    Args:
        fields: What is embedded; None: nothing, and the test needs no index.
        ttl: When items expire; None: never, and the test needs no expiry.
    """

    def decorate(body: Callable[[Any, Face], Coroutine[Any, Any, None]]) -> Callable[[Any], None]:
        def test(self: StoreSuite) -> None:
            if fields is not None and not self.supports_index:
                pytest.skip("the store has no index")
            if ttl is not None and not self.supports_ttl:
                pytest.skip("in this store nothing expires")
            embeddings = WordEmbeddings()
            index: IndexConfig | None = None
            if fields is not None:
                index = {"dims": DIMENSIONS, "embed": embeddings, "fields": list(fields)}

            async def run() -> None:
                opened = self.open_store(index=index, ttl=ttl)
                async with _entered(opened, asynchronous=self.asynchronous) as store:
                    await body(self, Face(store, asynchronous=self.asynchronous, embeddings=embeddings))

            asyncio.run(run()) if self.asynchronous else drive(run())

        # No functools.wraps: pytest would look for a fixture by the name of the body's argument.
        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.__module__ = body.__module__
        return test

    return decorate


@asynccontextmanager
async def _entered(opened: Opened, *, asynchronous: bool) -> AsyncGenerator[BaseStore]:
    # A store may itself be a context manager; then it is left when the test is over.
    if asynchronous and isinstance(opened, AbstractAsyncContextManager):
        async with opened as store:
            yield store
    elif isinstance(opened, AbstractContextManager):
        with opened as store:
            yield store
    else:
        yield cast("BaseStore", opened)


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never waits for anything.

    Raises:
        RuntimeError: It waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("a blocking store waited for an event loop")


def aware(moment: datetime) -> bool:
    """Whether a time names its zone."""
    return moment.tzinfo is not None and moment.utcoffset() is not None
