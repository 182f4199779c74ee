"""Memories as they were known at an earlier time, by changes that are history themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from memkit_core import AsyncMemory, Memory, MemoryItem, UsageError
from memkit_core.cli import app
from memkit_core.errors import ConflictError, StorageUnavailableError
from memkit_core.pipeline import rollback as machinery
from memkit_core.testing import HashEmbeddings

Open = Callable[..., Memory]
EVERYTHING = {"trust": {"exists": True}}


def now() -> datetime:
    return datetime.now(UTC)


def known(memory: Memory, **scope: str) -> dict[str, dict[str, Any]]:
    """All that is known of a scope, quarantine included, but for when and how often it changed."""
    items: list[MemoryItem] = []
    cursor = None
    while True:
        page = memory.get_all(**scope, filters=EVERYTHING, cursor=cursor, limit=1_000)
        items += page.results
        cursor = page.next_cursor
        if cursor is None:
            break
    return {item.id: item.model_dump(exclude={"updated_at", "revision"}) for item in items}


def test_added_changed_and_deleted(open_memory: Open) -> None:
    memory = open_memory()
    for text in ("I like tea", "I live in Rome", "I have a cat"):
        memory.add(text, user_id="u")
    ids = {item.memory: item.id for item in memory.get_all(user_id="u")}
    then, time = known(memory, user_id="u"), now()
    memory.add("I hate tea", user_id="u")
    memory.update(ids["I live in Rome"], "I live in Oslo", metadata={"a": 1})
    memory.delete(ids["I have a cat"])

    dry = memory.admin.rollback(user_id="u", to=time, dry_run=True)
    assert dry.dry_run
    assert known(memory, user_id="u") != then
    done = memory.admin.rollback(user_id="u", to=time)
    assert done.items == dry.items
    assert {(item.action, item.memory, item.previous_memory) for item in done.items} == {
        ("retire", None, "I hate tea"),
        ("revert", "I live in Rome", "I live in Oslo"),
        ("restore", "I have a cat", None),
    }
    assert "1 retired, 1 reverted, 1 restored" in repr(done)
    assert known(memory, user_id="u") == then
    assert [hit.memory for hit in memory.search("cat", user_id="u", limit=1)] == ["I have a cat"]
    assert all("rolled back to" in memory.history(item.id)[-1].reason for item in done.items)
    assert memory.history(ids["I live in Rome"])[-1].event == "RESTORE"
    assert memory.admin.rollback(user_id="u", to=time).items == []  # nothing is left to do
    assert memory.admin.doctor().ok


def test_a_rollback_can_be_taken_back(open_memory: Open) -> None:
    memory = open_memory()
    memory.add("I like tea", user_id="u")
    first = now()
    memory.add("I hate tea", user_id="u")
    both, second = known(memory, user_id="u"), now()
    memory.admin.rollback(user_id="u", to=first)
    assert len(known(memory, user_id="u")) == 1
    memory.admin.rollback(user_id="u", to=second)
    assert known(memory, user_id="u") == both
    memory.admin.rollback(user_id="u", to=datetime(2000, 1, 1, tzinfo=UTC))
    assert known(memory, user_id="u") == {}
    assert memory.admin.doctor().ok


def test_what_was_not_known_is_no_earlier_truth_either(open_memory: Open) -> None:
    memory = open_memory()
    time = now()
    memory.add("I hate tea", user_id="u", observed_at=time - timedelta(days=30))
    yesterday = now() - timedelta(days=1)
    assert len(memory.get_all(user_id="u", as_of=yesterday)) == 1
    memory.admin.rollback(user_id="u", to=time)
    assert len(memory.get_all(user_id="u", as_of=yesterday)) == 0


def test_only_the_scope_is_concerned(open_memory: Open) -> None:
    memory = open_memory()
    time = now()
    memory.add("I like tea", user_id="u", agent_id="a")
    memory.add("I like milk", user_id="u", agent_id="b")
    memory.add("I like beer", user_id="v", agent_id="a")
    memory.add("I like oil", agent_id="a")
    others = known(memory, user_id="v"), known(memory, agent_id="a")
    assert len(memory.admin.rollback(user_id="u", agent_id="a", to=time)) == 1
    assert [item["memory"] for item in known(memory, user_id="u").values()] == ["I like milk"]
    assert (known(memory, user_id="v"), known(memory, agent_id="a")) == others


def test_what_was_approved_goes_back_into_quarantine(open_memory: Open) -> None:
    memory = open_memory()
    memory.add([("tool", "tea costs 900")], user_id="u", infer=False)
    time = now()
    [held] = memory.get_all(user_id="u", filters=EVERYTHING)
    memory.admin.approve(held.id)
    assert memory.count(user_id="u") == 1
    [item] = memory.admin.rollback(user_id="u", to=time).items
    assert item.action == "revert"
    assert memory.count(user_id="u") == 0
    assert memory.count(user_id="u", filters={"trust": "untrusted"}) == 1


def test_messages_stay(open_memory: Open) -> None:
    memory = open_memory()
    time = now()
    memory.add("I like tea", user_id="u")
    memory.admin.rollback(user_id="u", to=time)
    found = memory.search("tea", user_id="u", include=("memories", "excerpts"))
    assert not found.results
    assert [one.text for one in found.excerpts] == ["I like tea"]


def test_arguments(open_memory: Open) -> None:
    memory = open_memory()
    with pytest.raises(UsageError, match="future"):
        memory.admin.rollback(user_id="u", to=now() + timedelta(days=1))
    with pytest.raises(UsageError, match="at least one"):
        memory.admin.rollback(to=now())
    with pytest.raises(UsageError, match="ISO 8601"):
        memory.admin.rollback(user_id="u", to="yesterday")
    with pytest.raises(UsageError, match="True or False"):
        memory.admin.rollback(user_id="u", to=now(), dry_run="yes")  # type: ignore[arg-type]
    assert memory.admin.rollback(user_id="nobody", to="2026-05-01T10:00").items == []


def test_a_large_one_takes_portions_and_is_finished_by_the_next(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machinery, "PORTION", 10)
    memory = open_memory()
    memory.add([f"fact {n}" for n in range(15)], user_id="u", infer=False)
    then, time = known(memory, user_id="u"), now()
    memory.add([f"later fact {n}" for n in range(25)], user_id="u", infer=False)
    store = memory._engine.services.store
    commit, commits = store.commit, 0

    def failing(changes: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise StorageUnavailableError("the disk is full")
        return commit(changes)

    monkeypatch.setattr(store, "commit", failing)
    with pytest.raises(StorageUnavailableError):
        memory.admin.rollback(user_id="u", to=time)
    assert memory.count(user_id="u") == 30
    assert len(memory.admin.rollback(user_id="u", to=time)) == 15
    assert known(memory, user_id="u") == then


def test_somebody_who_writes_meanwhile(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = open_memory()
    time = now()
    memory.add("I hate tea", user_id="u")
    store = memory._engine.services.store
    changed_since, reads = store.changed_since, 0

    def and_then_another_writes(*what: Any, **more: Any) -> Any:
        nonlocal reads
        reads += 1
        found = iter(list(changed_since(*what, **more)))
        if reads == 2 or always:
            memory.add(f"I like number {reads}", user_id="u")
        return found

    always = False
    monkeypatch.setattr(store, "changed_since", and_then_another_writes)
    assert [item.previous_memory for item in memory.admin.rollback(user_id="u", to=time).items] == [
        "I hate tea"
    ]
    assert memory.count(user_id="u") == 1  # what came during the rollback came after it
    always = True
    with pytest.raises(ConflictError):
        memory.admin.rollback(user_id="u", to=time)


def test_the_command_line(open_memory: Open, tmp_path: Path) -> None:
    memory = open_memory()
    memory.add("I like tea", user_id="ana")
    time = now().isoformat()
    memory.add("I hate tea", user_id="ana")
    memory.close()
    store = str(tmp_path / "0.db")

    def memkit(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--store", store])
        assert result.exit_code == code, result.output
        return result.output

    assert "would be" in memkit("rollback", "--user", "ana", "--to", time, "--dry-run")
    assert json.loads(memkit("rollback", "--user", "ana", "--to", time, "--dry-run", "--json"))["items"]
    assert "retire   I hate tea" in memkit("rollback", "--user", "ana", "--to", time)
    assert "I hate tea" not in memkit("list", "--user", "ana")
    memkit("rollback", "--to", time, code=2)


def test_async_is_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncMemory(llm="verbatim", embedder="none", store=tmp_path / "a.db") as memory:
            time = now()
            await memory.add("I hate tea", user_id="u")
            assert len(await memory.admin.rollback(user_id="u", to=time, dry_run=True)) == 1
            assert len(await memory.admin.rollback(user_id="u", to=time)) == 1
            assert await memory.count(user_id="u") == 0

    asyncio.run(run())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "tool", "update", "metadata", "delete", "approve", "rollback", "all"]),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=14,
)


def take(memory: Memory, step: str, number: int, times: list[datetime]) -> None:
    """One random change."""
    items = list(known(memory, user_id="u").values())
    one = items[number % len(items)]["id"] if items else None
    if step == "add" or one is None:
        memory.add(f"fact {number}", user_id="u", infer=False, metadata={"n": number % 3})
    elif step == "tool":
        memory.add([("tool", f"result {number}")], user_id="u", infer=False)
    elif step == "update":
        memory.update(one, f"changed {number}")
    elif step == "metadata":
        memory.update(one, metadata={"m": number}, expires_at=now() + timedelta(days=1 + number))
    elif step == "delete":
        memory.delete(one)
    elif step == "approve":
        memory.admin.approve(one)
    elif step == "rollback" and times:
        memory.admin.rollback(user_id="u", to=times[number % len(times)])
    elif step == "all":
        memory.delete_all(user_id="u", filters={"metadata.n": number % 3})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, pick=st.integers(0, 99))
def test_random_histories(tmp_path_factory: pytest.TempPathFactory, steps: Any, pick: int) -> None:
    path = tmp_path_factory.mktemp("histories") / "m.db"
    with Memory(llm="verbatim", embedder=HashEmbeddings(dimension=8), store=path) as memory:
        memory.add("somebody else's", user_id="v", infer=False)
        times, states = [now()], [known(memory, user_id="u")]
        for step, number in steps:
            take(memory, step, number, times)
            states.append(known(memory, user_id="u"))
            times.append(now())
        at = pick % len(times)
        memory.admin.rollback(user_id="u", to=times[at])
        assert known(memory, user_id="u") == states[at]
        assert {
            hit.id for hit in memory.search("fact changed result", user_id="u", limit=100, filters=EVERYTHING)
        } == (set(states[at]))
        assert len(known(memory, user_id="v")) == 1
        assert memory.admin.doctor().ok
