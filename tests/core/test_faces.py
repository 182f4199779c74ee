"""Two faces of one engine: equal signatures, equal results, at home in loops, threads and traces."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from datetime import UTC, datetime

import pytest

from memkit_core import AsyncMemory, AsyncScopedMemory, Memory, ScopedMemory, UsageError
from memkit_core.admin import Admin
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

VERBS = ["add", "search", "context", "get", "get_all", "count", "update", "delete", "delete_all", "history"]
#: What of ``memory.admin`` concerns one scope.
SCOPED_ADMIN = ["rollback", "usage"]


def reply(messages):
    last = messages[-1].text
    if last.startswith("memories:"):
        return {"decisions": []}
    return {"facts": [{"text": "Likes tea", "cites": [0]}]}


@pytest.fixture
def memory(tmp_path):
    with Memory(
        llm=ScriptedChatModel(reply), embedder=HashEmbeddings(dimension=32), store=tmp_path / "m.db"
    ) as m:
        yield m


def names(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


def test_both_faces_have_the_same_signatures():
    assert names(Memory) - {"aio"} == names(AsyncMemory) - {"blocking"}
    for name in [*VERBS, "flush", "close", "scoped", "__init__"]:
        one, other = getattr(Memory, name), getattr(AsyncMemory, name)
        assert inspect.signature(one).parameters == inspect.signature(other).parameters, name
        assert inspect.iscoroutinefunction(other) == (name not in ("scoped", "__init__"))
    assert names(ScopedMemory) == names(AsyncScopedMemory) == {*VERBS, *SCOPED_ADMIN}
    for name in (*VERBS, *SCOPED_ADMIN):
        one, other = getattr(ScopedMemory, name), getattr(AsyncScopedMemory, name)
        assert inspect.signature(one).parameters == inspect.signature(other).parameters, name
        face = Admin if name in SCOPED_ADMIN else Memory
        own = dict(inspect.signature(getattr(face, name)).parameters)
        for scope in ("user_id", "agent_id", "run_id"):
            own.pop(scope)
        assert set(own) == set(inspect.signature(one).parameters)


def story(memory):
    """The same calls on any face, as (name, arguments)."""
    yield memory.add("I like tea", user_id="u")
    yield memory.add([("user", "I like coffee"), ("assistant", "Noted")], user_id="u", infer=False)
    yield memory.search("tea", user_id="u", include=("memories", "excerpts"), explain=True)
    yield memory.get_all(user_id="u", limit=2)
    yield memory.count(user_id="u")
    yield memory.context("tea", user_id="u")
    yield memory.delete_all(user_id="u")


def shape(value):
    """A result without what differs between two runs: ids, times."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        volatile = ("id", "batch_id", "message_id", "next_cursor", "usage", "sources")
        return {
            key: shape(item)
            for key, item in value.items()
            if key not in volatile and not key.endswith(("_at", "_ids", "_from", "_id"))
        }
    return [shape(item) for item in value] if isinstance(value, list) else value


async def test_sync_equals_async(tmp_path):
    def chat():
        return ScriptedChatModel(reply)

    with Memory(llm=chat(), embedder=HashEmbeddings(dimension=32), store=tmp_path / "a.db") as sync:
        blocking = [shape(result) for result in story(sync)]  # inside a running loop
    suspending = []
    async with AsyncMemory(
        llm=chat(), embedder=HashEmbeddings(dimension=32), store=tmp_path / "b.db"
    ) as amemory:
        for call in story(amemory):
            suspending.append(shape(await call))
    assert blocking == suspending


async def test_two_faces_share_one_engine(memory):
    await memory.aio.add("I like tea", user_id="u")
    assert memory.count(user_id="u") == 1
    assert memory.aio.blocking.count(user_id="u") == 1
    assert await memory.aio.scoped(user_id="u").count() == 1


async def test_fifty_async_adds_of_fifty_users(memory):
    results = await asyncio.gather(*(memory.aio.add("I like tea", user_id=f"user {n}") for n in range(50)))
    assert all(len(result.added) == 1 for result in results)
    assert await memory.aio.count(user_id="user 7") == 1


