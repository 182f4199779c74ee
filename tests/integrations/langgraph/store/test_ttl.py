"""Items that expire. Clocks are set, never waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp

from memkit_core import Memory, UsageError
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore

NS = ("docs",)
MINUTE = 60_000_000


class Clock:
    """The store's clock, in microseconds."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("memkit_langgraph.store._now", clock)
    return clock


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder=HashEmbeddings(16), store=tmp_path / "ttl.db") as memory:
        yield memory


def alive(store: MemkitStore, key: str) -> bool:
    return store.get(NS, key, refresh_ttl=False) is not None


def test_expired_items_are_there_until_they_are_swept(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 10})
    store.put(NS, "a", {"text": "tea"})
    store.put(NS, "b", {"text": "tea"}, ttl=30)
    store.put(NS, "c", {"text": "tea"}, ttl=None)
    clock.now += 10 * MINUTE
    assert alive(store, "a")
    assert store.sweep_ttl() == 1
    assert [alive(store, key) for key in "abc"] == [False, True, True]
    assert len(store.search(NS, query="tea")) == 2
    clock.now += 1_000 * MINUTE
    assert store.sweep_ttl() == 1
    assert alive(store, "c")
    assert memory.admin.doctor().ok


def test_omitted_before_the_limit(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 1, "omit_expired": True})
    for number in range(10):
        store.put(NS, f"old{number}", {"text": "tea"})
    store.put(("old",), "x", {"text": "tea"})
    clock.now += MINUTE
    for number in range(3):
        store.put(NS, f"new{number}", {"text": "tea"})
    clock.now += MINUTE // 2
    for query in (None, "tea"):
        found = store.search(NS, query=query, limit=5)
        assert sorted(item.key for item in found) == ["new0", "new1", "new2"]
    assert store.get(NS, "old1") is None
    assert store.list_namespaces() == [NS]


def test_reads_refresh_where_it_is_asked_for(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 10, "refresh_on_read": True})
    for key in "abc":
        store.put(NS, key, {"text": key})
    clock.now += 9 * MINUTE
    store.get(NS, "a")
    store.get(NS, "b", refresh_ttl=False)
    assert [item.key for item in store.search(NS, filter={"text": "c"})] == ["c"]
    clock.now += 5 * MINUTE
    store.sweep_ttl()
    assert [alive(store, key) for key in "abc"] == [True, False, True]


def test_without_configuration_reads_do_not_refresh(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 10})
    store.put(NS, "a", {})
    store.put(NS, "b", {})
    clock.now += 9 * MINUTE
    store.get(NS, "a")
    store.get(NS, "b", refresh_ttl=True)
    clock.now += 2 * MINUTE
    store.sweep_ttl()
    assert [alive(store, key) for key in "ab"] == [False, True]


def test_a_put_without_ttl_keeps_for_good(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory)
    store.put(NS, "a", {}, ttl=1)
    store.put(NS, "a", {"n": 2})
    clock.now += 5 * MINUTE
    assert store.sweep_ttl() == 0
    assert alive(store, "a")


def test_a_put_of_the_same_batch_is_not_refreshed_away(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 10, "refresh_on_read": True})
    store.put(NS, "a", {"n": 1})
    clock.now += 5 * MINUTE
    store.batch([GetOp(NS, "a"), PutOp(NS, "a", {"n": 2}, ttl=1)])
    clock.now += 2 * MINUTE
    assert store.sweep_ttl() == 1


@pytest.mark.parametrize("ttl", [-1.0, float("nan"), float("inf"), True])
def test_what_is_no_time_is_refused(memory: Memory, ttl: Any) -> None:
    with pytest.raises(UsageError, match="minutes"):
        MemkitStore(memory).put(NS, "a", {}, ttl=ttl)


def test_the_sweeper_starts_stops_and_is_cancelled(memory: Memory, clock: Clock) -> None:
    store = MemkitStore(memory, ttl={"default_ttl": 1})
    store.put(NS, "a", {})
    clock.now += 2 * MINUTE
    running = store.start_ttl_sweeper(sweep_interval_minutes=0.0001)
    while alive(store, "a"):
        pass
    assert store.start_ttl_sweeper() is running
    assert store.stop_ttl_sweeper()
    running.result(timeout=10)
    again = store.start_ttl_sweeper(sweep_interval_minutes=1_000)
    assert again.cancel()
    assert store.stop_ttl_sweeper(timeout=10)
    assert MemkitStore(memory).start_ttl_sweeper().done()


async def test_the_same_verbs_may_be_awaited(memory: Memory, clock: Clock) -> None:
    async with MemkitStore(memory, ttl={"default_ttl": 1}) as store:
        await store.setup()
        await store.aput(NS, "a", {})
        clock.now += 2 * MINUTE
        running = await store.start_ttl_sweeper(sweep_interval_minutes=1_000)
        assert await store.sweep_ttl() == 1
        assert await store.asweep_ttl() == 0
        assert await store.stop_ttl_sweeper() == 1
        assert running.done()
