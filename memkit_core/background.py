"""What goes on behind the callers' backs: batches that wait to be extracted, a few owners at once.

What waits is in the store. Here stand only its ids, how large it is and since when it waits; what is lost
here, with a process or for want of room, is found again by a sweep, a ``flush`` or the next opening.
"""

from __future__ import annotations

import contextvars
import heapq
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

from .errors import MemkitError
from .hooks import needs_loop
from .pipeline.batching import Worked, work_off
from .pipeline.flush import flush
from .pipeline.services import Services
from .protocols import Runtime
from .results import FlushResult
from .runtime import Workers, drive
from .types import Micros, OwnerKey

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Batches younger than this that nobody has tried yet may be in another process's hands, in microseconds.
RESUME_AGE: Final[Micros] = 60_000_000
#: How often what is pending is looked through while something is, in seconds.
_SWEEP_SECONDS: Final = 30.0
#: How many batches are remembered here at most; a sweep finds those beyond.
_MOST_WAITING: Final = 100_000


@dataclass(slots=True)
class _Queue:
    """One owner's waiting batches: id, estimated tokens, since when. ``hurried``: so many may not wait."""

    batches: deque[tuple[str, int, float]] = field(default_factory=deque[tuple[str, int, float]])
    tokens: int = 0
    hurried: int = 0


class _InTime:
    """Whether there is time left; ``is_over`` once it was not."""

    def __init__(self, until: float | None) -> None:
        self._until = until
        self.is_over = False

    def __call__(self) -> bool:
        self.is_over = self._until is not None and time.monotonic() >= self._until
        return not self.is_over


