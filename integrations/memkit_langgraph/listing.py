"""Which page of checkpoints comes next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memkit_core.errors import UsageError
from memkit_core.protocols import CheckpointQuestion, Place, StoredCheckpoint

from .encryption import MissingKeyError
from .places import checked, checkpoint_in

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: The first page is small, since many callers want one checkpoint; later ones are read at less cost each.
_FIRST_PAGE: Final = 16
_LARGEST_PAGE: Final = 256


class Listing:
    """A walk over checkpoints, page by page.

    Raises:
        UsageError: ``limit`` is negative.
    """

    def __init__(
        self, config: RunnableConfig | None, before: RunnableConfig | None, limit: int | None
    ) -> None:
        if limit is not None and limit < 0:
            raise UsageError(f"limit must not be negative, it is {limit}")
        names: Mapping[str, Any] = {} if config is None else config.get("configurable", {})
        thread = names.get("thread_id")
        if config is not None and thread is None:
            raise UsageError("list needs {'configurable': {'thread_id': …}}, or None for all threads")
        namespace: object = names.get("checkpoint_ns")
        self._thread = None if thread is None else checked(str(thread))
        self._namespace = None if namespace is None else checked(str(namespace))
        self._checkpoint = None if config is None else checkpoint_in(config)
        self._before = None if before is None else checkpoint_in(before)
        self._told = False
        self._left = limit
        self._size = _FIRST_PAGE
        self._last: Place | None = None
        self._ended = limit == 0

    def question(self) -> CheckpointQuestion | None:
        """What to ask the store for, None at the end."""
        if self._ended:
            return None
        return CheckpointQuestion(
            thread_id=self._thread,
            namespace=self._namespace,
            checkpoint_id=self._checkpoint,
            before=self._before,
            after=self._last,
            limit=self._size,
        )

    def page(self, found: Sequence[StoredCheckpoint]) -> Sequence[StoredCheckpoint]:
        """The same page, after which the next one is asked for."""
        self._ended = len(found) < self._size
        self._size = min(self._size * 2, _LARGEST_PAGE)
        if found:
            self._last = found[-1].place
        return found

    def whole(self, read: Callable[[], T]) -> T | None:
        """What ``read`` returns; in a listing of all threads, None for what another key has encrypted."""
        try:
            return read()
        except MissingKeyError:
            if self._thread is not None:
                raise
            if not self._told:
                logger.warning("a listing of all threads leaves out those that another key has encrypted")
            self._told = True
            return None

    def given(self) -> bool:
        """One more was handed out; returns whether it was the last one."""
        if self._left is None:
            return False
        self._left -= 1
        return self._left == 0
