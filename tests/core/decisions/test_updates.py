"""What an UPDATE takes over from the memory that it changes, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def fact(text: str, slot: str | None = None) -> dict[str, Any]:
    more = {} if slot is None else {"slot": slot, "about": "Ana"}
    return {"facts": [{"text": text, "cites": [0], **more}]}


def updates(text: str | None = None) -> dict[str, Any]:
    return {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": text, "reason": "asked"}]}


def opened(path: Any, *replies: Any) -> tuple[Memory, ScriptedChatModel]:
    model = ScriptedChatModel(list(replies))
    return Memory(llm=model, embedder="none", store=path / "m.db"), model


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Ana split up with Bo.", ["Ana lives in Oslo.", "Ana split up with Bo."]),
        ("Ana lives in Rome with Bo and a dog.", ["Ana lives in Oslo."]),
    ],
)
def test_the_slot_goes_with_what_it_was_of(tmp_path, text, left):
    replies = [fact("Ana lives in Rome with Bo.", "lives_in"), fact(text), updates(text)]
    replies += [fact("Ana lives in Oslo.", "lives_in"), {"decisions": []}]
    memory, _ = opened(tmp_path, *replies)
    with memory:
        memory.add("I live in Rome with Bo", user_id="u", observed_at="2026-01-01")
        memory.add(text, user_id="u", observed_at="2026-02-01")
        memory.add("I live in Oslo", user_id="u", observed_at="2026-03-01")
        assert sorted(item.memory for item in memory.get_all(user_id="u")) == left
