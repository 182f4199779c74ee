"""MemkitStorage behind CrewAI's own memory, and by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crewai.memory.storage.backend import EmbeddingDimensionMismatchError, StorageBackend
from crewai.memory.types import MemoryRecord
from crewai.memory.unified_memory import Memory as CrewMemory

from memkit_core import Memory, UsageError
from memkit_core.testing import HashEmbeddings
from memkit_crewai import MemkitStorage

# CrewAI reads its own deprecated fields.
pytestmark = [pytest.mark.crewai, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def record(text: str, vector: list[float] | None = None, **more: Any) -> MemoryRecord:
    return MemoryRecord(content=text, embedding=vector, **more)


def test_it_is_what_crewai_asks_for(memory: Memory) -> None:
    assert isinstance(MemkitStorage(memory, user_id="ana"), StorageBackend)


def test_the_nearest_come_first_and_conditions_hold_before_the_limit(memory: Memory) -> None:
    storage = MemkitStorage(memory, agent_id="crew")
    assert storage.search([1.0, 0.0]) == []
    storage.save(
        [
            record("east", [1.0, 0.0], scope="/a", categories=["x"], metadata={"n": 1}),
            record("north-east", [1.0, 1.0], scope="/a/b", categories=["x", "y"]),
            record("north", [0.0, 2.0], scope="/ab", metadata={"n": None}),
            record("nowhere", None, scope="/a"),
            record("zero", [0.0, 0.0], scope="/z"),
        ]
    )
    found = storage.search([3.0, 0.0])
    assert [(one.content, round(score, 2)) for one, score in found][:2] == [
        ("east", 1.0),
        ("north-east", 0.71),
    ]
    assert {one.content for one, _ in found} == {"east", "north-east", "north", "zero"}

    def contents(**conditions: Any) -> list[str]:
        return [one.content for one, _ in storage.search([0.0, 1.0], **conditions)]

    assert contents(scope_prefix="/a", limit=1) == ["north-east"]
    assert contents(scope_prefix="a/") == ["north-east", "east"]
    assert contents(categories=["x"], limit=1) == ["north-east"]
    assert contents(metadata_filter={"n": 1}) == ["east"]
    assert contents(metadata_filter={"n": None}) == ["north"]
    assert contents(min_score=0.5) == ["north", "north-east"]
    assert contents(limit=0) == []


def test_records_are_kept_changed_listed_and_deleted(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/kept.db"
    old = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=9)
    first = record(
        "old", [0.25, 0.5], scope="/crew/a", created_at=old, importance=0.9, source="s", private=True
    )
    with Memory(llm="verbatim", embedder="none", store=place) as memory:
        storage = MemkitStorage(memory, user_id="ana")
        storage.save([first, record("new", [1.0, 0.0], scope="/crew/b", categories=["k"])])
        storage.save([])
    with Memory(llm="verbatim", embedder="none", store=place) as memory:
        storage = MemkitStorage(memory, user_id="ana")
        assert storage.get_record(first.id) == first
        assert storage.get_record(first.id).embedding == [0.25, 0.5]  # type: ignore[union-attr]
        assert [one.content for one in storage.list_records()] == ["new", "old"]
        assert [one.content for one in storage.list_records(limit=1, offset=1)] == ["old"]
        assert storage.list_scopes() == ["/crew"]
        assert storage.list_scopes("/crew") == ["/crew/a", "/crew/b"]
        assert storage.list_categories() == {"k": 1}
        info = storage.get_scope_info("/crew")
        assert (info.record_count, info.oldest_record) == (2, old)
        assert (storage.count(), storage.count("/crew/a"), storage.count("/crew/ab")) == (2, 1, 0)
        storage.update(first.model_copy(update={"content": "changed"}))
        assert storage.get_record(first.id).content == "changed"  # type: ignore[union-attr]
        aware = datetime.now(UTC) - timedelta(days=1)
        assert storage.delete(older_than=aware, scope_prefix="/crew/b") == 0
        assert storage.delete(older_than=aware) == 1
        assert storage.delete(record_ids=[first.id]) == 0
        assert storage.get_record(first.id) is None
        storage.reset("/elsewhere")
        assert storage.count() == 1
        storage.reset()
        assert storage.count() == 0


def test_owners_are_apart(memory: Memory) -> None:
    owners = [
        {"user_id": "ana"},
        {"user_id": "an"},
        {"user_id": "ana", "agent_id": "records"},
        {"agent_id": "ana"},
        {"user_id": "ana.b/c"},
    ]
    storages = [MemkitStorage(memory, **ids) for ids in owners]
    for number, storage in enumerate(storages):
        storage.save([record(str(number), [1.0, 0.0])])
    for number, storage in enumerate(storages):
        assert [one.content for one, _ in storage.search([1.0, 0.0])] == [str(number)]
    storages[0].reset()
    assert [storage.count() for storage in storages] == [0, 1, 1, 1, 1]


def test_vectors_of_another_model_are_refused(memory: Memory) -> None:
    storage = MemkitStorage(memory, user_id="ana")
    storage.save([record("two", [1.0, 0.0])])
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.save([record("three", [1.0, 0.0, 0.0])])
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.search([1.0, 0.0, 0.0])
    assert storage.count() == 1
    storage.reset()
    storage.save([record("three", [1.0, 0.0, 0.0])])
    with pytest.raises(UsageError, match="one user's id"):
        MemkitStorage(memory, user_id=lambda *_: "ana")  # type: ignore[arg-type]


async def test_the_awaited_verbs(memory: Memory) -> None:
    storage = MemkitStorage(memory, user_id="ana")
    await storage.asave([record("two", [1.0, 0.0])])
    assert [one.content for one, _ in await storage.asearch([1.0, 0.0])] == ["two"]
    assert await storage.adelete() == 1


def test_under_crewai_s_memory(memory: Memory, scripted: Any) -> None:
    theirs = CrewMemory(
        storage=MemkitStorage(memory, agent_id="crew"),
        embedder=HashEmbeddings().embed_documents,
        llm=scripted("unused"),
        root_scope="/crew/research",
    )
    for text in ("Acme leads the market.", "The office is in Bern."):
        theirs.remember(text, scope="/facts", categories=["facts"], importance=0.5)
    matches = theirs.recall("Who leads the market?", depth="shallow", limit=1)
    assert [match.record.content for match in matches] == ["Acme leads the market."]
    assert [match.record.content for match in theirs.recall("Where is the office?", limit=1)] == [
        "The office is in Bern."
    ]
    assert theirs.list_scopes() == ["/crew/research/facts"]
    kept = theirs.update(matches[0].record.id, "Brandt leads the market.")
    assert theirs.list_records()[-1].content == kept.content == "Brandt leads the market."
    assert theirs.forget(record_ids=[kept.id]) == 1
    assert memory.count(agent_id="crew") == 0, "records are no memories of memkit's"
    theirs.close()
