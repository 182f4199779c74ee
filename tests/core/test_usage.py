"""The ledger holds what the models cost: all of it, once, soon, and whatever became of the replies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import PrivateAttr

from memkit_core import AsyncMemory, Memory, MemoryConfig, NotFoundError, Usage
from memkit_core.policies import Budget, CostPolicy, ResiliencePolicy
from memkit_core.testing import FaultyEmbeddings, HashEmbeddings, ScriptedChatModel

DECISIONS = {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": "Likes green tea"}]}


class CountingModel(ScriptedChatModel):
    """Sums up the ``usage_metadata`` of every message it returns."""

    _returned: list[AIMessage] = PrivateAttr(default_factory=list)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return self._kept(super()._generate(messages, stop, run_manager, **kwargs))

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return self._kept(await super()._agenerate(messages, stop, run_manager, **kwargs))

    def _kept(self, result):
        self._returned += [generation.message for generation in result.generations]
        return result

    @property
    def tokens(self):
        counts = [message.usage_metadata for message in self._returned if message.usage_metadata]
        return sum(c["input_tokens"] for c in counts), sum(c["output_tokens"] for c in counts)


def tokens(usage):
    return usage.input_tokens, usage.output_tokens


def calls(usage):
    return usage.chat_calls, usage.embedding_calls, usage.input_tokens, usage.output_tokens


def good(messages):
    if messages[-1].text.startswith("memories:"):
        return DECISIONS
    return {"facts": [{"text": f"Likes {messages[-1].text[-40:].split()[-1]}", "cites": [0]}]}


def cut(_):
    return AIMessage(
        content='{"facts": [',
        response_metadata={"finish_reason": "length"},
        usage_metadata={"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
    )


REPLIES = {
    "good": good,
    "malformed": lambda _: '{"facts": [{"text": "Likes tea",}]',
    "prose": lambda _: "I will remember that.",
    "partly bad": lambda _: {"facts": [{"text": "Likes tea", "cites": [0]}, {"nothing": 1}], "decisions": []},
    "empty": lambda _: "",
    "cut": cut,
    "timeout": lambda _: TimeoutError("the request timed out"),
    "bug": lambda _: RuntimeError("the client broke"),
}
OPERATIONS = ["add", "long add", "later", "raw", "flush", "search", "update"]
EMBEDDING_FAULTS = [None, None, None, "timeout", "nan"]


def operate(memory, operation, number):
    user = f"u{number % 2}"
    if operation == "flush":
        memory.flush()
    elif operation == "search":
        memory.search(f"tea {number}", user_id=user)
    elif operation == "update":
        for item in memory.get_all(user_id=user, limit=1):
            memory.update(item.id, f"Likes chess {number}")
    elif operation == "long add":  # several chunks, extracted side by side
        memory.add([f"I like tea{part}{number}. " * 1_200 for part in range(3)], user_id=user)
    else:
        memory.add(f"I like tea{number}", user_id=user, infer=operation != "raw", wait=operation != "later")


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(st.sampled_from(OPERATIONS), max_size=10),
    replies=st.lists(st.sampled_from(sorted(REPLIES)), max_size=24),
    faults=st.lists(st.sampled_from(EMBEDDING_FAULTS), max_size=16),
)
def test_the_ledger_equals_what_the_model_returned(operations, replies, faults):
    script = iter(replies)
    chat = CountingModel(lambda messages: REPLIES[next(script, "good")](messages))
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8), faults=faults)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "m.db"
        with Memory(llm=chat, embedder=embeddings, store=store) as memory:
            for number, operation in enumerate(operations):
                operate(memory, operation, number)
            memory.flush()
            known = memory.admin.usage().total
            assert tokens(known) == chat.tokens
            assert (known.chat_calls, known.embedding_calls) == (len(chat.calls), embeddings.attempts)
        with Memory(llm="verbatim", embedder="none", store=store) as memory:
            report = memory.admin.usage()
            assert calls(report.total) == calls(known)
            assert calls(sum((row.usage for row in report.owners), Usage())) == calls(report.total)


@settings(max_examples=25, deadline=None)
@given(
    replies=st.lists(st.sampled_from([*sorted(REPLIES), "timeout", "hanging"]), max_size=16),
    longs=st.lists(st.booleans(), max_size=4),
    attempts=st.integers(1, 3),
    suspending=st.booleans(),
)
def test_the_ledger_holds_with_retries_fallbacks_and_timeouts(replies, longs, attempts, suspending):
    script, hanging = iter(replies), threading.Event()

    def reply(messages):
        name = next(script, "good")
        if name == "hanging" and not suspending:  # what is cancelled on an event loop returns nothing
            hanging.wait(5)
            return good(messages)
        return REPLIES[name if name in REPLIES else "timeout"](messages)

    models = [CountingModel(reply, tools=number == 0) for number in range(2)]
    policy = ResiliencePolicy(attempts=attempts, max_wait=0, timeout=0.2, breaker_failures=3)
    budget = CostPolicy(budget=Budget(max_tokens=3_000))
    config = MemoryConfig(resilience=policy, costs=budget)
    with Memory(llm=models, embedder="none", store="sqlite://:memory:", config=config) as memory:

        async def adds():
            for number, long in enumerate(longs):
                await memory.aio.add(
                    [f"I like tea{number}. " * (1_200 if long else 1)] * (3 if long else 1), user_id="u"
                )

        if suspending:
            asyncio.run(adds())
        else:
            for number, long in enumerate(longs):
                operate(memory, "long add" if long else "add", number)
        memory.flush()
        hanging.set()
        for thread in threading.enumerate():
            if thread.name == "memkit-call":
                thread.join()
        total = memory.admin.usage().total
        returned = [sum(side) for side in zip(*(model.tokens for model in models), strict=True)]
        assert tokens(total) == tuple(returned)
        assert total.chat_calls == sum(len(model.calls) for model in models)


@pytest.mark.parametrize("rounds", [1, 9])
def test_a_batch_decided_again_costs_again(tmp_path, rounds):
    store = tmp_path / "m.db"
    left = [rounds]
    with Memory(llm="verbatim", embedder="none", store=store) as other:
        other.add("Likes tea", user_id="u", infer=False)

        def interfering(messages):
            if messages[-1].text.startswith("memories:") and left[0]:
                left[0] -= 1
                other.add(f"Likes number {left[0]}", user_id="u", infer=False)
            return good(messages)

        chat = CountingModel(interfering)
        with Memory(llm=chat, embedder=HashEmbeddings(dimension=8), store=store) as memory:
            result = memory.add("I like green", user_id="u")
            if rounds == 1:
                assert (result.status, result.usage.chat_calls) == ("complete", 3)
                assert calls(other.admin.usage().operations["add"]) == calls(result.usage)
            else:
                assert result.usage.chat_calls == 5
            memory.flush()
            assert tokens(memory.admin.usage().total) == chat.tokens
            assert memory.admin.usage().total.chat_calls == len(chat.calls)


def test_a_failed_add_is_seen_by_others_when_it_returns(tmp_path):
    chat = CountingModel(["no", "no"])
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8))
    with (
        Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as other,
        Memory(llm=chat, embedder=embeddings, store=tmp_path / "m.db") as memory,
    ):
        result = memory.add("I like tea", user_id="u")
        assert result.status == "pending"
        seen = other.admin.usage(user_id="u").operations["add"]
        assert calls(seen) == calls(result.usage) == (2, 1, *chat.tokens)
        assert seen.milliseconds > 0


def test_a_search_goes_with_the_next_write_of_anybody(tmp_path):
    store = tmp_path / "m.db"
    with (
        Memory(llm="verbatim", embedder="none", store=store) as other,
        Memory(
            llm="verbatim", embedder=FaultyEmbeddings(faults=[None, *["timeout"] * 3]), store=store
        ) as memory,
    ):
        memory.add("I like tea", user_id="ana")
        found = memory.search("tea", user_id="ana")
        assert found.degraded
        memory.add("I like chess", user_id="ben", infer=False)
        assert other.admin.usage(user_id="ana").operations["search"] == found.usage


def test_a_search_is_written_without_a_further_write(tmp_path):
    store = tmp_path / "m.db"
    with (
        Memory(llm="verbatim", embedder="none", store=store) as other,
        Memory(llm="verbatim", embedder=HashEmbeddings(), store=store) as memory,
    ):
        memory.add("I like tea", user_id="ana")
        found = memory.search("tea", user_id="ana")
        for _ in range(600):
            if "search" in other.admin.usage().operations:
                break
            time.sleep(0.1)
        assert other.admin.usage(user_id="ana").operations["search"] == found.usage


def test_every_operation_that_calls_a_model_is_recorded(tmp_path):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8), faults=["timeout"] * 3)
    moved = FaultyEmbeddings(HashEmbeddings(dimension=16))
    with Memory(llm=CountingModel(good), embedder=embeddings, store=tmp_path / "m.db") as memory:
        memory.add("I like tea", user_id="u", infer=False)  # 1 to 3: fails
        memory.flush()  # 4: the missing vector
        assert memory.admin.usage().operations["flush"].embedding_calls == 1
        item = memory.get_all(user_id="u").results[0]
        memory.update(item.id, "I like coffee")
        assert memory.add("I like chess", user_id="u", wait=False).status == "pending"
        memory.flush()
        memory.search("chess", user_id="u")
        memory.admin.export(tmp_path / "all.jsonl")
        memory.admin.reindex(embedder=moved)
        report = memory.admin.usage()
    assert report.operations.keys() == {"add", "flush", "update", "search", "reindex"}
    assert all(usage.milliseconds > 0 for usage in report.operations.values())
    assert report.operations["update"].embedding_calls == 1
    assert report.operations["reindex"].embedding_calls == moved.attempts
    assert report.total.embedding_calls == embeddings.attempts + moved.attempts
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "new.db") as memory:
        memory.admin.import_(tmp_path / "all.jsonl")
        assert memory.admin.usage().operations["import"].milliseconds > 0


def test_an_update_that_fails_has_cost_its_call(tmp_path):
    class Deleting(HashEmbeddings):
        def embed_documents(self, texts):
            if texts == ["I like coffee"]:
                other.delete(item.id)
            return super().embed_documents(texts)

    store = tmp_path / "m.db"
    with (
        Memory(llm="verbatim", embedder="none", store=store) as other,
        Memory(llm="verbatim", embedder=Deleting(), store=store) as memory,
    ):
        item = memory.add("I like tea", user_id="u", infer=False).added[0]
        with pytest.raises(NotFoundError):
            memory.update(item.id, "I like coffee")
        assert other.admin.usage().operations["update"].embedding_calls == 1


def test_many_texts_are_many_calls(tmp_path):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8), faults=[None, None, *["timeout"] * 3])
    with Memory(llm="verbatim", embedder=embeddings, store=tmp_path / "m.db") as memory:
        result = memory.add([f"Row {n}" for n in range(600)], user_id="u", infer=False)
        assert result.failed
        assert result.usage.embedding_calls == embeddings.attempts == 5
        memory.flush()
        assert memory.admin.usage().total.embedding_calls == embeddings.attempts


def test_a_replay_that_embedded_in_vain_has_cost_that(tmp_path):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8))
    with Memory(llm="verbatim", embedder=embeddings, store=tmp_path / "m.db") as memory:
        for _ in range(3):
            memory.add("I like tea", user_id="u", idempotency_key="one")
        assert memory.admin.usage().total.embedding_calls == embeddings.attempts


async def test_a_cancelled_add_has_cost_what_was_answered(tmp_path):
    asked = asyncio.Event()

    class Hanging(CountingModel):
        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            if messages[-1].text.startswith("memories:"):
                asked.set()
                await asyncio.Event().wait()
            return await super()._agenerate(messages, stop, run_manager, **kwargs)

    chat = Hanging(good)
    async with AsyncMemory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:
        await memory.add("I like black", user_id="u", infer=False)
        task = asyncio.create_task(memory.add("I like tea", user_id="u"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tokens((await memory.admin.usage()).total) == chat.tokens != (0, 0)
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as blocking:
        assert tokens(blocking.admin.usage().total) == chat.tokens


async def test_fifty_adds_at_once_are_all_counted(tmp_path):
    script = iter(sorted(REPLIES) * 20)
    chat = CountingModel(lambda messages: REPLIES[next(script, "good")](messages))
    async with AsyncMemory(llm=chat, embedder=HashEmbeddings(dimension=8), store=tmp_path / "m.db") as memory:
        reading = [memory.admin.usage() for _ in range(10)]
        adds = [memory.add(f"I like tea{n}", user_id=f"u{n % 7}") for n in range(50)]
        await asyncio.gather(*adds, *reading)
        total = (await memory.admin.usage()).total
        assert (total.chat_calls, *tokens(total)) == (len(chat.calls), *chat.tokens)


# ---------------------------------------------------------------- processes

PROCESS = """
    import json, os, signal, sys
    from memkit_core import Memory
    from memkit_core.testing import HashEmbeddings, ScriptedChatModel

    def told(usage):
        print(json.dumps([usage.chat_calls, usage.embedding_calls, usage.input_tokens, usage.output_tokens]))
        sys.stdout.flush()

    store, what = sys.argv[1:]
    memory = Memory(llm=ScriptedChatModel(["no"] * 8), embedder=HashEmbeddings(dimension=8), store=store)
    if what == "left open":
        told(memory.search("tea", user_id="u").usage)
        sys.exit()
    wait = what != "background"
    result = memory.add("I like tea", user_id="u", wait=wait)
    if not wait:
        memory.flush()
    told(result.usage if wait else memory.admin.usage().total)
    if what == "live":
        sys.stdin.readline()
        told(memory.admin.usage().total)
        sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def process(tmp_path):
    script = tmp_path / "spender.py"
    script.write_text(textwrap.dedent(PROCESS))

    def start(store, what):
        command = [sys.executable, str(script), str(store), what]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    return start


