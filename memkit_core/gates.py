"""One at a time, for threads and event-loop tasks alike."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType

from .errors import UsageError


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


class Pass(AbstractAsyncContextManager[None]):
    """A way through a gate, open as long as the block runs."""

    def __init__(self, gates: Gates, key: Hashable) -> None:
        self._gates = gates
        self._key = key
        self._ticket: _Ticket | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ticket is not None
        self._gates.leave(self._key, self._ticket)


class _BlockingPass(Pass):
    async def __aenter__(self) -> None:
        event = threading.Event()
        self._ticket = _Ticket(event.set)
        if not self._gates.enter(self._key, self._ticket):
            try:
                event.wait()
            except BaseException:  # KeyboardInterrupt: give the place up before it goes on
                self._gates.leave(self._key, self._ticket)
                raise


class _SuspendingPass(Pass):
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
