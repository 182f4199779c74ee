"""What can have one value at a time: one value at any instant, whatever the order in which it is told."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

START = datetime(2020, 1, 1, tzinfo=UTC)
SAID = re.compile(r"^(\d+) .*?: \"(.*)\"$", re.MULTILINE)
TOLD = re.compile(r"(\w+) (lives in|works at|job) (\w+)(?: since (\S+))?(?: \((.*?)\))?\.")


def day(number):
    return (START + timedelta(days=number)).date().isoformat()


def listener(messages):
    """A model that understands "Ana lives in Oslo since 2021-01-01." and adds whatever it is asked about."""
    prompt = messages[-1].text
    if "memories:" in prompt and "facts:" in prompt:
        count = len(re.findall(r"^\d+", prompt.split("facts:")[1], re.MULTILINE))
        return {"decisions": [{"fact": n, "op": "ADD", "reason": "asked"} for n in range(count)]}
    facts = []
    for number, text in SAID.findall(prompt):
        for who, what, where, since, more in TOLD.findall(json.loads(f'"{text}"')):
            facts.append(
                {
                    "text": f"{who} {what} {where}{' ' + more if more else ''}",
                    "cites": [int(number)],
                    "when": since,
                    "slot": what.replace(" ", "_"),
                    "about": who,
                    "kind": "personal",
                }
            )
    return {"facts": facts}


def opened(path=":memory:", **config):
    chat = ScriptedChatModel(listener)
    url = "sqlite://:memory:" if path == ":memory:" else f"sqlite:///{path}"
    config = MemoryConfig(store=url, **config)
    return Memory(llm=chat, embedder=HashEmbeddings(16), config=config), chat


def texts(page):
    return sorted(item.memory for item in page)


def test_a_later_value_takes_the_place_of_an_earlier_one_without_a_second_call(tmp_path):
    memory, chat = opened(tmp_path / "m.db")
    with memory:
        first = memory.add("Ana lives in Paris since 2020-01-01.", user_id="u").added[0]
        result = memory.add("Ana lives in Rome since 2022-01-01.", user_id="u")
        assert [c.memory for c in result.updated] == ["Ana lives in Rome"]
        assert result.updated[0].id == first.id
        assert len(chat.calls) == 2
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of="2021-01-01")) == ["Ana lives in Paris"]


def test_what_lay_between_is_put_between(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana lives in Paris since 2020-01-01.", user_id="u")
        memory.add("Ana lives in Rome since 2022-01-01.", user_id="u")
        result = memory.add("Ana lives in Oslo since 2021-01-01.", user_id="u")
        assert [c.memory for c in result.added] == ["Ana lives in Oslo"]
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]
        for when, where in (("2020-06-01", "Paris"), ("2021-06-01", "Oslo"), ("2022-06-01", "Rome")):
            assert texts(memory.get_all(user_id="u", as_of=when)) == [f"Ana lives in {where}"]


def test_others_and_other_things_are_left_alone(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana lives in Paris. Ben lives in Rome. Ana works at Acme.", user_id="u")
        memory.add("Ana lives in Oslo.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == [
            "Ana lives in Oslo",
            "Ana works at Acme",
            "Ben lives in Rome",
        ]


def test_a_second_value_beside_the_first_is_a_question_for_the_model(tmp_path):
    memory, chat = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana works at Acme.", user_id="u")
        memory.add("Ana works at Initech (too).", user_id="u")
        assert len(chat.calls) == 3
        assert texts(memory.get_all(user_id="u")) == ["Ana works at Acme", "Ana works at Initech too"]


def test_a_plan_changes_nothing_yet(tmp_path):
    memory, chat = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana lives in Paris.", user_id="u")
        memory.add("Ana lives in Rome since 2999-01-01.", user_id="u")
        assert len(chat.calls) == 3
        assert "Ana lives in Paris" in texts(memory.get_all(user_id="u"))


def test_it_can_be_switched_off(tmp_path):
    memory, chat = opened(tmp_path / "m.db", decisions={"slots": False})
    with memory:
        memory.add("Ana lives in Paris.", user_id="u")
        memory.add("Ana lives in Rome.", user_id="u")
        assert len(chat.calls) == 3
        assert len(memory.get_all(user_id="u")) == 2


def test_no_more_is_changed_than_one_add_may(tmp_path):
    memory, _ = opened(tmp_path / "m.db", decisions={"max_destructive": 1})
    with memory:
        memory.add("Ana lives in Paris. Ben lives in Rome.", user_id="u")
        result = memory.add("Ana lives in Oslo. Ben lives in Bern.", user_id="u")
        assert len(result.updated) == 1
        assert len(result.added) == 1
        assert [r.reason for r in result.rejected] == ["too many updates and deletions in one call"]


@pytest.mark.parametrize("how", ["delete", "delete_all", "expires"])
def test_what_was_taken_back_ends_nothing(tmp_path, how):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        expires = {"expires_at": "2021-01-01"} if how == "expires" else {}
        added = memory.add("Ana lives in Paris since 2020-01-01.", user_id="u", **expires).added[0]
        if how == "delete":
            memory.delete(added.id)
        elif how == "delete_all":
            memory.delete_all(user_id="u")
        memory.add("Ana lives in Rome since 2019-01-01.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]


def test_a_plan_fills_no_slot(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana lives in Paris since 2020-01-01.", user_id="u")
        memory.add("Ana lives in Rome since 2999-01-01.", user_id="u")
        memory.add("Ana lives in Oslo since 2024-01-01.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Oslo", "Ana lives in Rome"]


def test_two_values_in_one_breath_stand_side_by_side(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana works at Acme. Ana works at Initech.", user_id="u")
        assert len(memory.get_all(user_id="u")) == 2
        memory.add("Ana works at Hooli.", user_id="u")  # which of them it replaces is not for code to say
        assert len(memory.get_all(user_id="u")) == 3


def test_a_text_of_ones_own_stays_in_its_slot(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        added = memory.add("Ana lives in Paris.", user_id="u").added[0]
        memory.update(added.id, "Ana lives in Lyon")
        memory.add("Ana lives in Rome.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]


def test_a_veto_leaves_what_was_to_make_room(tmp_path):
    chat = ScriptedChatModel(listener)
    hook = lambda proposal: None if "Rome" in proposal.text else proposal  # noqa: E731
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", hooks=[hook]) as memory:
        memory.add("Ana lives in Paris since 2020-01-01. Ana lives in Rome since 2022-01-01.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]
        memory.add("Ana lives in Rome since 2023-01-01.", user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]


places = st.sampled_from(["Paris", "Rome", "Oslo", "Bern"])
told = st.lists(st.tuples(st.integers(0, 12), places), min_size=1, max_size=7)


@pytest.mark.parametrize("together", [1, 3])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=told)
def test_at_any_instant_the_value_that_began_last(together, history):
    """Against a plain list: of all that began by then the latest, of those the one that was said last.

    What says of an instant what is known of it already says nothing new.
    """
    line: list[tuple[int, str]] = []

    def value(instant):
        began = [(n, place) for n, place in line if n <= instant]
        latest = max((n for n, _ in began), default=None)
        return [place for n, place in began if n == latest][-1:]

    memory, _ = opened()
    with memory:
        for first in range(0, len(history), together):
            batch = list(dict(history[first : first + together]).items())  # no two values at one instant
            said = " ".join(f"Ana lives in {place} since {day(n)}." for n, place in batch)
            for n, place in sorted(batch, key=lambda told: told[0]):
                if value(n) != [place]:
                    line.append((n, place))
            result = memory.add(said, user_id="u", observed_at="2025-01-01")
            assert result.status == "complete", result
        for instant in range(13):
            wanted = value(instant)
            page = memory.get_all(user_id="u", as_of=START + timedelta(days=instant, hours=1))
            assert texts(page) == [f"Ana lives in {place}" for place in wanted], (instant, history)
        assert len(memory.get_all(user_id="u")) == 1
