"""Whatever an index answers, a search answers what the record store alone would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from memkit_core.testing import InMemoryVectorIndex
from memkit_core.types import OwnerKey, Ref, Space, Vector

from .bars import answers, assert_equal, fill, opened

LIES: dict[str, Callable[[Sequence[Ref]], Any]] = {
    "no list": lambda refs: 3,
    "nothing at all": lambda refs: None,
    "strings": lambda refs: [ref.key for ref in refs],
    "tuples": lambda refs: [(ref.space, ref.id, ref.revision) for ref in refs],
    "none among them": lambda refs: [None, *refs],
    "ids of bytes": lambda refs: [Ref(ref.space, ref.id.encode()) for ref in refs],  # type: ignore[arg-type]
    "ids of numbers": lambda refs: [Ref(ref.space, 7) for ref in refs],  # type: ignore[arg-type]
    "a lone surrogate": lambda refs: [Ref("memory", "\ud800"), *refs],
    "a nul": lambda refs: [Ref("memory", "a\0b"), *refs],
    "a long id": lambda refs: [Ref("memory", "x" * 1_000_000), *refs],
    "no revision": lambda refs: [Ref(ref.space, ref.id, None) for ref in refs],  # type: ignore[arg-type]
    "a revision of text": lambda refs: [Ref(ref.space, ref.id, "1") for ref in refs],  # type: ignore[arg-type]
    "not a number": lambda refs: [Ref(ref.space, ref.id, float("nan")) for ref in refs],  # type: ignore[arg-type]
    "a huge revision": lambda refs: [Ref(ref.space, ref.id, 2**70) for ref in refs],
    "a negative revision": lambda refs: [Ref(ref.space, ref.id, -(2**70)) for ref in refs],
    "an unknown space": lambda refs: [Ref("moon", ref.id) for ref in refs],  # type: ignore[arg-type]
    "a list as space": lambda refs: [Ref([], ref.id) for ref in refs],  # type: ignore[arg-type]
    "what fails half way": lambda refs: (ref if number < 1 else 1 // 0 for number, ref in enumerate(refs)),
    "the same again and again": lambda refs: [ref for ref in refs for _ in range(9)],
}


class Liar(InMemoryVectorIndex):
    """An index that holds everything and tells it wrongly."""

    def __init__(self, lie: Callable[[Sequence[Ref]], Any]) -> None:
        super().__init__("liar")
        self._lie = lie

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> Any:
        return self._lie(super().propose(owner, vector, space=space, limit=limit))


class Gossip(InMemoryVectorIndex):
    """An index that proposes everybody's refs, unknown ones among them, and more than it is asked for."""

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        everybody = [ref for refs in self._vectors.values() for ref in refs]
        unknown = [Ref(space, f"unknown {n}") for n in range(3_000)]
        return [*unknown, *everybody, *super().propose(owner, vector, space=space, limit=limit)]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    with opened(tmp_path_factory.mktemp("alone") / "m.db", None) as memory:
        fill(memory)
        return answers(memory)


@pytest.mark.parametrize("units", [0, 20_000])
@pytest.mark.parametrize("name", LIES)
def test_no_lie_costs_an_answer(name: str, units: int, wanted: list[Any], tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Liar(LIES[name]), exact_scan_units=units) as memory:
        fill(memory)
        assert_equal(answers(memory), wanted)


@pytest.mark.parametrize("units", [0, 20_000])
def test_refs_of_others_unknown_ones_and_too_many(units: int, wanted: list[Any], tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Gossip(), exact_scan_units=units) as memory:
        fill(memory)
        assert_equal(answers(memory), wanted)
        for user in ("user 0", "user 1"):
            assert all(user[-1] == hit.memory[5] for hit in memory.search("tea", user_id=user, limit=200))
