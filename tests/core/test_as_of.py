"""What held when, as known when: ``as_of`` of every verb that takes it, on both faces and in scoped views."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memkit_core import AsOf, AsyncMemory, Memory, UsageError
from memkit_core.testing import HashEmbeddings


@pytest.fixture
def memory() -> Any:
    with Memory(llm="verbatim", embedder=HashEmbeddings(), store=":memory:") as memory:
        yield memory


def texts(found: Any) -> list[str]:
    return sorted(item.memory for item in found.results)


def home(memory: Memory) -> tuple[str, datetime, datetime]:
    """A memory of 2025 that was corrected and deleted; its id, and the times before either."""
    added = memory.add("I live in Berlin", user_id="ann", observed_at="2025-01-01").results[0].id
    assert added is not None
    first = datetime.now(UTC)
    memory.update(added, "I live in Madrid")
    second = datetime.now(UTC)
    memory.delete(added)
    return added, first, second


def test_knowledge_times(memory: Memory) -> None:
    memory_id, first, second = home(memory)
    cases: list[tuple[Any, list[str]]] = [
        (None, []),
        (AsOf(known=first), ["I live in Berlin"]),
        (AsOf(known=second), ["I live in Madrid"]),
        (AsOf(known=second.isoformat()), ["I live in Madrid"]),
        (AsOf(known=datetime(2024, 1, 1, tzinfo=UTC)), []),
        (AsOf(valid="2025-06-01", known=second), ["I live in Berlin"]),
        (AsOf(valid="2024-06-01", known=second), []),
        (AsOf(valid="2025-06-01"), ["I live in Berlin"]),
        ("2025-06-01", ["I live in Berlin"]),
    ]
    mine = memory.scoped(user_id="ann")
    for as_of, wanted in cases:
        assert texts(memory.get_all(user_id="ann", as_of=as_of)) == wanted, as_of
        assert texts(memory.search("I live in", user_id="ann", as_of=as_of)) == wanted, as_of
        assert texts(mine.get_all(as_of=as_of)) == texts(mine.search("I live in", as_of=as_of)) == wanted
    (item,) = memory.get_all(user_id="ann", as_of=AsOf(known=first)).results
    assert (item.id, item.revision, item.valid_to) == (memory_id, 1, None)


def test_excerpts_are_those_that_were_known(memory: Memory) -> None:
    memory.add("I like tea", user_id="ann", observed_at="2025-01-01")
    then = datetime.now(UTC)
    memory.add("I like green tea", user_id="ann", observed_at="2025-01-02")
    asked: dict[str, Any] = {"user_id": "ann", "include": ("excerpts",)}
    assert len(memory.search("tea", **asked).excerpts) == 2
    found = memory.search("tea", as_of=AsOf(known=then), **asked).excerpts
    assert [excerpt.text for excerpt in found] == ["I like tea"]
    assert memory.search("tea", as_of=AsOf(valid="2024-01-01"), **asked).excerpts == []


def test_history_as_it_was_known(memory: Memory) -> None:
    memory_id, first, second = home(memory)
    mine = memory.scoped(user_id="ann")
    for as_of, wanted in (
        (None, ["ADD", "UPDATE", "DELETE"]),
        (first, ["ADD"]),
        (AsOf(known=second), ["ADD", "UPDATE"]),
        ("2024-01-01", []),
    ):
        assert [event.event for event in memory.history(memory_id, as_of=as_of)] == wanted
        assert [event.event for event in mine.history(memory_id, as_of=as_of)] == wanted
    for wrong in (AsOf(valid=first), AsOf(valid=first, known=first), "then"):
        with pytest.raises(UsageError):
            memory.history(memory_id, as_of=wrong)


async def test_the_async_face(tmp_path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "memkit.db") as memory:
        memory_id, first, _ = home(memory.blocking)
        as_of = AsOf(known=first)
        mine = memory.scoped(user_id="ann")
        assert texts(await memory.get_all(user_id="ann", as_of=as_of)) == ["I live in Berlin"]
        assert texts(await mine.search("I live in", as_of=as_of)) == ["I live in Berlin"]
        assert len(await memory.history(memory_id, as_of=as_of)) == 1
        assert len(await mine.history(memory_id, as_of=first)) == 1


def test_pages_belong_to_their_times(memory: Memory) -> None:
    for number in range(5):
        memory.add(f"I like thing {number}", user_id="ann", observed_at="2025-01-01")
    as_of = AsOf(valid="2025-06-01", known=datetime.now(UTC))
    memory.delete_all(user_id="ann")
    page = memory.get_all(user_id="ann", as_of=as_of, limit=3)
    rest = memory.get_all(user_id="ann", as_of=as_of, limit=3, cursor=page.next_cursor)
    assert len({item.id for item in [*page, *rest]}) == 5
    with pytest.raises(UsageError, match="as_of"):
        memory.get_all(user_id="ann", as_of="2025-06-01", limit=3, cursor=page.next_cursor)


def test_what_is_no_time() -> None:
    for wrong in ({}, {"valid": "then"}, {"known": 5}, {"known": "2026-13-01"}):
        with pytest.raises(UsageError):
            AsOf(**wrong)  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        AsOf(known="2026-01-01").known = None  # type: ignore[misc]
    assert AsOf(known="2026-01-01") == AsOf(known="2026-01-01")
