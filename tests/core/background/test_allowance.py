"""Adds that are settled together: each may change as many memories as if it were alone."""

from __future__ import annotations

import json
import re

import pytest

from memkit_core.policies import BackgroundPolicy
from memkit_core.testing import HashEmbeddings

from .repeating import said, texts

LATER = BackgroundPolicy(batch_seconds=3_600)


class Eraser:
    """Makes a fact of every message, and deletes all that it is shown for one that says "forget"."""

    def __init__(self, *, cites=None):
        self.cites = cites

    def __call__(self, messages):
        shown = said(messages)
        if shown is None:
            memories, facts = messages[-1].text.split("facts:\n")
            count = len(re.findall(r"^\d+ ", memories, re.MULTILINE))
            told = dict(re.findall(r'^(\d+).*?: (".*")$', facts, re.MULTILINE))
            erase = [int(n) for n, text in told.items() if "forget" in json.loads(text)]
            return {
                "decisions": [
                    {"fact": n, "op": "DELETE", "target": target} for n in erase for target in range(count)
                ]
            }
        if len(shown) == 1 and shown[0][1].startswith("many: "):
            return {"facts": [{"text": text, "cites": [shown[0][0]]} for text in shown[0][1][6:].split(", ")]}
        return {
            "facts": [
                {"text": text, "cites": [n] if self.cites is None or "forget" not in text else self.cites}
                for n, text in shown
            ]
        }


def filled(open_memory, model, **policies):
    memory = open_memory(model, background=LATER, **policies)
    memory.add("many: " + ", ".join(f"thing number {n}" for n in range(12)), user_id="u")
    assert memory.count(user_id="u") == 12
    return memory


def things(memory):
    return [text for text in texts(memory) if text.startswith("thing")]


@pytest.mark.parametrize("cites", [None, [0, 1], []])
def test_one_of_four_joined_adds_changes_no_more_than_one_add_may(open_memory, cites):
    # It cites its own message, another add's beside, or none.
    memory = filled(open_memory, Eraser(cites=cites), decisions={"small_scope": 40})
    for line in ("it rains", "please forget all things", "it snows", "it hails"):
        memory.add(line, user_id="u", wait=False)
    assert memory.flush().completed == 4
    assert len(things(memory)) == 7


def test_each_of_several_joined_adds_has_its_own_allowance(open_memory):
    class Each(Eraser):
        def __call__(self, messages):
            answer = super().__call__(messages)
            if "decisions" in answer:
                facts = sorted({row["fact"] for row in answer["decisions"]})
                answer["decisions"] = [
                    row for row in answer["decisions"] if facts[row["target"] % 2] == row["fact"]
                ]
            return answer

    memory = filled(open_memory, Each(), decisions={"small_scope": 40, "max_destructive": 3})
    for line in ("please forget even things", "please forget odd things"):
        memory.add(line, user_id="u", wait=False)
    assert memory.flush().completed == 2
    assert len(things(memory)) == 6


def test_slots_count_against_the_add_that_fills_them(tmp_path):
    from memkit_core import Memory, MemoryConfig
    from memkit_core.testing import ScriptedChatModel

    people = "Ana Ben Cleo Dan Eva Finn Gina Hugo".split()

    def model(messages):
        shown = said(messages)
        if shown is None:
            return {"decisions": []}
        return {
            "facts": [
                {"text": f"{who} lives in {where}", "cites": [n], "slot": "lives_in", "about": who}
                for n, text in shown
                for who, where in re.findall(r"(\w+) in (\w+)", text)
            ]
        }

    memory = Memory(
        llm=ScriptedChatModel(model),
        embedder=HashEmbeddings(16),
        store=tmp_path / "m.db",
        config=MemoryConfig(background=LATER),
    )
    with memory:
        memory.add(", ".join(f"{who} in Rome" for who in people), user_id="u", observed_at="2024-01-01")
        for line in ("it rains", ", ".join(f"{who} in Oslo" for who in people), "it snows"):
            memory.add(line, user_id="u", wait=False)
        assert memory.flush().completed == 3
        rome = [item for item in memory.get_all(user_id="u") if "Rome" in item.memory]
        assert len(rome) == 3
