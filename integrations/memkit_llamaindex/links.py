"""From a name that can be written as JSON to the open memory that it means, in this process or the next."""

from __future__ import annotations

import threading
import uuid
import weakref
from typing import Any, Final, TypeAlias

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import Lent, lend
from memkit_core.errors import UsageError

AnyMemory: TypeAlias = Memory | AsyncMemory

_lock: Final = threading.Lock()
#: Which open memory a store's name means. Weak: who opened a memory says how long it lives.
_known: Final[weakref.WeakValueDictionary[str, AnyMemory]] = weakref.WeakValueDictionary()
#: The names of memories without a file. Two of them are never taken for one another.
_names: Final[weakref.WeakKeyDictionary[AnyMemory, str]] = weakref.WeakKeyDictionary()


def attach(memory: Memory | AsyncMemory) -> str:
    """The name of its store, under which adapters that were read back from JSON find this open memory.

    A ``MemkitMemory`` or ``MemkitMemoryBlock`` that is made with a memory attaches it by itself. In a new
    process, attach the reopened memory before a restored context is used. The last one attached counts.

    Raises:
        UsageError: It is no memory, or it is closed.
    """
    location = lend(memory).location
    with _lock:
        name = location
        if location.endswith(" in memory"):
            # All of these are called the same.
            name = _names.setdefault(memory, f"{location}#{uuid.uuid4().hex}")
        _known[name] = memory
    return name


class Link:
    """A store's name and, once it is needed, the open memory behind it. Copies and pickles by its name."""

    __slots__ = ("_memory", "store")

    def __init__(self, store: str, memory: AnyMemory | None = None) -> None:
        self.store = store
        self._memory = memory

    @classmethod
    def of(cls, memory: AnyMemory | None, store: str | None) -> Link:
        """The link to an open memory, or to the one that a name will mean.

        Raises:
            UsageError: There is neither, they are two, or the memory is closed.
        """
        if memory is not None:
            made = cls(attach(memory), memory)
            if store not in (None, made.store):
                raise UsageError(f"store is not the one of memory, {made.store}: pass memory alone")
            return made
        if not isinstance(store, str) or not store:
            raise UsageError("no memory: pass memory=…")
        return cls(store)

    def __deepcopy__(self, memo: dict[int, Any]) -> Link:
        return self

    def __reduce__(self) -> tuple[type[Link], tuple[str]]:
        return (Link, (self.store,))

    def lent(self) -> Lent:
        """What the open memory lends.

        Raises:
            UsageError: No memory is attached for the store, or it is closed.
        """
        if self._memory is not None:
            try:
                return lend(self._memory)
            except UsageError:
                # Closed: whoever reopened the store has attached another one.
                if _known.get(self.store) in (None, self._memory):
                    raise
        self._memory = _known.get(self.store)
        if self._memory is None:
            raise UsageError(
                f"no open memory is attached for {self.store}: open it and call"
                " memkit_llamaindex.attach(memory) before using what was restored"
            )
        return lend(self._memory)
