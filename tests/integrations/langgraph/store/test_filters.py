"""What filters mean."""

from __future__ import annotations

from typing import Any

import pytest

from memkit_langgraph import MemkitStore

NS = ("things",)
VALUES: dict[str, dict[str, Any]] = {
    "one": {"n": 1, "flag": True, "tags": ["a", "b"], "meta": {"lang": "en", "size": 2}, "name": "Ann"},
    "two": {"n": 2.5, "flag": False, "tags": [], "meta": {"lang": "de"}, "name": "Ben", "none": None},
    "three": {"flag": 1, "meta.lang": "fr", "n": "2", "meta": 3},
    "four": {"n": True, "x-y": {"1": "ü"}},
}


@pytest.fixture
def things(store: MemkitStore) -> MemkitStore:
    for key, value in VALUES.items():
        store.put(NS, key, value)
    return store


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, {"one", "two", "three", "four"}),
        ({"n": 1}, {"one"}),
        ({"n": 1.0}, {"one"}),
        ({"flag": True}, {"one"}),
        ({"flag": 1}, {"three"}),
        ({"n": True}, {"four"}),
        ({"none": None}, {"two"}),
        ({"n": {"$eq": 2.5}}, {"two"}),
        ({"n": {"$ne": 1}}, {"two", "three", "four"}),
        ({"none": {"$ne": 1}}, {"two"}),
        ({"n": {"$gt": 1}}, {"two"}),
        ({"n": {"$gte": 1, "$lt": 2.5}}, {"one"}),
        ({"n": {"$lte": "3"}}, {"three"}),
        ({"name": {"$gt": "Anna"}}, {"two"}),
        ({"meta": {"lang": "en"}}, {"one"}),
        ({"meta": {"size": {"$gte": 2}}}, {"one"}),
        ({"meta.lang": "de"}, {"two"}),
        ({"meta.lang": "fr"}, {"three"}),
        ({"meta.lang.more": "de"}, set()),
        ({"x-y.1": "ü"}, {"four"}),
        ({"tags": ["a", "b"]}, {"one"}),
        ({"tags": ["a"]}, set()),
        ({"tags": {"$contains": "b"}}, {"one"}),
        ({"name": {"$contains": "nn"}}, {"one"}),
        ({"meta": {"$contains": "size"}}, {"one"}),
        ({"n": {"$in": [1, "2"]}}, {"one", "three"}),
        ({"name": {"$exists": True}}, {"one", "two"}),
        ({"name": {"$exists": False}}, {"three", "four"}),
        ({"meta.size": {"$exists": True}}, {"one"}),
        ({"n": {"$gt": 0}, "flag": True}, {"one"}),
    ],
)
def test_filters(things: MemkitStore, wanted: dict[str, Any], found: set[str]) -> None:
    assert {item.key for item in things.search(NS, filter=wanted)} == found
    assert {item.key for item in things.search(NS, query="Ann", filter=wanted)} == found


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": {"$regex": "."}},
        {"n": {"$gt": 1, "more": 2}},
        {"$or": [{"n": 1}]},
        {"meta": {"lang": {"$like": "e"}}},
        {"n": {"$in": "ab"}},
        {"n": {"$exists": 1}},
        {"n') OR 1=1 --": 1},
        {1: 2},
    ],
)
def test_what_is_no_filter_is_refused(things: MemkitStore, wanted: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        things.search(NS, filter=wanted)


def test_filters_come_before_pages(store: MemkitStore) -> None:
    for number in range(40):
        store.put(NS, str(number), {"n": number, "text": "tea"})
    for query in (None, "tea"):
        pages = [
            [
                item.value["n"]
                for item in store.search(NS, query=query, filter={"n": {"$lt": 15}}, limit=6, offset=at)
            ]
            for at in (0, 6, 12)
        ]
        assert [len(page) for page in pages] == [6, 6, 3]
        assert sorted(number for page in pages for number in page) == list(range(15))
