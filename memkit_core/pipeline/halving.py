"""Work that a model's context has no room for, done in two halves, and these in halves again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import PromptTooLongError
from ..protocols import Runtime

T = TypeVar("T")
R = TypeVar("R")


async def in_halves(
    rt: Runtime,
    whole: T,
    work: Callable[[T], Coroutine[Any, Any, R]],
    halves: Callable[[T], tuple[T, T] | None],
) -> list[R]:
    """What the work gives: once for the whole, or, if that is too long for the model, for each of its parts.

    Args:
        halves: Cuts what was too long in two; None if it cannot be cut any more.

    Raises:
        PromptTooLongError: What cannot be cut is still too long.
        Exception: Whatever else the work raised.
    """
    try:
        return [await work(whole)]
    except PromptTooLongError:
        parts = halves(whole)
        if parts is None:
            raise
    results = await rt.gather(*(in_halves(rt, part, work, halves) for part in parts))
    return [result for row in results for result in row]
