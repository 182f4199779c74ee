"""Conformance tests of LangGraph's stores: items, batches and namespaces."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, Final, cast

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)

from .langgraph_face import Face, StoreSuite, aware, conforms

NS: Final = ("docs", "ann")
#: Seconds that two writes lie apart whose times are compared.
_MOMENT: Final = 0.01
_VALUES: Final[dict[str, Any]] = {
    "text": "Grüße, 李 \U0001f600 'quoted' \"twice\" \\ %_*",
    "empty": "",
    "int": 2**53 - 1,
    "float": 0.1,
    "negative": -1.5e-7,
    "true": True,
    "none": None,
    "list": [1, "two", [3.5, None], {"four": []}],
    "nested": {"a": {"b": {"c": ["d"]}}, "": "no name"},
}


class ItemConformance(StoreSuite):
    """Single items."""

    @conforms()
    async def test_what_is_put_is_got(self, store: Face) -> None:
        await store.put(NS, "k", _VALUES)
        item = await store.get(NS, "k")
        assert item is not None
        assert (item.namespace, item.key, item.value) == (NS, "k", _VALUES)
        assert type(item.value["true"]) is bool
        assert type(item.value["float"]) is float

    @conforms()
    async def test_nothing_there_is_none(self, store: Face) -> None:
        assert await store.get(NS, "k") is None
        await store.delete(NS, "k")
        assert await store.search(NS) == []

    @conforms()
    async def test_a_put_replaces_the_whole_value(self, store: Face) -> None:
        await store.put(NS, "k", {"a": 1, "b": 2})
        await store.put(NS, "k", {"a": 3})
        assert _value(await store.get(NS, "k")) == {"a": 3}
        assert await store.keys(NS) == ["k"]

    @conforms()
    async def test_a_deleted_item_is_gone_and_can_come_back(self, store: Face) -> None:
        await store.put(NS, "k", {"a": 1})
        await store.delete(NS, "k")
        assert await store.get(NS, "k") is None
        assert await store.search(NS) == []
        await store.put(NS, "k", {"a": 2})
        assert _value(await store.get(NS, "k")) == {"a": 2}

    @conforms()
    async def test_keys_are_any_text(self, store: Face) -> None:
        keys = ["a.b", "%", "_", "*", "a/b", "Å", "李", "'", '"', "a b", "x" * 300, "K", "k"]
        for key in keys:
            await store.put(NS, key, {"key": key})
        for key in keys:
            assert _value(await store.get(NS, key)) == {"key": key}
        assert sorted(await store.keys(NS, limit=100)) == sorted(keys)

    @conforms()
    async def test_an_update_keeps_created_at_and_moves_updated_at(self, store: Face) -> None:
        await store.put(NS, "k", {"a": 1})
        first = await store.get(NS, "k")
        await store.wait(_MOMENT)
        await store.put(NS, "k", {"a": 2})
        second = await store.get(NS, "k")
        assert first is not None
        assert second is not None
        assert second.created_at == first.created_at
        assert second.updated_at > first.updated_at

    @conforms()
    async def test_reading_changes_no_time(self, store: Face) -> None:
        await store.put(NS, "k", {"a": 1})
        first = await store.get(NS, "k")
        await store.wait(_MOMENT)
        await store.search(NS)
        second = await store.get(NS, "k")
        assert first is not None
        assert second is not None
        assert (second.created_at, second.updated_at) == (first.created_at, first.updated_at)

    @conforms()
    async def test_times_are_aware_and_exact_to_the_microsecond(self, store: Face) -> None:
        before = datetime.now(UTC)
        await store.put(NS, "k", {"a": 1})
        after = datetime.now(UTC)
        (found,) = await store.search(NS)
        got = await store.get(NS, "k")
        assert got is not None
        for item in (found, got):
            assert aware(item.created_at)
            assert aware(item.updated_at)
            assert before <= item.created_at <= after
            assert before <= item.updated_at <= after

    @conforms()
    async def test_values_are_copies(self, store: Face) -> None:
        mine: dict[str, Any] = {"list": [1], "nested": {"a": 1}}
        await store.batch([PutOp(NS, "k", mine)])
        mine["list"].append(2)
        mine["nested"]["a"] = 2
        got = await store.get(NS, "k")
        assert got is not None
        assert got.value == {"list": [1], "nested": {"a": 1}}
        got.value["list"].append(3)
        got.value["nested"]["a"] = 3
        (found,) = await store.search(NS)
        assert found.value == {"list": [1], "nested": {"a": 1}}
        found.value["list"].append(4)
        assert _value(await store.get(NS, "k")) == {"list": [1], "nested": {"a": 1}}

    @conforms()
    async def test_many_writers_lose_nothing(self, store: Face) -> None:
        async def write(writer: int) -> None:
            for n in range(10):
                await store.put(("docs", f"w{writer}"), str(n), {"n": n})

        await store.several([partial(write, writer) for writer in range(8)])
        assert len(await store.search(("docs",), limit=1_000)) == 80
        assert len(await store.namespaces(limit=100)) == 8


class BatchConformance(StoreSuite):
    """Several operations at once."""

    @conforms()
    async def test_results_come_in_the_order_of_the_operations(self, store: Face) -> None:
        await store.put(NS, "a", {"n": 1})
        ops: list[Op] = [
            SearchOp(NS),
            PutOp(("other",), "b", {"n": 2}),
            GetOp(NS, "a"),
            ListNamespacesOp(),
            GetOp(NS, "missing"),
        ]
        found, put, got, namespaces, missing = await store.batch(ops)
        assert [item.key for item in found] == ["a"]
        assert put is None
        assert got.value == {"n": 1}
        assert NS in namespaces
        assert missing is None

    @conforms()
    async def test_reads_see_the_state_before_the_puts_of_their_batch(self, store: Face) -> None:
        await store.put(NS, "old", {"n": 1})
        ops: list[Op] = [
            PutOp(NS, "new", {"n": 2}),
            PutOp(NS, "old", {"n": 3}),
            PutOp(("other",), "k", {"n": 4}),
            GetOp(NS, "new"),
            GetOp(NS, "old"),
            SearchOp(NS),
            ListNamespacesOp(),
        ]
        *_, new, old, found, namespaces = await store.batch(ops)
        assert new is None
        assert old.value == {"n": 1}
        assert [item.value for item in found] == [{"n": 1}]
        assert namespaces == [NS]

    @conforms()
    async def test_the_last_put_of_a_batch_counts(self, store: Face) -> None:
        await store.batch([PutOp(NS, "k", {"n": n}) for n in range(3)])
        assert _value(await store.get(NS, "k")) == {"n": 2}
        await store.batch([PutOp(NS, "k", {"n": 9}), PutOp(NS, "k", None)])
        assert await store.get(NS, "k") is None
        await store.batch([PutOp(NS, "k", None), PutOp(NS, "k", {"n": 8})])
        assert _value(await store.get(NS, "k")) == {"n": 8}

    @conforms()
    async def test_operations_may_come_from_an_iterator(self, store: Face) -> None:
        await store.batch(PutOp(NS, str(n), {"n": n}) for n in range(3))
        assert sorted(await store.keys(NS)) == ["0", "1", "2"]
        assert await store.batch([]) == []

    @conforms()
    async def test_a_batch_may_be_large(self, store: Face) -> None:
        await store.batch([PutOp(NS, str(n), {"n": n}) for n in range(2_500)])
        got = await store.batch([GetOp(NS, str(n)) for n in range(2_500)])
        assert [item.value["n"] for item in got] == list(range(2_500))

    @conforms()
    async def test_one_wrong_operation_leaves_nothing_behind(self, store: Face) -> None:
        with pytest.raises(InvalidNamespaceError):
            await store.batch([PutOp(NS, "k", {"n": 1}), PutOp(("a.b",), "k", {"n": 1})])
        assert await store.get(NS, "k") is None

    @conforms()
    async def test_labels_of_raw_operations_are_checked(self, store: Face) -> None:
        for label in ("a.b", "", "nul\x00", cast("Any", 7)):
            wrong: list[Op] = [
                GetOp(("docs", label), "k"),
                PutOp(("docs", label), "k", {"n": 1}),
                SearchOp(("docs", label)),
                ListNamespacesOp((MatchCondition("prefix", ("docs", label)),)),
            ]
            for op in wrong:
                with pytest.raises(InvalidNamespaceError):
                    await store.batch([op])

    @conforms()
    async def test_verbs_check_namespaces(self, store: Face) -> None:
        for namespace in ((), ("langgraph", "x"), ("a.b",), ("",)):
            with pytest.raises(InvalidNamespaceError):
                await store.put(namespace, "k", {"n": 1})


class NamespaceConformance(StoreSuite):
    """Namespaces and their listing."""

    @conforms()
    async def test_namespaces_are_apart(self, store: Face) -> None:
        for namespace in (("a",), ("a", "b"), ("ab",), ("a", "bc"), ("A",)):
            await store.put(namespace, "k", {"is": list(namespace)})
        for namespace in (("a",), ("a", "b"), ("ab",), ("a", "bc"), ("A",)):
            assert _value(await store.get(namespace, "k")) == {"is": list(namespace)}
        await store.delete(("a",), "k")
        assert await store.get(("a",), "k") is None
        assert await store.get(("a", "b"), "k") is not None

    @conforms()
    async def test_a_prefix_is_of_whole_labels(self, store: Face) -> None:
        for namespace in (("a", "b"), ("a", "bc"), ("a", "b", "c"), ("ab",)):
            await store.put(namespace, "k", {"n": 1})
        found = {item.namespace for item in await store.search(("a", "b"))}
        assert found == {("a", "b"), ("a", "b", "c")}
        assert len(await store.search(())) == 4

    @conforms()
    async def test_labels_are_no_patterns_in_a_search(self, store: Face) -> None:
        for label in ("%", "_", "*", "[a]", "?", "x"):
            await store.put(("docs", label), "k", {"is": label})
        for label in ("%", "_", "*", "[a]", "?"):
            assert [item.namespace for item in await store.search(("docs", label))] == [("docs", label)]

    @conforms()
    async def test_a_prefix_may_be_a_list(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1})
        await store.put(("docs", "bob"), "k", {"n": 2})
        (found,) = await store.search(list(NS))
        assert found.namespace == NS
        assert isinstance(found.namespace, tuple)
        assert await store.namespaces(prefix=list(NS)) == [NS]

    @conforms()
    async def test_namespaces_are_listed_in_order_each_once(self, store: Face) -> None:
        for namespace in (("b",), ("a", "z"), ("a",), ("a", "b")):
            await store.put(namespace, "1", {"n": 1})
            await store.put(namespace, "2", {"n": 2})
        assert await store.namespaces() == [("a",), ("a", "b"), ("a", "z"), ("b",)]

    @conforms()
    async def test_a_namespace_without_items_is_not_listed(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1})
        await store.put(("docs", "bob"), "k", {"n": 1})
        await store.delete(NS, "k")
        await store.get(("never",), "k")
        await store.delete(("never",), "k")
        assert await store.namespaces() == [("docs", "bob")]

    @conforms()
    async def test_a_listing_is_narrowed_by_beginning_and_end(self, store: Face) -> None:
        for namespace in (("a", "b", "c"), ("a", "d", "c"), ("a", "b", "d"), ("x", "b", "c"), ("a",)):
            await store.put(namespace, "k", {"n": 1})
        assert await store.namespaces(prefix=("a", "b")) == [("a", "b", "c"), ("a", "b", "d")]
        assert await store.namespaces(suffix=("c",)) == [("a", "b", "c"), ("a", "d", "c"), ("x", "b", "c")]
        assert await store.namespaces(prefix=("a",), suffix=("c",)) == [("a", "b", "c"), ("a", "d", "c")]
        assert await store.namespaces(prefix=("a", "*", "c")) == [("a", "b", "c"), ("a", "d", "c")]
        assert await store.namespaces(suffix=("*", "d")) == [("a", "b", "d")]
        assert await store.namespaces(prefix=("a", "b", "c", "d")) == []

    @conforms()
    async def test_a_star_stands_for_one_whole_label(self, store: Face) -> None:
        for namespace in (("a", "b"), ("a", "b", "c"), ("a",), ("a", "x", "c")):
            await store.put(namespace, "k", {"n": 1})
        assert await store.namespaces(prefix=("*", "b")) == [("a", "b"), ("a", "b", "c")]
        assert await store.namespaces(suffix=("*", "c")) == [("a", "b", "c"), ("a", "x", "c")]
        assert await store.namespaces(prefix=("*", "*", "*")) == [("a", "b", "c"), ("a", "x", "c")]

    @conforms()
    async def test_a_listing_is_cut_at_a_depth_before_it_is_paged(self, store: Face) -> None:
        for first in "abc":
            for second in "xyz":
                await store.put((first, second, "deep"), "k", {"n": 1})
        assert await store.namespaces(max_depth=1) == [("a",), ("b",), ("c",)]
        assert await store.namespaces(max_depth=1, limit=2, offset=1) == [("b",), ("c",)]
        pages = [await store.namespaces(max_depth=2, limit=4, offset=offset) for offset in (0, 4, 8)]
        assert [len(page) for page in pages] == [4, 4, 1]
        assert list(chain(*pages)) == [(first, second) for first in "abc" for second in "xyz"]


def _value(item: Any) -> Any:
    return None if item is None else item.value
