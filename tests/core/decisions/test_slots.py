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


def test_a_deletion_ends_what_held_and_says_not_that_it_never_was(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        memory.add("Ana lives in Paris since 2020-01-01.", user_id="u")
        result = memory.add("Ana lives in Rome since 2022-01-01.", user_id="u")
        memory.delete(result.updated[0].id)
        assert texts(memory.get_all(user_id="u")) == []
        assert texts(memory.get_all(user_id="u", as_of="2021-01-01")) == ["Ana lives in Paris"]
        assert texts(memory.get_all(user_id="u", as_of="2023-01-01")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of=datetime.now(UTC))) == []


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


def fact(text, when=None, slot="lives_in", cites=(0,)):
    told = {"text": text, "cites": list(cites), "slot": slot, "about": "Ana"}
    return told if when is None else {**told, "when": when}


def scripted(path, *replies, **config):
    chat = ScriptedChatModel(list(replies))
    config = MemoryConfig(store=f"sqlite:///{path / 'm.db'}", **config)
    return Memory(llm=chat, embedder="none", config=config), chat


def test_every_value_that_is_changed_is_told(tmp_path):
    memory, _ = opened(tmp_path / "m.db")
    with memory:
        first = memory.add("Ana lives in Paris since 2020-01-01.", user_id="u").added[0]
        memory.add("Ana lives in Rome since 2022-01-01.", user_id="u")
        result = memory.add("Ana lives in Oslo since 2021-01-01.", user_id="u")
        assert [(c.event, c.memory) for c in result.results] == [
            ("ADD", "Ana lives in Oslo"),
            ("AMEND", "Ana lives in Paris"),
        ]
        amended = result.results[1]
        assert (amended.id, amended.revision, amended.previous_memory) == (first.id, 1, "Ana lives in Paris")


CORRECTIONS = [
    ("I have lived in Rome since 2019.", "Ana has lived in Rome since 2019."),
    ("I was wrong, it was never Paris but Rome, from 2019.", "Ana lives in Rome."),
    ("I live in Rome now, since 2019.", "Ana lives in Rome."),
    ("I have lived in Rome since 2019. Nice there!", "Ana lives in Rome."),
    ("I'm there now, since 2019.", "Ana lives in Rome."),
    ("Ich wohne seit 2019 in Rom.", "Ana wohnt seit 2019 in Rom."),
    ("Ich wohne seit 2019 in Rom.", "Ana wohnt in Rom."),
    ("Vivo en Roma desde 2019.", "Ana vive en Roma."),
    ("我从2019年以来住在罗马。", "Ana 住在罗马。"),
    ("Vivo en Roma desde 2019.", "Ana vive en Roma desde 2019."),
    ("我从2019年以来住在罗马。", "Ana 从2019年以来住在罗马。"),
    ("I live in Rome since 2019", "Ana lives in Rome."),
    ("Since 2019 I live in Rome.", "Ana lives in Rome."),
    ("I'm living in Rome since 2019.", "Ana lives in Rome."),
    ("Home is Rome since 2019", "Ana lives in Rome."),
    ("I've lived in Rome since 2019.", "Ana lives in Rome."),
    ("我从2019年起住在罗马", "Ana 住在罗马。"),
    ("自2019年起我住在罗马", "Ana 住在罗马。"),
    ("我2019年就住在罗马了", "Ana 住在罗马。"),
    ("Vivo en Roma hace siete años", "Ana vive en Roma."),
    ("Llevo siete años en Roma", "Ana vive en Roma."),
]


@pytest.mark.parametrize(("said", "text"), CORRECTIONS)
def test_what_may_be_a_correction_is_a_question_for_the_model(tmp_path, said, text):
    memory, chat = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris", "2020-01-01")]},
        {"facts": [fact(text, "2019-01-01")]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": "corrected"}]},
        grounding={"mode": "off"},
    )
    with memory:
        memory.add("I have lived in Paris since 2020.", user_id="u", observed_at="2026-01-01")
        result = memory.add(said, user_id="u", observed_at="2026-01-02")
        assert len(chat.calls) == 3
        assert [c.event for c in result.results] == ["UPDATE"]
        assert texts(memory.get_all(user_id="u")) == [text]
        for when in ("2019-06-01", "2021-01-01"):
            assert texts(memory.get_all(user_id="u", as_of=when)) == [text]


