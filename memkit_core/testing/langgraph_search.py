"""Conformance tests of LangGraph's stores: searches without a query, filters, orders and pages."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest

from .langgraph_face import Face, StoreSuite, conforms

NS: Final = ("docs", "ann")
#: What the tests of filters search in.
_ITEMS: Final[dict[str, dict[str, Any]]] = {
    "a": {"n": 1, "s": "x", "flag": True, "deep": {"x": {"y": 1}, "z": 2}, "tags": ["red", "blue"]},
    "b": {"n": 2, "s": "y", "flag": False, "deep": {"x": {"y": 2}, "z": 2}, "tags": ["red"]},
    "c": {"n": 3.5, "s": "X", "flag": 1, "deep": {"x": {"y": "1"}}, "tags": []},
    "d": {"n": "2", "s": "", "flag": None, "deep": "x"},
    "e": {"dotted.name": 1, "n": None},
}


async def _filled(store: Face) -> None:
    for key, value in _ITEMS.items():
        await store.put(NS, key, value)


async def _numbers(store: Face) -> None:
    for n in range(5):
        await store.put(NS, str(n), {"n": n, "even": n % 2 == 0})


async def _found(store: Face, wanted: dict[str, Any]) -> str:
    return "".join(sorted(await store.keys(NS, filter=wanted, limit=100)))


class FilterConformance(StoreSuite):
    """Which items a filter means."""

    @conforms()
    async def test_a_value_is_equal(self, store: Face) -> None:
        await _filled(store)
        assert await _found(store, {"s": "x"}) == "a"
        assert await _found(store, {"n": 2}) == "b"
        assert await _found(store, {"n": 3.5}) == "c"
        assert await _found(store, {"s": ""}) == "d"
        assert await _found(store, {"tags": ["red", "blue"]}) == "a"
        assert await _found(store, {"tags": []}) == "c"
        assert await _found(store, {"s": "z"}) == ""

    @conforms()
    async def test_true_is_not_one_and_a_text_no_number(self, store: Face) -> None:
        await _filled(store)
        assert await _found(store, {"flag": True}) == "a"
        assert await _found(store, {"flag": 1}) == "c"
        assert await _found(store, {"flag": False}) == "b"
        assert await _found(store, {"n": "2"}) == "d"

    @conforms()
    async def test_null_is_a_value(self, store: Face) -> None:
        await _filled(store)
        assert await _found(store, {"flag": None}) == "d"
        assert await _found(store, {"n": None}) == "e"

    @conforms()
    async def test_all_conditions_hold(self, store: Face) -> None:
        await _numbers(store)
        assert await _found(store, {"n": 1, "even": False}) == "1"
        assert await _found(store, {"n": 1, "even": True}) == ""
        assert await _found(store, {"n": {"$gte": 1, "$lt": 2}}) == "1"
        assert await _found(store, {"n": {"$gt": 0}, "even": True}) == "24"
        assert await _found(store, {}) == "01234"

    @conforms()
    async def test_operators_compare_numbers(self, store: Face) -> None:
        await _numbers(store)
        for operator, found in (
            ("$eq", "2"),
            ("$ne", "0134"),
            ("$gt", "34"),
            ("$gte", "234"),
            ("$lt", "01"),
            ("$lte", "012"),
        ):
            assert await _found(store, {"n": {operator: 2}}) == found, operator
        assert await _found(store, {"n": {"$gt": 1.5, "$lte": 2.5}}) == "2"

    @conforms()
    async def test_numbers_are_ordered_as_numbers(self, store: Face) -> None:
        for number in (9, 10, 100, -5):
            await store.put(NS, str(number), {"n": number})
        assert sorted(await store.keys(NS, filter={"n": {"$gt": 9}})) == ["10", "100"]
        assert sorted(await store.keys(NS, filter={"n": {"$lt": 0}})) == ["-5"]

    @conforms()
    async def test_texts_are_ordered_as_texts(self, store: Face) -> None:
        for day in ("2026-01-31", "2026-02-01", "2025-12-31"):
            await store.put(NS, day, {"day": day})
        found = await store.keys(NS, filter={"day": {"$gte": "2026-01-01", "$lt": "2026-02-01"}})
        assert found == ["2026-01-31"]

    @conforms()
    async def test_a_missing_field_fulfils_no_comparison(self, store: Face) -> None:
        await store.put(NS, "with", {"n": 1})
        await store.put(NS, "without", {"m": 1})
        for operator, operand in (("$eq", 1), ("$ne", 2), ("$gt", 0), ("$gte", 1), ("$lt", 2), ("$lte", 1)):
            assert await store.keys(NS, filter={"n": {operator: operand}}) == ["with"], operator

    @conforms()
    async def test_not_equal_is_the_opposite_of_equal(self, store: Face) -> None:
        await store.put(NS, "a", {"n": 1})
        await store.put(NS, "b", {"n": 2})
        await store.put(NS, "c", {"n": True})
        await store.put(NS, "d", {"n": "1"})
        assert await _found(store, {"n": {"$ne": 1}}) == "bcd"

    @conforms()
    async def test_what_cannot_be_compared_is_left_out(self, store: Face) -> None:
        await store.put(NS, "number", {"n": 5})
        await store.put(NS, "text", {"n": "many"})
        await store.put(NS, "null", {"n": None})
        await store.put(NS, "list", {"n": [5]})
        assert await store.keys(NS, filter={"n": {"$gt": 1}}) == ["number"]

    @conforms()
    async def test_an_object_matches_in_part(self, store: Face) -> None:
        await _filled(store)
        assert await _found(store, {"deep": {"z": 2}}) == "ab"
        assert await _found(store, {"deep": {"x": {"y": 1}}}) == "a"
        assert await _found(store, {"deep": {"x": {"y": {"$gte": 2}}}}) == "b"
        assert await _found(store, {"deep": {"x": {"y": 1}, "z": 3}}) == ""

    @conforms()
    async def test_full_stops_lead_into_objects(self, store: Face) -> None:
        await _filled(store)
        assert await _found(store, {"deep.z": 2}) == "ab"
        assert await _found(store, {"deep.x.y": 2}) == "b"
        assert await _found(store, {"deep.x.y": {"$eq": "1"}}) == "c"
        assert await _found(store, {"deep.nothing": 1}) == ""
        assert await _found(store, {"dotted.name": 1}) == "e"

    @conforms()
    async def test_an_unknown_operator_is_an_error(self, store: Face) -> None:
        await _filled(store)
        for wanted in ({"n": {"$regex": "x"}}, {"n": {"$gt": 1, "$nope": 1}}):
            with pytest.raises(ValueError):  # noqa: PT011 - each store has words of its own
                await store.search(NS, filter=wanted)

    @conforms()
    async def test_nothing_in_a_filter_is_code(self, store: Face) -> None:
        await _filled(store)
        for name in ("n' OR '1'='1", "n') OR 1=1 --", 'n" OR "1"="1', "n; DROP TABLE store", "$.n"):
            try:
                found = await _found(store, {name: 1})
            except ValueError:
                continue
            assert found == "", name
        assert await _found(store, {"s": "x' OR '1'='1"}) == ""
        assert await _found(store, {"s": {"$eq": "' OR 1=1 --"}}) == ""
        assert len(await store.search(NS)) == len(_ITEMS)

    @conforms()
    async def test_further_operators(self, store: Face) -> None:
        if not self.extended_filters:
            pytest.skip("the store has LangGraph's own operators only")
        await _filled(store)
        assert await _found(store, {"s": {"$in": ["x", "y"]}}) == "ab"
        assert await _found(store, {"tags": {"$contains": "blue"}}) == "a"
        assert await _found(store, {"flag": {"$exists": True}}) == "abcd"
        assert await _found(store, {"flag": {"$exists": False}}) == "e"

    @conforms()
    async def test_filters_come_before_limit_and_offset(self, store: Face) -> None:
        for n in range(60):
            await store.put(NS, f"{n:02}", {"even": n % 2 == 0})
        pages = [await store.keys(NS, filter={"even": True}, limit=10, offset=start) for start in (0, 10, 20)]
        assert [len(page) for page in pages] == [10, 10, 10]
        assert len(set(itertools.chain(*pages))) == 30


class PageConformance(StoreSuite):
    """Orders and pages of searches without a query."""

    @conforms()
    async def test_the_last_updated_comes_first(self, store: Face) -> None:
        for key in "abc":
            await store.put(NS, key, {"n": 1})
            await store.wait(0.005)
        await store.put(NS, "a", {"n": 2})
        assert await store.keys(NS) == ["a", "c", "b"]

    @conforms()
    async def test_pages_are_complete_and_without_repeats(self, store: Face) -> None:
        for n in range(25):
            await store.put(("docs", str(n % 3)), f"{n:02}", {"n": n})
        pages = [await store.keys(("docs",), limit=10, offset=start) for start in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert sorted(itertools.chain(*pages)) == [f"{n:02}" for n in range(25)]

    @conforms()
    async def test_ten_are_returned_unless_more_are_asked_for(self, store: Face) -> None:
        for n in range(12):
            await store.put(NS, str(n), {"n": n})
        assert len(await store.search(NS)) == 10
        assert len(await store.search(NS, limit=100)) == 12

    @conforms()
    async def test_without_a_query_there_is_no_score(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1})
        for query in (None, ""):
            (found,) = await store.search(NS, query=query)
            assert found.score is None

    @conforms()
    async def test_a_query_without_an_index_is_no_error(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "I like tea."})
        assert await store.keys(NS, query="tea") == ["k"]
