"""Opening a saver with a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from memkit_core import Memory
from memkit_core.errors import UsageError

if TYPE_CHECKING:
    from .saver import MemkitSaver


class SaverOpening:
    """Opens a saver when a ``with`` or ``async with`` block begins, and closes its database behind it."""

    def __init__(self, conn_string: str, make: Callable[[Memory], MemkitSaver]) -> None:
        self._conn_string = conn_string
        self._make = make
        self._open: tuple[MemkitSaver, Memory] | None = None

    def __enter__(self) -> MemkitSaver:
        if self._open is not None:
            raise UsageError("this saver is open already: from_conn_string makes another one")
        memory = Memory(llm="verbatim", embedder="none", store=self._conn_string)
        try:
            saver = self._make(memory)
        except BaseException:  # nothing stays open when opening fails
            memory.close()
            raise
        self._open = saver, memory
        return saver

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            (_, memory), self._open = self._open, None
            memory.close()

    async def __aenter__(self) -> MemkitSaver:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
