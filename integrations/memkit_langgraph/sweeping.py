"""The thread that sweeps expired items away, and what its verbs return to callers that may await them."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from memkit_core.errors import MemkitError

logger = logging.getLogger(__name__)


class Ready:
    """Nothing to wait for: where LangGraph has a synchronous and an asynchronous store, both ways work."""

    def __await__(self) -> Generator[Any, None, None]:
        """At once."""
        return
        yield


class Count(int):
    """A number that may be awaited as well."""

    def __await__(self) -> Generator[Any, None, int]:
        """Itself."""
        return int(self)
        yield


class Yes(Count):
    """True or False, that may be awaited as well."""

    def __repr__(self) -> str:
        return repr(bool(self))


class Sweeping(Future[None]):
    """The running sweeper: done when it has ended; ``cancel`` ends it. Awaiting it returns it at once."""

    def __await__(self) -> Generator[Any, None, Sweeping]:
        """Itself."""
        return self
        yield


class Sweeper:
    """Sweeps at an interval, on a thread of its own, for as long as its store is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._future: Sweeping | None = None

    def start(self, sweep: Callable[[], int], seconds: float) -> Sweeping:
        """Start it, or the one that runs already."""
        with self._lock:
            if self._future is not None and self._thread is not None and self._thread.is_alive():
                return self._future
            self._stop = threading.Event()
            future = self._future = Sweeping()
            future.add_done_callback(_stopper(self._stop))
            self._thread = threading.Thread(
                target=_serve,
                args=(weakref.WeakMethod(sweep), self._stop, seconds, future),
                name="memkit-item-sweeper",
                daemon=True,
            )
            self._thread.start()
            return future

    def stop(self, timeout: float | None) -> bool:
        """End it; False if it was still at work after ``timeout`` seconds."""
        with self._lock:
            thread = self._thread
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True


def _stopper(stop: threading.Event) -> Callable[[Future[None]], None]:
    def ended(_: Future[None]) -> None:
        stop.set()

    return ended


def _serve(
    sweep: weakref.WeakMethod[Callable[[], int]], stop: threading.Event, seconds: float, future: Sweeping
) -> None:
    while not stop.wait(seconds):
        method = sweep()
        if method is None:  # its store is gone
            break
        try:
            method()
        except MemkitError as error:
            # A store that is closed or locked now may be open again at the next turn.
            logger.warning("expired items were not swept away: %s", type(error).__name__)
        del method
    with suppress(InvalidStateError):  # it was cancelled
        future.set_result(None)
