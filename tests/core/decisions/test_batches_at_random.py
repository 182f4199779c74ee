"""Whatever a model says of a batch that contradicts and repeats itself can be carried out."""

from __future__ import annotations

import random
import re

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

SAID = (
    "Ana likes green tea",
    "Ana does not like green tea any more",
    "Ana likes green tea very much",
    "Ana likes green tea and coffee",
    "Ana likes green tea again",
    "Ana lives in Oslo",
    "Ana lives in Bern",
    "Ana no longer lives in Oslo",
    "Ana takes back that she likes green tea",
)
WHEN = ("", "", "", "2025-06-01", "2026-01-10", "2027-01-01")


class Whatever:
    """A model that draws one fact of each message and then decides at random about what it is shown."""

    def __init__(self, rng: random.Random, facts: list[dict]) -> None:
        self.rng = rng
        self.facts = facts

    def __call__(self, messages):
        text = messages[-1].text
        if "memories:\n" not in text:
            return {"facts": self.facts}
        memories, facts = text.split("memories:\n", 1)[1].split("\nfacts:", 1)
        targets, numbers = (
            [int(n) for n in re.findall(r"^(\d+) ", part, re.MULTILINE)] for part in (memories, facts)
        )
        return {
            "decisions": [
                self._decision(n, targets) for n in numbers for _ in range(self.rng.choice((1, 1, 2)))
            ]
        }

    def _decision(self, fact, targets):
        op = self.rng.choice(("ADD", "UPDATE", "DELETE", "DELETE", "NONE", "NONE"))
        return {
            "fact": fact,
            "op": op,
            "target": None if op == "ADD" else self.rng.choice(targets),
            "text": f"Ana drinks tea {self.rng.random()}"
            if op == "UPDATE" and self.rng.random() < 0.3
            else None,
            "retract": op == "DELETE" and self.rng.random() < 0.3,
            "reason": "so it is",
        }


def told(rng: random.Random) -> tuple[list[dict], list[dict]]:
    """Messages, and what is drawn of them; some of one instant, some out of order."""
    said = rng.choices(SAID, k=rng.randint(2, 6))
    slots = rng.random() < 0.5
    days = [rng.choice((1, 1, 5, 10, 20)) for _ in said]
    if rng.random() < 0.8:
        days.sort()
    messages = [
        {"role": "user", "content": text, "observed_at": f"2026-02-{day:02}T10:00:00Z"}
        for text, day in zip(said, days, strict=True)
    ]
    facts = [
        {
            "text": text,
            "cites": rng.choice(([n], [n], [n], [0, n])),
            "when": rng.choice(WHEN),
            "slot": "lives_in" if slots and text.startswith("Ana lives in") else "",
            "about": "user",
        }
        for n, text in enumerate(said)
    ]
    if rng.random() < 0.2:
        rng.shuffle(facts)
    return messages, facts


def check(seed: int, *, veto: bool = False) -> None:
    rng = random.Random(seed)

    def hook(proposal):
        return None if rng.random() < 0.2 else proposal

    model = Whatever(rng, [])
    chat = ScriptedChatModel(model)
    with Memory(
        llm=chat,
        embedder=HashEmbeddings(16),
        config=MemoryConfig(store="sqlite://:memory:"),
        hooks=[hook] if veto else [],
    ) as memory:
        for text in rng.sample(SAID, k=rng.randint(0, 3)):
            memory.add(text, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-15")
        for _ in range(2):
            messages, model.facts = told(rng)
            result = memory.add(messages, user_id="u", actor_id="Ana")
            assert result.failed == [], seed
            assert result.pending == [], seed
            assert all(
                change.id is not None or change.reason == "known already" or veto for change in result.results
            )
            assert all(change.memory or change.id is None for change in result.results)
        there = {item.id: item for item in memory.get_all(user_id="u", limit=100)}
        new = [item.memory for item in there.values() if item.revision == 1]
        assert len(new) == len(set(new)), seed
        assert memory.admin.doctor().ok, seed


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_it_is_carried_out(start):
    for seed in range(start, start + 20):
        check(seed)


def test_and_beside_hooks():
    for seed in range(40):
        check(seed, veto=True)


@pytest.mark.slow
def test_many_more():
    for seed in range(1_000, 4_000):
        check(seed, veto=seed % 3 == 0)
