"""Any sequence of operations leaves what a plain dict would hold, whatever came before."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore

LABELS = st.sampled_from(["a", "b", "a b", "ab", "*", "é", "\U0010ffff"]) | st.text(
    min_size=1, max_size=3
).filter(lambda text: "." not in text and "\0" not in text and text.isprintable())
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "K", "", "k.k", "*"]) | st.text(max_size=2).filter(str.isprintable)
VALUES = st.dictionaries(
    st.sampled_from(["n", "text", "m"]),
    st.integers(-3, 3) | st.booleans() | st.text(max_size=5).filter(str.isprintable) | st.none(),
    max_size=3,
)
PUTS = st.builds(PutOp, NAMESPACES, KEYS, st.none() | VALUES, st.none() | st.just(False), st.none())
READS = st.builds(GetOp, NAMESPACES, KEYS, st.just(False)) | st.builds(
    SearchOp,
    st.just(()) | NAMESPACES,
    st.none() | st.builds(lambda n: {"n": n}, st.integers(-3, 3) | st.booleans()),
    st.integers(0, 6),
    st.integers(0, 3),
    st.none() | st.just("text"),
    st.just(False),
)
BATCHES = st.lists(st.lists(PUTS | READS | st.just(ListNamespacesOp()), max_size=6), max_size=12)


class Plain:
    """What a store is, in a dict: items by place, the last changed last."""

    def __init__(self) -> None:
        self.items: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}

    def batch(self, ops: list[Any]) -> list[Any]:
        answers = [self.answer(op) for op in ops]
        last = {}
        for op in ops:
            if isinstance(op, PutOp):
                last.pop((op.namespace, op.key), None)
                last[op.namespace, op.key] = op
        # Puts of one batch are of one moment: the store orders new ones by their numbers.
        for place, op in last.items():
            self.items.pop(place, None)
            if op.value is not None:
                self.items[place] = dict(op.value)
        return answers

    def answer(self, op: Any) -> Any:
        if isinstance(op, GetOp):
            return self.items.get((op.namespace, op.key))
        if isinstance(op, ListNamespacesOp):
            return sorted({namespace for namespace, _ in self.items})
        if isinstance(op, SearchOp):
            return {
                (namespace, key)
                for (namespace, key), value in self.items.items()
                if namespace[: len(op.namespace_prefix)] == op.namespace_prefix and _fits(value, op.filter)
            }
        return None


def _fits(value: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    return wanted is None or all(
        name in value and value[name] == part and isinstance(value[name], bool) == isinstance(part, bool)
        for name, part in wanted.items()
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES)
def test_any_batches_do_what_a_dict_does(batches: list[list[Any]]) -> None:
    plain = Plain()
    with Memory(llm="verbatim", embedder=HashEmbeddings(8), store=":memory:") as memory:
        store = MemkitStore(memory)
        for ops in batches:
            for op, expected, found in zip(ops, plain.batch(ops), store.batch(ops), strict=True):
                _compare(op, expected, found)
        everything = store.search((), limit=1_000)
        assert {(item.namespace, item.key): item.value for item in everything} == plain.items
        times = [item.updated_at for item in everything]
        assert times == sorted(times, reverse=True)
        assert memory.admin.doctor().ok


def _compare(op: Any, expected: Any, found: Any) -> None:
    if isinstance(op, GetOp):
        assert (None if found is None else found.value) == expected
    elif isinstance(op, SearchOp):
        places = [(item.namespace, item.key) for item in found]
        assert len(set(places)) == len(places) == max(0, min(op.limit, len(expected) - op.offset))
        assert set(places) <= expected
    elif isinstance(op, ListNamespacesOp):
        assert found == expected
    else:
        assert found is None


def test_threads_lose_nothing(tmp_path: Path) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(8), store=tmp_path / "t.db") as memory:
        store = MemkitStore(memory)
        errors: list[Exception] = []

        def work(number: int) -> None:
            try:
                for turn in range(25):
                    store.put(("t", str(number)), str(turn), {"n": turn, "text": f"turn {turn}"})
                    store.put(("shared",), "one", {"by": number})
                    assert len(store.search(("t", str(number)), query="turn", limit=100)) == turn + 1
                    if turn % 5 == 0:
                        store.delete(("t", str(number)), str(turn))
                        store.put(("t", str(number)), str(turn), {"n": turn, "text": "again"})
            except Exception as error:  # noqa: BLE001 - told in the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store.search(("t",), limit=1_000)) == 200
        assert len(store.list_namespaces(limit=100)) == 9
        assert memory.admin.doctor().ok


async def test_tasks_lose_nothing_and_a_cancelled_one_does_all_or_nothing(tmp_path: Path) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(8), store=tmp_path / "a.db") as memory:
        store = MemkitStore(memory)
        both = [PutOp(("pair",), "left", {"n": 1}), PutOp(("pair",), "right", {"n": 1})]
        tasks = [asyncio.create_task(store.abatch(both)) for _ in range(20)]
        puts = [
            store.aput(("t", str(number % 5)), str(number), {"text": f"note {number}"})
            for number in range(100)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*puts)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(await store.asearch(("t",), query="note", limit=1_000)) == 100
        assert len(await store.asearch(("pair",))) in (0, 2)
