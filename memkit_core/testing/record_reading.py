"""Conformance of record stores: what a query sees, when, and of whom."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Final

import pytest

from ..filters import matches, parse_filter
from ..protocols import RecordStore, RetireMemory, UpdateMemory
from ..types import MemoryRecord, Scope
from .record_helpers import (
    ANN,
    MINUTE,
    T0,
    add_of,
    batch_of,
    commit,
    everything,
    query,
    remember,
    search,
    texts_of,
)

#: Pairs that a careless key or pattern would mix up.
CONFUSABLE: Final = (
    ("a", "a "),
    ("a", "A"),
    ("a/b", "a:b"),
    ("a%", "ab"),
    ("a_", "ab"),
    ("\u00e9", "e\u0301"),
    ("a'", "a''"),
    ("1", "01"),
    ("a,b", "a"),
    ("*", "anything"),
)
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    1.0,
    0.1 + 0.2,
    -3,
    2**53 + 1,
    2**63 - 1,
    2**70 + 1,
    1e300,
    "",
    "1",
    "true",
    "caf\u00e9",
    "CAFE\u0301",
    "stra\u00dfe",
    "STRASSE",
    'it\'s 100% "quoted" \\u0000',
    "\U0001f600",
    [],
    ["a", 1, True, None, 1.5, "Stra\u00dfe"],
    {"a": 1},
    "2026-01-01",
)


class ReadingConformance:
    """Scopes, time, filters, paging."""

    @pytest.mark.parametrize(("mine", "yours"), CONFUSABLE)
    def test_confusable_owners(self, store: RecordStore, mine: str, yours: str) -> None:
        scopes = [
            Scope(**{kind: value}) for kind in ("user_id", "agent_id", "run_id") for value in (mine, yours)
        ]
        records: dict[int, MemoryRecord] = {}
        for number, scope in enumerate(scopes):
            records[number] = remember(store, f"same words {number}", scope, skip_duplicate=True)
            store.append(batch_of(["same words"], scope))
        for number, scope in enumerate(scopes):
            assert texts_of(everything(store, query(scope))) == [f"same words {number}"]
            assert store.count(query(scope)) == 1
            found = search(store, "same words", scope=scope, spaces=("memory", "turn"))
            assert len(found.scored) == 2
            for other, record in records.items():
                inside = other == number
                assert (store.get(record.memory_id, scope) is not None) is inside
                assert bool(store.history(record.memory_id, scope)) is inside
                assert bool(store.read(query(scope), [record.unit])) is inside
        assert store.retire_all(query(scopes[0]), recorded_at=T0, reason="", hide_messages=True) == 1
        assert all(store.count(query(scope)) == 1 for scope in scopes[1:])

    def test_narrowing(self, store: RecordStore) -> None:
        for agent, run in itertools.product((None, "a", "b"), (None, "r")):
            scope = Scope(user_id="ann", agent_id=agent, run_id=run)
            remember(store, f"{agent} {run}", scope)
            store.append(batch_of(["some words"], scope))
        remember(store, "the agent's own", Scope(agent_id="a"))
        for agent, run, wanted in ((None, None, 6), ("a", None, 2), (None, "r", 3), ("b", "r", 1)):
            scope = Scope(user_id="ann", agent_id=agent, run_id=run)
            assert store.count(query(scope)) == wanted
            assert len(search(store, "words", scope=scope, spaces=("turn",)).scored) == wanted
        assert texts_of(everything(store, query(Scope(agent_id="a")))) == ["the agent's own"]
        assert store.owner_state(ANN.owner).live_memories == 6

    def test_what_says_the_same_is_read_with_it(self, store: RecordStore) -> None:
        mine = remember(store, "Lives in Bern.")
        run = remember(store, "Lives in Bern.", Scope(user_id="ann", run_id="r"))
        other = remember(store, "Lives in Rome.")
        gone = remember(store, "Lives in Bern.", skip_duplicate=False)
        remember(store, "Lives in Bern.", Scope(user_id="bob"))
        commit(store, RetireMemory(memory_id=gone.memory_id, valid_to=T0))
        found = store.read(query(), [mine.unit, other.unit], alike=True)
        assert {record.unit for record in found} == {mine.unit, run.unit, other.unit}
        assert {record.unit for record in store.read(query(), [mine.unit])} == {mine.unit}
        narrowed = query(Scope(user_id="ann", run_id="r"))
        assert {record.unit for record in store.read(narrowed, [run.unit], alike=True)} == {run.unit}

    def test_expiry(self, store: RecordStore) -> None:
        record = remember(store, "short lived", expires_at=T0 + MINUTE)
        assert store.count(query(now=T0 + MINUTE - 1)) == 1
        assert store.count(query(now=T0 + MINUTE)) == 0
        assert search(store, "short lived", query=query(now=T0 + MINUTE)).scored == ()
        assert len(search(store, "short lived", query=query(now=T0)).scored) == 1
        assert store.get(record.memory_id) is not None
        remember(store, "short lived", at=T0 + 2 * MINUTE, skip_duplicate=True)
        assert store.count(query()) == 1

    def test_bitemporal(self, store: RecordStore) -> None:
        # Known from minute 10 that it holds since minute 1; known at 30 that it changed at 20; gone at 50.
        record = remember(store, "Berlin", at=T0 + 10 * MINUTE, valid_from=T0 + MINUTE)
        change = UpdateMemory(memory_id=record.memory_id, text="Madrid", valid_from=T0 + 20 * MINUTE)
        commit(store, change, at=T0 + 30 * MINUTE)
        gone = RetireMemory(memory_id=record.memory_id, valid_to=T0 + 45 * MINUTE)
        commit(store, gone, at=T0 + 50 * MINUTE)
        cases: tuple[tuple[int | None, int | None, list[str]], ...] = (
            (5, None, ["Berlin"]),
            (0, None, []),
            (19, None, ["Berlin"]),
            (20, None, ["Madrid"]),
            (44, None, ["Madrid"]),
            (45, None, []),
            (5, 5, []),
            (25, 15, ["Berlin"]),
            (25, 30, ["Madrid"]),
            (60, 49, ["Madrid"]),
            (None, 15, ["Berlin"]),
            (None, None, []),
        )
        for valid, known, wanted in cases:
            asked = query(
                valid_at=None if valid is None else T0 + valid * MINUTE,
                known_at=None if known is None else T0 + known * MINUTE,
            )
            assert texts_of(everything(store, asked)) == wanted, (valid, known)
            assert store.count(asked) == len(wanted)
            units = [s.unit for s in search(store, "Berlin Madrid", query=asked).scored]
            assert texts_of(store.read(asked, units)) == wanted, (valid, known)

    def test_paging_while_others_write(self, store: RecordStore) -> None:
        ids = {remember(store, f"number {n}", at=T0 + n // 7).memory_id for n in range(150)}
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                remember(store, "later", at=T0 + 10 * MINUTE)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen: list[MemoryRecord] = []
            after = (T0 + MINUTE, "")
            while page := store.scan(query(), limit=7, after=after):
                seen += page
                after = (page[-1].created_at, page[-1].memory_id)
        finally:
            stop.set()
            writer.join()
        assert len(seen) == 150
        assert {record.memory_id for record in seen} == ids
        order = [(record.created_at, record.memory_id) for record in seen]
        assert order == sorted(order, reverse=True)

    def test_filters_mean_what_matches_says(self, store: RecordStore) -> None:
        changes = [
            add_of(
                str(value),
                metadata={} if n == 0 else {"k": value, 'odd "key" .$[0]': n},
                kind=("other", "Place")[n % 2],
                event_time=None if n % 3 else T0 + n,
                actor_id=None if n % 2 else "St\u00e9phane",
                support=("unchecked", "supported", "doubtful")[n % 3],
            )
            for n, value in enumerate(_VALUES)
        ]
        commit(store, *changes)
        records = everything(store, query())
        for condition in _conditions():
            parsed = parse_filter(condition)
            wanted = texts_of([record for record in records if matches(parsed, record)])
            asked = query(where=parsed)
            assert texts_of(everything(store, asked)) == wanted, condition
            assert store.count(asked) == len(wanted)

    def test_filter_comes_before_the_pool(self, store: RecordStore) -> None:
        for n in range(30):
            remember(store, "tea " * (30 - n), metadata={"n": n}, vector=[1.0, n / 100])
        asked = query(where=parse_filter({"n": {"gte": 28}}))
        found = search(store, "tea", query=asked, pool=2, vector=[1.0, 0.0])
        assert len(found.scored) == 2
        assert texts_of(store.read(asked, [s.unit for s in found.scored])) == ["tea " * 1, "tea " * 2]


def _conditions() -> list[dict[str, Any]]:
    scalars = [v for v in _VALUES if not isinstance(v, list | dict) and v != 2**70 + 1]
    ops = [(op, v) for op in ("eq", "ne", "contains") for v in scalars]
    ops += [
        (op, v)
        for op in ("gt", "gte", "lt", "lte")
        for v in scalars
        if v is not None and not isinstance(v, bool)
    ]
    ops += [("icontains", v) for v in scalars if isinstance(v, str)]
    ops += [(op, list(pair)) for op in ("in", "nin") for pair in itertools.pairwise(scalars)]
    ops += [("in", []), ("nin", []), ("exists", True), ("exists", False)]
    found: list[dict[str, Any]] = [
        {name: {op: value}}
        for name in ("k", "kind", "actor_id", "memory", "absent", "support")
        for op, value in ops
    ]
    found += [{'odd "key" .$[0]': {"gt": 3}}, {"event_time": {"exists": False}}]
    found += [{"event_time": {"lt": "2100-01-01"}}, {"event_time": {"ne": "2100-01-01"}}]
    found += [{"NOT": {"k": {"gt": 0}}}, {"OR": [{"k": 1}, {"kind": "Place"}]}, {"AND": [{"user_id": "bob"}]}]
    found += [
        {"support": "doubtful"},
        {"support": {"nin": ["unchecked", "doubtful"]}},
        {"support": {"gt": "t"}},
    ]
    found += [{"NOT": [{"k": {"contains": "a"}}, {"actor_id": {"exists": True}}]}]
    return found