WITHIN_ITS_DAY = [
    ("2026-06-10T10:00:00Z", "2026-06-10T11:00:00Z", "I moved to Rome today!", "2026-06-10"),
    ("2026-06-10T10:00:00Z", "2026-06-10T11:00:00Z", "我今天搬到了罗马", "2026-06-10"),
    ("2026-06-10T23:00:00-07:00", "2026-06-11T08:00:00-07:00", "Anoche me mudé a Roma.", "2026-06-10"),
    ("2026-06-10T10:00:00+09:00", "2026-06-10T20:00:00+09:00", "I moved to Rome today!", "2026-06-10"),
    ("2026-05-07T12:00:00Z", "2026-05-20T12:00:00Z", "I moved to Rome this month.", "2026-05"),
    ("2026-02-10T12:00:00Z", "2026-06-18T12:00:00Z", "Ich bin dieses Jahr nach Rom gezogen.", "2026"),
]


@pytest.mark.parametrize(("before", "after", "said", "when"), WITHIN_ITS_DAY)
def test_a_move_within_the_day_of_the_old_value_is_a_question_for_the_model(
    tmp_path, before, after, said, when
):
    memory, chat = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris")]},
        {"facts": [fact("Ana lives in Rome", when)]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]},
        grounding={"mode": "off"},
    )
    with memory:
        memory.add("I live in Paris.", user_id="u", observed_at=before)
        memory.add(said, user_id="u", observed_at=after)
        assert len(chat.calls) == 3
        (rome,) = memory.get_all(user_id="u")
        assert rome.memory == "Ana lives in Rome"
        # Paris was true when it was said; that it is Rome is known since that was said.
        assert rome.valid_from == datetime.fromisoformat(after)
        moment = datetime.fromisoformat(before) + timedelta(minutes=1)
        assert texts(memory.get_all(user_id="u", as_of=moment)) == ["Ana lives in Paris"]


def test_a_day_without_an_hour_may_lie_in_a_month_or_year_too(tmp_path):
    memory, chat = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris")]},
        {"facts": [fact("Ana lives in Rome", "2026")]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]},
        grounding={"mode": "off"},
    )
    with memory:
        memory.add("I live in Paris.", user_id="u", observed_at="2026-02-10")
        memory.add("I moved to Rome this year.", user_id="u", observed_at="2026-06-18")
        assert len(chat.calls) == 3
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of="2026-03-01")) == ["Ana lives in Paris"]


@pytest.mark.parametrize("first", [0, 1])
def test_a_move_of_the_same_day_and_add_comes_after_what_was_said_before_it(tmp_path, first):
    facts = [fact("Ana works at SAP"), fact("Ana started at Bosch today", "2026-06-10", cites=[1])]
    memory, chat = scripted(tmp_path, {"facts": facts[::-1] if first else facts}, grounding={"mode": "off"})
    said = [
        {"role": "user", "content": "I work at SAP.", "observed_at": "2026-06-10T10:00:00Z"},
        {"role": "user", "content": "I started at Bosch today.", "observed_at": "2026-06-10T11:00:00Z"},
    ]
    with memory:
        memory.add(said, user_id="u")
        assert len(chat.calls) == 1
        (bosch,) = memory.get_all(user_id="u")
        assert bosch.memory == "Ana started at Bosch today"
        assert bosch.valid_from.isoformat() == "2026-06-10T11:00:00+00:00"
        assert texts(memory.get_all(user_id="u", as_of="2026-06-10T10:30:00Z")) == ["Ana works at SAP"]
        assert memory.admin.doctor().ok


def test_of_two_values_said_within_seconds_the_later_one_holds_in_whatever_order_they_are_learnt(tmp_path):
    replies = {"facts": [fact("Ana lives in Rome")]}, {"facts": [fact("Ana lives in Paris")]}
    memory, _ = scripted(tmp_path, *replies, grounding={"mode": "off"})
    with memory:
        memory.add("Sorry, I live in Rome.", user_id="u", observed_at="2026-05-01T10:00:20Z")
        memory.add("I live in Paris.", user_id="u", observed_at="2026-05-01T10:00:00Z")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of="2026-05-01T10:00:10Z")) == ["Ana lives in Paris"]
        assert memory.admin.doctor().ok


