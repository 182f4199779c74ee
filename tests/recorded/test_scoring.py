"""The figures count what they say they count."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from .conversations import conversations, table
from .scoring import Change, GoldAdd, Keys, Seen, Tally, Text, score_add, score_state

BERLIN = {"match": ["berlin"]}
MOVED = {
    "match": ["madrid"],
    "op": "UPDATE|DELETE",
    "replaces": ["berlin", "!madrid"],
    "when": ["2015-03-06"],
}
NURSE = {"match": ["nurse"], "op": "NONE"}
FORGET = {"match": ["shoe"], "op": "DELETE", "replaces": ["shoe"], "retract": True}


def _gold(*facts: dict[str, Any], **more: Any) -> GoldAdd:
    return GoldAdd.of({"facts": facts, "observed_at": "2015-03-09T18:00:00+01:00", **more})


def _texts(*texts: str) -> list[Text]:
    return [Text(text=text) for text in texts]


def _change(event: str, text: str, previous: str | None = None, day: str | None = None) -> Change:
    time = None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)
    return Change(event=event, memory=Text(text=text), previous=previous, event_time=time)


def _counted(gold: GoldAdd, seen: Seen, *names: str) -> tuple[int, ...]:
    tally = score_add(gold, seen)
    return tuple(getattr(tally, name) for name in names)


@pytest.mark.parametrize(
    ("groups", "text", "fits"),
    [
        (["lives|living", "berlin"], "Mara LIVES in Berlin.", True),
        (["lives|living", "berlin"], "Mara delivers to Berlin.", False),
        (["5 km"], "She runs 15 km.", False),
        (["42"], "Size 420", False),
        (["42"], "Size 42.", True),
        (["berlin", "!left"], "Mara left Berlin.", False),
        (["peanut", "not|*n't"], "She isn’t allergic to peanuts.", True),
        (["上海"], "他住在上海。", True),
        (["cumpleaños"], "Su CUMPLEAÑOS es en mayo.", True),
        (["!x"], "", True),
    ],
)
def test_keys(groups: list[str], text: str, fits: bool) -> None:
    assert Keys(groups=tuple(groups)).fit(Text(text=text)) is fits


def test_an_actor_is_the_speaker_or_stands_in_the_text() -> None:
    keys = Keys(groups=("peanut",), actor="Ines")
    assert keys.fit(Text(text="Allergic to peanuts", actor_id="Ines"))
    assert keys.fit(Text(text="Ines is allergic to peanuts"))
    assert not keys.fit(Text(text="Allergic to peanuts", actor_id="Tom"))


def test_precision_and_recall_of_a_first_add() -> None:
    gold = _gold(BERLIN, {"match": ["nurse"]}, also=[["mara"]], never=[["tonight"]])
    seen = Seen(
        changes=[
            _change("ADD", "Lives in Berlin"),
            _change("ADD", "Berlin is home"),  # said already
            _change("ADD", "Is called Mara"),
            _change("ADD", "Likes rain"),
            _change("ADD", "A nurse, cooks tonight"),
        ]
    )
    names = ("made", "made_right", "forbidden", "wanted", "found", "decided")
    assert _counted(gold, seen, *names) == (5, 2, 1, 2, 2, 0)


def test_one_memory_may_tell_two_facts() -> None:
    gold = _gold(BERLIN, {"match": ["nurse"]})
    seen = Seen(changes=[_change("ADD", "A nurse in Berlin")])
    assert _counted(gold, seen, "made", "made_right", "found") == (1, 1, 2)


@pytest.mark.parametrize(
    ("changes", "after", "right"),
    [
        ([_change("UPDATE", "Lives in Madrid", "Lives in Berlin")], ["Lives in Madrid"], 1),
        (
            [_change("DELETE", "Lives in Berlin"), _change("ADD", "Lives in Madrid")],
            ["Lives in Madrid"],
            1,
        ),
        ([_change("ADD", "Lives in Madrid")], ["Lives in Berlin", "Lives in Madrid"], 0),
        ([_change("UPDATE", "Lives in Madrid", "Is a nurse")], ["Lives in Berlin", "Lives in Madrid"], 0),
    ],
)
def test_a_contradiction_is_replaced(changes: list[Change], after: list[str], right: int) -> None:
    seen = Seen(changes=changes, before=_texts("Lives in Berlin", "Is a nurse"), after=_texts(*after))
    assert _counted(_gold(MOVED), seen, "decided", "decided_right", "found") == (1, right, 1)


def test_what_was_missed_before_may_be_added() -> None:
    seen = Seen(
        changes=[_change("ADD", "Lives in Madrid"), _change("ADD", "Is a nurse")],
        before=_texts("Likes tea"),
        after=_texts("Likes tea", "Lives in Madrid", "Is a nurse"),
    )
    assert _counted(_gold(MOVED, NURSE), seen, "decided", "decided_right") == (2, 2)


@pytest.mark.parametrize(
    ("changes", "after", "right"),
    [
        ([], ["Is a nurse"], 1),
        ([_change("NONE", "Is a nurse")], ["Is a nurse"], 1),
        ([_change("ADD", "Works as a nurse")], ["Is a nurse", "Works as a nurse"], 0),
        ([_change("UPDATE", "Still a nurse", "Is a nurse")], ["Still a nurse"], 0),
    ],
)
def test_what_is_known_is_left_alone(changes: list[Change], after: list[str], right: int) -> None:
    seen = Seen(changes=changes, before=_texts("Is a nurse"), after=_texts(*after))
    assert _counted(_gold(NURSE), seen, "decided", "decided_right", "wanted") == (1, right, 0)


@pytest.mark.parametrize(
    ("changes", "after", "right"),
    [
        ([_change("DELETE", "Has shoe size 43")], [], 1),
        ([], ["Has shoe size 43"], 0),
        ([_change("ADD", "Forget the shoe size")], ["Has shoe size 43", "Forget the shoe size"], 0),
    ],
)
def test_what_is_taken_back_goes(changes: list[Change], after: list[str], right: int) -> None:
    seen = Seen(changes=changes, before=_texts("Has shoe size 43"), after=_texts(*after))
    assert _counted(_gold(FORGET), seen, "decided", "decided_right", "made_right") == (1, right, 0)


@pytest.mark.parametrize(
    "change",
    [
        _change("DELETE", "Likes tea"),
        _change("UPDATE", "Likes rain", "Likes tea"),
        _change("NONE", "Likes tea"),
        _change("NONE", ""),
    ],
)
def test_a_decision_that_nothing_called_for_is_a_wrong_decision(change: Change) -> None:
    seen = Seen(changes=[change], before=_texts("Likes tea"))
    assert _counted(_gold(), seen, "decided", "decided_right") == (1, 0)


@pytest.mark.parametrize(
    ("day", "right"),
    [("2015-03-06", 1), ("2015-03-05T23:30", 1), ("2015-03-05T22:30", 0), ("2015-03-09", 0), (None, 0)],
)
def test_a_day_is_the_speaker_s_or_utc_s(day: str | None, right: int) -> None:
    seen = Seen(changes=[_change("ADD", "Lives in Madrid", day=day)])
    assert _counted(_gold(MOVED), seen, "dated", "dated_right") == (1, right)
    assert _counted(_gold(MOVED), Seen(), "dated", "dated_right") == (0, 0)


def test_the_end_of_a_conversation() -> None:
    keys = [Keys(groups=(word,)) for word in ("madrid", "nurse", "berlin", "rome")]
    tally = score_state(keys[:2], keys[2:], _texts("Lives in Madrid", "Lived in Berlin"))
    assert (tally.states, tally.states_right) == (4, 2)


def test_the_table_adds_up() -> None:
    tally = Tally(made=4, made_right=3, wanted=2, found=2)
    assert table({"en": [tally, tally], "zh": [tally]}).splitlines()[2:] == [
        "| en | 2 | 6/8 = 75 % | 4/4 = 100 % | - | - | - |",
        "| zh | 1 | 3/4 = 75 % | 2/2 = 100 % | - | - | - |",
        "| **all** | 3 | 9/12 = 75 % | 6/6 = 100 % | - | - | - |",
    ]


def test_the_conversations_are_what_the_documentation_says() -> None:
    held = conversations()
    assert len(held) == len({one.name for one in held}) == 20
    languages = [one.language for one in held]
    assert {name: languages.count(name) for name in set(languages)} == {"en": 8, "es": 4, "zh": 4, "de": 4}
    covered = {topic for one in held for topic in one.covers}
    assert covered >= {
        "contradiction", "correction", "date", "group chat", "hypothetical", "negation",
        "nothing to remember", "numbers", "quoted speech", "relative date", "repeated fact", "retraction",
        "tool output",
    }  # fmt: skip
    for one in held:
        assert 2 <= len(one.adds) <= 3
        assert [gold.observed_at for gold in one.gold] == sorted(gold.observed_at for gold in one.gold)


def test_what_must_not_be_remembered_is_not_asked_for_as_well() -> None:
    for one in conversations():
        for gold, add in zip(one.gold, one.adds, strict=True):
            said = Text(text=" ".join(message["content"] for message in add["messages"]))
            assert all(keys.fit(said) or keys.groups[-1].startswith("!") for keys in gold.never), one.name


def test_what_is_asked_for_was_said() -> None:
    for one in conversations():
        for gold, add in zip(one.gold, one.adds, strict=True):
            said = " ".join(message["content"] for message in add["messages"])
            for fact in gold.facts:
                words = tuple(group for group in fact.keys.groups if not group.startswith("!"))
                assert Keys(groups=words).fit(Text(text=said)), (one.name, words)
