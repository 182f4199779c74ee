"""A vector index that cannot hold anybody up: every call ends in time, one way or the other."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, TypeVar, cast

from ..errors import UsageError
from ..protocols import ClaimableIndex, IndexEntry, InspectableIndex, VectorIndex
from ..types import OwnerKey, Ref, Space, Vector

T = TypeVar("T")

#: Seconds that a caller waits for a call of a derived index.
DEFAULT_SECONDS: Final = 5.0
#: Emptying an index may take so many times as long.
_CLEARING: Final = 12


class BoundedIndex:
    """An index whose calls end after a number of seconds with ``TimeoutError``.

    A call that is given up goes on in a thread of its own, since no thread can be ended from outside. Until
    it comes back, further calls fail at once: a hanging index costs one wait, not one for every caller, and
    never more than one thread, and nothing overtakes a write that may still arrive. For ``clear``, which
    some indexes do entry by entry, a caller waits twelve times as long.

    Args:
        index: Any vector index; its calls run on other threads than the caller's.
        seconds: How long a caller waits, more than 0.
    """

    def __init__(self, index: VectorIndex, *, seconds: float = DEFAULT_SECONDS) -> None:
        if not seconds > 0:
            raise UsageError(f"an index needs more than 0 seconds, not {seconds!r}")
        self.index = index
        self.seconds = seconds
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._given_up: set[Future[object]] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.index!r}, seconds={self.seconds})"

    @property
    def name(self) -> str:
        """See ``VectorIndex.name``."""
        return self.index.name

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``VectorIndex.add``. Raises ``TimeoutError``."""
        self._run("add", lambda: self.index.add(entries))

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """See ``VectorIndex.delete``. Raises ``TimeoutError``."""
        self._run("delete", lambda: self.index.delete(owner, refs))

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """See ``VectorIndex.propose``. Raises ``TimeoutError``."""
        return self._run("propose", lambda: self.index.propose(owner, vector, space=space, limit=limit))

    def clear(self) -> None:
        """See ``VectorIndex.clear``. Raises ``TimeoutError``."""
        self._run("clear", self.index.clear, seconds=_CLEARING * self.seconds)

    @property
    def foreign(self) -> int:
        """See ``ClaimableIndex.foreign``; 0 if the index is no such index."""
        return self.index.foreign if isinstance(self.index, ClaimableIndex) else 0

    def claim(self, store_id: str, *, dimension: int | None) -> bool:
        """See ``ClaimableIndex.claim``. Raises ``TimeoutError``. True if the index is no such index."""
        index = self.index
        if not isinstance(index, ClaimableIndex):
            return True
        return self._run("claim", lambda: index.claim(store_id, dimension=dimension))

    def close(self) -> None:
        """See ``VectorIndex.close``. One that hangs is left to its thread, which ends with the process."""
        with contextlib.suppress(TimeoutError):
            self._run("close", self.index.close)

    def _check_responding(self, what: str) -> None:
        if self._pid != os.getpid():  # the parent's threads do not exist in a forked child
            self._lock, self._given_up, self._pid = threading.Lock(), set(), os.getpid()
        with self._lock:
            if self._given_up:
                raise TimeoutError(f"the index {self.name!r} has not answered an earlier call yet: no {what}")

    def _run(self, what: str, work: Callable[[], T], *, seconds: float | None = None) -> T:
        seconds = seconds or self.seconds
        self._check_responding(what)
        outcome: Future[T] = Future()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                result = context.run(work)
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
                outcome.set_exception(error)
            else:
                outcome.set_result(result)

        threading.Thread(target=run, name=f"memkit-index-{what}", daemon=True).start()
        try:
            return outcome.result(seconds)
        except FutureTimeoutError:
            if outcome.done():  # it is the index's own TimeoutError, or came at the very last moment
                return outcome.result()
            self._give_up(cast("Future[object]", outcome))
            raise TimeoutError(f"the index {self.name!r} did not answer {what} within {seconds} s") from None

    def _give_up(self, outcome: Future[object]) -> None:
        with self._lock:
            self._given_up.add(outcome)
        outcome.add_done_callback(self._came_back)

    def _came_back(self, outcome: Future[object]) -> None:
        with self._lock:
            self._given_up.discard(outcome)


class BoundedInspectableIndex(BoundedIndex):
    """The same for an index that can list its keys."""

    def keys(self) -> Iterator[str]:
        """See ``InspectableIndex.keys``. Not bounded: it is as long as the index."""
        self._check_responding("keys")
        return cast("InspectableIndex", self.index).keys()


def bounded(index: VectorIndex, *, seconds: float = DEFAULT_SECONDS) -> BoundedIndex:
    """The index with bounded calls; one that is bounded already stays as it is."""
    if isinstance(index, BoundedIndex):
        return index
    if isinstance(index, InspectableIndex):
        return BoundedInspectableIndex(index, seconds=seconds)
    return BoundedIndex(index, seconds=seconds)
