"""What was said earlier, what is still to come and what is doubtful changes nothing that outweighs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def fact(text: str, when: str | None = None, **more: Any) -> dict[str, Any]:
    return {"text": text, "cites": [0], **({} if when is None else {"when": when}), **more}


def opened(path: Any, *replies: Any, **more: Any) -> Memory:
    model = ScriptedChatModel(list(replies))
    return Memory(llm=model, embedder="none", store=path / "m.db", **more)


def facts(*told: dict[str, Any]) -> dict[str, Any]:
    return {"facts": list(told)}


def decided(operation: str, **more: Any) -> dict[str, Any]:
    return {"decisions": [{"fact": 0, "op": operation, "target": 0, "reason": "asked", **more}]}


def texts(page: Any) -> list[str]:
    return sorted(item.memory for item in page)


def reasons(result: Any) -> list[str]:
    return [rejection.reason for rejection in result.rejected]


EARLIER = "the fact was said before the memory began to hold"
PLAN = "a plan changes nothing that holds by now"


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_what_was_said_earlier_ends_where_the_later_memory_begins(tmp_path, operation):
    replies = facts(fact("Likes tea")), facts(fact("Likes coffee")), decided(operation)
    with opened(tmp_path, *replies) as memory:
        memory.add("I like tea", user_id="u", observed_at="2026-01-01")
        result = memory.add("I like coffee", user_id="u", observed_at="2020-01-01")
        assert reasons(result) == [EARLIER]
        assert [change.event for change in result.results] == ["ADD"]
        assert texts(memory.get_all(user_id="u")) == ["Likes tea"]
        assert texts(memory.get_all(user_id="u", as_of="2021-01-01")) == ["Likes coffee"]
        assert texts(memory.get_all(user_id="u", as_of="2019-01-01")) == []
        assert texts(memory.get_all(user_id="u", as_of="2026-02-01")) == ["Likes tea"]


def test_what_was_said_between_two_versions_is_put_between_them(tmp_path):
    replies = [facts(fact("Likes milk")), facts(fact("Likes tea")), decided("UPDATE")]
    replies += [facts(fact("Likes coffee"), fact("Likes water", cites=[1]))]
    replies += [{"decisions": [{"fact": n, "op": "UPDATE", "target": 0} for n in (0, 1)]}]
    with opened(tmp_path, *replies) as memory:
        memory.add("I like milk", user_id="u", observed_at="2024-01-01")
        memory.add("I like tea", user_id="u", observed_at="2026-01-01")
        said = [
            {"role": "user", "content": "I like coffee", "observed_at": "2025-01-01"},
            {"role": "user", "content": "I like water", "observed_at": "2025-07-01"},
        ]
        result = memory.add(said, user_id="u")
        assert [c.event for c in result.results] == ["ADD", "ADD", "AMEND"]
        months = ("2024-06-01", "2025-03-01", "2025-09-01", "2026-03-01")
        found = [texts(memory.get_all(user_id="u", as_of=when)) for when in months]
        assert found == [["Likes milk"], ["Likes coffee"], ["Likes water"], ["Likes tea"]]


def test_an_earlier_detail_is_kept_beside(tmp_path):
    replies = facts(fact("Has a dog")), facts(fact("Has a dog called Rex")), decided("UPDATE")
    with opened(tmp_path, *replies) as memory:
        memory.add("I have a dog", user_id="u", observed_at="2026-01-01")
        result = memory.add("I have a dog called Rex", user_id="u", observed_at="2020-01-01")
        assert reasons(result) == [EARLIER]
        assert texts(memory.get_all(user_id="u")) == ["Has a dog", "Has a dog called Rex"]


def test_what_says_the_same_earlier_is_no_rejection(tmp_path):
    replies = facts(fact("Likes tea")), facts(fact("Tea is liked")), decided("UPDATE", text="Likes tea.")
    with opened(tmp_path, *replies) as memory:
        memory.add("I like tea", user_id="u", observed_at="2026-01-01")
        result = memory.add("Tea I like", user_id="u", observed_at="2020-01-01")
        assert [change.event for change in result.results] == ["NONE"]
        assert not result.rejected


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
@pytest.mark.parametrize("when", ["2026-01-01", "2026-01-02"])
def test_in_order_it_is_as_the_model_says(tmp_path, operation, when):
    replies = facts(fact("Likes tea")), facts(fact("Likes coffee")), decided(operation)
    with opened(tmp_path, *replies) as memory:
        memory.add("I like tea", user_id="u", observed_at="2026-01-01")
        result = memory.add("I like coffee", user_id="u", observed_at=when)
        assert not result.rejected
        assert texts(memory.get_all(user_id="u")) == ["Likes coffee"]


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_a_plan_does_not_end_what_holds(tmp_path, operation):
    replies = (
        facts(fact("Lives in Paris")),
        facts(fact("Will move to Rome", "2030-01-01")),
        decided(operation),
    )
    with opened(tmp_path, *replies) as memory:
        memory.add("I live in Paris", user_id="u", observed_at="2026-01-01")
        result = memory.add("I will move to Rome in 2030", user_id="u", observed_at="2026-02-01")
        assert reasons(result) == [PLAN]
        assert texts(memory.get_all(user_id="u")) == ["Lives in Paris", "Will move to Rome"]


def test_a_plan_changes_a_plan_until_its_day_has_come(tmp_path):
    replies = (
        facts(fact("Moves to Rome", "2026-06-01")),
        facts(fact("Moves to Rome in July", "2026-07-01")),
        decided("UPDATE"),
        facts(fact("Moves to Oslo", "2030-01-01")),
        decided("UPDATE"),
    )
    with opened(tmp_path, *replies) as memory:
        memory.add("I move to Rome in June", user_id="u", observed_at="2026-01-01")
        result = memory.add("I move to Rome in July", user_id="u", observed_at="2026-02-01")
        assert [change.event for change in result.results] == ["UPDATE"]
        result = memory.add("I move to Oslo in 2030", user_id="u", observed_at="2026-08-01")
        assert reasons(result) == [PLAN]


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_the_doubtful_does_not_change_what_is_supported(tmp_path, operation):
    replies = facts(fact("Has 2 cats")), facts(fact("Has 7 cats")), decided(operation)
    with opened(tmp_path, *replies) as memory:
        memory.add("I have 2 cats", user_id="u")
        result = memory.add("I have many cats", user_id="u")
        assert [change.support for change in result.results] == ["doubtful"]
        assert reasons(result) == ["the fact is doubtful, the memory is not"]
        assert texts(memory.get_all(user_id="u")) == ["Has 2 cats", "Has 7 cats"]


@pytest.mark.parametrize("slot", ["", "lives_in"])
def test_a_name_that_the_memory_holds_is_no_doubt_against_it(tmp_path, slot):
    home = {"slot": slot, "about": "Mara"} if slot else {}
    replies = [facts(fact("Mara lives in Berlin", **home)), facts(fact("Mara lives in Madrid", **home))]
    with opened(tmp_path, *replies, *([] if slot else [decided("UPDATE")])) as memory:
        memory.add("I'm Mara. I live in Berlin", user_id="u", observed_at="2026-03-02")
        result = memory.add("Guess what, I moved to Madrid!", user_id="u", observed_at="2026-05-04")
        assert [(change.event, change.support) for change in result.results] == [("UPDATE", "doubtful")]


def test_an_update_that_a_hook_undoes_is_none(tmp_path):
    def hook(proposal: Any) -> Any:
        return replace(proposal, text="Likes tea") if proposal.operation == "UPDATE" else proposal

    replies = facts(fact("Likes tea")), facts(fact("Likes coffee")), decided("UPDATE")
    with opened(tmp_path, *replies, hooks=[hook]) as memory:
        memory.add("I like tea", user_id="u")
        result = memory.add("I like coffee", user_id="u")
        assert [(change.event, change.memory) for change in result.results] == [("NONE", "Likes tea")]
        (item,) = memory.get_all(user_id="u")
        assert (item.revision, len(item.sources)) == (1, 2)


def test_an_update_of_which_a_hook_keeps_more_than_the_text_stays_one(tmp_path):
    def hook(proposal: Any) -> Any:
        if proposal.operation != "UPDATE":
            return proposal
        return replace(proposal, text="Likes tea", metadata={"seen": True})

    replies = facts(fact("Likes tea")), facts(fact("Likes coffee")), decided("UPDATE")
    with opened(tmp_path, *replies, hooks=[hook]) as memory:
        memory.add("I like tea", user_id="u")
        result = memory.add("I like coffee", user_id="u")
        assert [change.event for change in result.results] == ["UPDATE"]
        assert memory.get_all(user_id="u").results[0].metadata == {"seen": True}
