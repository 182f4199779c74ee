"""Two drivers for one pipeline.

The pipeline is written once as coroutines that await nothing but a runtime. Under ``AsyncRuntime`` they
run on the caller's event loop: models through their async methods, storage on a worker thread. Under
``BlockingRuntime`` the same coroutines never suspend, so that one ``send(None)`` runs them to their end on
the caller's own thread: no event loop and no hidden loop thread, context variables (and with them tracing)
stay the caller's, and it works inside a running loop and in a notebook.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import ModelTimeoutError, UsageError
from .gates import Gates, Pass
from .types import EmbeddingCalls

if TYPE_CHECKING:
    from .protocols import Runtime

T = TypeVar("T")

#: Threads that a blocking ``gather`` may use beside the caller's own.
GATHER_THREADS = 8
#: Threads that storage calls of the async face run on.
STORAGE_THREADS = 8
#: How long a cancelled caller waits for its storage call: a locked store must not hold a cancellation up.
SETTLING_SECONDS = 5.0


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends.

    Raises:
        RuntimeError: It suspended, which under a blocking runtime is a bug in the pipeline.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    name = getattr(coroutine, "__qualname__", "a coroutine")
    raise RuntimeError(f"{name} suspended under BlockingRuntime: the pipeline may only await its runtime")


# ---------------------------------------------------------------- thread pools


class Workers:
    """Threads that are made on first use, again in a forked child, and never wait for one another."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        self._free = size
        self._closed = False

    def _executor(self) -> ThreadPoolExecutor:
        if self._pid != os.getpid():  # the parent's threads do not exist here
            self._lock = threading.Lock()
            self._pool, self._free, self._pid = None, self._size, os.getpid()
        with self._lock:
            if self._closed:
                raise UsageError("this memory is closed: open a new one")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
            return self._pool

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The pool itself, for an event loop's ``run_in_executor``."""
        return self._executor()

    def try_submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Start ``work`` on a free thread; None if every thread is taken (it never queues)."""
        if self._closed:
            return None
        pool = self._executor()
        with self._lock:
            if self._free == 0:
                return None
            self._free -= 1

        def run() -> T:
            try:
                return work()
            finally:
                with self._lock:
                    self._free += 1

        try:
            return pool.submit(run)
        except RuntimeError:  # shut down meanwhile: the caller does the work itself
            with self._lock:
                self._free += 1
            return None

    def close(self) -> None:
        """Wait for running work and end the threads."""
        self._closed = True
        if self._pool is not None and self._pid == os.getpid():
            self._pool.shutdown(wait=True)
            self._pool = None


class Ids:
    """Fresh ids that sort by the time they were made: UUID version 7 (RFC 9562, section 6.2, method 3)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._last = 0

    def __call__(self) -> str:
        """A fresh id."""
        if self._pid != os.getpid():  # another thread may have held the lock when this process was forked
            self._lock, self._pid = threading.Lock(), os.getpid()
        nanoseconds = time.time_ns()
        milliseconds, rest = divmod(nanoseconds, 1_000_000)
        ticks = milliseconds << 12 | rest * 4096 // 1_000_000
        with self._lock:
            self._last = ticks = max(ticks, self._last + 1)
        value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0x2 << 62 | secrets.randbits(62)
        return str(uuid.UUID(int=value))


# ---------------------------------------------------------------- the two runtimes


class BlockingRuntime:
    """Runs the pipeline on the caller's thread."""

    def __init__(self, gates: Gates, workers: Workers) -> None:
        self._gates = gates
        self._workers = workers

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """See ``Runtime.chat``."""
        return runnable.invoke(messages, config)

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """See ``Runtime.embed_documents``."""
        return embedder.embed_documents(texts)

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """See ``Runtime.embed_query``."""
        return embedder.embed_query(text)

    async def compute(self, function: Callable[[], T]) -> T:
        """See ``Runtime.compute``."""
        return function()

    async def beside(
        self,
        work: Coroutine[Any, Any, T],
        ahead: Callable[[], object],  # noqa: ARG002 - see below
        *,
        stored: bool = False,  # noqa: ARG002 - see below
    ) -> T:
        """See ``Runtime.beside``. This thread is busy waiting: nothing is done ahead."""
        return await work

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``."""
        return function()

    async def stored(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """See ``Runtime.stored``."""
        return await work(self)

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """See ``Runtime.gather``. Children beyond the pool run on the caller's thread, one by one."""
        futures: list[Future[T] | None] = []
        for number, child in enumerate(work):
            # The last child keeps the caller busy; others run here too if no thread is free.
            last = number == len(work) - 1
            futures.append(None if last else self._workers.try_submit(_in_copied_context(child)))
        own = {n: _outcome(partial(drive, work[n])) for n, future in enumerate(futures) if future is None}
        outcomes = [own[n] if future is None else _outcome(future.result) for n, future in enumerate(futures)]
        return _results(outcomes)

    async def wait(self, jobs: Sequence[Future[Any]], seconds: float | None) -> int:
        """See ``Runtime.wait``."""
        return len(wait(jobs, seconds).not_done)

    async def sleep(self, seconds: float) -> None:
        """See ``Runtime.sleep``."""
        time.sleep(seconds)  # noqa: ASYNC251 - this runtime blocks on purpose

    async def bounded(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        seconds: float,
        late: Callable[[T | None, BaseException | None], None],
    ) -> T:
        """See ``Runtime.bounded``. The work runs on a thread of its own, in a copy of the context."""
        context = contextvars.copy_context()
        done: Future[T] = Future()

        def run() -> None:
            try:
                result = context.run(lambda: drive(work()))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                done.set_exception(error)
            else:
                done.set_result(result)

        # Its own thread, not a pool's: one that hangs for good must keep neither others nor the exit waiting.
        threading.Thread(target=run, name="memkit-call", daemon=True).start()
        try:
            finished = bool(wait([done], seconds).done)
        except BaseException:  # KeyboardInterrupt: the work goes on without us
            done.add_done_callback(partial(_told, late))
            raise
        if not finished:
            done.add_done_callback(partial(_told, late))
            raise _too_late(seconds)
        return done.result()

    def exclusive(self, key: Hashable) -> Pass:
        """See ``Runtime.exclusive``."""
        return self._gates.blocking(key)


