"""LangGraph's conformance suite for checkpoint savers, as released, against memkit's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from memkit_core import Memory
from memkit_langgraph import MemkitSaver

pytestmark = pytest.mark.upstream

#: How many tests the suite has for each capability; all of them are to be found in our class.
CAPABILITIES = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


@asynccontextmanager
async def _in_memory() -> AsyncGenerator[MemkitSaver]:
    async with MemkitSaver.from_conn_string(":memory:") as saver:
        yield saver


@asynccontextmanager
async def _encrypted() -> AsyncGenerator[MemkitSaver]:
    async with MemkitSaver.from_conn_string(":memory:", encryption_key=b"k" * 32) as saver:
        yield saver


@pytest.mark.parametrize("opened", [_in_memory, _encrypted])
async def test_a_saver_conforms(opened: Any) -> None:
    from langgraph.checkpoint.conformance import checkpointer_test, validate

    @checkpointer_test(name="MemkitSaver")
    async def target() -> AsyncIterator[Any]:
        async with opened() as saver:
            yield saver

    results = (await validate(target)).to_dict()["results"]
    failures = [failure for result in results.values() for failure in result["failures"] or ()]
    assert not failures, "\n".join(failures)
    assert [name for name, result in results.items() if not result["detected"]] == []
    assert {name: result["tests_passed"] for name, result in results.items()} == CAPABILITIES
    assert sum(CAPABILITIES.values()) == 81


async def test_a_saver_beside_memories_conforms(tmp_path: Path) -> None:
    with Memory(llm="verbatim", embedder="none", store=f"sqlite:///{tmp_path / 'app.db'}") as memory:
        memory.add("I live in Oslo.", user_id="ann")

        @asynccontextmanager
        async def over_a_memory() -> AsyncGenerator[MemkitSaver]:
            yield MemkitSaver(memory)

        await test_a_saver_conforms(over_a_memory)
        assert memory.count(user_id="ann") == 1