@pytest.mark.parametrize("what", ["waiting", "background"])
def test_a_kill_right_after_a_failed_add_loses_no_call(tmp_path, process, what):
    child = process(tmp_path / "m.db", what)
    output, problems = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, problems
    spent = tuple(json.loads(output))
    assert spent[0] >= 2
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        total = memory.admin.usage(user_id="u").total
        assert calls(total) == spent
        assert total.milliseconds > 0


def test_two_live_processes_see_each_others_costs(tmp_path, process):
    store = tmp_path / "m.db"
    with (
        process(store, "live") as child,
        Memory(llm=ScriptedChatModel(["no"] * 2), embedder="none", store=store) as memory,
    ):
        theirs = tuple(json.loads(child.stdout.readline()))
        assert calls(memory.admin.usage().total) == theirs
        mine = calls(memory.add("I like chess", user_id="v").usage)
        child.stdin.write("\n")
        child.stdin.flush()
        seen = tuple(json.loads(child.stdout.readline()))
        assert seen == tuple(map(sum, zip(theirs, mine, strict=True)))
        child.stdin.write("\n")


def test_who_never_closes_loses_nothing(tmp_path, process):
    Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db").close()
    child = process(tmp_path / "m.db", "left open")
    output, problems = child.communicate(timeout=60)
    assert child.returncode == 0, problems
    assert "not written" not in problems
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        assert calls(memory.admin.usage().total) == tuple(json.loads(output))


def test_a_forked_child_does_not_write_its_parents_costs(tmp_path):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8))
    with Memory(llm="verbatim", embedder=embeddings, store=tmp_path / "m.db") as memory:
        memory.add("I like tea", user_id="u", infer=False)
        memory.search("tea", user_id="u")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                memory.add("from the child", user_id="v", infer=False)
                memory.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        assert memory.admin.usage(user_id="u").total.embedding_calls == embeddings.attempts
        assert memory.admin.usage().total.embedding_calls == embeddings.attempts + 1
