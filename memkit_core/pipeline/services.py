"""What every stage of the pipeline is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..budgets import Budgets
from ..hooks import Hook
from ..ledger import Ledger
from ..models.calling import Caller
from ..models.embed import Embedder
from ..policies import Policies
from ..protocols import RecordStore, VectorIndex
from ..types import EmbeddingIdentity, Micros


def now_micros() -> Micros:
    """The present instant."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Numbers of the machinery; what concerns the outcome stands in ``Policies``.

    Attributes:
        exact_scan_units: Owners with at most so many memories and turns are always searched exactly by the
            record store; above it the proposals of a vector index stand for that, if there is one.
        index_seconds: How long a write goes on with pending index work before it leaves the rest for later.
        decide_attempts: How often a decision is taken before a batch is left for later, if others write
            to the same owner meanwhile.
    """

    decide_attempts: int = 4
    exact_scan_units: int = 20_000
    index_seconds: float = 5.0


@dataclass(slots=True)
class Known:
    """What an engine has found out about its store; apart from the last, each field only saves a look-up.

    Attributes:
        index_lost: The derived index was seen to lack entries. True until it has been rebuilt.
    """

    identity: EmbeddingIdentity | None = None
    metadata_keys: frozenset[str] = frozenset()
    index_lost: bool = False


class InFlight:
    """What calls of this process are at work on: batches, which ``flush`` then leaves alone, and indexes."""

    def __init__(self) -> None:
        self._since: dict[str, Micros] = {}  # every use is one atomic operation of a dict
        self._indexing: dict[str, object] = {}

    def enter(self, batch_id: str, recorded_at: Micros) -> None:
        """A call begins."""
        self._since[batch_id] = recorded_at

    def leave(self, batch_id: str) -> None:
        """It is over, whatever came of it."""
        self._since.pop(batch_id, None)

    def holds(self, batch_id: str) -> bool:
        """Whether a call is at work on a batch."""
        return batch_id in self._since

    def begin_indexing(self, name: str) -> bool:
        """Whether the caller is now the one that brings an index up to date; False if another call is."""
        mine = object()
        return self._indexing.setdefault(name, mine) is mine

    def end_indexing(self, name: str) -> None:
        """Somebody else may."""
        self._indexing.pop(name, None)

    @property
    def oldest(self) -> Micros | None:
        """Since when the oldest of them is recorded, None if there is none."""
        return min(list(self._since.values()), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Store, models, policies and settings of one engine.

    Attributes:
        new_id: Makes a fresh public id; later ones sort behind earlier ones.
        verifier: A chat model that judges what ``chat`` has extracted, None: code alone does.
        budgets: What may be spent, None: anything.
    """

    store: RecordStore
    new_id: Callable[[], str]
    chat: Any = None
    embedder: Embedder | None = None
    verifier: Any = None
    index: VectorIndex | None = None
    settings: Settings = Settings()
    policies: Policies = field(default_factory=Policies)
    clock: Callable[[], Micros] = now_micros
    known: Known = field(default_factory=Known)
    in_flight: InFlight = field(default_factory=InFlight)
    ledger: Ledger = field(default_factory=Ledger)
    caller: Caller = field(default_factory=Caller)
    budgets: Budgets | None = None
    hooks: tuple[Hook, ...] = ()

    @property
    def identity(self) -> EmbeddingIdentity | None:
        """The model that embeds, as far as it is known yet."""
        return None if self.embedder is None else self.embedder.identity

    @property
    def indexes(self) -> tuple[str, ...]:
        """Names of the derived indexes that need work after a commit."""
        return () if self.index is None else (self.index.name,)
