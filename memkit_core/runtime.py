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
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from .errors import UsageError
from .types import EmbeddingCalls

T = TypeVar("T")

#: Threads that a blocking ``gather`` may use beside the caller's own.
GATHER_THREADS = 8
#: Threads that storage calls of the async face run on.
STORAGE_THREADS = 8


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


# ---------------------------------------------------------------- one at a time, for threads and tasks alike


@dataclass(slots=True, eq=False)
class _Ticket:
    """A place in a gate's queue; ``wake`` is called once, when the place is first."""

    wake: Callable[[], None]
    loop: asyncio.AbstractEventLoop | None = None
    woken: bool = False


@dataclass(slots=True)
class _Gate:
    queue: deque[_Ticket] = field(default_factory=deque[_Ticket])  # the first one holds the gate


class Gates:
    """Fair locks by key that threads and event-loop tasks wait for side by side.

    A waiting task holds no thread, so that waiters can never starve the holder of one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[Hashable, _Gate] = {}
        self._pid = os.getpid()

    def enter(self, key: Hashable, ticket: _Ticket) -> bool:
        """Queue up; True if the gate is free and now held.

        Raises:
            UsageError: The wait could never end, since it would block the holder's own event loop.
        """
        if self._pid != os.getpid():  # holders and waiters are the parent's; they do not exist here
            self._lock, self._gates, self._pid = threading.Lock(), {}, os.getpid()
        with self._lock:
            gate = self._gates.setdefault(key, _Gate())
            if ticket.loop is None and gate.queue:
                running = _running_loop()
                if running is not None and any(other.loop is running for other in gate.queue):
                    raise UsageError(
                        "a sync call would wait for an async call that runs on this very event loop: "
                        "use the async face (AsyncMemory, memory.aio) inside coroutines"
                    )
            gate.queue.append(ticket)
            ticket.woken = len(gate.queue) == 1
            return ticket.woken

    def leave(self, key: Hashable, ticket: _Ticket) -> None:
        """Let go, or give up the place in the queue; the next in line is woken. Twice is the same as once."""
        with self._lock:
            gate = self._gates.get(key)
            if gate is None or ticket not in gate.queue:
                return
            held = gate.queue[0] is ticket
            gate.queue.remove(ticket)
            if not gate.queue:
                del self._gates[key]
            elif held:
                gate.queue[0].woken = True
                gate.queue[0].wake()

    def blocking(self, key: Hashable) -> _BlockingPass:
        """An ``async with`` that waits on the caller's thread."""
        return _BlockingPass(self, key)

    def suspending(self, key: Hashable) -> _SuspendingPass:
        """An ``async with`` that waits on the caller's event loop."""
        return _SuspendingPass(self, key)


class _Pass(AbstractAsyncContextManager[None]):
    def __init__(self, gates: Gates, key: Hashable) -> None:
        self._gates = gates
        self._key = key
        self._ticket: _Ticket | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ticket is not None
        self._gates.leave(self._key, self._ticket)


class _BlockingPass(_Pass):
    async def __aenter__(self) -> None:
        event = threading.Event()
        self._ticket = _Ticket(event.set)
        if not self._gates.enter(self._key, self._ticket):
            try:
                event.wait()
            except BaseException:  # KeyboardInterrupt: give the place up before it goes on
                self._gates.leave(self._key, self._ticket)
                raise


class _SuspendingPass(_Pass):
    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(_set, turn)
            except RuntimeError:
                # The loop was closed under its waiting task, which will never run again: pass the turn on.
                threading.Thread(target=self._gates.leave, args=(self._key, ticket)).start()

        self._ticket = ticket = _Ticket(wake, loop)
        if not self._gates.enter(self._key, ticket):
            try:
                await turn
            except BaseException:  # cancelled: give the place up before it goes on
                self._gates.leave(self._key, ticket)
                raise


def _set(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``."""
        return function()

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

    def exclusive(self, key: Hashable) -> _Pass:
        """See ``Runtime.exclusive``."""
        return self._gates.blocking(key)


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

    def __init__(self, gates: Gates, workers: Workers) -> None:
        self._gates = gates
        self._workers = workers

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """See ``Runtime.chat``."""
        return await runnable.ainvoke(messages, config)

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """See ``Runtime.embed_documents``."""
        return await embedder.aembed_documents(texts)

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """See ``Runtime.embed_query``."""
        return await embedder.aembed_query(text)

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``. A cancelled caller leaves the state before or after, never between."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers.executor, lambda: context.run(function))

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """See ``Runtime.gather``."""
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

    def exclusive(self, key: Hashable) -> _Pass:
        """See ``Runtime.exclusive``."""
        return self._gates.suspending(key)
