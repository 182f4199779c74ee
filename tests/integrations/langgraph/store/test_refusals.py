"""What cannot be asked for is told, and nothing is converted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import ListNamespacesOp, SearchOp

from memkit_core import Memory, UsageError
from memkit_langgraph import MemkitStore, user_namespace

NOTES, ANN = ("notes",), user_namespace("memories", "ann")


@pytest.mark.parametrize(
    "page", [{"limit": 2**70}, {"offset": 2**63}, {"limit": -1}, {"limit": 2.0}, {"offset": True}]
)
def test_pages_that_cannot_be(store: MemkitStore, page: dict[str, Any]) -> None:
    for namespace in (NOTES, ANN):
        store.put(namespace, "k", {"text": "a"})
        for query in (None, "a"):
            with pytest.raises(UsageError):
                store.batch([SearchOp(namespace, query=query, **page)])
    with pytest.raises(UsageError):
        store.batch([ListNamespacesOp(**page)])


@pytest.mark.parametrize("most", [sys.maxsize, 2**31])
def test_the_largest_pages(store: MemkitStore, most: int) -> None:
    for namespace in (NOTES, ANN):
        store.put(namespace, "k", {"text": "a"})
        for query in (None, "a"):
            assert len(store.search(namespace, query=query, limit=most)) == 1
            assert len(store.search(namespace, query=query, limit=most, filter={"text": "a"})) == 1
            assert store.search(namespace, query=query, limit=most, offset=most) == []
    assert store.list_namespaces(limit=most) == [NOTES]
    assert store.list_namespaces(limit=most, offset=most) == []


@pytest.mark.parametrize("value", [{"x": (1, 2)}, {"x": [{"y": ()}]}], ids=repr)
def test_tuples_are_no_lists(store: MemkitStore, value: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tuple"):
        store.put(NOTES, "k", value)
    assert store.get(NOTES, "k") is None


@pytest.mark.parametrize(
    "path", ["", "..", ".a", "a.", "a..b", "a[", "a]", "a[x]", "a[]", "{", "a{}", "\ud800"]
)
def test_paths_that_are_none(memory: Memory, store: MemkitStore, path: str) -> None:
    with pytest.raises(UsageError):
        store.put(NOTES, "k", {"a": "x"}, index=[path])
    with pytest.raises(UsageError):
        MemkitStore(memory, index={"fields": [path]})  # type: ignore[typeddict-item]
    assert store.get(NOTES, "k") is None


@pytest.mark.parametrize(
    "path", ["$", "a", "a b", "a.b", "a[*].b", "a[0]", "a[-1]", "*", "{a,b}", "x{a,b.c}", "[*]"]
)
def test_paths(store: MemkitStore, path: str) -> None:
    store.put(NOTES, "k", {"a": "x"}, index=[path])
    assert store.get(NOTES, "k") is not None


@pytest.mark.parametrize("minutes", [-1, -0.001, float("nan"), float("inf"), "5", True])
def test_intervals_that_are_none(memory: Memory, minutes: Any) -> None:
    with pytest.raises(UsageError, match="sweep_interval_minutes"):
        MemkitStore(memory, ttl={"sweep_interval_minutes": minutes})
    store = MemkitStore(memory, ttl={"default_ttl": 1})
    with pytest.raises(UsageError, match="sweep_interval_minutes"):
        store.start_ttl_sweeper(minutes)
    assert store.stop_ttl_sweeper()


def test_an_opening_is_entered_once_at_a_time(tmp_path: Path) -> None:
    opening = MemkitStore.from_conn_string(str(tmp_path / "alone.db"))
    with opening as store:
        with pytest.raises(UsageError, match="open already"), opening:
            pass
        store.put(NOTES, "k", {"a": 1})
    with opening as store:
        assert store.get(NOTES, "k") is not None
