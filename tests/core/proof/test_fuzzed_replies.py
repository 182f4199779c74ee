"""Random and mutated replies of the extracting and of the deciding model, through the whole write path.

Five thousand in an ordinary run. ``MEMKIT_FUZZED_REPLIES=100000 pytest -m slow <this file>`` makes more of
them; the name stands in the environment of the run only.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from memkit_core import MemkitError, Memory, MemoryConfig
from memkit_core.policies import ResiliencePolicy
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

#: Read when the file is loaded: tests run without settings in the environment.
ON_DEMAND = int(os.environ.get("MEMKIT_FUZZED_REPLIES", "0"))
#: What is checked here does not depend on the disk.
IN_MEMORY = "sqlite://:memory:"
ODD: list[Any] = [
    None, True, -1, 0, 1, 2, 7, 10**30, -(10**5000), 1.5, 1e308, "0", "1", "", " ", "\0", "\ud800",
    "a\udfffb", "x" * 5_000, [], {}, [[]], {"a": {"b": []}}, "ADD", "DELETE", "owner-2", "\u202e", "ß" * 300,
]  # fmt: skip
RAW = [
    "", " ", "null", "[]", "{}", "true", "{" * 500, "[" * 5_000, '{"a":' * 200 + "1" + "}" * 200,
    '{"facts": ' + "9" * 5_000 + "}", '{"facts": [NaN, Infinity, -Infinity]}', '{"facts": [], "facts": [1]}',
    '{"decisions": [{"fact": 0, "op": "DELETE", "target": NaN}]}', "\0" * 50, "\ud800" * 20, "```json\n```",
    '{"decisions": [{"fact": 0, "op": "DELETE", "target": 0}, {"fact": 0, "op": "DELETE", "target": 0}]}',
    '{"facts": [{"text": "a", "text": "b"}]}', "I cannot help with that.", "<think>" * 50,
    "<think>{}</think>",
]  # fmt: skip


def fact(rng: random.Random) -> dict[str, Any]:
    words = " ".join(rng.choices(["tea", "Rome", "cats", "likes", "hates", "Ann", "12", "日本"], k=4))
    return {
        "text": words,
        "cites": rng.choice([[0], [1], [0, 1], [], [99], [-1]]),
        "kind": rng.choice(["preference", "plan", "", "nonsense"]),
        "when": rng.choice(["", "2024", "2024-05-07", "0000-00-00", "99999", "yesterday"]),
        "slot": rng.choice(["", "lives_in", "name", "nonsense"]),
        "about": rng.choice(["", "user", "Ann"]),
    }


def decision(rng: random.Random) -> dict[str, Any]:
    return {
        "fact": rng.choice([0, 0, 1, 2, -1, 10**6]),
        "op": rng.choice(["ADD", "UPDATE", "DELETE", "NONE", "UPDATE", "DELETE"]),
        "target": rng.choice([0, 1, 2, 2, 3, None, -1, 99, 10**12]),
        "text": rng.choice([None, "", "likes green tea", "x" * 50]),
        "retract": rng.choice([False, True]),
        "reason": "said so",
    }


def mutated(value: Any, rng: random.Random) -> Any:
    """A value with something put in the place of one of its parts."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return rng.choice(ODD)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        changed = {**value, key: mutated(value[key], rng)}
        if rng.random() < 0.15:
            del changed[key]
        return changed
    place = rng.randrange(len(value))
    changed = [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    return changed * rng.choice([1, 1, 1, 2, 30])


def as_text(value: Any, rng: random.Random) -> str:
    try:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    except ValueError:  # Python writes no integer of 5,000 digits
        text = '{"facts": [' + "7" * 5_000 + "]}"
    if rng.random() < 0.3:  # at the level of characters
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(text) + 1)
            text = (
                text[:place]
                + rng.choice(["", "\0", '"', "{", "]", ",", "\ud83d", "9" * 90, "é"])
                + text[place + rng.randrange(3) :]
            )
    if rng.random() < 0.05:
        text = text[: rng.randrange(len(text) + 1)]
    return text


def reply(kind: str, rng: random.Random) -> Any:
    chance = rng.random()
    if chance < 0.1:
        return rng.choice(RAW)
    make, field = (fact, "facts") if kind == "extract" else (decision, "decisions")
    value: Any = {field: [make(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))]}
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        value = mutated(value, rng)
    if chance > 0.93:  # a tool call whose arguments the client has read already, whatever they are
        arguments = value if isinstance(value, dict) else {"facts": value}
        name = rng.choice(["Extraction", "Decisions", "Other"])
        return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "1", "type": "tool_call"}])
    return as_text(value, rng)


