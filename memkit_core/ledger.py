"""What operations cost, until it is written down."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Final

from .types import OwnerKey, Usage

_log = logging.getLogger(__name__)

#: How long a cost that no transaction of its own carries may stay unwritten, in seconds.
WRITE_AFTER: Final = 1.0
#: Owners and operations that are told apart at a time; the costs of others count as nobody's.
_MAX_KEYS: Final = 10_000
#: How many other owners' costs one transaction takes along.
_CARRIED: Final = 64
Key = tuple[OwnerKey | None, str]
Spent = Mapping[Key, Usage]


class Ledger:
    """The costs of one engine's operations that no transaction holds yet. Safe to use from several threads.

    What calls of models cost goes along with the next transaction of this engine, whosever it is. Without
    one it is written on a thread of its own ``WRITE_AFTER`` seconds after it was spent, and so is time alone.
    A forked child owes nothing: what was spent before is its parent's to write.
    """

    def __init__(self) -> None:
        self._write: Callable[[Spent], None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # Held while costs are on their way from here into the store: they are seen in one of the two places.
        self._books = threading.Lock()
        self._owed: dict[Key, Usage] = {}
        self._calls_owed = False
        self._timer: threading.Timer | None = None
        self._bills: weakref.WeakSet[Bill] = weakref.WeakSet()
        # How many are moving costs from a bill to the ledger or the store, and how many want that to rest.
        self._traffic = threading.Condition()
        self._moving = self._resting = 0

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def keep_in(self, write: Callable[[Spent], None]) -> None:
        """Have what is owed written by this function. Without one it waits for the next transaction."""
        self._write = write

    @contextmanager
    def moving(self) -> Generator[None]:
        """Around whatever takes costs from one place to another: they are seen in neither, or in both."""
        self._check_process()
        traffic = self._traffic
        with traffic:
            while self._resting:
                traffic.wait()
            self._moving += 1
        try:
            yield
        finally:
            with traffic:
                self._moving -= 1
                if self._resting:
                    traffic.notify_all()

    @contextmanager
    def still(self) -> Generator[None]:
        """Inside the block every cost is in one place: on a bill, in the ledger, or in the store."""
        self._check_process()
        traffic = self._traffic
        with traffic:
            self._resting += 1
            try:
                while self._moving:
                    traffic.wait()
            except BaseException:  # interrupted: the others go on
                self._rested(traffic)
                raise
        try:
            yield
        finally:
            with traffic:
                self._rested(traffic)

    def _rested(self, traffic: threading.Condition) -> None:
        self._resting -= 1
        traffic.notify_all()

    def unwritten(self, owner: OwnerKey | None) -> Usage:
        """What one owner (None: everybody) has spent and the store does not know yet; while ``still``."""
        with self._lock:
            parts = [usage for (key, _), usage in self._owed.items() if owner is None or key == owner]
            parts += [bill.unwritten for bill in self._bills if owner is None or bill.owner == owner]
        return sum(parts, Usage())

    def opened(self, bill: Bill) -> None:
        """A bill is begun."""
        self._check_process()
        with self._lock:
            self._bills.add(bill)

    def owe(self, owner: OwnerKey | None, operation: str, usage: Usage) -> None:
        """Something was spent that no transaction holds yet."""
        self._check_process()
        with self._lock:
            self._add((owner, operation), usage)
            if self._timer is not None or self._write is None:
                return
            self._timer = timer = threading.Timer(WRITE_AFTER, self._settle_late)
        timer.name, timer.daemon = "memkit-ledger", True
        try:
            timer.start()
        except RuntimeError:  # no further thread is to be had: the next transaction or the end writes it
            self._timer = None

    @contextmanager
    def carried(self) -> Generator[Spent]:
        """Something of what is owed, for the caller to write inside the block; owed again if that raises.

        Nothing while somebody else is writing, and nothing if no call of a model is owed.
        """
        self._check_process()
        books = self._books
        if not self._calls_owed or not books.acquire(blocking=False):
            yield {}
            return
        try:
            with self._lock:
                taken = {key: self._owed.pop(key) for key in list(islice(self._owed, _CARRIED))}
                self._calls_owed = bool(self._owed)
            try:
                yield taken
            except BaseException:  # even an interrupt must not lose what was spent before
                self._give_back(taken)
                raise
        finally:
            books.release()

    def settle(self) -> None:
        """Write everything that is owed, and wait for what is being written.

        Raises:
            MemkitError: The store cannot be written. It is all still owed.
        """
        self._check_process()
        with self.moving(), self._books:
            if self._write is None:
                return
            with self._lock:
                owed, self._owed, self._calls_owed = self._owed, {}, False
            if not owed:
                return
            try:
                self._write(owed)
            except BaseException:
                self._give_back(owed)
                raise

    def close(self) -> None:
        """Write everything for the last time. Raises as ``settle``."""
        self._check_process()
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.settle()

    @contextmanager
    def steady(self) -> Generator[Spent]:
        """What is known here and not in the store; inside the block nothing moves from here to there."""
        self._check_process()
        with self._books:
            yield self._owed

    def forget(self) -> None:
        """Start at nothing."""
        with self._lock:
            self._owed = {}

    def _settle_late(self) -> None:
        self._timer = None
        try:
            self.settle()
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread; all of it is still owed
            _log.warning("what operations cost is not written yet: %s", type(error).__name__)

    def _give_back(self, spent: Spent) -> None:
        with self._lock:
            for key, usage in spent.items():
                self._add(key, usage)

    def _add(self, key: Key, usage: Usage) -> None:
        owed = self._owed
        if key not in owed and len(owed) >= _MAX_KEYS:
            key = (None, key[1])
        owed[key] = owed[key] + usage if key in owed else usage
        self._calls_owed = self._calls_owed or usage.called


class Bill:
    """What one operation has spent so far, and which part of that is still to be written.

    Args:
        owner: Whose costs they are, None for nobody's in particular.
        at_once: Owe every call to the ledger as it is made, for operations that run long.
    """

    def __init__(self, ledger: Ledger, owner: OwnerKey | None, operation: str, *, at_once: bool) -> None:
        self._ledger = ledger
        self._key = (owner, operation)
        self._at_once = at_once
        self._lock = threading.Lock()
        self._total = Usage()
        self._unwritten = Usage()
        self._started = self._written_until = time.perf_counter()
        self._ended: float | None = None
        self._closed = False
        ledger.opened(self)

    @property
    def owner(self) -> OwnerKey | None:
        """Whose costs they are."""
        return self._key[0]

    @property
    def unwritten(self) -> Usage:
        """What is neither written nor owed yet."""
        return self._unwritten

    @property
    def total(self) -> Usage:
        """Everything so far, with the time it took."""
        return self._total.timed((self._now() - self._started) * 1_000)

    def finish(self) -> Usage:
        """The whole bill, at the end of the operation: its clock stops."""
        self._ended = time.perf_counter()
        return self.total

    def spend(self, usage: Usage) -> None:
        """A model was called."""
        with self._lock:
            self._total += usage
        self._keep(usage, at_once=self._at_once)

    @contextmanager
    def carrying(self) -> Generator[Spent]:
        """What is to be written inside the block: this bill's part so far, and what others owe.

        If the block raises, all of it is still to be written. To be entered where the transaction is made:
        a caller that is cancelled meanwhile does not know what became of it.
        """
        with self._ledger.moving(), self._ledger.carried() as owed:
            own = self._take()
            try:
                yield {**owed, self._key: owed[self._key] + own if self._key in owed else own}
            except BaseException:  # even an interrupt must not lose what was spent before
                self._keep(own)
                raise

    def close(self) -> bool:
        """Owe the ledger what is left, time alone only if the operation was finished.

        Returns:
            Whether a part that a model's call cost is not known to be written.
        """
        with self._ledger.moving():
            with self._lock:
                self._closed = True  # what a cancelled call spends from now on is owed at once
            rest = self._take()
            left = self._total if self._at_once else rest
            if left.called or self._ended is not None:
                self._ledger.owe(*self._key, rest)
        return left.called

    def _now(self) -> float:
        return time.perf_counter() if self._ended is None else self._ended

    def _take(self) -> Usage:
        with self._lock:
            now, rest = self._now(), self._unwritten
            taken = rest.timed(rest.milliseconds + (now - self._written_until) * 1_000)
            self._unwritten, self._written_until = Usage(), now
            return taken

    def _keep(self, usage: Usage, *, at_once: bool = False) -> None:
        with self._lock:
            if not at_once and not self._closed:
                self._unwritten += usage
                return
        self._ledger.owe(*self._key, usage)
