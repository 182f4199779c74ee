"""What operations cost, until it is written down."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from .types import OwnerKey, Usage

#: Owners that searches are told apart for in one process; the searches of others count as nobody's.
_MAX_OWNERS: Final = 10_000
#: The operations whose costs are written.
_WRITTEN: Final = ("add", "update", "reindex")
Key = tuple[OwnerKey | None, str]


class Ledger:
    """The costs of one engine's operations, by owner and operation. Safe to use from several threads.

    What an ``add`` costs is written in the same transaction as its outcome. What is known only afterwards
    (how long it took, what a failed attempt cost) is owed, and written with the owner's next commit or at
    the end. Searches write nothing, so theirs are kept here alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[Key, Usage] = {}
        self._searches: dict[Key, Usage] = {}

    def owe(self, owner: OwnerKey | None, operation: str, usage: Usage) -> None:
        """Something was spent that no transaction holds yet."""
        with self._lock:
            key = (owner, operation)
            self._owed[key] = self._owed.get(key, Usage()) + usage

    def take(self, owner: OwnerKey | None) -> dict[str, Usage]:
        """What is owed for an owner, by operation; from now on the caller's to write."""
        with self._lock:
            return {
                operation: self._owed.pop((owner, operation))
                for operation in _WRITTEN
                if (owner, operation) in self._owed
            }

    def take_all(self) -> dict[Key, Usage]:
        """Everything that is owed; from now on the caller's to write."""
        with self._lock:
            owed, self._owed = self._owed, {}
            return owed

    def give_back(self, owner: OwnerKey | None, usage: Mapping[str, Usage]) -> None:
        """What could not be written after all."""
        for operation, spent in usage.items():
            self.owe(owner, operation, spent)

    def searched(self, owner: OwnerKey, usage: Usage) -> None:
        """A search was made."""
        with self._lock:
            key: Key = (owner, "search")
            if key not in self._searches and len(self._searches) >= _MAX_OWNERS:
                key = (None, "search")
            self._searches[key] = self._searches.get(key, Usage()) + usage

    def unwritten(self) -> dict[Key, Usage]:
        """What is known here and not in the store."""
        with self._lock:
            return {**self._searches, **self._owed}

    def forget(self) -> None:
        """Start at nothing."""
        with self._lock:
            self._owed, self._searches = {}, {}
