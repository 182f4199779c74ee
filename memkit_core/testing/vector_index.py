"""What every derived vector index must do, and an exact one in memory to compare with.

Subclass ``VectorIndexConformance`` in a test module and give it a fixture ``index``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import IndexEntry, VectorIndex
from ..types import OwnerKey, Ref, Space, Vector

_ANN = OwnerKey("user", "ann")
_SPACES: tuple[Space, ...] = ("memory", "turn")
_OTHERS = (OwnerKey("agent", "ann"), OwnerKey("user", "ann "), OwnerKey("user", "Ann"))


class InMemoryVectorIndex:
    """An exact ``VectorIndex`` that lives as long as the object."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._vectors: dict[OwnerKey, dict[Ref, NDArray[np.float32]]] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def name(self) -> str:
        """See ``VectorIndex.name``."""
        return self._name

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``VectorIndex.add``."""
        with self._lock:
            self._check_open()
            for entry in entries:
                vector = np.asarray(entry.vector, dtype=np.float32)
                self._vectors.setdefault(entry.owner, {})[entry.ref] = vector

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """See ``VectorIndex.delete``."""
        with self._lock:
            self._check_open()
            held = self._vectors.get(owner, {})
            for ref in refs:
                held.pop(ref, None)

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """See ``VectorIndex.propose``."""
        with self._lock:
            self._check_open()
            held = [(ref, v) for ref, v in self._vectors.get(owner, {}).items() if ref.space == space]
        question = np.asarray(vector, dtype=np.float32)
        scored = [(-float(np.dot(question, v)), ref.key, ref) for ref, v in held]
        return [ref for _, _, ref in sorted(scored, key=lambda one: one[:2])[:limit]]

    def clear(self) -> None:
        """See ``VectorIndex.clear``."""
        with self._lock:
            self._check_open()
            self._vectors.clear()

    def close(self) -> None:
        """See ``VectorIndex.close``."""
        with self._lock:
            self._closed = True
            self._vectors.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the index {self._name!r} is closed")


def _unit(rng: random.Random, dimension: int = 8) -> NDArray[np.float32]:
    vector = np.array([rng.gauss(0, 1) for _ in range(dimension)], dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class VectorIndexConformance:
    """Every test of the contract of ``VectorIndex``. Each takes an empty index from the fixture ``index``.

    Attributes:
        exact: Set it to False for an approximate index: it must then find 8 of the 10 nearest.
    """

    exact: bool = True

    def test_nearest_first(self, index: VectorIndex) -> None:
        rng = random.Random(1)
        entries = [IndexEntry(owner=_ANN, ref=Ref("memory", f"m{n}"), vector=_unit(rng)) for n in range(50)]
        reference = InMemoryVectorIndex()
        for one in (index, reference):
            one.add(entries[:30])
            one.add(entries[20:])
        question = _unit(rng)
        wanted = reference.propose(_ANN, question, space="memory", limit=10)
        found = index.propose(_ANN, question, space="memory", limit=10)
        assert len(found) == len(set(found)) == 10
        assert found == wanted if self.exact else len(set(found) & set(wanted)) >= 8

    def test_owners_and_spaces_stay_apart(self, index: VectorIndex) -> None:
        vector = _unit(random.Random(2))
        for owner in (_ANN, *_OTHERS):
            for space in _SPACES:
                index.add(
                    [IndexEntry(owner=owner, ref=Ref(space, f"{owner.kind} {owner.value}"), vector=vector)]
                )
        for owner in (_ANN, *_OTHERS):
            found = index.propose(owner, vector, space="turn", limit=10)
            assert found == [Ref("turn", f"{owner.kind} {owner.value}")]
        assert index.propose(OwnerKey("user", "nobody"), vector, space="turn", limit=10) == []

    def test_overwrite_delete_clear(self, index: VectorIndex) -> None:
        rng = random.Random(3)
        first, second = Ref("memory", "m", 1), Ref("memory", "m", 2)
        near, far = _unit(rng), _unit(rng)
        index.add(
            [IndexEntry(owner=_ANN, ref=first, vector=far), IndexEntry(owner=_ANN, ref=second, vector=near)]
        )
        assert index.propose(_ANN, near, space="memory", limit=1) == [second]
        index.add(
            [IndexEntry(owner=_ANN, ref=first, vector=near), IndexEntry(owner=_ANN, ref=second, vector=far)]
        )
        assert index.propose(_ANN, near, space="memory", limit=1) == [first]
        index.delete(_OTHERS[0], [first])
        index.delete(_ANN, [second, Ref("memory", "unknown")])
        index.delete(_ANN, [second])
        assert index.propose(_ANN, near, space="memory", limit=5) == [first]
        index.clear()
        assert index.propose(_ANN, near, space="memory", limit=5) == []

    def test_name_and_close(self, index: VectorIndex) -> None:
        assert index.name
        assert isinstance(index, VectorIndex)
        index.close()
