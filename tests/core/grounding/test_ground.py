"""Grounding through the public faces: modes, the second model, updates, resuming."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memkit_core import AsyncMemory, ConfigError, Memory, MemoryConfig
from memkit_core.config import LlmConfig
from memkit_core.policies import GroundingPolicy, ResiliencePolicy
from memkit_core.testing import ScriptedChatModel

SAID = {"role": "user", "name": "Ana", "content": "I am not allergic to nuts. I live in Oslo."}
GOOD = {"text": "Ana lives in Oslo", "cites": [0]}
BAD = {"text": "Ana is allergic to nuts", "cites": [0]}
#: One question is asked once: what failed has failed.
ONCE = ResiliencePolicy(attempts=1)


def config(mode: Any) -> MemoryConfig:
    return MemoryConfig(grounding=GroundingPolicy(mode=mode), resilience=ONCE)


def verdicts(*supported: str) -> dict[str, Any]:
    return {
        "verdicts": [
            {"fact": n, "supported": s, "reason": "" if s == "yes" else "made up"}
            for n, s in enumerate(supported)
        ]
    }


class Face:
    """Both faces, called alike."""

    def __init__(self, kind: type[Memory] | type[AsyncMemory], *replies: Any, **more: Any) -> None:
        self.model = ScriptedChatModel(list(replies))
        self.memory: Any = kind(llm=self.model, embedder="none", **{"store": ":memory:", **more})
        self.runner = asyncio.Runner()

    def __getattr__(self, verb: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            result = getattr(self.memory, verb)(*given, **named)
            return self.runner.run(result) if asyncio.iscoroutine(result) else result

        return call

    def done(self) -> None:
        closing = self.memory.close()
        if asyncio.iscoroutine(closing):
            self.runner.run(closing)
        self.runner.close()


@pytest.fixture(params=[Memory, AsyncMemory], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Any:
    opened: list[Face] = []

    def make(*replies: Any, **more: Any) -> Face:
        opened.append(Face(request.param, *replies, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.done()


def test_flag_keeps_what_is_doubtful_and_says_why(face: Any) -> None:
    memory = face({"facts": [GOOD, BAD]}, config=config("flag"))
    result = memory.add([SAID], user_id="ana")
    assert result.status == "complete"
    assert [(c.support, bool(c.doubts)) for c in result] == [("supported", False), ("doubtful", True)]
    assert "opposite" in result.results[1].doubts[0]
    assert {i.memory: i.support for i in memory.get_all(user_id="ana")} == {
        "Ana lives in Oslo": "supported",
        "Ana is allergic to nuts": "doubtful",
    }
    found = memory.get_all(user_id="ana", filters={"support": "supported"})
    assert [item.memory for item in found] == ["Ana lives in Oslo"]


def test_strict_rejects_it_and_reports_it(face: Any) -> None:
    memory = face({"facts": [GOOD, BAD]}, config=config("strict"))
    result = memory.add([SAID], user_id="ana")
    assert result.status == "partial"
    assert [change.memory for change in result] == ["Ana lives in Oslo"]
    assert [(r.item, "opposite" in r.reason) for r in result.rejected] == [(BAD["text"], True)]
    assert memory.count(user_id="ana") == 1


def test_off_looks_at_nothing(face: Any) -> None:
    memory = face({"facts": [GOOD, BAD]}, config=config("off"))
    result = memory.add([SAID], user_id="ana")
    assert [(c.support, c.doubts) for c in result] == [("unchecked", [])] * 2


def test_a_verifier_without_anything_to_judge_is_refused(face: Any) -> None:
    judge = ScriptedChatModel([])
    with pytest.raises(ConfigError, match="but grounding is off"):
        face({"facts": [GOOD]}, config=config("off"), verifier=judge)
    with pytest.raises(ConfigError, match="but no llm extracts any"):
        Memory(verifier=judge, embedder="none", store="sqlite://:memory:")


def test_a_second_model_judges_all_facts_in_one_call(face: Any) -> None:
    judge = ScriptedChatModel([verdicts("partly", "yes")])
    memory = face({"facts": [GOOD, BAD]}, config=config("flag"), verifier=judge)
    result = memory.add([SAID], user_id="ana")
    assert len(judge.calls) == 1
    assert "I live in Oslo" in judge.calls[0].text
    assert result.results[0].doubts == ["the verifier finds it only in part supported: made up"]
    assert result.results[1].support == "doubtful", "a yes takes away no doubt of the code's"
    assert result.usage.chat_calls == 2
    assert memory.memory.admin is not None


@pytest.mark.parametrize("reply", [RuntimeError("down"), "I would rather not."], ids=["down", "prose"])
def test_a_second_model_that_fails_costs_no_fact(face: Any, reply: Any) -> None:
    judge = ScriptedChatModel([reply] * 4)
    memory = face({"facts": [GOOD, BAD]}, config=config("flag"), verifier=judge)
    result = memory.add([SAID], user_id="ana")
    assert [change.support for change in result] == ["supported", "doubtful"]
    assert [failure.stage for failure in result.failed] == ["verify"]
    assert result.status == "partial"
    assert memory.count(user_id="ana") == 2


def test_verdicts_on_facts_that_nobody_asked_about_are_nothing(face: Any) -> None:
    odd = {"verdicts": [{"fact": 7, "supported": "no"}, {"fact": -1, "supported": "no"}]}
    memory = face({"facts": [GOOD]}, verifier=ScriptedChatModel([odd]))
    result = memory.add([SAID], user_id="ana")
    assert result.results[0].support == "supported"
    assert [failure.stage for failure in result.failed] == ["verify"]


@pytest.mark.parametrize("judged", [[], [1]])
def test_facts_that_a_second_model_leaves_out_are_told(face: Any, judged: list[int]) -> None:
    reply = {"verdicts": [{"fact": number, "supported": "no", "reason": "made up"} for number in judged]}
    memory = face({"facts": [GOOD, BAD]}, config=config("flag"), verifier=ScriptedChatModel([reply]))
    result = memory.add([SAID], user_id="ana")
    assert (result.status, memory.count(user_id="ana")) == ("partial", 2)
    (failure,) = result.failed
    assert (failure.stage, f"no verdict on {2 - len(judged)} of 2 facts" in failure.message) == (
        "verify",
        True,
    )
    assert result.results[0].support == "supported"


def test_what_was_pending_is_checked_when_it_is_taken_up(face: Any, tmp_path: Any) -> None:
    memory = face(
        RuntimeError("down"),
        {"facts": [GOOD, BAD]},
        config=config("strict"),
        store=tmp_path / "m.db",
    )
    assert memory.add([SAID], user_id="ana").status == "pending"
    assert memory.flush().completed == 1
    assert [i.memory for i in memory.get_all(user_id="ana")] == ["Ana lives in Oslo"]


def test_an_update_cannot_bring_in_what_nobody_said(face: Any) -> None:
    update = {
        "decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": "Ana has 7 cats and a dog, Rex"}]
    }
    memory = face(
        {"facts": [{"text": "Ana has a cat", "cites": [0]}]},
        {"facts": [{"text": "Ana has 2 cats", "cites": [0]}]},
        update,
    )
    memory.add([{"role": "user", "name": "Ana", "content": "I have a cat"}], user_id="ana")
    result = memory.add([{"role": "user", "name": "Ana", "content": "I have 2 cats now"}], user_id="ana")
    assert [(c.event, c.memory, c.support) for c in result] == [("UPDATE", "Ana has 2 cats", "supported")]
    assert "number 7" in result.rejected[0].reason
    assert "name Rex" in result.rejected[0].reason


def test_an_update_may_join_what_was_said_before_and_now(face: Any) -> None:
    update = {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": "Ana has 2 cats, Tom and Kit"}]}
    memory = face(
        {"facts": [{"text": "Ana has 2 cats", "cites": [0]}]},
        {"facts": [{"text": "Ana's cats are Tom and Kit", "cites": [0]}]},
        update,
    )
    memory.add([{"role": "user", "name": "Ana", "content": "I have two cats"}], user_id="ana")
    said = "They are called Tom and Kit"
    result = memory.add([{"role": "user", "name": "Ana", "content": said}], user_id="ana")
    assert [c.memory for c in result] == ["Ana has 2 cats, Tom and Kit"]
    assert not result.rejected


def test_a_verifier_from_the_configuration_is_resolved_like_any_model() -> None:
    from memkit_core import ConfigError

    with pytest.raises(ConfigError):
        Memory(
            config=MemoryConfig(verifier=LlmConfig(provider="no such", config={"model": "x"})),
            llm="verbatim",
            embedder="none",
            store=":memory:",
        )