@pytest.mark.parametrize("zone", ["-08:00", "-05:00", "+09:00"])
def test_what_happened_today_is_later_than_what_was_said_the_evening_before(tmp_path, zone):
    rome = fact("Ana moved to Rome", when="2026-03-10", slot="lives_in")
    update = {"fact": 0, "op": "UPDATE", "target": 0, "text": "Ana moved to Rome", "reason": "moved"}
    replies = {"facts": [fact("Ana lives in Bern")]}, {"facts": [rome]}, {"decisions": [update]}
    memory, _ = scripted(tmp_path, *replies, grounding={"mode": "off"})
    with memory:
        memory.add("I live in Bern.", user_id="u", observed_at=f"2026-03-09T17:30:00{zone}")
        memory.add("I moved to Rome today.", user_id="u", observed_at=f"2026-03-10T20:00:00{zone}")
        assert texts(memory.get_all(user_id="u")) == ["Ana moved to Rome"]
        assert memory.admin.doctor().ok


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("times", [("12:00", "18:00"), None])
def test_of_several_values_told_at_once_the_last_one_holds(tmp_path, known, times):
    day = "2026-03-10T00:00:00Z"
    both = [
        fact("Ana moved to Rome", when=times and day),
        fact("Ana moved to Oslo", cites=[1], when=times and day),
    ]
    replies = [{"facts": [fact("Ana lives in Bern")]}] * known + [{"facts": both}]
    memory, _ = scripted(tmp_path, *replies, grounding={"mode": "off"})
    said = ["I moved to Rome today.", "I moved to Oslo today."]
    stamps = [{"observed_at": f"2026-03-10T{time}:00Z"} for time in times] if times else [{}, {}]
    with memory:
        if known:
            memory.add("I live in Bern.", user_id="u", observed_at="2026-03-10T09:00:00Z")
        messages = [
            {"role": "user", "content": text, **stamp} for text, stamp in zip(said, stamps, strict=True)
        ]
        assert memory.add(messages, user_id="u").status == "complete"
        assert texts(memory.get_all(user_id="u")) == ["Ana moved to Oslo"]
        if times:
            assert texts(memory.get_all(user_id="u", as_of="2026-03-10T13:00:00Z")) == ["Ana moved to Rome"]
        assert memory.admin.doctor().ok


EARLIER = [
    "I lived in Rome from 2019. Since 2020 I have been in Paris, and I am there now.",
    "From 2019 it was Rome.",
    "Viví en Roma desde 2019 hasta 2020.",
    "Since 2019 I lived in Rome for a year.",
    "I was in Rome since 2019.",
    "In Rome since 2019, until I moved.",
    "Viví en Roma hace siete años.",
]


@pytest.mark.parametrize("said", EARLIER)
def test_what_was_so_earlier_is_none(tmp_path, said):
    memory, chat = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris", "2020-01-01")]},
        {"facts": [fact("Ana lives in Rome" if "Rome" in said else "Ana lives in Roma", "2019-01-01")]},
        grounding={"mode": "off"},
    )
    with memory:
        memory.add("I have lived in Paris since 2020.", user_id="u", observed_at="2026-01-01")
        memory.add(said, user_id="u", observed_at="2026-01-02")
        assert len(chat.calls) == 2
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]


def test_what_was_said_before_the_present_value_began_corrects_nothing(tmp_path):
    memory, chat = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris", "2024-01-01")]},
        {"facts": [fact("Ana has lived in Rome since 2019.", "2019-01-01")]},
    )
    with memory:
        memory.add("I moved to Paris in 2024.", user_id="u", observed_at="2026-01-01")
        memory.add("I have lived in Rome since 2019.", user_id="u", observed_at="2022-01-01")
        assert len(chat.calls) == 2
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]
        assert texts(memory.get_all(user_id="u", as_of="2022-06-01")) == ["Ana has lived in Rome since 2019."]


