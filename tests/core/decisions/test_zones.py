"""Today and tomorrow are days by the speaker's clock, wherever that is."""

from __future__ import annotations

from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def fact(text: str, when: str | None = None) -> dict[str, Any]:
    more = {} if when is None else {"when": when}
    return {"text": text, "cites": [0], "slot": "lives_in", "about": "Ana", **more}


def told(path: Any, text: str, when: str, said: str) -> list[str]:
    """What holds after somebody who lives in Paris has said where they live."""
    replies = {"facts": [fact("Ana lives in Paris.")]}, {"facts": [fact(text, when)]}, {"decisions": []}
    with Memory(llm=ScriptedChatModel(list(replies)), embedder="none", store=path / "m.db") as memory:
        memory.add("I live in Paris", user_id="u", observed_at="2026-01-01")
        memory.add(text, user_id="u", observed_at=said)
        return sorted(item.memory for item in memory.get_all(user_id="u"))


EAST = "2026-05-07T08:00:00+09:00"  # 6 May in UTC
WEST = "2026-05-06T20:00:00-08:00"  # 7 May in UTC


@pytest.mark.parametrize("said", [EAST, "2026-05-07T10:00:00+09:00", "2026-05-07T23:00:00-08:00"])
def test_today_is_no_plan(tmp_path, said):
    assert told(tmp_path, "Ana moved to Rome today.", "2026-05-07", said) == ["Ana moved to Rome today."]


@pytest.mark.parametrize("said", [WEST, "2026-05-06T10:00:00-08:00", "2026-05-06T01:00:00+09:00"])
def test_tomorrow_is_a_plan(tmp_path, said):
    text = "Ana moves to Rome tomorrow."
    assert told(tmp_path, text, "2026-05-07", said) == ["Ana lives in Paris.", text]


def test_a_plan_is_known_since_it_was_said(tmp_path):
    plan = {"facts": [fact("Ana moves to Rome tomorrow.", "2026-05-07")]}
    with Memory(llm=ScriptedChatModel([plan]), embedder="none", store=tmp_path / "m.db") as memory:
        memory.add("I move to Rome tomorrow", user_id="u", observed_at=WEST)
        (item,) = memory.get_all(user_id="u")
        assert item.valid_from.isoformat() == "2026-05-07T04:00:00+00:00"


@pytest.mark.parametrize(("hour", "kept"), [("21:30", 2), ("19:30", 1)])
def test_an_hour_is_an_instant(tmp_path, hour, kept):
    assert len(told(tmp_path, "Ana moves to Rome.", f"2026-05-06T{hour}:00-08:00", WEST)) == kept
