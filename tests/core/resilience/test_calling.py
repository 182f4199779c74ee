"""Retries, timeouts, the circuit breaker and rate limits, under both drivers."""

from __future__ import annotations

import asyncio
import threading
from email.utils import formatdate

import pytest
from langchain_core.messages import AIMessage

from memkit_core import (
    AsyncMemory,
    Memory,
    MemoryConfig,
    ModelTimeoutError,
    ModelUnavailableError,
)
from memkit_core.models.calling import Caller
from memkit_core.models.limits import Breaker, RateLimits, TokenBucket
from memkit_core.models.transient import is_transient, retry_after
from memkit_core.policies import ResiliencePolicy
from memkit_core.runtime import AsyncRuntime, BlockingRuntime, Gates, Workers, drive
from memkit_core.testing import FaultyChatModel, FaultyEmbeddings, HashEmbeddings, ScriptedChatModel
from memkit_core.testing.faults import CALL_FAULTS, ProviderFault

FACT = {"facts": [{"text": "Likes tea", "cites": [0]}]}
PASSING = ["timeout", "reset", "rate_limit", "server_error"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Resting:
    """Waits in no time, and keeps count."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.slept = clock, []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.now += seconds


def config(**values):
    return MemoryConfig(resilience=ResiliencePolicy(**{"max_wait": 0.0, **values}))


def add(kind, chat, text="I like tea", *, settings=None, embedder="none", adds=1, store="sqlite://:memory:"):
    """The results of adds, by the named face, and what health and usage say afterwards."""
    settings = settings or config()
    if kind == "sync":
        with Memory(llm=chat, embedder=embedder, store=store, config=settings) as memory:
            results = [memory.add(text, user_id="u") for _ in range(adds)]
            return results, memory.admin.health(), memory.admin.usage().total

    async def run():
        async with AsyncMemory(llm=chat, embedder=embedder, store=store, config=settings) as memory:
            results = [await memory.add(text, user_id="u") for _ in range(adds)]
            return results, await memory.admin.health(), (await memory.admin.usage()).total

    return asyncio.run(run())


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_tried_again(kind, fault):
    chat = FaultyChatModel([FACT], faults=[fault, fault])
    [result], _, total = add(kind, chat)
    assert (result.status, len(result.added)) == ("complete", 1)
    assert total.chat_calls == result.usage.chat_calls == len(chat.calls) == 3


@KINDS
@pytest.mark.parametrize("fault", PASSING)
def test_attempts_are_counted_in_all(kind, fault):
    chat = FaultyChatModel([], faults=fault)
    [result], _, total = add(kind, chat, settings=config(attempts=4))
    assert result.status == "pending"
    assert [failure.error_type for failure in result.failed] == ["ModelCallError"]
    assert total.chat_calls == len(chat.calls) == 4


@KINDS
@pytest.mark.parametrize("fault", ["unauthorized", "bad_request", "refusal"])
def test_what_will_not_pass_is_asked_once(kind, fault):
    chat = FaultyChatModel([], faults=fault)
    [result], _, _ = add(kind, chat)
    assert (result.status, len(chat.calls)) == ("pending", 1)


@KINDS
def test_embeddings_are_tried_again(kind):
    embeddings = FaultyEmbeddings(HashEmbeddings(dimension=8), faults=["timeout", "timeout"])
    [result], _, total = add(kind, ScriptedChatModel([FACT]), embedder=embeddings)
    assert not result.failed
    assert total.embedding_calls == embeddings.attempts == 3


@pytest.mark.parametrize("seconds", [0, 3, 7.5])
@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds"])
def test_retry_after_is_waited_for(seconds, form):
    clock = Clock()
    headers = {
        "seconds": {"Retry-After": str(seconds)},
        "milliseconds": {"retry-after-ms": str(seconds * 1_000)},
        "date": {"retry-after": formatdate(clock.now + int(seconds), usegmt=True)},
    }[form]
    rt, failed = Resting(clock), []

    async def once():
        if len(failed) < 2:
            failed.append(ProviderFault("slow down", status_code=429, headers=headers))
            raise failed[-1]
        return "done"

    caller = Caller(ResiliencePolicy(max_wait=5), clock=clock, wall_clock=lambda: 1_000.0)
    assert drive(caller.chat(rt, object(), 1, once)) == "done"
    wanted = min(5, int(seconds) if form == "date" else seconds)
    assert len(rt.slept) == 2
    assert all(wanted <= slept <= 5 for slept in rt.slept)


@pytest.mark.parametrize("value", ["", "soon", "-3", "nan", "inf", "Thu, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_none(value):
    error = ProviderFault("busy", status_code=503, headers={"retry-after": value})
    assert retry_after(error) == 0
    assert is_transient(error)


def test_only_passing_errors_are_transient():
    class APIConnectionError(Exception): ...

    class ClientError(Exception):
        def __init__(self) -> None:
            self.response = {"ResponseMetadata": {"HTTPStatusCode": 429}}

    statuses = {code: is_transient(ProviderFault("", status_code=code)) for code in range(400, 512)}
    assert {code for code, passing in statuses.items() if passing} == {
        *(408, 409, 425, 429, 500, *range(502, 512))
    }
    assert is_transient(APIConnectionError())
    assert is_transient(ClientError())
    assert not is_transient(ValueError("no"))
    unpaid = ProviderFault("", status_code=429)
    unpaid.code = "insufficient_quota"
    assert not is_transient(unpaid)


# ---------------------------------------------------------------- timeouts


class Hanging(ScriptedChatModel):
    """Its first call hangs until it is let go."""

    def __init__(self, replies) -> None:
        super().__init__(replies)
        self._gate = threading.Event()
        self._hung = 0

    _gate: object
    _hung: int

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self._hung += 1
        if self._hung == 1:
            self._gate.wait()
        return super()._generate(messages, stop, run_manager, **kwargs)

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        self._hung += 1
        if self._hung == 1:
            await asyncio.Event().wait()
        return await super()._agenerate(messages, stop, run_manager, **kwargs)


@KINDS
def test_a_call_that_hangs_is_given_up_and_counted(kind):
    chat = Hanging([FACT, FACT])
    with_timeout = config(timeout=0.05, attempts=1)
    try:
        [result], _, total = add(kind, chat, settings=with_timeout)
    finally:
        chat._gate.set()
    assert result.status == "pending"
    assert isinstance(result.failed[0].error, ModelTimeoutError)
    assert total.chat_calls == result.usage.chat_calls == 1


def test_an_abandoned_call_is_paid_when_it_ends():
    chat = Hanging([FACT, FACT])
    with Memory(llm=chat, embedder="none", store="sqlite://:memory:", config=config(timeout=1)) as memory:
        assert memory.add("I like tea", user_id="u").status == "complete"
        before = memory.admin.usage().total
        chat._gate.set()
        [thread] = [t for t in threading.enumerate() if t.name == "memkit-call"]
        thread.join()
        after = memory.admin.usage().total
    assert before.chat_calls == after.chat_calls == 2
    assert after.output_tokens == 2 * before.output_tokens


def test_the_bound_holds_for_both_drivers():
    async def hang():
        await asyncio.Event().wait()

    gate = threading.Event()

    async def block():
        gate.wait()

    late = []
    blocking = BlockingRuntime(Gates(), Workers(1, "t"))
    with pytest.raises(ModelTimeoutError):
        drive(blocking.bounded(block, 0.01, lambda *outcome: late.append(outcome)))
    gate.set()
    with pytest.raises(ModelTimeoutError):
        asyncio.run(
            AsyncRuntime(Gates(), Workers(1, "t")).bounded(hang, 0.01, lambda *outcome: late.append(outcome))
        )

    async def own():
        raise TimeoutError("the client's own")

    for error in (TimeoutError,):
        with pytest.raises(error, match="own"):
            drive(blocking.bounded(own, 5, lambda *outcome: late.append(outcome)))
        with pytest.raises(error, match="own"):
            asyncio.run(
                AsyncRuntime(Gates(), Workers(1, "t")).bounded(own, 5, lambda *outcome: late.append(outcome))
            )


# ---------------------------------------------------------------- the breaker


@KINDS
def test_a_model_that_is_down_is_left_alone(kind):
    chat = FaultyChatModel([], faults="server_error")
    settings = config(attempts=1, breaker_failures=3)
    results, health, total = add(kind, chat, settings=settings, adds=6)
    assert {result.status for result in results} == {"pending"}
    assert [r.failed[0].error_type for r in results] == ["ModelCallError"] * 3 + ["ModelUnavailableError"] * 3
    assert len(chat.calls) == total.chat_calls == 3
    [check] = [c for c in health.checks if c.name == "calls of FaultyChatModel"]
    assert not check.ok
    assert "3 failures in a row (ProviderFault)" in check.detail


def test_what_waits_for_a_model_is_searchable_and_taken_up_later():
    chat = FaultyChatModel([FACT], faults=["server_error"] * 2)
    settings = config(attempts=1, breaker_failures=2, breaker_seconds=0)
    with Memory(llm=chat, embedder="none", store="sqlite://:memory:", config=settings) as memory:
        assert memory.add("I like tea", user_id="u").status == "pending"
        assert memory.search("tea", user_id="u", include=("excerpts",)).excerpts
        memory.flush()
        memory.flush()
        assert [item.memory for item in memory.get_all(user_id="u")] == ["Likes tea"]
        assert memory.admin.health().ok


def test_one_trial_decides():
    clock = Clock()
    breaker = Breaker("a model", failures=2, seconds=30, clock=clock)

    def call(error=None):
        with breaker.admitted():
            if error is not None:
                raise error

    for _ in range(2):
        with pytest.raises(TimeoutError):
            call(TimeoutError())
    with pytest.raises(ModelUnavailableError) as refused:
        call()
    assert (refused.value.retry_after, breaker.state) == (30, "open")
    clock.now += 31
    with breaker.admitted():
        assert breaker.state == "trial"
        with pytest.raises(ModelUnavailableError):
            call()
    assert breaker.state == "closed"
    for _ in range(2):
        with pytest.raises(TimeoutError):
            call(TimeoutError())
    clock.now += 31
    with pytest.raises(TimeoutError):  # a failed trial opens it again
        call(TimeoutError())
    assert breaker.state == "open"
    clock.now += 31
    with pytest.raises(asyncio.CancelledError):  # a cancelled one says nothing: the next is a trial
        call(asyncio.CancelledError())
    call()
    assert breaker.state == "closed"


def test_bad_questions_open_nothing_and_refused_keys_do():
    breaker = Breaker("a model", failures=2, seconds=30)
    for status in (400, 404, 422, 400):
        with pytest.raises(ProviderFault), breaker.admitted():
            raise ProviderFault("", status_code=status)
    assert breaker.state == "closed"
    for _ in range(2):
        with pytest.raises(ProviderFault), breaker.admitted():
            raise CALL_FAULTS["unauthorized"]()  # noqa: RSE102
    assert breaker.state == "open"


def test_a_bound_model_shares_its_breaker():
    chat, caller = ScriptedChatModel([]), Caller()
    assert caller.breaker(chat.bind(stop=["x"]).with_config(tags=["y"])) is caller.breaker(chat)
    assert caller.breaker(ScriptedChatModel([])) is not caller.breaker(chat)


# ---------------------------------------------------------------- rate limits


def test_tokens_per_minute_are_borrowed_and_put_right():
    clock = Clock()
    bucket = TokenBucket(600, clock=clock)  # ten a second
    assert bucket.take(600) == 0
    assert bucket.take(100) == pytest.approx(10)
    assert bucket.take(50) == pytest.approx(15)  # behind the one before
    bucket.take(-100)
    clock.now += 5
    assert bucket.take(0) == 0
    clock.now += 1_000
    assert bucket.take(600) == 0  # never more than a minute's worth


@KINDS
def test_requests_and_tokens_are_spread(kind):
    seconds = []

    class Counting(BlockingRuntime if kind == "sync" else AsyncRuntime):
        async def sleep(self, pause):
            seconds.append(pause)
            await super().sleep(min(pause, 0.02))

    rt = Counting(Gates(), Workers(1, "t"))
    limits = RateLimits(200.0, 60_000)

    async def calls():
        for _ in range(10):
            await limits.wait(rt, 10_000)
            limits.correct(10_000, 10_000)

    if kind == "sync":
        drive(calls())
    else:
        asyncio.run(calls())
    waits = [pause for pause in seconds if pause > 1]
    assert len(waits) == 4  # six calls fit into the first minute
    assert waits == sorted(waits)


@KINDS
def test_limits_hold_for_adds(kind):
    chat = ScriptedChatModel(lambda _: FACT)
    settings = config(requests_per_second=100, tokens_per_minute=1_000_000)
    results, _, _ = add(kind, chat, settings=settings, adds=3)
    assert {result.status for result in results} == {"complete"}


def test_a_cancelled_wait_gives_its_tokens_back():
    class Cancelled(Resting):
        async def sleep(self, seconds):
            raise asyncio.CancelledError

    limits = RateLimits(None, 60)
    drive(limits.wait(Cancelled(Clock()), 60))
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            drive(limits.wait(Cancelled(Clock()), 30))
    assert limits._bucket.take(0) < 1


def test_reply_without_usage_is_taken_as_estimated():
    chat = ScriptedChatModel([AIMessage(content='{"facts": []}')])
    [result], _, _ = add("sync", chat, settings=config(tokens_per_minute=100_000))
    assert result.status == "complete"
