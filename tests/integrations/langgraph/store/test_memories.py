"""A user's memories as items, both ways."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from langgraph.store.base import PutOp

from memkit_core import Memory, UsageError
from memkit_langgraph import MemkitStore, user_namespace

ANA = user_namespace("memories", "ana@example.com")
BEN = user_namespace("memories", "ben")


def test_memories_are_items(memory: Memory, store: MemkitStore) -> None:
    added = memory.add("I like green tea", user_id="ana@example.com", metadata={"topic": "drinks"})
    memory.add("I like coffee", user_id="ben")
    known = added.results[0].id
    assert known is not None
    item = store.get(ANA, known)
    assert item is not None
    assert item.value == {"memory": "I like green tea", "topic": "drinks"}
    assert item.namespace == ANA
    assert item.created_at.utcoffset() == timedelta(0)
    found = store.search(ANA, query="What does she drink?")
    assert [hit.key for hit in found] == [known]
    assert found[0].score is not None
    assert [hit.value["memory"] for hit in store.search(ANA)] == ["I like green tea"]
    assert store.search(ANA, filter={"topic": "food"}) == []
    assert len(store.search(ANA, query="tea", filter={"topic": {"$in": ["drinks"]}})) == 1


def test_items_are_memories(memory: Memory, store: MemkitStore) -> None:
    store.put(ANA, "my-key", {"memory": "Lives in Madrid", "topic": "home"})
    hit = memory.search("Where does she live?", user_id="ana@example.com").results[0]
    assert (hit.memory, hit.metadata["topic"]) == ("Lives in Madrid", "home")
    by_key, by_id = store.get(ANA, "my-key"), store.get(ANA, hit.id)
    assert by_key is not None
    assert by_key == by_id
    assert by_key.key == "my-key"
    store.put(ANA, "my-key", {"memory": "Lives in Rome"})
    memories = memory.get_all(user_id="ana@example.com").results
    assert [(one.id, one.memory, one.revision) for one in memories] == [(hit.id, "Lives in Rome", 2)]
    assert store.search(ANA)[0].value == {"memory": "Lives in Rome"}
    store.put(ANA, hit.id, {"memory": "Lives in Rome", "topic": "home"})
    assert store.search(ANA)[0].value == {"memory": "Lives in Rome", "topic": "home"}
    assert store.search(ANA)[0].key == "my-key"
    store.delete(ANA, "my-key")
    store.delete(ANA, "my-key")
    assert memory.count(user_id="ana@example.com") == 0
    assert store.get(ANA, hit.id) is None


def test_nobody_reaches_anybody_else(memory: Memory, store: MemkitStore) -> None:
    known = memory.add("The code is 1234", user_id="ben").results[0].id
    assert known is not None
    store.put(BEN, "k", {"memory": "Likes figs"})
    for key in (known, "k"):
        assert store.get(ANA, key) is None
        store.delete(ANA, key)
        store.put(ANA, key, {"memory": f"Ana's {key}"})
    assert sorted(one.memory for one in memory.get_all(user_id="ben").results) == [
        "Likes figs",
        "The code is 1234",
    ]
    assert store.search(ANA, query="code figs", filter={"memory": {"$contains": "code"}}) == []
    assert store.search(("memories",), query="code") == []
    assert store.search((), query="code") == []
    assert store.list_namespaces() == []
    assert store.search(user_namespace("memories", "*")) == []
    assert store.search(user_namespace("notes", "ben")) == []


def test_an_integer_is_the_user_that_it_spells(memory: Memory, store: MemkitStore) -> None:
    store.put(user_namespace("memories", 7), "k", {"memory": "Likes figs"})
    assert memory.search("figs", user_id="7").results[0].memory == "Likes figs"


def test_pages_and_order(memory: Memory, store: MemkitStore) -> None:
    for number in range(130):
        memory.add(f"Fact number {number} about tea", user_id="ben", infer=False)
    store.put(BEN, store.search(BEN, limit=1, offset=100)[0].key, {"memory": "Changed last"})
    pages = [store.search(BEN, limit=50, offset=start) for start in (0, 50, 100)]
    assert [len(page) for page in pages] == [50, 50, 30]
    assert len({item.key for page in pages for item in page}) == 130
    assert pages[0][0].value["memory"] == "Changed last"
    found = [
        item.key
        for start in range(0, 129, 40)
        for item in store.search(
            BEN, query="tea", limit=40, offset=start, filter={"memory": {"$contains": "Fact"}}
        )
    ]
    assert len(found) == len(set(found)) == 129


def test_equal_texts_stay_two_items(store: MemkitStore) -> None:
    for key in ("one", "two"):
        store.put(BEN, key, {"content": "The same text"})
    assert {item.key: item.value for item in store.search(BEN)} == {
        key: {"content": "The same text", "memory": "The same text"} for key in ("one", "two")
    }


@pytest.mark.parametrize("value", [{}, {"memory": ""}, {"memory": 3}, {"memory": "x", "langgraph_key": "y"}])
def test_what_is_no_memory_is_refused(memory: Memory, store: MemkitStore, value: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        store.batch([PutOp(("items",), "k", {"a": 1}), PutOp(BEN, "k", value)])
    assert store.search(()) == []
    assert memory.count(user_id="ben") == 0


def test_a_time_to_live_is_the_memorys(memory: Memory, store: MemkitStore) -> None:
    store.put(BEN, "k", {"memory": "Is in Paris today"}, ttl=60)
    one = memory.get_all(user_id="ben").results[0]
    assert one.expires_at is not None
    assert timedelta(minutes=59) < one.expires_at - one.created_at < timedelta(minutes=61)


async def test_both_kinds_of_calls(memory: Memory, store: MemkitStore) -> None:
    await store.aput(BEN, "k", {"memory": "Likes figs"})
    assert (await store.asearch(BEN, query="figs"))[0].key == "k"
    item = await store.aget(BEN, "k")
    assert item is not None
    await store.adelete(BEN, "k")
    assert memory.count(user_id="ben") == 0


def test_messages_are_extracted_from(memory: Memory, store: MemkitStore) -> None:
    said = [{"role": "user", "content": "I moved to Lisbon last year."}]
    store.put(BEN, "thread-1", {"messages": said, "extract": True, "topic": "home"})
    one = memory.get_all(user_id="ben").results[0]
    assert one.memory == "I moved to Lisbon last year."
    assert one.metadata == {"topic": "home"}
    assert one.sources  # it rests on the message, which the pipeline has stored


async def test_messages_are_extracted_from_by_option(memory: Memory) -> None:
    store = MemkitStore(memory, extract=True)
    said = [{"role": "user", "content": "I moved to Lisbon."}, {"role": "assistant", "content": "Nice!"}]
    await store.aput(BEN, "thread-1", {"messages": said})
    assert [one.memory for one in memory.get_all(user_id="ben").results] == ["I moved to Lisbon."]


def test_memories_need_not_be_shown(memory: Memory) -> None:
    store = MemkitStore(memory, memories=None)
    store.put(BEN, "k", {"anything": 1})
    assert memory.count(user_id="ben") == 0
    assert store.list_namespaces() == [BEN]
    other = MemkitStore(memory, memories="facts")
    other.put(user_namespace("facts", "ben"), "k", {"memory": "Likes figs"})
    assert memory.count(user_id="ben") == 1
