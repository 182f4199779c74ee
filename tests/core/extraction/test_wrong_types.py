"""One field of the wrong type costs that field, not the fact; operations are read in any case."""

from __future__ import annotations

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel

DROPPED = "not of the expected shape: the fact is kept without it"


def opened(tmp_path, *replies, **way):
    chat = ScriptedChatModel(list(replies), **way)
    return Memory(llm=chat, embedder="none", store=tmp_path / "m.db"), chat


@pytest.mark.parametrize("way", [{}, {"native": True}, {"tools": True}])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("when", 5),
        ("when", ["2024"]),
        ("when", "x" * 100),
        ("kind", 7),
        ("kind", "x" * 100),
        ("cites", 0),
        ("cites", ["first"]),
        ("slot", ["lives_in"]),
        ("about", {"name": "Ana"}),
    ],
)
def test_a_field_that_can_be_spared(tmp_path, way, field, value):
    memory, chat = opened(tmp_path, {"facts": [{"text": "Ana likes tea", "cites": [0], field: value}]}, **way)
    with memory:
        result = memory.add("I am Ana and like tea", user_id="u")
        assert (result.status, len(chat.calls)) == ("partial", 1)
        (item,) = memory.get_all(user_id="u")
        assert (item.memory, item.kind, item.event_time) == ("Ana likes tea", "other", None)
        (rejection,) = result.rejected
        assert rejection.item.startswith(f"facts[0]: {field}")
        assert rejection.reason == DROPPED


def test_null_is_no_value_and_nothing_to_report(tmp_path):
    nothing = dict.fromkeys(("kind", "when", "slot", "about"))
    memory, _ = opened(tmp_path, {"facts": [{"text": "Ana likes tea", "cites": [0], **nothing}]})
    with memory:
        result = memory.add("I am Ana and like tea", user_id="u")
        assert (len(result.results), result.rejected) == (1, [])


def test_a_fact_without_its_text_is_none(tmp_path):
    reply = {
        "facts": [
            {"text": "Ana likes tea", "cites": [0], "when": 5, "kind": 1},
            {"text": 7, "when": 5},
            {"kind": "other"},
            "tea",
        ]
    }
    memory, _ = opened(tmp_path, reply)
    with memory:
        result = memory.add("I am Ana and like tea", user_id="u")
        assert [item.memory for item in memory.get_all(user_id="u")] == ["Ana likes tea"]
        assert sorted(r.item.partition(":")[0] for r in result.rejected) == [
            *("facts[0]", "facts[1]", "facts[2]", "facts[3]")
        ]


@pytest.mark.parametrize("operation", ["update", "Update ", " UPDATE\n"])
def test_operations_in_any_case(tmp_path, operation):
    memory, chat = opened(
        tmp_path,
        {"facts": [{"text": "Ana likes tea", "cites": [0]}]},
        {"facts": [{"text": "Ana likes tea with milk", "cites": [0]}]},
        {"decisions": [{"fact": 0, "op": operation, "target": 0}]},
    )
    with memory:
        memory.add("I am Ana and like tea", user_id="u")
        result = memory.add("I, Ana, like tea with milk", user_id="u")
        assert [change.event for change in result.results] == ["UPDATE"]
        assert (len(chat.calls), result.rejected) == (3, [])
