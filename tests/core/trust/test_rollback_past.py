"""After a rollback every instant has what it had: random histories against a store that stopped in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit_core import AsOf, Memory
from memkit_core.errors import MemkitError
from memkit_core.pipeline.rollback import Step, plan_rollback
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
from memkit_core.testing import ScriptedChatModel
from memkit_core.types import Scope

START = 1_700_000_000_000_000
LATEST = 14
VALID = range(-1, LATEST + 2)
#: What is done, to which memory, with which two times.
Move = tuple[int, int, int, int]

moves = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, LATEST), st.integers(0, LATEST)),
    max_size=12,
)
_owners = count()


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStore]:
    with open_sqlite(":memory:", durability="relaxed") as store:
        yield store
        assert store.inspect().found == ()


def at(time: int) -> int:
    return START + time


def change(scope: Scope, move: Move, now: int) -> Change:
    """The change that a move means; it may be one that the store refuses."""
    kind, which, first, second = move
    name, revision = f"{scope.user_id}-{which}", second % 4 + 1
    if kind in (0, 1):
        end = at(first + second) if kind else None
        return AddMemory(memory_id=name, scope=scope, text=f"text {now}", valid_from=at(first), valid_to=end)
    if kind in (2, 3):
        return UpdateMemory(memory_id=name, text=f"text {now}", valid_from=at(first))
    if kind == 4:
        return RetireMemory(memory_id=name, valid_to=at(first))
    if kind == 5:
        return RestoreMemory(memory_id=name, revision=revision, valid_from=at(first) if first % 2 else None)
    return AmendMemory(memory_id=name, revision=revision, valid_to=at(first))


def play(store: SqliteStore, scope: Scope, moves: list[Move]) -> None:
    there: set[str] = set()
    for now, move in enumerate(moves, 1):
        if move[0] == 8:
            roll_back(store, scope, to=move[1] * now // 4, now=now)
            continue
        made = change(scope, move, now)
        if isinstance(made, AddMemory):
            if made.memory_id in there:
                continue
            there.add(made.memory_id)
        try:
            store.commit(ChangeSet(scope=scope, recorded_at=at(now), changes=(made,)))
        except MemkitError:
            continue


def roll_back(store: SqliteStore, scope: Scope, *, to: int, now: int) -> tuple[Step, ...]:
    changed = [one for page in store.changed_since(scope, at(to)) for one in page]
    steps = plan_rollback(changed, at(to))
    changes = tuple(change for step in steps for change in step.changes)
    store.commit(ChangeSet(scope=scope, recorded_at=at(now), changes=changes))
    return steps


def held(store: SqliteStore, scope: Scope, known: int) -> list[list[tuple[str, str]]]:
    """What is found for every instant, as known at a time."""
    queries = (Query(scope=scope, now=at(90), valid_at=at(v), known_at=at(known)) for v in VALID)
    return [
        sorted((record.memory_id[-1], record.text) for record in store.scan(query, limit=100))
        for query in queries
    ]


def current(store: SqliteStore, scope: Scope) -> list[tuple[str, str, int]]:
    found = store.scan(Query(scope=scope, now=at(90)), limit=100)
    return sorted((record.memory_id[-1], record.text, record.valid_from) for record in found)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=moves, before=st.integers(0, 12))
def test_every_instant_has_what_it_had(store: SqliteStore, moves: list[Move], before: int) -> None:
    scope, stopped = Scope(user_id=f"u{next(_owners)}"), Scope(user_id=f"s{next(_owners)}")
    to = min(before, len(moves))
    play(store, scope, moves)
    play(store, stopped, moves[:to])
    told = [held(store, scope, known) for known in range(len(moves) + 1)]

    steps = roll_back(store, scope, to=to, now=50)
    assert held(store, scope, 90) == held(store, stopped, 90) == told[to], (moves, to)
    assert current(store, scope) == current(store, stopped)
    assert [held(store, scope, known) for known in range(len(moves) + 1)] == told
    assert roll_back(store, scope, to=to, now=51) == ()
    assert all(step.changes for step in steps)

    roll_back(store, scope, to=len(moves), now=52)  # the rollback is taken back itself
    assert held(store, scope, 90) == told[-1]
    for row in {one.memory_id for page in store.changed_since(scope, 0) for one in page}:
        store.history(row, scope)  # its events agree with its versions


def ana(place: str, when: str) -> dict[str, Any]:
    fact = {"text": f"Ana lives in {place}", "cites": [0], "when": when, "slot": "lives_in", "about": "Ana"}
    return {"facts": [fact]}


def places(memory: Memory, known: datetime | None = None) -> list[list[str]]:
    return [
        [
            item.memory
            for item in memory.get_all(user_id="u", as_of=AsOf(valid=f"20{year}-06-01", known=known))
        ]
        for year in range(10, 27)
    ]


def test_a_place_between_two_others_goes_again(tmp_path: Any) -> None:
    told = [ana("Paris", "2012-01-01"), ana("Rome", "2020-01-01"), ana("Oslo", "2016-01-01")]
    with Memory(llm=ScriptedChatModel(told), embedder="none", store=tmp_path / "m.db") as memory:
        memory.add("I have lived in Paris since 2012", user_id="u")
        memory.add("I have lived in Rome since 2020", user_id="u")
        then, time = places(memory), datetime.now(UTC)
        memory.add("I moved to Oslo in 2016", user_id="u")
        later, after = places(memory), datetime.now(UTC)
        assert then[8] == ["Ana lives in Paris"]
        assert later[8] == ["Ana lives in Oslo"]

        done = memory.admin.rollback(user_id="u", to=time)
        assert places(memory) == then
        assert places(memory, known=after) == later
        assert ("retire", None, "Ana lives in Oslo") in {
            (item.action, item.memory, item.previous_memory) for item in done.items
        }
        found = memory.search("Where does Ana live?", user_id="u", as_of="2018-06-01")
        assert [hit.memory for hit in found] == ["Ana lives in Paris"]
        memory.admin.rollback(user_id="u", to=after)
        assert places(memory) == later
        assert memory.admin.doctor().ok
