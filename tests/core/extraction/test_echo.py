"""Recalled memories that come back inside messages are not remembered again."""

from __future__ import annotations

import json
import re

import pytest

from memkit_core import Memory
from memkit_core.pipeline.echo import drop_echoes, without_recalled
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_core.types import Fact, Message


def everything(messages):
    """A model that takes every sentence it is shown for a fact, and everything for new."""
    if not messages[1].text.split("\n", 1)[0].startswith("memories:"):
        found = []
        for line in messages[1].text.split("\n\n")[0].splitlines():
            head = re.match(r"(\d+) \w{3} [\d-]+ [\d:]+ \w+(?: \"[^\"]*\")?: (.*)$", line)
            if head:
                texts = re.split(r"(?<=[.!?])\s+|\n+", json.loads(head[2]))
                found += [{"text": t.strip(), "cites": [int(head[1])]} for t in texts if t.strip()]
        return {"facts": found}
    numbers = re.findall(r"^(\d+)", messages[1].text.split("facts:")[1], re.MULTILINE)
    return {"decisions": [{"fact": int(n), "op": "ADD"} for n in numbers]}


FACTS = [
    f"I keep {n} {thing} in my house" for n, thing in enumerate(["cats", "dogs", "bees", "goats"] * 13, 2)
]


@pytest.mark.parametrize(
    ("llm", "scope"),
    [("model", {"user_id": "u"}), ("model", {"agent_id": "a"}), ("verbatim", {"user_id": "u"})],
)
def test_a_hundred_loops_of_recall_answer_add_grow_nothing(tmp_path, scope, llm):
    chat = ScriptedChatModel(everything) if llm == "model" else "verbatim"
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db") as memory:
        for text in FACTS:
            memory.add(text, **scope)
        before = memory.count(**scope)
        assert before == len(FACTS)
        for n in range(100):
            question = f"What do I keep, number {n % 7}?"
            found = memory.context(question, token_budget=200, **scope)
            answer = memory.search(question, limit=1, **scope).results[0].memory
            memory.add([("user", f"{found.text}\n\n{question}"), ("assistant", answer)], **scope)
        assert memory.count(**scope) <= before * 1.02


def message(text, role="user"):
    return Message(role=role, content=text, observed_at=0, origin=role)


def test_fenced_blocks_are_cut_and_what_is_not_closed_stays():
    text = (
        "Before <memories>\nWhat is remembered.\n- Likes tea (2024-05-01)\n</memories> after <memories> open"
    )
    (shown,), lines = without_recalled([message(text)])
    assert shown.content == "Before  after <memories> open"
    assert lines == ("Likes tea",)


def test_many_fences_take_linear_time():
    text = "<memories>" * 20_000
    assert without_recalled([message(text)])[0][0].content == text


def test_only_what_others_repeat_is_an_echo():
    recalled = ["Ana likes green tea a lot"]
    said = {
        "likes green tea": "assistant",
        "Ana likes green tea a lot.": "tool",
        "Ana does not like green tea": "assistant",
        "Ana likes tea": "user",
    }
    kept, rejected = drop_echoes([Fact(text=t, origin=o) for t, o in said.items()], recalled)
    assert [fact.text for fact in kept] == ["Ana does not like green tea", "Ana likes tea"]
    assert len(rejected) == 2


def test_a_message_that_is_only_recalled_text_is_not_shown_to_a_model(tmp_path):
    chat = ScriptedChatModel([])
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:
        result = memory.add("<memories>\n- Likes tea (2024-05-01)\n</memories>", user_id="u")
    assert (result.status, result.results, chat.calls) == ("complete", [], [])
