"""What comes late is history only where it competes with what is known, and the result says so."""

from __future__ import annotations

from typing import Any

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import ScriptedChatModel

LATE = "the fact was said before the memory began to hold"
TALK = ["Ana plays chess.", "Ana studied law.", "Ana is allergic to nuts.", "Ana speaks Greek."]


def facts(*texts: str, **more: Any) -> dict[str, Any]:
    return {"facts": [{"text": text, "cites": [0], **more} for text in texts]}


def decided(operation: str, *, count: int = 1, **more: Any) -> dict[str, Any]:
    rows = [{"fact": n, "op": operation, "target": 0, "reason": "asked", **more} for n in range(count)]
    return {"decisions": rows}


def opened(path: Any, *replies: Any, **config: Any) -> Memory:
    model = ScriptedChatModel(list(replies))
    return Memory(llm=model, embedder="none", store=path / "m.db", config=MemoryConfig(**config))


def texts(page: Any) -> list[str]:
    return sorted(item.memory for item in page)


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_what_has_nothing_to_do_with_the_memory_is_current(tmp_path, operation):
    replies = facts("Ana has a cat."), facts(*TALK), decided(operation, count=len(TALK))
    with opened(tmp_path, *replies) as memory:
        memory.add("I have a cat", user_id="u", observed_at="2026-01-01")
        result = memory.add(" ".join(TALK), user_id="u", observed_at="2020-01-01")
        assert {rejection.reason for rejection in result.rejected} == {LATE}
        assert [change.held_until for change in result.results] == [None] * len(TALK)
        assert texts(memory.get_all(user_id="u")) == sorted([*TALK, "Ana has a cat."])
        assert texts(memory.get_all(user_id="u", as_of="2021-01-01")) == sorted(TALK)


@pytest.mark.parametrize(("slot", "past"), [("lives_in", False), (None, True)])
def test_a_fact_of_another_slot_is_current(tmp_path, slot, past):
    more = {} if slot is None else {"slot": slot, "about": "Ana"}
    job = facts("Ana works in Rome.", slot="works_at", about="Ana")
    with opened(tmp_path, facts("Ana works in a house.", **more), job, decided("DELETE")) as memory:
        memory.add("I work in a house", user_id="u", observed_at="2026-01-01")
        (change,) = memory.add("I work in Rome", user_id="u", observed_at="2020-01-01").results
        assert (change.held_until is not None) == past


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_the_result_tells_what_is_history(tmp_path, operation):
    replies = facts("Ana drinks tea."), facts("Ana drinks coffee."), decided(operation)
    with opened(tmp_path, *replies) as memory:
        memory.add("I drink tea", user_id="u", observed_at="2026-01-01")
        result = memory.add("I drink coffee", user_id="u", observed_at="2020-01-01", idempotency_key="k")
        (change,) = result.results
        assert (change.event, change.reason) == ("ADD", "something later is known already")
        assert change.held_until.date().isoformat() == "2026-01-01"
        assert str(change).startswith("ADD 'Ana drinks coffee.' until 2026-01-01")
        again = memory.add("I drink coffee", user_id="u", observed_at="2020-01-01", idempotency_key="k")
        assert again.results == result.results


def test_the_result_tells_what_is_history_in_a_slot(tmp_path):
    home = {"slot": "lives_in", "about": "Ana"}
    replies = facts("Ana lives in Rome.", **home), facts("Ana lives in Paris.", **home)
    with opened(tmp_path, *replies) as memory:
        memory.add("I live in Rome", user_id="u", observed_at="2026-01-01")
        (change,) = memory.add("I live in Paris", user_id="u", observed_at="2020-01-01").results
        assert change.held_until.date().isoformat() == "2026-01-01"


def test_no_more_becomes_history_than_may_be_changed(tmp_path):
    drinks = [f"Ana drinks {what}." for what in ("coffee", "milk", "juice")]
    replies = facts("Ana drinks tea."), facts(*drinks), decided("DELETE", count=3)
    with opened(tmp_path, *replies, decisions={"max_destructive": 2}) as memory:
        memory.add("I drink tea", user_id="u", observed_at="2026-01-01")
        result = memory.add("I drink coffee, milk, juice", user_id="u", observed_at="2020-01-01")
        assert [change.held_until is None for change in result.results] == [False, False, True]
        assert result.rejected[-1].reason == "too many updates and deletions in one call"
        assert texts(memory.get_all(user_id="u")) == ["Ana drinks juice.", "Ana drinks tea."]


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
@pytest.mark.parametrize(("second", "late"), [("10:00:00", False), ("09:59:58", False), ("09:59:40", True)])
def test_clocks_that_differ_make_nothing_late(tmp_path, operation, second, late):
    replies = facts("Ana drinks tea."), facts("Ana drinks coffee."), decided(operation)
    with opened(tmp_path, *replies) as memory:
        memory.add("I drink tea", user_id="u", observed_at="2026-05-01T10:00:00Z")
        result = memory.add("I drink coffee", user_id="u", observed_at=f"2026-05-01T{second}Z")
        assert bool(result.rejected) == late
        assert texts(memory.get_all(user_id="u")) == ["Ana drinks tea." if late else "Ana drinks coffee."]


def test_what_another_speaker_says_without_a_name_is_current(tmp_path):
    replies = facts("Drinks tea."), facts("Drinks coffee."), decided("DELETE")
    with opened(tmp_path, *replies) as memory:
        memory.add({"role": "user", "name": "Ana", "content": "I drink tea"}, user_id="t")
        said = {"role": "user", "name": "Bob", "content": "I drink coffee", "observed_at": "2020-01-01"}
        (change,) = memory.add(said, user_id="t").results
        assert change.held_until is None
        assert texts(memory.get_all(user_id="t")) == ["Drinks coffee.", "Drinks tea."]
