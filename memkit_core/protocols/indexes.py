"""What a derived index must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..types import OwnerKey, Ref, Relation, Space, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What a derived vector index is given: a ref, its owner and a unit-length vector."""

    owner: OwnerKey
    ref: Ref
    vector: Vector


@runtime_checkable
class VectorIndex(Protocol):
    """A derived index: it proposes refs, and the record store has the last word.

    It may be approximate, late or incomplete; it must not raise for unknown refs.
    """

    @property
    def name(self) -> str:
        """Names its pending work; stable over restarts."""
        ...

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """Insert or overwrite. Doing it twice is the same as once."""
        ...

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """Remove; unknown refs are no error."""
        ...

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """The nearest refs of one owner, nearest first."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@runtime_checkable
class InspectableIndex(Protocol):
    """A derived index that can say what it holds; ``admin.doctor`` compares it with the records."""

    def keys(self) -> Iterator[str]:
        """``Ref.key`` of everything it holds, in any order, each once."""
        ...


@runtime_checkable
class ClaimableIndex(Protocol):
    """A derived index in a place that others may use as well: it is told whose it is."""

    @property
    def foreign(self) -> int:
        """How many entries of other record stores were found among its own and left out, so far."""
        ...

    def claim(self, store_id: str, *, dimension: int | None) -> bool:
        """Belong to this record store, and look whether the place does.

        If the place cannot be reached now, that raises, and every later call looks first.

        Args:
            dimension: Of the record store's vectors, None if it has none yet.

        Returns:
            Whether it may hold what it held before. False: its place is new, or was taken over.

        Raises:
            IndexMismatchError: It belongs to another store. Nothing was changed, and no call will work.
        """
        ...


@runtime_checkable
class GraphStore(Protocol):
    """A derived entity graph: it proposes memories that are near the entities of a question."""

    @property
    def name(self) -> str:
        """Names its pending work; stable over restarts."""
        ...

    def add(self, owner: OwnerKey, ref: Ref, relations: Sequence[Relation]) -> None:
        """Attach relations to a memory version. Doing it twice is the same as once."""
        ...

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """Detach everything that rests on these refs."""
        ...

    def propose(self, owner: OwnerKey, entities: Sequence[str], *, hops: int, limit: int) -> list[Ref]:
        """Memories within ``hops`` edges of the entities, nearest first."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...
