"""An owner whose questions an index answers costs no room for its vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memkit_core import Memory, MemoryConfig
from memkit_core.storage.sqlite import SqliteStore
from memkit_core.testing import HashEmbeddings, InMemoryVectorIndex

WIDE = 512
ROWS = 2_000


def opened(store: SqliteStore, index: Any, **config: Any) -> Memory:
    return Memory("verbatim", HashEmbeddings(WIDE), store, vector_store=index, config=MemoryConfig(**config))


def kept_bytes(store: SqliteStore) -> int:
    assert store._cache is not None
    return store._cache.bytes


def test_no_matrix_is_kept_where_the_index_proposes(tmp_path: Path) -> None:
    matrix = ROWS * WIDE * 4
    answers: dict[str, list[tuple[str, float]]] = {}
    index = InMemoryVectorIndex()
    with SqliteStore(tmp_path / "m.db", durability="relaxed") as store, opened(store, index) as memory:
        memory.add([f"Note {n} about boat {n % 97}." for n in range(ROWS)], user_id="ann", infer=False)
        answers["exact"] = found(memory)
        assert kept_bytes(store) > matrix
    for units in (0, 20_000):
        fresh = InMemoryVectorIndex()
        with SqliteStore(tmp_path / "m.db", durability="relaxed") as store:
            memory = opened(store, fresh, exact_scan_units=units)
            assert memory.admin.reindex().ok
            for n in range(3):  # the copy that is kept follows what is written
                memory.add(f"Late note {n} about boat {n}.", user_id="bob")
                memory.add(f"I sold boat {n} in spring.", user_id="ann")
                assert memory.search(f"Who sold boat {n}?", user_id="ann").degraded == []
            assert (kept_bytes(store) < matrix / 2) == (units == 0)
            answers[str(units)] = found(memory)
            for item in memory.get_all(user_id="ann", limit=3).results:
                memory.delete(item.id)
            assert found(memory) == answers["exact"]
    assert answers["0"] == answers["20000"]


def found(memory: Memory) -> list[tuple[str, float]]:
    return [(hit.memory, hit.score) for hit in memory.search("boat 13 of last year", user_id="ann", limit=9)]
