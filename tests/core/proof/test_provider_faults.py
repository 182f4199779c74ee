"""Every fault of a provider, in every verb that calls one, sync and async: the state before or after."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from memkit_core import AsyncMemory, MemkitError, MemoryConfig
from memkit_core.policies import ResiliencePolicy
from memkit_core.testing import FaultyChatModel, FaultyEmbeddings, HashEmbeddings, ScriptedChatModel

ATTEMPTS = 2
CONFIG = MemoryConfig(resilience=ResiliencePolicy(attempts=ATTEMPTS, max_wait=0, breaker_failures=100))
CALL_FAULTS = ("timeout", "reset", "rate_limit", "server_error")
REPLY_FAULTS = ("empty", "truncated", "malformed", "refusal", "prose", "huge")
EMBEDDING_FAULTS = (*CALL_FAULTS, "wrong_dimension", "nan", "zero", "wrong_count", "empty")
TEA = {"facts": [{"text": "I like green tea", "cites": [0]}]}
UPDATE = {"fact": 0, "op": "UPDATE", "target": 0, "text": "I like green tea"}
#: Valid JSON that names what was not offered, or one thing twice.
WRONG = {
    "wrong ids": [{**UPDATE, "target": 99}, {"fact": 7, "op": "DELETE", "target": 0}],
    "negative ids": [{**UPDATE, "target": -1}, {"fact": -1, "op": "DELETE", "target": -1}],
    "duplicate ids": [UPDATE, {**UPDATE, "text": "Something else"}, {"fact": 0, "op": "DELETE", "target": 0}],
}


async def all_texts(memory):
    return [item.memory for item in await memory("get_all", user_id="u")]


@pytest.mark.parametrize("stage", ["extract", "decide"])
@pytest.mark.parametrize("fault", [*CALL_FAULTS, "unauthorized", "bad_request", *REPLY_FAULTS])
async def test_chat_faults_in_add_and_flush(face_of, fault, stage):
    model = FaultyChatModel([TEA], faults=([None] if stage == "decide" else []) + [fault] * 20)
    memory = await face_of(llm=model, embedder=HashEmbeddings(dimension=32), config=CONFIG)
    await memory("add", "I like tea", user_id="u", infer=False)
    result = await memory("add", "I like green tea", user_id="u")
    assert result.status == "pending"
    expected = "ModelOutputError" if fault in REPLY_FAULTS else "ModelCallError"
    assert result.failed[0].error_type == ("PromptTooLongError" if fault == "bad_request" else expected)
    assert await all_texts(memory) == ["I like tea"]
    found = await memory("search", "green", user_id="u", include=("excerpts",))
    assert [excerpt.text for excerpt in found.excerpts][:1] == ["I like green tea"]
    # One question is asked ``attempts`` times if the fault may pass, and once more to repair a bad reply.
    asked = len(model.calls) - (stage == "decide")
    repaired = ("empty", "malformed", "prose", "huge")
    assert asked == (ATTEMPTS if fault in CALL_FAULTS else 2 if fault in repaired else 1)
    flushed = await memory("flush")
    assert (flushed.completed, flushed.pending) == (0, 1)
    assert await all_texts(memory) == ["I like tea"]
    assert (await memory("admin.doctor")).ok


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_and_duplicate_ids(face_of, wrong):
    model = ScriptedChatModel([TEA, {"decisions": WRONG[wrong]}])
    memory = await face_of(llm=model, embedder=HashEmbeddings(dimension=32), config=CONFIG)
    await memory("add", "I like tea", user_id="u", infer=False)
    result = await memory("add", "I like green tea", user_id="u")
    assert result.status == "partial"
    assert result.rejected
    kept = ["I like green tea"] if wrong == "duplicate ids" else ["I like green tea", "I like tea"]
    assert sorted(await all_texts(memory)) == kept
    assert (await memory("admin.doctor")).ok


@pytest.mark.parametrize("verb", ["add", "raw add", "search", "context", "update", "flush"])
@pytest.mark.parametrize("fault", EMBEDDING_FAULTS)
async def test_embedding_faults(face_of, fault, verb):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=32))
    model = ScriptedChatModel(lambda _: TEA)
    memory = await face_of(llm=model, embedder=embeddings, config=CONFIG)
    (known,) = (await memory("add", "I like tea", user_id="u", infer=False)).added
    model.replies = [TEA, {"decisions": [{"fact": 0, "op": "ADD"}]}]
    embeddings._always, began = fault, embeddings.attempts
    if verb == "flush":
        await memory("add", "I like green tea", user_id="u", infer=False)
        began = embeddings.attempts
    error = result = None
    try:
        result = await {
            "add": lambda: memory("add", "I like green tea", user_id="u"),
            "raw add": lambda: memory("add", "I like green tea", user_id="u", infer=False),
            "search": lambda: memory("search", "tea", user_id="u"),
            "context": lambda: memory("context", "tea", user_id="u"),
            "update": lambda: memory("update", known.id, "I like green tea", user_id="u"),
            "flush": lambda: memory("flush"),
        }[verb]()
    except MemkitError as raised:
        error = raised
    spent = embeddings.attempts - began
    # The embedding model costs recall and nothing else; a verb either says so or raises what is typed.
    texts = sorted(await all_texts(memory))
    if error is not None:
        assert texts == ["I like tea"]
    elif verb == "update":
        assert texts == ["I like green tea"]
    elif verb in ("add", "raw add"):
        assert texts == ["I like green tea", "I like tea"]
        assert result.failed
        assert result.status == "partial"
    elif verb == "search":
        assert [hit.memory for hit in result] == ["I like tea"]
        assert result.degraded
    elif verb == "flush":
        assert result.failed
    assert 1 <= spent <= ATTEMPTS * 3
    embeddings._always = None
    assert not (await memory("flush")).failed
    assert not (await memory("search", "tea", user_id="u")).degraded
    assert (await memory("admin.doctor")).ok


class CancelAt:
    """Awaits a coroutine, whose task is cancelled while it waits for the n-th time."""

    def __init__(self, coroutine, number):
        self.coroutine, self.left = coroutine, number

    def __await__(self):
        iterator = self.coroutine.__await__()
        resume = partial(iterator.send, None)
        while True:
            try:
                waited = resume()
            except StopIteration as stop:
                return stop.value
            self.left -= 1
            if self.left == 0:
                asyncio.current_task().cancel()
            resume = partial(iterator.send, None)
            try:
                yield waited
            except BaseException as raised:  # noqa: BLE001 - it belongs to the coroutine
                resume = partial(iterator.throw, raised)


@pytest.mark.parametrize("verb", ["add", "search", "context", "update", "flush"])
async def test_cancelled_at_each_await(tmp_path, verb):
    for number in range(1, 200):
        model = ScriptedChatModel([TEA, {"decisions": [UPDATE]}] * 3)
        store = tmp_path / f"{verb}-{number}.db"
        async with AsyncMemory(llm=model, embedder=HashEmbeddings(dimension=16), store=store) as memory:
            (known,) = (await memory.add("I like tea", user_id="u", infer=False)).added
            if verb == "flush":
                await memory.update(known.id, "I like tea")
            work = {
                "add": lambda: memory.add("I like green tea", user_id="u"),
                "search": lambda: memory.search("tea", user_id="u"),
                "context": lambda: memory.context("tea", user_id="u"),
                "update": lambda: memory.update(known.id, "I like green tea"),  # noqa: B023
                "flush": memory.flush,
            }[verb]
            cancelling = CancelAt(work(), number)

            async def run(cancelling=cancelling):
                return await cancelling

            with suppress(asyncio.CancelledError):
                await asyncio.create_task(run())
            page = [item.memory for item in await memory.get_all(user_id="u")]
            assert page in (["I like tea"], ["I like green tea"])
            if verb == "add":
                found = await memory.search("green", user_id="u", include=("memories", "excerpts"))
                stored = page != ["I like tea"] or "I like green tea" in [
                    unit.text for unit in found.excerpts
                ]
                flushed = await memory.flush()
                assert flushed.pending == 0
                # Stored means worked off in the end; not stored means nothing of it is there.
                page = [item.memory for item in await memory.get_all(user_id="u")]
                assert page == (["I like green tea"] if stored else ["I like tea"])
            assert await memory.add("I like cats", user_id="v", infer=False)
            assert (await memory.admin.doctor()).ok
        if cancelling.left > 0:
            assert number > 1
            return
    raise AssertionError("it never ran to its end")
