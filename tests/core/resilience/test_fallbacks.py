"""A model and what is asked in its place."""

from __future__ import annotations

import asyncio

import pytest

from memkit_core import AsyncMemory, ConfigError, LlmConfig, Memory, MemoryConfig
from memkit_core.engine import Engine
from memkit_core.policies import ResiliencePolicy
from memkit_core.testing import FaultyChatModel, ScriptedChatModel

FACT = {"facts": [{"text": "Likes tea", "cites": [0]}]}
CONFIG = MemoryConfig(resilience=ResiliencePolicy(max_wait=0, attempts=2, breaker_failures=2))
WAYS = {"native": {"native": True, "tools": True}, "tools": {"tools": True}, "text": {}}


def add(kind, llm, adds=1):
    if kind == "sync":
        with Memory(llm=llm, embedder="none", store="sqlite://:memory:", config=CONFIG) as memory:
            return [memory.add("I like tea", user_id="u") for _ in range(adds)], memory.admin.usage().total

    async def run():
        async with AsyncMemory(llm=llm, embedder="none", store="sqlite://:memory:", config=CONFIG) as memory:
            return [await memory.add("I like tea", user_id="u") for _ in range(adds)], (
                await memory.admin.usage()
            ).total

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("form", ["list", "langchain"])
def test_the_second_model_answers_in_its_own_way(kind, first, second, form):
    primary = FaultyChatModel([], faults="server_error", **WAYS[first])
    backup = ScriptedChatModel([FACT], **WAYS[second])
    llm = [primary, backup] if form == "list" else primary.with_fallbacks([backup])
    [result], total = add(kind, llm)
    assert (result.status, len(result.added)) == ("complete", 1)
    assert [call.way for call in primary.calls] == [first] * 2
    assert [call.way for call in backup.calls] == [second]
    assert total.chat_calls == result.usage.chat_calls == 3


def test_a_primary_that_is_down_is_soon_left_alone():
    primary = FaultyChatModel([], faults="timeout")
    backup = ScriptedChatModel(lambda _: FACT)
    results, total = add("sync", [primary, backup], adds=5)
    assert {result.status for result in results} == {"complete"}
    assert len(primary.calls) == 4  # two questions of two attempts each
    assert total.chat_calls == len(primary.calls) + len(backup.calls)


def test_all_of_them_down_is_pending():
    models = [FaultyChatModel([], faults=fault) for fault in ("unauthorized", "reset", "bad_request")]
    [result], total = add("sync", models)
    assert (result.status, result.failed[0].error_type) == ("pending", "PromptTooLongError")
    assert [len(model.calls) for model in models] == [1, 2, 1]
    assert total.chat_calls == 4


def test_an_unusable_reply_asks_no_other_model():
    backup = ScriptedChatModel([])
    [result], _ = add("sync", [ScriptedChatModel(["no", "no"]), backup])
    assert result.status == "pending"
    assert not backup.calls


def test_exceptions_to_handle_are_respected():
    primary, backup = FaultyChatModel([], faults="bad_request"), ScriptedChatModel([FACT])
    llm = primary.with_fallbacks([backup], exceptions_to_handle=(TimeoutError,))
    [result], _ = add("sync", llm)
    assert result.status == "pending"
    assert not backup.calls


def test_lists_in_the_configuration():
    both = [LlmConfig(provider="langchain", config={"model": ScriptedChatModel([])})] * 2
    engine = Engine.open(MemoryConfig(llm=both, embedder=None, store="sqlite://:memory:"))
    assert "llm=ScriptedChatModel, then ScriptedChatModel" in engine.describe()
    engine.close()


@pytest.mark.parametrize("llm", [[], [None], ["verbatim"], [ScriptedChatModel([]), None], [object()]])
def test_a_list_holds_models(llm):
    with pytest.raises(ConfigError):
        Memory(llm=llm, embedder="none", store="sqlite://:memory:")
