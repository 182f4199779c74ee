"""What is worked out when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - it is used as a decorator, as ``property`` is
    """Like ``functools.cached_property``, without its lock.

    Up to Python 3.11 that has one lock for all objects of a class: threads that read different messages would
    wait for each other, and an event loop among them. Two threads may work out the same value here; it is
    the same for both.
    """

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, holder: None, kind: type) -> lazy[T]: ...

    @overload
    def __get__(self, holder: object, kind: type) -> T: ...

    def __get__(self, holder: object | None, kind: type) -> T | lazy[T]:
        """The value; from then on it is an attribute of its own."""
        if holder is None:
            return self
        value = holder.__dict__[self._name] = self._work(holder)
        return value
