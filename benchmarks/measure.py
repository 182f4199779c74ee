"""Clocks. CPU is that of the whole process, threads of its own included."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Values by figure. A name that ends in ``.cpu`` or ``.wall`` is in milliseconds.
Values = defaultdict[str, list[float]]


def values() -> Values:
    return defaultdict(list)


@contextmanager
def timed(into: Values, name: str, *, per: int = 1) -> Iterator[None]:
    """CPU and wall time of the block in milliseconds, divided by ``per``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into[f"{name}.cpu"].append((time.process_time() - cpu) * 1_000 / per)
    into[f"{name}.wall"].append((time.perf_counter() - wall) * 1_000 / per)


def repeat(work: Callable[[], None], *, times: int, seconds: float) -> None:
    """Do it ``times`` times, or as often as fits into the seconds, but at least once."""
    until = time.perf_counter() + seconds
    for _ in range(times):
        work()
        if time.perf_counter() >= until:
            return


class Ticker:
    """Asks the running loop for a turn every millisecond; ``longest`` is the longest wait in milliseconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.01)  # a task's first turn is no gap
        self.longest = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.005)  # a gap that lasts until now is one too
        self._task.cancel()

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest = max(self.longest, (now - last) * 1_000)
            last = now


def resident_mb() -> float:
    """Memory of this process now; where the system does not tell, the most it ever had."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1e3


def folder_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
