"""What a record store must do so that ``memory.admin`` can look after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ..types import EmbeddingIdentity, OwnerKey, Usage
from .records import RecordStore

DamageKind = Literal["truth", "derived", "file", "index", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        kind: ``truth``: a part of the record, which nothing else says; restore it from a backup or an
            export. ``derived``: ``repair`` makes it anew. ``file``: the database's own structure.
            ``index``: a derived index differs from the record. ``unreachable``: it could not be looked at.
        key: Which row, as far as it can be told.
    """

    kind: DamageKind
    table: str
    key: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What an inspection found: the first thousand findings, and how many there are in all."""

    found: tuple[Damage, ...]
    total: int


@runtime_checkable
class MaintainableStore(RecordStore, Protocol):
    """A record store that ``memory.admin`` can look after. Errors as in ``RecordStore``."""

    def rebuild_terms(self, *, after: int = 0) -> tuple[int, int]:
        """Derive keywords, lengths and statistics of the next owners anew from their texts.

        Each call is one transaction over whole owners: readers see an owner before or after it, never
        between.

        Returns:
            The position to go on from (0: that was all), and how many units were done.
        """
        ...

    def count_units(self) -> int:
        """How many versions and messages there are, hidden ones included."""
        ...

    def switch_embedding(self, identity: EmbeddingIdentity) -> None:
        """Move to another embedding model: all vectors are dropped, their units wait for new ones."""
        ...

    def store_id(self) -> str:
        """What no other record store is called: random, made with the first call, kept for good."""
        ...

    def request_index_rebuild(self, index: str) -> None:
        """Note durably that a derived index is about to be cleared."""
        ...

    def enqueue_index(self, index: str) -> int:
        """Replace an index's pending work by all there is, and strike out the note; returns how much."""
        ...

    def inspect(self, step: Callable[[int], None] = ...) -> Inspected:
        """Everything that is wrong, from every row against its hash and against the rows around it.

        Args:
            step: Told how many more of twice ``count_units()`` steps are done.
        """
        ...

    def repair(self, step: Callable[[int], None] = ...) -> None:
        """Make anew what is derived and damaged, in one transaction. The record itself is left as it is."""
        ...

    def accept_losses(self, step: Callable[[int], None] = ...) -> Inspected:
        """``repair``, and move damage to the record out of the way, so that none is left.

        What matches its hash stays. What each owner has is counted anew.

        Returns:
            What was removed or replaced, row by row.
        """
        ...

    def dump(
        self,
        sink: Callable[[Mapping[str, Any]], None],
        *,
        owners: Collection[OwnerKey] | None = None,
        skip_damaged: bool = False,
        step: Callable[[int], None] = ...,
    ) -> Inspected:
        """Hand everything (or all of some owners) to ``sink`` as plain records, as of one moment.

        ``maintenance.records`` says what they look like; vectors are bytes of half precision.

        Args:
            skip_damaged: Leave out what ``accept_losses`` would remove. The store stays as it is.
            step: Told of the inspection before the first record, as ``inspect`` tells it.

        Returns:
            What was left out, nothing without ``skip_damaged``.

        Raises:
            IntegrityError: Something is damaged.
        """
        ...

    def load(
        self,
        records: Callable[[], Iterable[Mapping[str, Any]]],
        *,
        indexes: tuple[str, ...] = (),
        step: Callable[[int], None] = ...,
    ) -> None:
        """Store what ``dump`` gave, in one transaction; ``records`` may be called more than once.

        Whatever ``records`` raises comes out again, and nothing is changed then.

        Args:
            step: Told of the inspection of a store that holds something already, before the first record;
                and behind the last one of every unit whose keywords are made, and of the inspection of all.

        Raises:
            ConflictError: The store has one of the owners already.
            EmbeddingMismatchError: The store holds another model's vectors.
            TransferError: The records do not hold together; it says which one (as ``line``, from 1) and
                which field.
        """
        ...

    def record_usage(self, spent: Mapping[tuple[OwnerKey | None, str], Usage]) -> None:
        """Add to the totals of owners (None: nobody's) and operations."""
        ...

    def usage(self, owner: OwnerKey | None = None) -> dict[tuple[OwnerKey | None, str], Usage]:
        """The totals by owner and operation, of one owner if given."""
        ...

    def spending(self, owner: OwnerKey | None, kind: str, period: str) -> Usage:
        """What chat models cost one owner (None: everybody) in a period, as ``record_usage`` was told.

        Args:
            kind: ``day``, ``month`` or ``ever``.
            period: Which one, as ``types.period_of`` writes it. Earlier ones are not kept.

        Raises:
            IntegrityError: It is damaged.
        """
        ...

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind; keywords are left out, which nothing counts quickly."""
        ...

    def probe(self) -> None:
        """Begin a write and take it back. Raises as any write does if the store cannot be written."""
        ...

    def index_refs(self, index: str) -> dict[str, bool]:
        """``Ref.key`` of all that this derived index holds when it is up to date.

        False for what pending work is about, there or not.
        """
        ...

    def pending_index_work(self) -> dict[str, int]:
        """How much work is pending, by the name of the index."""
        ...

    def index_rebuilds(self) -> tuple[str, ...]:
        """Names of derived indexes whose rebuilding was begun and not brought to its end."""
        ...