def quarantined(path, said, when, *, slot="lives_in", text="Ana lives in Rome", first="Ana lives in Paris"):
    """Paris by the user, Rome by a tool and approved; the approved change and the memory."""
    memory, _ = scripted(
        path,
        {"facts": [fact(first, "2020-01-01", slot)]},
        {"facts": [fact(text, when, slot, [1])]},
        {"decisions": []},
        extraction={"tools": True},
        grounding={"mode": "off"},
    )
    memory.add(f"{first}, I do.", user_id="u", observed_at="2024-01-01")
    held = memory.add([("user", "check the registry"), ("tool", text)], user_id="u", observed_at=said).added[
        0
    ]
    return memory, memory.admin.approve(held.id, user_id="u", reason="she says so")


def test_what_is_approved_takes_its_place(tmp_path):
    memory, change = quarantined(tmp_path, "2025-01-01", None)
    with memory:
        assert (change.event, change.reason) == ("UPDATE", "she says so")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of="2024-06-01")) == ["Ana lives in Paris"]
        assert texts(memory.get_all(user_id="u", as_of="2025-06-01")) == ["Ana lives in Rome"]


def test_what_is_approved_of_the_past_is_past(tmp_path):
    memory, change = quarantined(tmp_path, "2025-01-01", "2019-01-01")
    with memory:
        assert change.event == "UPDATE"
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]
        assert texts(memory.get_all(user_id="u", as_of="2019-06-01")) == ["Ana lives in Rome"]
        assert texts(memory.get_all(user_id="u", as_of="2020-06-01")) == ["Ana lives in Paris"]


@pytest.mark.parametrize("when", [None, "2019-01-01"])
def test_what_is_approved_and_known_already_is_one_value(tmp_path, when):
    memory, _ = scripted(
        tmp_path,
        {"facts": [fact("Ana lives in Paris", when, cites=[1])]},
        {"facts": [fact("Ana lives in Paris", "2020-01-01")]},
        extraction={"tools": True},
        grounding={"mode": "off"},
    )
    with memory:
        said = [("user", "check the registry"), ("tool", "Ana lives in Paris")]
        held = memory.add(said, user_id="u", observed_at="2025-01-01").added[0]
        memory.add("I live in Paris", user_id="u", observed_at="2025-02-01")
        memory.admin.approve(held.id, user_id="u")
        assert texts(memory.get_all(user_id="u")) == ["Ana lives in Paris"]
        for year in ("2021-01-01", "2025-06-01"):
            assert texts(memory.get_all(user_id="u", as_of=year)) == ["Ana lives in Paris"]


def test_an_approved_birthday_is_the_birthday(tmp_path):
    first, text = "Ana was born on 1 January 2020", "Ana was born on 2 March 1990"
    memory, _ = quarantined(tmp_path, "2025-01-01", "1990-03-02", slot="birthday", text=text, first=first)
    with memory:
        assert texts(memory.get_all(user_id="u")) == [text]


def test_an_approved_second_value_stands_beside(tmp_path):
    memory, _ = quarantined(tmp_path, "2025-01-01", None, text="Ana also lives in Rome")
    with memory:
        assert texts(memory.get_all(user_id="u")) == ["Ana also lives in Rome", "Ana lives in Paris"]


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


def test_a_yes_to_something_else_stands_in_no_values_way(tmp_path):
    def lives(place, cite=0):
        return {
            "facts": [
                {"text": f"Lena lives in {place}", "cites": [cite], "slot": "lives_in", "about": "Lena"}
            ]
        }

    told = [lives("Paris"), lives("Oslo", 1), lives("Rome")]
    update = {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]}
    chat = ScriptedChatModel([told[0], told[1], update, told[2]])
    with Memory(llm=chat, embedder="none", store=f"sqlite:///{tmp_path}/m.db") as memory:
        memory.add("Lena lives in Paris", user_id="u", observed_at="2026-01-01")
        offered = [("assistant", "Lena lives in Oslo now, so shall I book a flight?"), ("user", "Yes")]
        result = memory.add(offered, user_id="u", observed_at="2026-02-01")
        assert result.status == "partial"
        assert [change.support for change in result.added] == ["doubtful"]
        assert texts(memory.get_all(user_id="u")) == ["Lena lives in Oslo", "Lena lives in Paris"]
        memory.add("Lena lives in Rome", user_id="u", observed_at="2026-03-01")
        assert texts(memory.get_all(user_id="u")) == ["Lena lives in Rome"]
