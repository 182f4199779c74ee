"""What operations cost, how the parts are, how much there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memkit_core import AsyncMemory, Memory, Usage, UsageError
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings, ScriptedChatModel
from memkit_core.types import OwnerKey, Ref

from .test_reindex import DictIndex

REPLIES = [json.dumps({"facts": [{"text": "Ana lives in Oslo", "kind": "other", "sources": [0]}]})] * 8


def test_usage_is_the_sum_of_what_results_reported(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    adds, searches = Usage(), Usage()
    with Memory(llm=ScriptedChatModel(replies=REPLIES), embedder=HashEmbeddings(), store=path) as memory:
        for number in range(3):
            adds += memory.add(f"I live in Oslo, number {number}", user_id="ana").usage
        adds += memory.add("As it is", user_id="ben", infer=False).usage
        for _ in range(2):
            searches += memory.search("Oslo", user_id="ana").usage
        report = memory.admin.usage()
        assert report.operations.keys() == {"add", "search"}
        _same(report.operations["add"], adds)
        _same(report.operations["search"], searches)
        _same(report.total, adds + searches)
        whole = sum((row.usage for row in report.owners), Usage())
        _same(whole, report.total)
        assert memory.admin.usage(user_id="ben").operations.keys() == {"add"}
        assert memory.admin.usage(user_id="nobody").total == Usage()
        with pytest.raises(UsageError):
            memory.admin.usage(user_id="ana", run_id="r")
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        _same(memory.admin.usage().operations["add"], adds)
        memory.admin.reset(confirm=True)
        assert memory.admin.usage().total == Usage()


def _same(one: Usage, other: Usage) -> None:
    for name in ("chat_calls", "embedding_calls", "input_tokens", "output_tokens"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.milliseconds == pytest.approx(other.milliseconds)


def test_failed_attempts_cost_too(tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    with Memory(llm=ScriptedChatModel(replies=["no"] * 9), embedder=HashEmbeddings(), store=path) as memory:
        result = memory.add("I live in Oslo", user_id="ana")
        assert result.status == "pending"
        assert result.usage.chat_calls > 0
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        _same(memory.admin.usage().total, result.usage)


def test_health_of_a_sound_memory(tmp_path: Path) -> None:
    with Memory(
        llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "m.db", vector_store=DictIndex()
    ) as memory:
        memory.add("I like tea", user_id="ana")
        report = memory.admin.health()
        assert report.ok
        assert [check.name for check in report.checks][-1] == "index dict"


def test_health_tells_what_is_sick(tmp_path: Path) -> None:
    class Gone(DictIndex):
        def keys(self) -> Any:
            raise OSError("unreachable")

    with Memory(
        llm="verbatim",
        embedder=FaultyEmbeddings(faults="timeout"),
        store=tmp_path / "m.db",
        vector_store=Gone(),
    ) as memory:
        memory.add("I like tea", user_id="ana")
        report = memory.admin.health()
        assert not report.ok
        assert [check.name for check in report.checks if not check.ok] == ["index dict"]
        assert "unreachable" in str(report)
        report = memory.admin.doctor()
        assert report.notes
        assert [(finding.kind, finding.key) for finding in report.findings] == [("unreachable", "")]
        assert "server" in report.findings[0].remedy
        assert "rebuild" not in report.findings[0].remedy
        assert "OSError" in report.findings[0].problem
        assert not report.ok


def test_health_counts_what_the_index_holds(tmp_path: Path) -> None:
    index = DictIndex()
    with Memory(
        llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "m.db", vector_store=index
    ) as memory:
        memory.add(["I like tea", "I like chess"], user_id="ana")
        key = next(iter(index.entries))
        vector = index.entries.pop(key)
        assert "1 refs are missing" in str(memory.admin.health())
        index.entries[key] = vector
        index.entries[OwnerKey("user", "ana"), Ref("memory", "nothing")] = vector
        assert "1 refs are of no text" in str(memory.admin.health())
        index.clear()
        assert [check.name for check in memory.admin.health().checks if not check.ok] == ["index dict"]
        assert memory.admin.reindex().ok
        assert memory.admin.health().ok


def test_an_index_that_was_cleared_and_not_filled_is_a_finding(tmp_path: Path) -> None:
    index = DictIndex()
    with Memory(
        llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "m.db", vector_store=index
    ) as memory:
        memory.add("I like tea", user_id="ana")
        index.broken = True
        assert not memory.admin.reindex().ok
        index.broken = False
        assert not memory.admin.health().ok
        report = memory.admin.doctor()
        assert [finding.kind for finding in report.findings] == ["index"]
        assert "not filled again" in report.findings[0].problem
        assert memory.admin.doctor(repair=True).ok
        assert memory.admin.doctor().findings == []
        assert memory.admin.health().ok


def test_stats(tmp_path: Path) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / "m.db") as memory:
        for user in ("ana", "ben"):
            memory.add("I like tea", user_id=user)
        item = memory.get_all(user_id="ana").results[0]
        memory.update(item.id, "I like coffee")
        stats = memory.admin.stats()
        assert (stats.owners, stats.memories, stats.versions, stats.messages) == (2, 2, 3, 2)
        assert stats.bytes > 0
        assert stats.tables["events"] == 3


async def test_the_async_face() -> None:
    async with AsyncMemory(llm="verbatim", embedder="none", store=":memory:") as memory:
        await memory.add("I like tea", user_id="ana")
        assert (await memory.admin.health()).ok
        assert (await memory.admin.stats()).memories == 1
        assert (await memory.admin.usage()).total.milliseconds > 0