class Background:
    """The jobs of one engine. Every method may be called from any thread.

    Args:
        rt: The blocking runtime that jobs run under, each in an empty context.
    """

    def __init__(self, services: Services, rt: Runtime) -> None:
        self._services = services
        self._rt = rt
        self._policy = services.policies.background
        self._workers = Workers(self._policy.concurrency, "memkit-background")
        self._closed = False
        #: Whether batches can be extracted here: there is a model, and no hook that needs its caller's loop.
        self.able = services.chat is not None and not needs_loop(services.hooks)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._jobs: set[Future[Any]] = set()
        self._queues: dict[OwnerKey, _Queue] = {}
        self._size = 0
        self._ready: dict[OwnerKey, None] = {}  # in the order they became so
        self._busy: set[OwnerKey] = set()
        self._due: list[tuple[float, int, OwnerKey]] = []  # a heap; what is out of date is passed over
        self._numbers = count()
        self._sweep_at: float | None = None
        self._timer: threading.Timer | None = None
        self._timer_at = 0.0

    def check_process(self) -> None:
        """Forget what is the parent's, in a forked child."""
        if self._pid != os.getpid():
            self._begin()

    def _go_on(self) -> bool:
        return not self._closed

    # ------------------------------------------------------------ jobs

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a pipeline coroutine later, on a thread of its own and in an empty context.

        Raises:
            UsageError: The memory was closed. The coroutine does not run.
        """
        self.check_process()
        try:
            with self._lock:
                return self._submit(lambda: _in_empty_context(work))
        except BaseException:
            work.close()
            raise

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        job = self._workers.executor.submit(work)
        self._jobs.add(job)
        job.add_done_callback(self._done)
        return job

    def _done(self, job: Future[Any]) -> None:
        self._jobs.discard(job)  # one atomic operation: the lock may be held by whoever submits
        error = None if job.cancelled() else job.exception()
        if error is not None:  # nobody waits for the job; what it worked on is still pending
            _log.error("background work failed: %s", type(error).__name__)

    def _running(self) -> list[Future[Any]]:
        return [job for job in list(self._jobs) if not job.done()]

    # ------------------------------------------------------------ waiting batches

    def enqueue(self, owner: OwnerKey, batch_id: str, tokens: int) -> None:
        """Have a stored batch extracted, with others of its owner if they come soon enough.

        Args:
            tokens: Estimated tokens of its messages.
        """
        self.check_process()
        with self._lock:
            if self._closed or self._size >= _MOST_WAITING:
                self._sweep_later()
                return
            queue = self._queues.setdefault(owner, _Queue())
            queue.batches.append((batch_id, tokens, time.monotonic()))
            queue.tokens += tokens
            self._size += 1
            if len(queue.batches) == 1 or queue.tokens >= self._policy.batch_tokens:
                self._place(owner, queue)
                self._dispatch()

    def _place(self, owner: OwnerKey, queue: _Queue) -> None:
        """Say when an owner is to be worked on: now, or when the oldest batch has waited long enough."""
        due = queue.batches[0][2] + self._policy.batch_seconds
        if queue.hurried or queue.tokens >= self._policy.batch_tokens or due <= time.monotonic():
            self._ready[owner] = None
        else:
            heapq.heappush(self._due, (due, next(self._numbers), owner))

    def _dispatch(self) -> None:
        """Start as many owners as may be worked on at once."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            owner = heapq.heappop(self._due)[2]
            if owner in self._queues and owner not in self._ready:
                self._place(owner, self._queues[owner])
        chosen: list[OwnerKey] = []
        for owner in self._ready:
            if len(self._busy) + len(chosen) >= self._policy.concurrency:
                break
            if owner not in self._busy:
                chosen.append(owner)
        for owner in chosen:
            self._start(owner)
        self._arm()

    def _start(self, owner: OwnerKey) -> None:
        del self._ready[owner]
        queue, ids, tokens = self._queues[owner], list[str](), 0
        while queue.batches and (not ids or tokens + queue.batches[0][1] <= self._policy.batch_tokens):
            batch_id, size, _ = queue.batches.popleft()
            ids.append(batch_id)
            tokens += size
        self._size -= len(ids)
        queue.tokens -= tokens
        queue.hurried = max(0, queue.hurried - len(ids))
        if queue.batches:
            self._place(owner, queue)
        else:
            del self._queues[owner]
        self._busy.add(owner)
        try:
            self._submit(partial(self._work, owner, ids))
        except RuntimeError:  # the interpreter ends and starts no thread: they stay pending
            self._busy.discard(owner)
            self._closed = True

    def _work(self, owner: OwnerKey, ids: list[str]) -> Worked:
        failed = True
        try:
            worked = _in_empty_context(
                work_off(self._rt, self._services, owner=owner, batch_ids=ids, go_on=self._go_on)
            )
            failed = bool(worked.failed)
            return worked
        finally:
            with self._lock:
                self._busy.discard(owner)
                if failed:
                    self._sweep_later()
                if not self._closed:
                    self._dispatch()

    async def drain(self, rt: Runtime, seconds: float | None) -> tuple[Worked, bool]:
        """Work off everything that waits here now, and wait for whatever runs.

        Returns:
            What came of it, and whether it came to an end in time. If not, the work goes on.
        """
        self.check_process()
        until = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            for owner, queue in self._queues.items():
                queue.hurried = len(queue.batches)
                self._ready[owner] = None
            self._dispatch()
        worked = Worked()
        while True:
            with self._lock:
                waiting = sum(queue.hurried for queue in self._queues.values())
            jobs = self._running()  # looked at last: what does not wait any more is among them, or done
            left = None if until is None else max(0.0, until - time.monotonic())
            unfinished = await rt.wait(jobs, left)
            for job in jobs:
                found = job.result() if job.done() and job.exception() is None else None
                if isinstance(found, Worked):
                    worked.add(found)
            if unfinished or not waiting:
                return worked, not unfinished

    # ------------------------------------------------------------ everything pending

    async def resume(self) -> None:
        """Take up what an earlier process left pending; under the blocking runtime."""
        before = self._services.clock() - RESUME_AGE
        left = await flush(self._rt, self._services, recorded_before=before, go_on=self._go_on)
        if left.pending:
            self.sweep_later()

    async def flush(self, rt: Runtime, seconds: float | None) -> FlushResult:
        """Work off everything that waits or failed before, without waiting for more or for its time.

        With a limit in time that happens in the background; without one, on the caller's runtime. What is
        not done in time goes on.
        """
        if seconds is not None and seconds > threading.TIMEOUT_MAX:  # centuries, or infinity: no limit
            seconds = None
        until = None if seconds is None else time.monotonic() + seconds
        worked, ended = await self.drain(rt, seconds)
        tried = tuple(worked.tried)
        rest: FlushResult | None = None
        if ended and (until is None or not self.able):
            # Where the background cannot do it, no extraction is begun when the time is over.
            in_time = _InTime(until)
            rest = await flush(rt, self._services, except_ids=tried, early=True, go_on=in_time)
            rest = rest.model_copy(update={"timed_out": in_time.is_over and rest.pending > 0})
        elif ended and until is not None:
            job = self.run(flush(self._rt, self._services, except_ids=tried, early=True, go_on=self._go_on))
            if not await rt.wait([job], max(0.0, until - time.monotonic())):
                rest = job.result()
        if rest is None:
            left = await rt.call(self._services.store.pending_batches)
            rest = FlushResult(pending=left, timed_out=True)
        return rest.model_copy(
            update={"completed": worked.completed + rest.completed, "failed": worked.failed + rest.failed}
        )

    # ------------------------------------------------------------ time

    def sweep_later(self) -> None:
        """Look through what is pending in a while, and again as long as something is."""
        self.check_process()
        with self._lock:
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self.able and self._sweep_at is None and not self._closed:
            self._sweep_at = time.monotonic() + _SWEEP_SECONDS
            self._arm()

    def _sweep(self) -> Worked:
        """Take up what failed before and what nobody has taken up, if its time has come."""
        services = self._services
        try:
            before = services.clock() - RESUME_AGE
            return _in_empty_context(work_off(self._rt, services, recorded_before=before, go_on=self._go_on))
        finally:
            if not self._closed and services.store.pending_batches():
                self.sweep_later()

    def _arm(self) -> None:
        """Have ``_tick`` called when the next thing is due."""
        times = [self._due[0][0]] if self._due else []
        times += [] if self._sweep_at is None else [self._sweep_at]
        if self._closed or not times or (self._timer is not None and self._timer_at <= min(times)):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = min(times)
        seconds = max(0.0, self._timer_at - time.monotonic())
        self._timer = threading.Timer(seconds, _tick, (weakref.ref(self),))
        self._timer.daemon = True
        self._timer.start()

    def tick(self) -> None:
        """Start what is due."""
        with self._lock:
            self._timer = None
            if self._closed:
                return
            if self._sweep_at is not None and self._sweep_at <= time.monotonic():
                self._sweep_at = None
                try:
                    self._submit(self._sweep)
                except RuntimeError:  # the interpreter ends and starts no thread
                    self._closed = True
                    return
            self._dispatch()

    def close(self) -> None:
        """End what runs after the extraction in hand. What waits stays pending, for whoever opens next."""
        self.check_process()
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            ids = [batch[0] for queue in self._queues.values() for batch in queue.batches]
            self._queues.clear()
            self._ready.clear()
        self._workers.close()
        services = self._services
        try:
            # A claim that is over at once: to others these are not a living process's any more.
            while ids:
                now, some = services.clock(), ids[-1_000:]
                del ids[-1_000:]
                services.store.claim_batches(limit=len(some), now=now, lease_micros=0, batch_ids=some)
        except MemkitError as error:
            _log.warning("waiting batches could not be passed on at once: %s", type(error).__name__)


def _in_empty_context(work: Coroutine[Any, Any, T]) -> T:
    # A finished run's traces must not receive what happens here.
    return contextvars.Context().run(drive, work)


def _tick(background: weakref.ref[Background]) -> None:
    found = background()
    if found is not None:
        found.tick()
