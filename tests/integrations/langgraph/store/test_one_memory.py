"""A key in somebody's memories is one memory, whoever puts it at the same time; refusals change nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp

from memkit_core import Memory, UsageError
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore, user_namespace

ANN = user_namespace("memories", "ann")


def keys(store: MemkitStore) -> list[str]:
    return [item.key for item in store.search(ANN, limit=1_000)]


def test_threads_put_one_memory(memory: Memory) -> None:
    stores = [MemkitStore(memory), MemkitStore(memory)]  # side by side on one memory

    def put(number: int) -> None:
        stores[number % 2].put(ANN, "k", {"memory": f"value {number}", "n": number})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(48)))
    assert keys(stores[0]) == ["k"]
    item = stores[0].get(ANN, "k")
    assert item is not None
    assert item.value == {"memory": f"value {item.value['n']}", "n": item.value["n"]}
    stores[0].delete(ANN, "k")
    assert memory.count(user_id="ann") == 0
    stores[0].put(ANN, "k", {"memory": "again"})
    assert keys(stores[0]) == ["k"]


async def test_tasks_put_one_memory(memory: Memory) -> None:
    store = MemkitStore(memory)
    await asyncio.gather(*(store.aput(ANN, f"k{n % 3}", {"memory": f"value {n}"}) for n in range(30)))
    assert sorted(keys(store)) == ["k0", "k1", "k2"]
    await asyncio.gather(
        *(store.adelete(ANN, "k0") if n % 2 else store.aput(ANN, "k0", {"memory": f"{n}"}) for n in range(20))
    )
    assert keys(store).count("k0") <= 1


def _put_many(path: str, number: int, begin: Any) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(64), store=path) as memory:
        store = MemkitStore(memory)
        begin.wait(60)
        for key in range(20):
            store.put(ANN, f"k{key}", {"memory": f"value {key} of {number}"})


def test_processes_put_one_memory(tmp_path: Path) -> None:
    path = str(tmp_path / "shared.db")
    context = multiprocessing.get_context("spawn")
    with Memory(llm="verbatim", embedder=HashEmbeddings(64), store=path) as memory:
        begin = context.Barrier(3)
        processes = [context.Process(target=_put_many, args=(path, n, begin)) for n in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        assert sorted(keys(MemkitStore(memory))) == sorted(f"k{key}" for key in range(20))
        assert memory.admin.doctor().ok


def test_memories_that_a_killed_process_left_double_become_one(memory: Memory, store: MemkitStore) -> None:
    for text in ("first", "second"):
        memory.add(text, user_id="ann", metadata={"langgraph_key": "k"}, infer=False)
    assert keys(store) == ["k", "k"]
    store.put(ANN, "k", {"memory": "third"})
    assert [item.value for item in store.search(ANN)] == [{"memory": "third"}]
    memory.add("fourth", user_id="ann", metadata={"langgraph_key": "k"}, infer=False)
    store.delete(ANN, "k")
    assert keys(store) == []


_REFUSED: list[Any] = [
    {"memory": "t", "n": float("nan")},
    {"memory": "t", "n": {1}},
    {"memory": "nul\0"},
    {"memory": "t", "": 1},
    {"messages": 5},
    {"messages": [], "extract": True},
    {"messages": [{"role": "user", "content": "Hi"}], "n": float("inf")},
    {"content": {"n": float("nan")}},
    {"content": {}},
    {"no": "text"},
]


@pytest.mark.parametrize("value", _REFUSED, ids=repr)
async def test_a_memory_that_is_refused_stores_no_item_either(
    memory: Memory, store: MemkitStore, value: Any
) -> None:
    first = PutOp(("items",), "k", {"v": 1})
    before = PutOp(ANN, "fine", {"memory": "Fine"})
    with pytest.raises(UsageError):
        store.batch([first, before, PutOp(ANN, "k", value)])
    with pytest.raises(UsageError):
        await store.abatch([first, before, PutOp(ANN, "k", value)])
    for namespace, key in ((ANN, ""), (ANN, "x" * 2_000), (user_namespace("memories", "u" * 2_000), "k")):
        with pytest.raises(UsageError):
            store.batch([first, before, PutOp(namespace, key, {"memory": "t"})])
    assert store.get(("items",), "k") is None
    assert memory.count(user_id="ann") == 0


def test_a_mapping_is_a_memorys_text_and_comes_back(memory: Memory, store: MemkitStore) -> None:
    put = {"content": {"topic": "music", "text": "likes jazz", "since": 1999, "tags": ["a"]}, "kind": "Pref"}
    store.put(ANN, "k", put)
    told = 'topic: music\ntext: likes jazz\nsince: 1999\ntags: ["a"]'
    item = store.get(ANN, "k")
    assert item is not None
    assert item.value == {**put, "memory": told}
    hit = memory.search("Does she like jazz?", user_id="ann").results[0]
    assert hit.memory == told
    assert len(store.search(ANN, filter={"content": {"topic": "music"}})) == 1
    assert len(store.search(ANN, filter={"content.since": {"$gt": 1990}}, query="jazz")) == 1
    memory.update(hit.id, "Likes rock", user_id="ann")  # then the mapping says it no more
    assert store.search(ANN)[0].value == {"content": "Likes rock", "memory": "Likes rock", "kind": "Pref"}
    store.put(ANN, "k", {"content": {"content": "Likes soul"}})
    assert store.search(ANN)[0].value == {"content": {"content": "Likes soul"}, "memory": "Likes soul"}
    store.put(ANN, "k", {"content": "Likes pop"})
    assert store.search(ANN)[0].value == {"content": "Likes pop", "memory": "Likes pop"}


def test_a_put_without_a_time_to_live_takes_it_away(memory: Memory, store: MemkitStore) -> None:
    store.put(ANN, "k", {"memory": "Is in Paris"}, ttl=60)
    store.put(ANN, "k", {"memory": "Is in Paris"})
    expires = memory.get_all(user_id="ann").results[0].expires_at
    assert expires == datetime(9999, 12, 31, tzinfo=UTC)
    store.put(ANN, "k", {"memory": "Is in Rome"}, ttl=60)
    expires = memory.get_all(user_id="ann").results[0].expires_at
    assert expires is not None
    assert expires.year < 9999
