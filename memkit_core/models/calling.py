"""How models are called: with retries, behind a circuit breaker, within limits. The one place for it."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, TypeVar, cast

from ..policies import ResiliencePolicy
from ..types import Usage
from .limits import Breaker, RateLimits, Sleeper
from .messages import content_text
from .transient import is_transient, retry_after

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: The longest wait before the second attempt, in seconds; it doubles with each further one.
_FIRST_WAIT: Final = 0.5
#: What an image or another block that is no text is taken to cost, in tokens.
_BLOCK_TOKENS: Final = 1_500


@dataclass(slots=True)
class Target:
    """What is invoked, and the chat model behind it: it may be wrapped to answer in a certain shape.

    A runtime can call it like any runnable.

    Attributes:
        accounted: Whoever calls it keeps account. ``spent``: what all attempts cost.
    """

    model: Any
    runnable: Any
    spent: Usage = field(default_factory=Usage)
    accounted: bool = False

    def invoke(self, messages: Any, config: Any = None) -> Any:
        """The runnable's reply."""
        return self.runnable.invoke(messages, config)

    async def ainvoke(self, messages: Any, config: Any = None) -> Any:
        """The runnable's reply."""
        return await self.runnable.ainvoke(messages, config)


def models_of(model: Any) -> tuple[Any, ...]:
    """A chat model and its fallbacks, each for itself, in the order they are asked.

    What LangChain's ``with_fallbacks`` makes is taken apart: each model is asked in the best way that it
    knows, has a breaker of its own, and what a failed one cost is not lost.
    """
    if type(model).__name__ != "RunnableWithFallbacks":
        return (model,)
    return tuple(one for part in (model.runnable, *model.fallbacks) for one in models_of(part))


def may_fall_back(model: Any, error: BaseException) -> bool:
    """Whether a failure of one of its models sends the question to the next one."""
    kinds = getattr(model, "exceptions_to_handle", (Exception,))
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds)


class Caller:
    """Calls models as a policy says. One for each engine; safe from any thread and event loop."""

    def __init__(
        self,
        policy: ResiliencePolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy or ResiliencePolicy()
        self.limits = RateLimits(self.policy.requests_per_second, self.policy.tokens_per_minute)
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = Lock()
        self._breakers: dict[int, tuple[weakref.ref[Any], Breaker]] = {}

    async def chat(self, rt: Sleeper, model: Any, tokens: int, once: Callable[[], Awaitable[T]]) -> T:
        """The result of ``once``, a single call of a chat model, tried again if it fails in passing.

        Args:
            tokens: What the prompt is expected to need.

        Raises:
            ModelUnavailableError: The model failed too often in a row; it was not called now.
            Exception: Whatever ``once`` raised at last.
        """

        async def attempt() -> T:
            await self.limits.wait(rt, tokens)
            return await once()

        with self.breaker(model).admitted():
            return await self._retried(rt, attempt)

    async def embed(self, rt: Sleeper, model: Any, once: Callable[[], Awaitable[T]]) -> T:
        """The same for an embedding model, without the limits on requests and tokens."""
        if getattr(model, "local", False):
            return await once()
        with self.breaker(model).admitted():
            return await self._retried(rt, once)

    def breaker(self, model: Any) -> Breaker:
        """The breaker of a model, the same for whatever is bound to it."""
        while "bound" in getattr(cast("object", type(model)), "model_fields", ()):  # bind(), with_config()
            model = model.bound
        with self._lock:
            reference, found = self._breakers.get(id(model), (None, None))
            if found is not None and reference is not None and reference() is model:
                return found
            policy = self.policy
            breaker = Breaker(
                str(getattr(model, "label", type(model).__name__)),
                failures=policy.breaker_failures,
                seconds=policy.breaker_seconds,
                clock=self._clock,
            )
            try:
                reference = weakref.ref(model)
            except TypeError:
                return breaker  # it cannot be told from another one later
            self._breakers = {key: entry for key, entry in self._breakers.items() if entry[0]() is not None}
            self._breakers[id(model)] = (reference, breaker)
            return breaker

    async def _retried(self, rt: Sleeper, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await attempt()
        except Exception as error:  # whatever it is, only what may pass is tried again
            if self.policy.attempts == 1 or not is_transient(error):
                raise
            failed: list[Exception] = [error]

        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        async def again() -> T:
            if (
                failed
            ):  # the first attempt was made without the machinery, which costs as much as a small write
                raise failed.pop()
            return await attempt()

        retrying = AsyncRetrying(
            sleep=rt.sleep,
            stop=stop_after_attempt(self.policy.attempts),
            wait=self._pause,
            retry=retry_if_exception(is_transient),
            reraise=True,
        )
        return await retrying(again)

    def _pause(self, state: Any) -> float:
        """Seconds before the next attempt: a random part of a doubling span, behind what was asked for."""
        from tenacity import wait_random_exponential

        error: BaseException = state.outcome.exception()
        _log.debug("attempt %d failed: %s", state.attempt_number, type(error).__name__)
        random = wait_random_exponential(multiplier=_FIRST_WAIT, max=self.policy.max_wait)(state)
        return min(self.policy.max_wait, retry_after(error, now=self._wall_clock()) + random)


def prompt_bytes(messages: Any) -> int:
    """The size of a prompt: more than its tokens, whatever the tokenizer."""
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        return len(str(messages).encode("utf-8", "replace"))
    return sum(_size(message) for message in messages)  # pyright: ignore[reportUnknownVariableType]


def estimated_tokens(size: int) -> int:
    """What a prompt of so many bytes needs, roughly: a token for every four."""
    return size // 4 + 1


def _size(message: Any) -> int:
    if isinstance(message, tuple | list):
        parts = cast("Sequence[Any]", message)
        message = parts[-1] if parts else ""
    text = content_text(message)
    content: Any = getattr(message, "content", None)
    blocks: list[Any] = content if isinstance(content, list) else []  # pyright: ignore[reportUnknownVariableType]
    others = [block for block in blocks if _is_no_text(block)]
    return len(text.encode("utf-8", "replace")) + 4 * _BLOCK_TOKENS * len(others)


def _is_no_text(block: Any) -> bool:
    return not isinstance(block, str) and not (isinstance(block, dict) and "text" in block)
