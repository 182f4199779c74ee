"""What is told for a time ends nothing that lasts, and what is told for good does not expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import ScriptedChatModel

SOON = "2998-01-01"
LATER = "2999-01-01"
SOONER = "the fact expires before the memory"


def fact(text: str, when: str | None = None, slot: str | None = None) -> dict[str, Any]:
    more = {} if slot is None else {"slot": slot, "about": "Ana"}
    return {"facts": [{"text": text, "cites": [0], **more, **({} if when is None else {"when": when})}]}


def decided(operation: str, **more: Any) -> dict[str, Any]:
    return {"decisions": [{"fact": 0, "op": operation, "target": 0, "reason": "asked", **more}]}


def opened(path: Any, *replies: Any, **more: Any) -> Memory:
    model = ScriptedChatModel(list(replies))
    return Memory(llm=model, embedder="none", store=path / "m.db", **more)


def held(memory: Memory) -> dict[str, str | None]:
    """What holds, and the year in which it expires."""
    items = memory.get_all(user_id="u")
    return {item.memory: None if item.expires_at is None else str(item.expires_at.year) for item in items}


def added(memory: Memory, text: str, day: int, expires: str | None = None) -> list[str]:
    result = memory.add(text, user_id="u", observed_at=f"2026-01-{day:02}", expires_at=expires)
    return [change.event for change in result.results]


@pytest.mark.parametrize(("old", "new"), [(SOON, None), (SOON, LATER), (SOON, SOON), (None, None)])
@pytest.mark.parametrize("slot", [None, "lives_in"])
def test_an_update_expires_with_the_new_statement(tmp_path, slot, old, new):
    replies = [fact("Ana is in Paris", slot=slot), fact("Ana is in Rome", slot=slot)]
    with opened(tmp_path, *replies, *([] if slot else [decided("UPDATE")])) as memory:
        assert added(memory, "I am in Paris", 1, old) == ["ADD"]
        assert added(memory, "I am in Rome", 2, new) == ["UPDATE"]
        assert held(memory) == {"Ana is in Rome": None if new is None else new[:4]}


@pytest.mark.parametrize("old", [None, LATER])
@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
@pytest.mark.parametrize("slot", [None, "lives_in"])
def test_what_expires_sooner_stands_beside(tmp_path, slot, operation, old):
    replies = fact("Ana is in Paris", slot=slot), fact("Ana is in Rome", slot=slot), decided(operation)
    with opened(tmp_path, *replies) as memory:
        added(memory, "I am in Paris", 1, old)
        result = memory.add("I am in Rome this month", user_id="u", observed_at="2026-01-02", expires_at=SOON)
        assert [change.event for change in result.results] == ["ADD"]
        assert [rejection.reason for rejection in result.rejected] == [SOONER]
        assert held(memory) == {"Ana is in Paris": None if old is None else "2999", "Ana is in Rome": "2998"}


def test_what_is_taken_back_goes(tmp_path):
    replies = fact("Ana is in Paris"), fact("Ana takes Paris back"), decided("DELETE", retract=True)
    with opened(tmp_path, *replies) as memory:
        added(memory, "I am in Paris", 1)
        assert added(memory, "Forget Paris", 2, SOON) == ["DELETE"]
        assert held(memory) == {}


@pytest.mark.parametrize("slot", [None, "lives_in"])
@pytest.mark.parametrize(("new", "left"), [(None, None), (LATER, "2999")])
def test_what_is_said_again_for_longer_lasts_longer(tmp_path, slot, new, left):
    told = fact("Ana is in Paris", slot=slot)
    with opened(tmp_path, told, told) as memory:
        added(memory, "I am in Paris", 1, SOON)
        (change,) = memory.add("I am in Paris", user_id="u", observed_at="2026-01-02", expires_at=new)
        assert (change.event, change.reason) == ("UPDATE", "said again, for longer")
        assert held(memory) == {"Ana is in Paris": left}
        assert memory.get_all(user_id="u").results[0].valid_from.day == 1


@pytest.mark.parametrize("slot", [None, "lives_in"])
def test_what_is_said_again_for_a_time_lasts_as_before(tmp_path, slot):
    told = fact("Ana is in Paris", slot=slot)
    with opened(tmp_path, told, told) as memory:
        added(memory, "I am in Paris", 1)
        assert added(memory, "I am in Paris", 2, SOON) == ["NONE"]
        assert held(memory) == {"Ana is in Paris": None}


def test_an_update_to_the_same_text_has_it_last(tmp_path):
    replies = fact("Ana likes tea"), fact("Tea is liked by Ana"), decided("UPDATE", text="Ana likes tea.")
    with opened(tmp_path, *replies) as memory:
        added(memory, "I like tea", 1, SOON)
        assert added(memory, "Tea I like", 2) == ["UPDATE"]
        assert held(memory) == {"Ana likes tea.": None}


def test_what_a_tool_says_again_prolongs_no_word_of_the_user(tmp_path):
    said_again = {"facts": [{"text": "Ana is in Paris", "cites": [1]}]}
    replies = fact("Ana is in Paris"), said_again, decided("NONE")
    with opened(tmp_path, *replies, config=MemoryConfig(extraction={"tools": True})) as memory:
        added(memory, "I am in Paris", 1, SOON)
        memory.add([("user", "look"), ("tool", "Ana is in Paris")], user_id="u")
        assert held(memory) == {"Ana is in Paris": "2998"}


def test_a_later_value_that_lasts_ends_what_stood_side_by_side(tmp_path):
    replies = [fact(f"Ana is in {place}", slot="lives_in") for place in ("Paris", "Rome", "Oslo")]
    with opened(tmp_path, *replies[:2], {"decisions": []}, replies[2]) as memory:
        added(memory, "I am in Paris", 1)
        added(memory, "I am in Rome this month", 2, SOON)
        assert sorted(added(memory, "I am in Oslo", 3)) == ["DELETE", "UPDATE"]
        assert held(memory) == {"Ana is in Oslo": None}


def test_what_stood_beside_for_a_time_and_lasts_now_is_the_value(tmp_path):
    paris, rome = (fact(f"Ana is in {place}", slot="lives_in") for place in ("Paris", "Rome"))
    with opened(tmp_path, paris, rome, {"decisions": []}, rome, paris) as memory:
        added(memory, "I am in Paris", 1)
        added(memory, "I am in Rome this month", 2, SOON)
        assert sorted(added(memory, "I am in Rome for good", 3)) == ["DELETE", "UPDATE"]
        assert held(memory) == {"Ana is in Rome": None}
        assert added(memory, "I am in Paris", 4) == ["UPDATE"]
        assert held(memory) == {"Ana is in Paris": None}


@pytest.mark.parametrize("slot", [None, "lives_in"])
def test_what_was_so_earlier_is_not_ended_by_what_expires(tmp_path, slot):
    replies = (
        fact("Ana is in Rome", slot=slot),
        fact("Ana is in Paris", "2020-01-01", slot),
        decided("UPDATE"),
    )
    with opened(tmp_path, *replies) as memory:
        added(memory, "I am in Rome this month", 9, SOON)
        memory.add("I am in Paris since 2020", user_id="u", observed_at="2026-01-01")
        assert held(memory) == {"Ana is in Paris": None, "Ana is in Rome": "2998"}


def test_once_it_has_expired_the_lasting_value_is_alone(tmp_path):
    replies = [fact(f"Ana is in {place}", slot="lives_in") for place in ("Paris", "Rome", "Oslo")]
    past = datetime.now(UTC) - timedelta(days=1)
    with opened(tmp_path, *replies[:2], replies[2]) as memory:
        added(memory, "I am in Paris", 1)
        memory.add("I am in Rome this week", user_id="u", observed_at="2026-01-02", expires_at=past)
        assert held(memory) == {"Ana is in Paris": None}


def test_a_hook_sees_that_the_expiry_goes(tmp_path):
    seen: list[Any] = []

    def hook(proposal: Any) -> Any:
        seen.append(proposal.expires_at)
        return proposal

    replies = fact("Ana is in Paris"), fact("Ana is in Paris")
    with opened(tmp_path, *replies, hooks=[hook]) as memory:
        added(memory, "I am in Paris", 1, SOON)
        added(memory, "I am in Paris", 2)
        assert [None if expires is None else expires.year for expires in seen] == [2998, None]
        assert held(memory) == {"Ana is in Paris": None}
