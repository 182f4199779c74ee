"""Calls about one thing, one after the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_STRIPES: Final = 64
#: Whoever waits longer goes on: somebody's hook may wait for this very call.
_PATIENCE: Final = 10.0


class Turns:
    """Locks for names, in this process: those of a process that it was forked from do not count."""

    def __init__(self) -> None:
        self._locks: dict[int, list[threading.RLock]] = {}  # by process

    @contextmanager
    def of(self, *names: str) -> Generator[None]:
        """Wait for the calls about the same names that are under way, for some seconds at most."""
        locks = self._locks.get(os.getpid())
        if locks is None:
            locks = self._locks.setdefault(os.getpid(), [threading.RLock() for _ in range(_STRIPES)])
        lock = locks[hash(names) % _STRIPES]
        held = lock.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if held:
                lock.release()
