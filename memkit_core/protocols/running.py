"""What the pipeline may await."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..types import EmbeddingCalls

T = TypeVar("T")


@runtime_checkable
class Runtime(Protocol):
    """What the pipeline may await."""

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """The reply of a LangChain runnable."""
        ...

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """Unit-length float32 vectors of shape (len(texts), dim)."""
        ...

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """A unit-length float32 vector of shape (dim,)."""
        ...

    async def compute(self, function: Callable[[], T]) -> T:
        """The result of milliseconds of plain work, during which an event loop serves others."""
        ...

    async def beside(
        self, work: Coroutine[Any, Any, T], ahead: Callable[[], object], *, stored: bool = False
    ) -> T:
        """The result of waiting work. An event loop gets ``ahead`` done meanwhile.

        Args:
            work: It waits for others, such as a model.
            ahead: Work of milliseconds that is done later otherwise; where nothing would be won, it is not
                called. What it raises is raised when ``work`` has ended.
            stored: Whether ``ahead`` is a storage call.
        """
        ...

    async def call(self, function: Callable[[], T]) -> T:
        """The result of a storage call."""
        ...

    async def stored(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """The result of work that awaits storage calls and nothing else, all of them on one thread.

        Args:
            work: Given the runtime that it awaits: each change of threads would cost as much as a short read.
        """
        ...

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """All results in order. Waits for every child, then raises the first error in order."""
        ...

    async def wait(self, jobs: Sequence[Future[Any]], seconds: float | None) -> int:
        """How many jobs are still not done after so many seconds; None waits for all."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Nothing, later."""
        ...

    async def bounded(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        seconds: float,
        late: Callable[[T | None, BaseException | None], None],
    ) -> T:
        """The result of a call of a model, if it comes within so many seconds.

        Args:
            late: Given the result, or the error, of work that could not be stopped, when it ends after all.

        Raises:
            ModelTimeoutError: It did not come in time.
        """
        ...

    def exclusive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """``async with``: one holder of the key at a time, in this process, fair."""
        ...