class Fuzzing:
    """A model whose replies are made from a seed, and what it was offered."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.made = 0

    def __call__(self, messages: list[Any]) -> Any:
        self.made += 1
        text = "\n".join(message.text for message in messages)
        if "numbered memories" in text or "\nmemories:" in text:
            return reply("decide", self.rng)
        # Most extractions are good, so that there is something to decide on.
        if self.rng.random() < 0.5:
            return {"facts": [fact(self.rng) for _ in range(2)]}
        return reply("extract", self.rng)


def states(memory: Memory, owner: str) -> dict[str, tuple[Any, ...]]:
    page = memory.get_all(user_id=owner, limit=1_000)
    return {item.id: (item.memory, item.updated_at, str(item.metadata)) for item in page}


def fuzz(store: Any, replies: int, *, seed: int, **way: bool) -> tuple[int, int]:
    """Adds until so many replies were given; the number of adds, and of changes to what was offered."""
    source, changes, adds = Fuzzing(seed), 0, 0
    config = MemoryConfig(resilience=ResiliencePolicy(attempts=1, timeout=None, breaker_failures=10**6))
    model = ScriptedChatModel(source, **way)
    embedder = HashEmbeddings(dimension=16)
    with Memory(llm=model, embedder=embedder, store=store, config=config) as memory:
        memory.add("secret of somebody else", user_id="other", infer=False)
        memory.add("likes tea of this user's agent", user_id="u0", agent_id="other agent", infer=False)
        untouched = states(memory, "other")
        while source.made < replies:
            owner = f"u{adds // 20}"
            if adds % 20 == 0:
                for text in ("likes tea", "lives in Rome", "hates cats"):
                    memory.add(text, user_id=owner, agent_id="a", infer=False)
            result = one_add(memory, owner)
            changes += len(result.updated) + len(result.deleted)
            adds += 1
            if adds % 200 == 0:
                assert states(memory, "other") == untouched
                # Whatever waits is given up, or it would be all that is worked on.
                memory.delete_all(user_id=owner)
        assert states(memory, "other") == untouched
        assert [item.memory for item in memory.get_all(user_id="u0", agent_id="other agent")] == [
            "likes tea of this user's agent"
        ]
        assert memory.admin.doctor().ok
    return adds, changes


def one_add(memory: Memory, owner: str) -> Any:
    """An add whose every operation is on a memory that this owner had before, under this agent."""
    scope = {"user_id": owner, "agent_id": "a"}
    before = {item.id: item.memory for item in memory.get_all(limit=1_000, **scope)}
    try:
        result = memory.add(["Ann likes tea in Rome", "I hate 12 cats"], **scope)
    except MemkitError as error:
        raise AssertionError("an add never raises for what a model says") from error
    after = {item.id: item.memory for item in memory.get_all(limit=1_000, **scope)}
    assert result.status in ("complete", "partial", "pending")
    # A reply may be unusable; what was decided can be carried out.
    assert all(failure.error_type.startswith("Model") for failure in result.failed), result.failed
    told = {change.id for change in [*result.updated, *result.deleted]}
    new = {change.id for change in result.added}
    assert told <= before.keys()
    assert {id_ for id_ in before if after.get(id_) != before[id_]} <= told
    assert after.keys() - before.keys() <= new
    assert len(told) <= 5
    for item in after.values():
        item.encode("utf-8")
        assert "\0" not in item
    return result


@pytest.mark.parametrize(
    ("replies", "way"),
    [(2_400, {}), (2_400, {"tools": True}), (200, {"native": True})],
    ids=["text", "tools", "native"],
)
def test_five_thousand_replies(tmp_path, replies, way):
    adds, changes = fuzz(tmp_path / "f.db" if way.get("native") else IN_MEMORY, replies, seed=replies, **way)
    assert adds > replies // 4
    assert changes > replies // 50  # valid decisions come through: not simply everything is refused


@pytest.mark.slow
@pytest.mark.skipif(
    not ON_DEMAND, reason="MEMKIT_FUZZED_REPLIES says how many; 100,000 take more than an hour"
)
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("way", [{}, {"tools": True}], ids=["text", "tools"])
def test_a_hundred_thousand_replies(way):
    began = time.monotonic()
    adds, changes = fuzz(IN_MEMORY, ON_DEMAND // 2, seed=100 + len(way), **way)
    print(f"{ON_DEMAND // 2} replies, {adds} adds, {changes} changes, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("stage", ["extract", "decide"])
def test_ten_megabytes(tmp_path, tools, stage):
    long = "x" * 10_000_000
    huge = {"facts": [{"text": long}], "decisions": [{"fact": 0, "op": "DELETE", "reason": long}]}
    good = {"facts": [{"text": "I like green tea", "cites": [0]}]}
    replies = [huge] * 2 if stage == "extract" else [good, huge, huge]
    model = ScriptedChatModel(replies, tools=tools)
    with Memory(llm=model, embedder=HashEmbeddings(dimension=16), store=tmp_path / "h.db") as memory:
        memory.add("I like tea", user_id="u", infer=False)
        result = memory.add("I like green tea", user_id="u")
        assert (result.status, result.failed[0].error_type) == ("pending", "ModelOutputError")
        assert [item.memory for item in memory.get_all(user_id="u")] == ["I like tea"]
        assert memory.admin.doctor().ok
