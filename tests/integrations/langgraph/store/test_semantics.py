"""What every verb of a store does, where LangGraph's own stores disagree with each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from memkit_core import AsyncMemory, Memory, UsageError
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore

NS = ("docs",)


def keys(found: Any) -> list[str]:
    return [item.key for item in found]


def test_an_update_keeps_when_an_item_was_created(store: MemkitStore) -> None:
    store.put(NS, "a", {"n": 1})
    first = store.get(NS, "a")
    store.put(NS, "a", {"n": 2})
    second = store.get(NS, "a")
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert second.value == {"n": 2}


def test_times_are_aware_and_now(store: MemkitStore) -> None:
    store.put(NS, "a", {})
    item = store.get(NS, "a")
    assert item is not None
    assert item.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - item.created_at) < timedelta(minutes=1)


def test_reads_of_a_batch_see_the_state_before_its_puts(store: MemkitStore) -> None:
    store.put(NS, "a", {"n": 1})
    results = store.batch(
        [
            PutOp(NS, "a", {"n": 2}),
            GetOp(NS, "a"),
            SearchOp(NS),
            PutOp(("other",), "b", {"n": 3}),
            ListNamespacesOp(),
            PutOp(NS, "a", {"n": 4}),
        ]
    )
    assert results[0] is None
    assert results[1].value == {"n": 1}  # type: ignore[union-attr]
    assert [item.value for item in results[2]] == [{"n": 1}]  # type: ignore[union-attr]
    assert results[4] == [NS]
    item = store.get(NS, "a")
    assert item is not None
    assert item.value == {"n": 4}


def test_a_delete_in_a_batch_wins_over_an_earlier_put(store: MemkitStore) -> None:
    store.batch([PutOp(NS, "a", {"n": 1}), PutOp(NS, "a", None)])
    assert store.get(NS, "a") is None
    store.batch([PutOp(NS, "a", None), PutOp(NS, "a", {"n": 2})])
    assert store.get(NS, "a") is not None


def test_what_is_returned_is_a_copy(store: MemkitStore) -> None:
    given = {"list": [1, 2]}
    store.put(NS, "a", given)
    given["list"].append(3)
    item = store.get(NS, "a")
    assert item is not None
    item.value["list"].clear()
    again = store.get(NS, "a")
    assert again is not None
    assert again.value == {"list": [1, 2]}


def test_values_keep_every_text_and_number(store: MemkitStore) -> None:
    value = {
        "猫": "\0 nul, \ud800 half, 🐈",
        "big": 10**30,
        "float": 0.1,
        "nested": {"": [None, True, {"a.b": []}]},
    }
    store.put(NS, "a key.with\0anything *", value)
    item = store.get(NS, "a key.with\0anything *")
    assert item is not None
    assert item.value == value


@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("nan")}, {1: "a"}, {"a": {2: 3}}])
def test_what_is_no_json_is_refused_and_nothing_is_stored(store: MemkitStore, value: Any) -> None:
    with pytest.raises(UsageError, match="JSON"):
        store.batch([PutOp(NS, "good", {"a": 1}), PutOp(NS, "bad", value)])
    assert store.search(()) == []


def test_the_last_changed_comes_first(store: MemkitStore) -> None:
    for key in "abcd":
        store.put(("x", key), key, {"n": key})
    store.put(("x", "a"), "a", {"n": "again"})
    assert keys(store.search(("x",))) == ["a", "d", "c", "b"]
    assert keys(store.search(("x",), limit=2, offset=1)) == ["d", "c"]
    assert keys(store.search(("x", "a"))) == ["a"]


def test_pages_over_a_query_are_complete(store: MemkitStore) -> None:
    for number in range(30):
        index: Any = False if number % 10 == 0 else None
        store.put(NS, str(number), {"text": f"note {number % 3}"}, index=index)
    pages = [store.search(NS, query="note 1", limit=10, offset=start) for start in (0, 10, 20)]
    found = [key for page in pages for key in keys(page)]
    assert sorted(found, key=int) == [str(number) for number in range(30)]
    assert [item.score is None for page in pages for item in page] == [False] * 27 + [True] * 3


def test_a_list_is_accepted_as_a_prefix(store: MemkitStore) -> None:
    store.put(("a", "b"), "k", {})
    assert keys(store.search(["a"])) == ["k"]  # type: ignore[arg-type]
    assert store.batch([GetOp(["a", "b"], "k")])[0] is not None  # type: ignore[arg-type]


def test_a_prefix_ends_at_a_label(store: MemkitStore) -> None:
    for namespace in (("a",), ("ab",), ("a", "b"), ("a-b",), ("a b",), ("a/b",), ("A",), ("\U0010ffff",)):
        store.put(namespace, "/".join(namespace), {})
    assert sorted(keys(store.search(("a",)))) == ["a", "a/b"]
    assert len(store.search(())) == 8
    assert store.list_namespaces(prefix=("a",)) == [("a",), ("a", "b")]


def test_no_namespace_without_items_is_listed(store: MemkitStore) -> None:
    store.put(("a", "b"), "k", {})
    store.put(("a", "c"), "k", {})
    store.delete(("a", "b"), "k")
    assert store.list_namespaces() == [("a", "c")]
    assert store.list_namespaces(max_depth=1) == [("a",)]
    store.delete(("a", "c"), "k")
    store.delete(("a", "c"), "k")
    assert store.list_namespaces() == []


def test_listing_follows_conditions_in_the_order_of_labels(store: MemkitStore) -> None:
    for namespace in (("u", "1", "p"), ("u", "2", "p"), ("u", "2"), ("v", "2", "p"), ("u-x", "1", "p")):
        store.put(namespace, "k", {})
    assert store.list_namespaces() == [
        ("u", "1", "p"),
        ("u", "2"),
        ("u", "2", "p"),
        ("u-x", "1", "p"),
        ("v", "2", "p"),
    ]
    assert store.list_namespaces(prefix=("*", "2")) == [("u", "2"), ("u", "2", "p"), ("v", "2", "p")]
    assert store.list_namespaces(prefix=("u",), suffix=("*", "p")) == [("u", "1", "p"), ("u", "2", "p")]
    assert store.list_namespaces(max_depth=2, limit=2, offset=1) == [("u", "2"), ("u-x", "1")]


@pytest.mark.parametrize("label", ["a.b", "", "a\0"])
def test_raw_operations_are_validated(store: MemkitStore, label: str) -> None:
    for op in (
        PutOp((label,), "k", {}),
        GetOp((label,), "k"),
        SearchOp((label,)),
        ListNamespacesOp((MatchCondition("prefix", (label,)),)),
    ):
        with pytest.raises(InvalidNamespaceError):
            store.batch([op])


def test_lone_surrogates_name_nothing(store: MemkitStore) -> None:
    for op in (
        PutOp(("\ud800",), "k", {}),
        PutOp(NS, "\ud800", {}),
        GetOp(("\ud800",), "k"),
        GetOp(NS, "\ud800"),
    ):
        with pytest.raises(UsageError, match="surrogate"):
            store.batch([op])


async def test_both_faces_of_a_memory_and_both_kinds_of_calls(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with AsyncMemory(llm="verbatim", embedder=HashEmbeddings(16), store=path) as amemory:
        store = MemkitStore(amemory)
        await store.aput(NS, "a", {"text": "green tea"})
        assert store.get(NS, "a") is not None  # sync, inside a running loop
        store.put(NS, "b", {"text": "black coffee"})
        found = await store.asearch(NS, query="green tea", limit=1)
        assert keys(found) == ["a"]
        assert await store.alist_namespaces() == [NS]
        await store.adelete(NS, "a")
    with Memory(llm="verbatim", embedder=HashEmbeddings(16), store=path) as memory:
        assert keys(MemkitStore(memory).search(())) == ["b"]


async def test_a_store_of_its_own_serves_both_kinds_of_blocks(tmp_path: Path) -> None:
    path = str(tmp_path / "own.db")
    with MemkitStore.from_conn_string(path, index={"dims": 16, "embed": HashEmbeddings(16)}) as store:
        store.setup()
        store.put(NS, "a", {"text": "x"})
    async with MemkitStore.from_conn_string(path, index={"dims": 16, "embed": HashEmbeddings(16)}) as store:
        await store.setup()
        found = await store.asearch(NS, query="x")
        assert found[0].score == pytest.approx(1.0, abs=0.4)
    with pytest.raises(UsageError, match="embed"):
        MemkitStore.from_conn_string(path, index={"dims": 16})


def test_wrong_arguments_are_refused(memory: Memory) -> None:
    with pytest.raises(UsageError, match="ranking"):
        MemkitStore(memory, ranking="best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ttl"):
        MemkitStore(memory, ttl={"minutes": 1})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(UsageError, match="index"):
        MemkitStore(memory, index={"field": ["a"]})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(UsageError, match="dims"):
        MemkitStore(memory, index={"dims": 3})
    with pytest.raises(UsageError, match="negative"):
        MemkitStore(memory).search((), limit=-1)
