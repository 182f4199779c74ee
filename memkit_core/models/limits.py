"""What keeps calls of a model back: a circuit breaker, and limits on requests and tokens.

Both drivers share them: they only ever say how long to wait, and the runtime waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from ..errors import ModelUnavailableError
from .transient import is_transient, locks_out

#: Between two looks at whether another request is allowed, in seconds.
_LOOK_AGAIN: Final = (0.005, 0.25)


class Sleeper(Protocol):
    """What can wait."""

    async def sleep(self, seconds: float) -> None:
        """Nothing, later."""
        ...


class Breaker:
    """Stops asking a model that failed ``failures`` times in a row; after ``seconds`` one call is a trial.

    A call has failed when all its attempts have. Failures that concern the question alone (a bad request)
    say nothing about the model and do not count.
    """

    def __init__(
        self, name: str, *, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._open_until: float | None = None
        self._trial: object | None = None
        self._last = ""

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Around a call.

        Raises:
            ModelUnavailableError: Nothing is to be asked now.
        """
        trial = self._enter()
        try:
            yield
        except BaseException as error:
            self._leave(trial, error)
            raise
        self._leave(trial, None)

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``trial``: calls go through, none do, one is on its way."""
        with self._lock:
            if self._open_until is None:
                return "closed"
            return "open" if self._trial is None else "trial"

    @property
    def detail(self) -> str:
        """In words."""
        with self._lock:
            if self._open_until is None:
                return "" if not self._in_a_row else f"{self._in_a_row} failures in a row ({self._last})"
            left = max(0.0, self._open_until - self._clock())
            then = "a trial call is on its way" if self._trial else f"asked again in {left:.0f} s"
            return f"{self._in_a_row} failures in a row ({self._last}): {then}"

    def _enter(self) -> object | None:
        with self._lock:
            if self._open_until is None:
                return None
            left = self._open_until - self._clock()
            if left > 0 or self._trial is not None:
                raise ModelUnavailableError(
                    f"{self.name} is not asked, since it failed {self._in_a_row} times in a row, at last "
                    f"with {self._last}; it is tried again in {max(0.0, left):.0f} s",
                    retry_after=max(0.0, left),
                )
            self._trial = object()
            return self._trial

    def _leave(self, trial: object | None, error: BaseException | None) -> None:
        with self._lock:
            mine = trial is not None and trial is self._trial
            if mine:
                self._trial = None
            if error is None:
                if mine or self._open_until is None:  # a call from before it opened closes nothing
                    self._in_a_row, self._open_until, self._last = 0, None, ""
            elif is_transient(error) or locks_out(error):
                self._in_a_row += 1
                self._last = type(error.__cause__ or error).__name__
                if self._in_a_row >= self._failures and (mine or self._open_until is None):
                    self._open_until = self._clock() + self._seconds


class TokenBucket:
    """Tokens per minute. A call takes what it is expected to need; what it then took is put right.

    It may go into debt: then the next one waits longer. Whoever takes first, goes first.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._rate = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        self._level = self._most
        self._at = clock()

    def take(self, tokens: float) -> float:
        """Take tokens; less than 0 gives some back.

        Returns:
            Seconds to wait until they are there.
        """
        with self._lock:
            now = self._clock()
            self._level = min(self._most, self._level + (now - self._at) * self._rate) - tokens
            self._at = now
            return max(0.0, -self._level / self._rate)


class RateLimits:
    """Requests per second by LangChain's limiter and tokens per minute, over all threads and event loops."""

    def __init__(self, requests_per_second: float | None, tokens_per_minute: int | None) -> None:
        self._per_second = requests_per_second
        self._bucket = None if tokens_per_minute is None else TokenBucket(tokens_per_minute)
        self._lock = threading.Lock()
        self._limiter: Any = None

    async def wait(self, rt: Sleeper, tokens: int) -> None:
        """Return when a call that needs about so many tokens may be made."""
        if self._bucket is not None:
            seconds = self._bucket.take(tokens)
            if seconds:
                try:
                    await rt.sleep(seconds)
                except BaseException:  # cancelled: the tokens were not used
                    self._bucket.take(-tokens)
                    raise
        if self._per_second is None:
            return
        limiter = self._requests(self._per_second)
        pause = min(max(1 / self._per_second / 4, _LOOK_AGAIN[0]), _LOOK_AGAIN[1])
        while not limiter.acquire(blocking=False):
            await rt.sleep(pause)

    def correct(self, estimated: int, actual: int) -> None:
        """A call needed other than expected. One that reports no tokens is taken to have needed those."""
        if self._bucket is not None and actual:
            self._bucket.take(actual - estimated)

    def _requests(self, per_second: float) -> Any:
        with self._lock:
            if self._limiter is None:
                from langchain_core.rate_limiters import InMemoryRateLimiter

                self._limiter = InMemoryRateLimiter(
                    requests_per_second=per_second, max_bucket_size=max(1.0, per_second)
                )
            return self._limiter
