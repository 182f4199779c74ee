"""LangGraph's own conformance suite for checkpointers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from memkit_langgraph.saver import MemkitSaver

conformance = pytest.importorskip("langgraph.checkpoint.conformance")


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["plain", "encrypted"])
async def test_every_capability_is_there_and_conforms(key: bytes | None) -> None:
    @conformance.checkpointer_test(name="memkit")
    async def target() -> AsyncIterator[MemkitSaver]:
        async with MemkitSaver.from_conn_string(":memory:", encryption_key=key) as saver:
            yield saver

    report = (await conformance.validate(target)).to_dict()
    assert all(result["detected"] for result in report["results"].values())
    assert [result["failures"] for result in report["results"].values() if result["failures"]] == []
    assert sum(result["tests_passed"] for result in report["results"].values()) == 81
