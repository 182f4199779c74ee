"""What one run or agent knows is no news there; told for the whole user, it is the user's too."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel

BERN = "Ana lives in Bern."
NARROWER = [{"run_id": "r1"}, {"agent_id": "guide"}]


def fact(text: str, slot: str | None = None, **more: Any) -> dict[str, Any]:
    about = {} if slot is None else {"slot": slot, "about": "Ana"}
    return {"facts": [{"text": text, "cites": [0], **about, **more}]}


def decides(op: str, target: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"decisions": [{"fact": 0, "op": op, "target": target, **more}]}


@pytest.fixture
def opened(tmp_path):
    memories = []

    def opener(*replies: Any, **options: Any) -> Memory:
        model = ScriptedChatModel(replies[0] if callable(replies[0]) else list(replies))
        memories.append(Memory(llm=model, embedder="none", store=tmp_path / "m.db", **options))
        return memories[-1]

    yield opener
    for memory in memories:
        memory.close()


def seen(memory: Memory, **ids: Any) -> list[tuple[str, str | None]]:
    """Texts with the run or the agent that they are of."""
    items = memory.get_all(user_id="u", **ids)
    return sorted(((item.memory, item.run_id or item.agent_id) for item in items), key=str)


def told_twice(opened: Any, how: str, narrower: dict[str, str], **second: Any) -> tuple[Memory, Any]:
    """Bern in one run or by one agent, then for the user."""
    again = "Ana lives in the city of Bern." if how == "model" else BERN
    slot = "lives_in" if how == "slot" else None
    memory = opened(fact(BERN, slot), fact(again, slot), decides("NONE"))
    memory.add("I live in Bern", user_id="u", **narrower)
    return memory, memory.add("I live in Bern", user_id="u", **second)


@pytest.mark.parametrize("narrower", NARROWER)
@pytest.mark.parametrize("how", ["verbatim", "model", "slot"])
def test_what_is_told_for_the_user_outlives_the_run(opened, how, narrower):
    memory, result = told_twice(opened, how, narrower)
    (change,) = result
    assert (change.event, result.rejected, result.status) == ("ADD", [], "complete")
    (whose,) = narrower.values()
    assert seen(memory) == sorted([(change.memory, None), (BERN, whose)], key=str)
    assert seen(memory, **narrower) == [(BERN, whose)]
    memory.delete_all(user_id="u", **narrower)
    assert seen(memory) == [(change.memory, None)]
    assert [hit.memory for hit in memory.search("Bern", user_id="u")] == [change.memory]


@pytest.mark.parametrize("narrower", NARROWER)
@pytest.mark.parametrize("how", ["verbatim", "model", "slot"])
def test_metadata_told_for_the_user_is_the_users(opened, how, narrower):
    memory, _ = told_twice(opened, how, narrower, metadata={"source": "crm"})
    told = {
        item.run_id or item.agent_id: (item.metadata, item.revision) for item in memory.get_all(user_id="u")
    }
    (whose,) = narrower.values()
    assert told == {None: ({"source": "crm"}, 1), whose: ({}, 1)}


def test_in_the_background_too(opened):
    memory = opened(fact(BERN), fact(BERN))
    memory.add("I live in Bern", user_id="u", run_id="r1", wait=False)
    memory.flush()
    memory.add("I live in Bern", user_id="u", wait=False)
    memory.flush()
    memory.delete_all(user_id="u", run_id="r1")
    assert seen(memory) == [(BERN, None)]


@pytest.mark.parametrize("how", ["verbatim", "slot"])
def test_said_for_the_user_once_more_it_is_known(opened, how):
    slot = "lives_in" if how == "slot" else None
    memory = opened(*(fact(BERN, slot) for _ in range(4)))
    memory.add("I live in Bern", user_id="u", run_id="r1")
    events = [memory.add("I live in Bern", user_id="u").results[0] for _ in range(3)]
    assert [change.event for change in events] == ["ADD", "NONE", "NONE"]
    assert {change.id for change in events} == {memory.get_all(user_id="u").results[0].id}
    assert len(seen(memory)) == 2


def test_a_none_that_no_memory_bears_out_is_still_told(opened):
    memory = opened(fact("Ana has a dog"), fact("Ana hates parsnips"), decides("NONE"))
    memory.add("…", user_id="u", run_id="r1")
    result = memory.add("…", user_id="u")
    assert [change.event for change in result] == ["ADD"]
    assert [one.reason for one in result.rejected] == ["no memory that was offered says it"]


def test_what_both_say_in_other_words_is_known(opened):
    memory = opened(
        fact("Ana owns a cat"),
        fact("Ana has a cat"),
        decides("ADD", None),
        fact("Ana keeps a cat"),
        decides("NONE", None),
    )
    memory.add("…", user_id="u", run_id="r1")
    own = memory.add("…", user_id="u").added[0]
    (change,) = memory.add("…", user_id="u")
    assert (change.event, change.id) == ("NONE", own.id)


@pytest.mark.parametrize("order", ["run first", "user first"])
@pytest.mark.parametrize("how", ["slot", "UPDATE 0", "UPDATE 1", "DELETE 0", "DELETE 1"])
def test_what_both_know_ends_for_both(opened, how, order):
    slot = "lives_in" if how == "slot" else None
    replies: list[Any] = [fact(BERN, slot), fact(BERN, slot), fact("Ana lives in Rome.", slot)]
    if how != "slot":
        operation, target = how.split()
        replies.append(decides(operation, int(target)))
    memory = opened(*replies)
    scopes: list[dict[str, Any]] = [{"run_id": "r1"}, {}]
    for day, scope in enumerate(scopes if order == "run first" else scopes[::-1], 1):
        memory.add("I live in Bern", user_id="u", observed_at=f"2026-01-{day:02}", **scope)
    own = next(item for item in memory.get_all(user_id="u") if item.run_id is None)
    time.sleep(0.002)
    before = datetime.now(UTC)
    time.sleep(0.002)
    result = memory.add("I live in Rome", user_id="u", observed_at="2026-02-01")
    assert result.rejected == []
    assert seen(memory) == [("Ana lives in Rome.", None)]
    if not how.startswith("DELETE"):  # the user's memory goes on
        assert memory.get_all(user_id="u").results[0].id == own.id
    assert seen(memory, as_of="2026-01-15") == sorted([(BERN, None), (BERN, "r1")], key=str)
    memory.admin.rollback(user_id="u", to=before)
    assert seen(memory) == sorted([(BERN, None), (BERN, "r1")], key=str)


def test_a_veto_of_the_new_value_leaves_both(opened):
    replies = [fact(BERN), fact(BERN), fact("Ana lives in Rome."), decides("UPDATE")]
    memory = opened(*replies, hooks=[lambda p: None if "Rome" in p.text else p])
    memory.add("…", user_id="u", run_id="r1", observed_at="2026-01-01")
    memory.add("…", user_id="u", observed_at="2026-01-02")
    memory.add("…", user_id="u", observed_at="2026-02-01")
    assert seen(memory) == sorted([(BERN, None), (BERN, "r1")], key=str)


def test_what_a_run_was_told_after_the_fact_stays(opened):
    memory = opened(fact(BERN), fact(BERN), fact("Ana lives in Rome."), decides("UPDATE", 0))
    memory.add("…", user_id="u", observed_at="2026-01-01")
    memory.add("…", user_id="u", run_id="r1", observed_at="2026-03-01")
    model_sees = [item.memory for item in memory.get_all(user_id="u")]
    assert model_sees == [BERN, BERN]
    memory.add("…", user_id="u", observed_at="2026-02-01")
    assert (BERN, "r1") in seen(memory)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("slot", ["lives_in", None])
def test_what_a_run_was_told_later_ends_nothing_told_for_the_user(opened, slot, order):
    told = [(BERN, {}, "2026-01-01"), ("Ana lives in Rome.", {"run_id": "r1"}, "2026-02-01")][::order]
    replies: list[Any] = [fact(text, slot) for text, _, _ in told]
    memory = opened(*replies, decides("UPDATE"))
    for text, scope, day in told:
        result = memory.add(text, user_id="u", observed_at=day, **scope)
    assert [(change.event, change.held_until) for change in result] == [("ADD", None)]
    assert seen(memory) == [(BERN, None), ("Ana lives in Rome.", "r1")]


def test_what_is_said_by_somebody_else_stays(opened):
    memory = opened(fact("Likes tea"), fact("Likes tea"), fact("Likes rum"), decides("UPDATE", 0))
    memory.add({"role": "user", "name": "Ben", "content": "…"}, user_id="u", run_id="r1")
    for _ in range(2):
        memory.add({"role": "user", "name": "Ana", "content": "…"}, user_id="u")
    assert ("Likes tea", "r1") in seen(memory)


def test_an_earlier_beginning_is_the_users_and_goes_on(opened):
    memory = opened(fact(BERN, "lives_in", when="2020-01-01"), fact(BERN, "lives_in", when="2015-01-01"))
    memory.add("In Bern from 2020-01-01", user_id="u", run_id="r1")
    (change,) = memory.add("In Bern from 2015-01-01", user_id="u")
    assert (change.event, change.held_until) == ("ADD", None)
    memory.delete_all(user_id="u", run_id="r1")
    assert seen(memory) == [(BERN, None)]
    assert seen(memory, as_of="2016-01-01") == [(BERN, None)]


def test_a_key_returns_what_was_added(opened):
    memory = opened(fact(BERN), fact(BERN))
    memory.add("…", user_id="u", run_id="r1")
    first, again = (memory.add("…", user_id="u", idempotency_key="k") for _ in range(2))
    assert again.replayed
    assert [change.id for change in again] == [change.id for change in first]
    assert len(seen(memory)) == 2


def test_a_search_tells_once_what_both_know(opened):
    memory = opened(fact(BERN), fact(BERN), fact(BERN))
    memory.add("…", user_id="u", run_id="r1")
    memory.add("…", user_id="u", run_id="r2")
    found = memory.search("Bern", user_id="u")
    assert sorted(str(hit.run_id) for hit in found) == ["r1", "r2"]
    memory.add("…", user_id="u")
    for limit in (1, 2, 10):
        assert [hit.run_id for hit in memory.search("Bern", user_id="u", limit=limit)] == [None]
    assert [hit.run_id for hit in memory.search("Bern", user_id="u", run_id="r1")] == ["r1"]
    assert len(seen(memory)) == 3


@pytest.mark.parametrize("slot", ["lives_in", None])
@pytest.mark.parametrize("user_too", [True, False])
def test_what_many_runs_say_alike_is_one_change(opened, slot, user_too):
    runs = [{"run_id": f"r{number}"} for number in range(6)]
    told = [*runs, {}] if user_too else runs
    memory = opened(*(fact(BERN, slot) for _ in told), fact("Ana lives in Rome.", slot), decides("UPDATE"))
    for scope in told:
        memory.add("I live in Bern", user_id="u", observed_at="2026-01-01", **scope)
    result = memory.add("I moved to Rome", user_id="u", observed_at="2026-02-01")
    assert (result.status, list(result.rejected)) == ("complete", [])
    assert seen(memory) == [("Ana lives in Rome.", None)]


@pytest.mark.parametrize("first", [True, False])
def test_what_many_runs_say_alike_ends_with_it_among_many_memories(opened, first):
    scopes = [{}, *({"run_id": f"r{number}"} for number in range(12))]
    told = [("Ana likes Bern.", scope) for scope in (scopes if first else scopes[::-1])]
    told += [(f"Ana owns {what}.", {}) for what in ("a cat", "a dog", "a boat", "a piano", "a shed", "a car")]

    said = iter(told)

    def model(messages: Any) -> dict[str, Any]:
        prompt = messages[-1].text
        if "facts:\n" not in prompt:
            return fact(next(said, ("Ana likes Rome.", {}))[0])
        target = offered(prompt).get("Ana likes Bern.")
        return decides("UPDATE", target) if "Rome" in prompt else decides("ADD", None)

    memory = opened(model)
    for text, scope in told:
        memory.add(text, user_id="u", observed_at="2026-01-01", **scope)
    result = memory.add("Ana likes Rome.", user_id="u", observed_at="2026-02-01")
    assert (result.status, list(result.rejected)) == ("complete", [])
    assert [text for text, _ in seen(memory) if "likes" in text] == ["Ana likes Rome."]
    assert len(seen(memory)) == 7
    assert memory.admin.doctor().ok


def offered(prompt: str) -> dict[str, int]:
    """The memories of a prompt with their numbers; of those that say the same, the last."""
    return {text: int(number) for number, text in re.findall(r'^(\d+) .*?: "(.*)"$', prompt, re.MULTILINE)}


def test_what_runs_say_alike_leaves_the_next_fact_its_change(opened):
    told = ["Ana likes Bern.", "Ana drives a Golf."]
    texts = [(told[0], {"run_id": f"r{number}"}) for number in range(4)] + [(text, {}) for text in told]
    both = [{"text": text, "cites": [0]} for text in ("Ana likes Rome.", "Ana drives a Polo.")]
    said = iter([*(fact(text) for text, _ in texts), {"facts": both}])

    def model(messages: Any) -> dict[str, Any]:
        prompt = messages[-1].text
        if "facts:\n" not in prompt:
            return next(said)
        if "Rome" not in prompt:
            return decides("ADD", None)
        targets = [offered(prompt)[text] for text in told]
        return {
            "decisions": [{"fact": n, "op": "UPDATE", "target": target} for n, target in enumerate(targets)]
        }

    memory = opened(model)
    for text, scope in texts:
        memory.add(text, user_id="u", observed_at="2026-01-01", **scope)
    result = memory.add("Ana likes Rome. Ana drives a Polo.", user_id="u", observed_at="2026-02-01")
    assert (result.status, list(result.rejected)) == ("complete", [])
    assert seen(memory) == [("Ana drives a Polo.", None), ("Ana likes Rome.", None)]


def test_other_wordings_of_what_a_run_knows_do_not_grow(opened):
    wordings = ["Ana has her flat in Bern.", "Ana's home is Bern.", "Ana resides in Bern."]
    said = iter([BERN, *wordings * 3])

    def model(messages: Any) -> dict[str, Any]:
        prompt = messages[-1].text
        return decides("NONE", offered(prompt)[BERN]) if "facts:\n" in prompt else fact(next(said))

    memory = opened(model)
    memory.add("…", user_id="u", run_id="r1")
    for _ in range(9):
        assert memory.add("…", user_id="u").status == "complete"
    assert len(seen(memory)) == 2


def test_copies_of_runs_leave_room_for_what_the_user_said(opened):
    mine, theirs = "Ana's favourite hot drink is green tea.", "Ana's favourite hot drink is coffee."

    def answer(messages):
        prompt = messages[-1].text
        if "facts:" not in prompt.partition("memories:")[2]:
            return fact("Ana's favourite hot drink is mint water.")
        shown = re.findall(r'^(\d+) .*: "(.*)"$', prompt.partition("facts:")[0], re.MULTILINE)
        assert [text for _, text in shown].count(theirs) == 1
        return decides("UPDATE", next(int(number) for number, text in shown if text == mine))

    memory = opened(answer)
    memory.add(mine, user_id="ana", infer=False)
    for number in range(40):
        memory.add(theirs, user_id="ana", run_id=f"r{number}", infer=False)
    for thing in "chess jazz law boats Dutch cats dogs nuts kites snow".split():
        memory.add(f"Ana reads about {thing}.", user_id="ana", infer=False)
    memory.add("My favourite hot drink is mint water now.", user_id="ana")
    assert mine not in {item.memory for item in memory.get_all(user_id="ana", limit=100)}