def _told(late: Callable[[T | None, BaseException | None], None], done: Future[T]) -> None:
    error = done.exception()
    late(None if error is not None else done.result(), error)


def _too_late(seconds: float) -> ModelTimeoutError:
    return ModelTimeoutError(f"no answer within {seconds:g} s")


def _seen(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()  # whoever asked for it is gone: asyncio need not say that nobody looked


def _in_copied_context(child: Coroutine[Any, Any, T]) -> Callable[[], T]:
    context = contextvars.copy_context()
    return lambda: context.run(drive, child)


def _outcome(work: Callable[[], T]) -> T | BaseException:
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - every child is waited for before one error is raised
        return error


def _results(outcomes: Iterable[T | BaseException]) -> list[T]:
    results: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results


class AsyncRuntime:
    """Runs the pipeline on the caller's event loop."""

    def __init__(self, gates: Gates, workers: Workers, thinking: Workers | None = None) -> None:
        self._gates = gates
        self._workers = workers
        self._thinking = thinking or workers

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """See ``Runtime.chat``."""
        return await runnable.ainvoke(messages, config)

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """See ``Runtime.embed_documents``."""
        return await embedder.aembed_documents(texts)

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """See ``Runtime.embed_query``."""
        return await embedder.aembed_query(text)

    async def compute(self, function: Callable[[], T]) -> T:
        """See ``Runtime.compute``. One thread: more would only contend with the loop for the interpreter."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thinking.executor, function)

    async def beside(
        self, work: Coroutine[Any, Any, T], ahead: Callable[[], object], *, stored: bool = False
    ) -> T:
        """See ``Runtime.beside``. The work starts first."""
        done = self.call(ahead) if stored else self.compute(ahead)
        result, *_ = _results(await asyncio.gather(work, done, return_exceptions=True))
        return cast("T", result)

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``. A cancelled caller leaves the state before or after, never between.

        What waits for a thread is not begun; what runs is waited for, so that nothing is written once the
        caller has seen its cancellation. ``SETTLING_SECONDS`` and a second cancellation end the waiting.
        """
        job = self._workers.executor.submit(contextvars.copy_context().run, function)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():
                running = asyncio.wrap_future(job)
                running.add_done_callback(_seen)
                await asyncio.wait([running], timeout=SETTLING_SECONDS)
            raise

    async def stored(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """See ``Runtime.stored``."""
        blocking = BlockingRuntime(self._gates, self._workers)
        return await self.call(lambda: drive(work(blocking)))

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """See ``Runtime.gather``."""
        if len(work) == 1:  # the usual case, without the price of a task
            return [await work[0]]
        return _results(await asyncio.gather(*work, return_exceptions=True))

    async def wait(self, jobs: Sequence[Future[Any]], seconds: float | None) -> int:
        """See ``Runtime.wait``. Holds no thread: the jobs may need the ones there are."""
        if not jobs:
            return 0
        _, pending = await asyncio.wait([asyncio.wrap_future(job) for job in jobs], timeout=seconds)
        return len(pending)

    async def sleep(self, seconds: float) -> None:
        """See ``Runtime.sleep``."""
        await asyncio.sleep(seconds)

    async def bounded(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        seconds: float,
        late: Callable[[T | None, BaseException | None], None],  # noqa: ARG002 - what is cancelled brings nothing back
    ) -> T:
        """See ``Runtime.bounded``. The work is cancelled when the time is over."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await work()
        except TimeoutError as error:
            if limit.expired():
                raise _too_late(seconds) from error
            raise

    def exclusive(self, key: Hashable) -> Pass:
        """See ``Runtime.exclusive``."""
        return self._gates.suspending(key)
