"""Random histories of changes against a plain oracle: what held when, as known when.

``MEMKIT_HISTORIES`` says how many the slow test plays; without it there is none.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit_core.protocols import (
    AddMemory,
    AmendMemory,
    Change,
    ChangeSet,
    Query,
    RestoreMemory,
    RetireMemory,
    UpdateMemory,
)
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.types import Scope

from .bitemporal_oracle import Oracle

#: Read here: while a test runs, no setting of whoever runs it is there.
ON_DEMAND = int(os.environ.get("MEMKIT_HISTORIES", "0"))
START = 1_700_000_000_000_000
LONG_AFTER = 10_000
#: What is done, to which memory, with which two times.
Step = tuple[int, int, int, int]

steps = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 20), st.integers(0, 20)), max_size=10
)
points = st.lists(st.tuples(st.integers(-1, 22), st.integers(0, 11)), min_size=4, max_size=4)
_owners = count()


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStore]:
    with open_sqlite(":memory:", durability="relaxed") as store:
        yield store
        assert store.inspect().found == ()


def at(time: int) -> int:
    return START + time


def change(oracle: Oracle, scope: Scope, step: Step, now: int) -> Change | None:
    """The change that a step means, told to the oracle too; None if it means nothing here."""
    kind, which, first, second = step
    names = list(oracle.versions)
    if kind <= 1 or not names:
        memory, end = f"{scope.user_id}-{len(names)}", first + second if kind == 1 else None
        oracle.add(memory, f"text {now}", first, end, now)
        closed = None if end is None else at(end)
        return AddMemory(
            memory_id=memory, scope=scope, text=f"text {now}", valid_from=at(first), valid_to=closed
        )
    memory = names[which % len(names)]
    versions = oracle.versions[memory]
    revision = second % len(versions) + 1
    if kind == 2 and oracle.current(memory):
        oracle.update(memory, f"text {now}", first, now)
        return UpdateMemory(memory_id=memory, text=f"text {now}", valid_from=at(first))
    if kind == 3 and oracle.current(memory):
        oracle.retire(memory, first, now)
        return RetireMemory(memory_id=memory, valid_to=at(first))
    if kind in (4, 5):
        start = None if kind == 4 else first
        oracle.restore(memory, revision, start, now)
        begin = None if start is None else at(start)
        return RestoreMemory(memory_id=memory, revision=revision, valid_from=begin)
    end, version = first, versions[revision - 1]
    if kind == 6 and version.valid_to is not None and version.valid_from <= end <= version.valid_to:
        oracle.amend(memory, revision, end, now)
        return AmendMemory(memory_id=memory, revision=revision, valid_to=at(end))
    return None


def play(store: SqliteStore, steps: Sequence[Step], points: Sequence[tuple[int, int]]) -> None:
    """One history of a new owner, then the store's answers against the oracle's."""
    scope, oracle = Scope(user_id=f"u{next(_owners)}"), Oracle()
    for now, step in enumerate(steps, 1):
        made = change(oracle, scope, step, now)
        if made is not None:
            store.commit(ChangeSet(scope=scope, recorded_at=at(now), changes=(made,)))
    for valid, known in [*points, *((valid, LONG_AFTER) for valid, _ in points[:2])]:
        query = Query(scope=scope, now=at(LONG_AFTER), valid_at=at(valid), known_at=at(known))
        found = sorted((record.memory_id, record.text) for record in store.scan(query, limit=100))
        assert found == oracle.held(valid, known), (steps, valid, known)
        assert store.count(query) == len(found)
    now_current = sorted(memory for memory in oracle.versions if oracle.current(memory))
    current = store.scan(Query(scope=scope, now=at(LONG_AFTER)), limit=100)
    assert sorted(record.memory_id for record in current) == now_current
    for memory in oracle.versions:
        assert store.history(memory, scope)[-1].recorded_at <= at(len(steps))


@settings(
    max_examples=2_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=steps, points=points)
def test_two_thousand_histories(store: SqliteStore, steps: list[Step], points: list[tuple[int, int]]) -> None:
    play(store, steps, points)


@pytest.mark.slow
@pytest.mark.skipif(not ON_DEMAND, reason="MEMKIT_HISTORIES says how many")
@pytest.mark.timeout(7_200)
def test_histories_on_demand() -> None:
    total, seed = ON_DEMAND, random.randrange(2**32)
    rng = random.Random(seed)
    for start in range(0, total, 2_000):
        with open_sqlite(":memory:", durability="relaxed") as store:
            for _ in range(min(2_000, total - start)):
                steps = [
                    (rng.randrange(7), rng.randrange(6), rng.randrange(21), rng.randrange(21))
                    for _ in range(rng.randrange(16))
                ]
                points = [(rng.randrange(-1, 23), rng.randrange(17)) for _ in range(6)]
                play(store, steps, points)
            assert store.inspect().found == (), seed
