"""What every stage of the pipeline is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..models.embed import Embedder
from ..protocols import RecordStore, VectorIndex
from ..types import EmbeddingIdentity, Micros


def now_micros() -> Micros:
    """The present instant."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The pipeline's few numbers.

    Attributes:
        candidates_per_fact: Memories recalled to decide on one fact.
        small_scope: A scope with at most so many memories is offered to the decision as a whole.
        max_candidates: Memories offered to one decision at most.
        max_destructive: Updates and deletions that one ``add`` may carry out.
        chunk_chars: Characters of conversation in one extraction call.
        decide_attempts: How often a decision is taken before a batch is left for later, if others write
            to the same owner meanwhile.
    """

    candidates_per_fact: int = 5
    small_scope: int = 10
    max_candidates: int = 40
    max_destructive: int = 5
    chunk_chars: int = 24_000
    decide_attempts: int = 4


@dataclass(slots=True)
class Known:
    """What an engine has found out about its store; each field only ever saves a look-up."""

    identity: EmbeddingIdentity | None = None
    metadata_keys: frozenset[str] = frozenset()


class InFlight:
    """The batches that calls of this process are at work on, so that ``flush`` leaves them alone."""

    def __init__(self) -> None:
        self._since: dict[str, Micros] = {}  # every use is one atomic operation of a dict

    def enter(self, batch_id: str, recorded_at: Micros) -> None:
        """A call begins."""
        self._since[batch_id] = recorded_at

    def leave(self, batch_id: str) -> None:
        """It is over, whatever came of it."""
        self._since.pop(batch_id, None)

    @property
    def oldest(self) -> Micros | None:
        """Since when the oldest of them is recorded, None if there is none."""
        return min(list(self._since.values()), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Store, models and settings of one engine.

    Attributes:
        new_id: Makes a fresh public id; later ones sort behind earlier ones.
    """

    store: RecordStore
    new_id: Callable[[], str]
    chat: Any = None
    embedder: Embedder | None = None
    index: VectorIndex | None = None
    settings: Settings = Settings()
    clock: Callable[[], Micros] = now_micros
    known: Known = field(default_factory=Known)
    in_flight: InFlight = field(default_factory=InFlight)

    @property
    def indexes(self) -> tuple[str, ...]:
        """Names of the derived indexes that need work after a commit."""
        return () if self.index is None else (self.index.name,)