async def test_async_adds_of_one_owner_leave_one_row(memory):
    await asyncio.gather(*(memory.aio.add("I like tea", user_id="u") for _ in range(30)))
    assert await memory.aio.count(user_id="u") == 1


def test_callbacks_and_context_reach_the_model(tmp_path):
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.runnables import RunnableLambda

    seen = []

    def model(messages):
        seen.append(who.get())
        return {"facts": []}

    class Trace(BaseCallbackHandler):
        def __init__(self):
            self.runs = []

        def on_chat_model_start(self, serialized, messages, *, name=None, tags=None, **rest):
            self.runs.append((rest.get("metadata"), tags))

    trace = Trace()
    with Memory(llm=ScriptedChatModel(model), embedder="none", store=tmp_path / "m.db") as memory:
        step = RunnableLambda(lambda text: memory.add(text, user_id="u").status)
        who.set("caller")
        assert step.invoke("I like tea", {"callbacks": [trace]}) == "complete"
        assert seen == ["caller"]
        assert len(trace.runs) == 1  # the caller's trace holds the model call
        assert "nostream" in trace.runs[0][1]
        memory.add("in the background", user_id="u", wait=False)
        memory.flush()
        assert seen == ["caller", "nobody"]  # and background jobs are no part of anybody's


@pytest.mark.parametrize("stage", ["model", "embedding"])
async def test_a_cancelled_add_leaves_the_state_before_or_after(tmp_path, stage):
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(HashEmbeddings):
        async def aembed_documents(self, texts):
            if stage == "embedding" and not entered.is_set():
                entered.set()
                await asyncio.sleep(60)
            return self.embed_documents(texts)

    class SlowChat(ScriptedChatModel):
        async def _agenerate(self, *args, **kwargs):
            if stage == "model" and not entered.is_set():
                entered.set()
                await asyncio.sleep(60)
            return await super()._agenerate(*args, **kwargs)

    async with AsyncMemory(
        llm=SlowChat(reply), embedder=Slow(dimension=32), store=tmp_path / "m.db"
    ) as memory:
        task = loop.create_task(memory.add("I like tea", user_id="u"))
        await asyncio.wait_for(entered.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await memory.count(user_id="u") == 0
        found = await memory.search("tea", user_id="u", include=("excerpts",))
        assert [excerpt.text for excerpt in found.excerpts] == ["I like tea"]
        flushed = await memory.flush()
        assert (flushed.completed, flushed.pending) == (1, 0)
        assert await memory.count(user_id="u") == 1


async def test_the_loop_goes_on_while_storage_works(memory):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await memory.aio.add([f"row {n}" for n in range(2_000)], user_id="u", infer=False)
    ticking.cancel()
    assert ticks > 20


def test_many_threads_on_one_memory(memory):
    failures = []

    def work(n):
        try:
            for i in range(10):
                memory.add(f"thread {n} says {i}", user_id=f"user {n % 3}", infer=False)
                memory.search(f"thread {n}", user_id=f"user {n % 3}")
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(memory.count(user_id=f"user {n}") for n in range(3)) == 80


def test_one_face_closes_the_other(tmp_path):
    memory = Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db")
    asyncio.run(memory.aio.close())
    with pytest.raises(ValueError, match="closed"):
        memory.count(user_id="u")


async def test_a_scoped_view_goes_back_and_tells_costs_for_its_scope_alone(memory):
    before = datetime.now(UTC)
    for user in ("u", "v"):
        memory.add("I like tea", user_id=user)
    mine, other = memory.scoped(user_id="u"), memory.aio.scoped(user_id="v")
    assert len(mine.rollback(to=before, dry_run=True)) == 1
    assert len(mine.rollback(to=before)) == 1
    assert (mine.count(), await other.count()) == (0, 1)
    assert mine.usage() == memory.admin.usage(user_id="u")
    assert await other.usage() == memory.admin.usage(user_id="v")
    assert len(await other.rollback(to=before)) == 1
    narrow = memory.scoped(user_id="u", run_id="r")
    assert narrow.rollback(to=before).items == []
    with pytest.raises(UsageError, match="whole owners"):
        narrow.usage()
