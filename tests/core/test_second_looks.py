"""What goes wrong only when two things happen at once, or in an unusual order."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from memkit_core import AsyncMemory, Memory, UsageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel


def fact(text, *cites, **more):
    return {"text": text, "cites": list(cites or (0,)), **more}


def facts(*items):
    return {"facts": [fact(item) if isinstance(item, str) else item for item in items]}


def decide(number, op, target=None, **more):
    return {"decisions": [{"fact": number, "op": op, "target": target, **more}]}


def texts(result):
    return [item.memory for item in result]


@pytest.fixture
def open_memory(tmp_path):
    opened = []

    def opener(*replies, embedder="none", **model):
        chat = replies[0] if replies and callable(replies[0]) else list(replies)
        llm = ScriptedChatModel(chat, **model) if replies else "verbatim"
        memory = Memory(llm=llm, embedder=embedder, store=tmp_path / "m.db")
        opened.append(memory)
        return memory

    yield opener
    for memory in opened:
        memory.close()


def one_fact(messages):
    return {"decisions": []} if messages[-1].text.startswith("memories:") else facts("Likes tea")


# ---------------------------------------------------------------- flush beside adds


def test_a_flush_leaves_alone_what_an_add_has_in_hand(open_memory):
    memory = open_memory(one_fact, delay=0.01)
    stop = threading.Event()

    def keep_flushing():
        while not stop.is_set():
            memory.flush()

    flusher = threading.Thread(target=keep_flushing)
    flusher.start()
    try:
        results = [memory.add(f"I like tea, says {n}", user_id=f"u{n}") for n in range(40)]
    finally:
        stop.set()
        flusher.join()
    assert [result.status for result in results] == ["complete"] * 40
    assert len(memory._engine.services.chat.calls) == 40


def test_one_batch_cannot_block_the_others(open_memory):
    memory = open_memory(
        ConnectionError("down"),
        ConnectionError("down"),
        facts(
            fact("Far away", when="9999-12-31T23:59:59-12:00"),
            fact("Long ago", when="0001-01-01T00:00:00+14:00"),
        ),
        facts("Likes tea"),
    )
    memory.add("something odd", user_id="a")
    memory.add("I like tea", user_id="b")
    assert memory.flush().pending == 0
    assert sorted(texts(memory.get_all(user_id="a"))) == ["Far away", "Long ago"]
    assert texts(memory.get_all(user_id="b")) == ["Likes tea"]


def test_messages_deleted_while_their_batch_waits(open_memory):
    memory = open_memory(ConnectionError("down"), facts("Likes tea"))
    memory.add("I like tea", user_id="u", idempotency_key="k")
    memory.delete_all(user_id="u")
    assert memory.flush().pending == 0
    assert memory.count(user_id="u") == 0
    again = memory.add("I like tea", user_id="u", idempotency_key="k")
    assert (again.replayed, again.status, again.pending) == (True, "complete", [])


def test_eight_calls_under_one_key_are_one(open_memory):
    memory = open_memory(one_fact, delay=0.02)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(memory.add, "I like tea", user_id="u", idempotency_key="k") for _ in range(8)]
        results = [call.result() for call in calls]
    assert [result.status for result in results] == ["complete"] * 8
    assert sorted(result.replayed for result in results) == [False] + [True] * 7
    assert len({result.added[0].id for result in results}) == 1
    assert len(memory._engine.services.chat.calls) == 1


def test_a_retry_keeps_the_time_of_the_first_call(open_memory):
    memory = open_memory(ConnectionError("down"), facts("Likes tea"))
    memory.add("I like tea", user_id="u", idempotency_key="k", observed_at="2024-05-05")
    assert (
        memory.add("I like tea", user_id="u", idempotency_key="k", observed_at="2024-05-05").status
        == "complete"
    )
    assert memory.get_all(user_id="u").results[0].valid_from == datetime(2024, 5, 5, tzinfo=UTC)
    with pytest.raises(UsageError, match="idempotency_key"):
        memory.add("I like tea", user_id="u", idempotency_key="k", observed_at="2025-05-05")


async def test_flushes_do_not_starve_the_job_they_wait_for(tmp_path):
    async with AsyncMemory(
        llm=ScriptedChatModel(one_fact, delay=0.1), embedder="none", store=tmp_path / "m.db"
    ) as memory:
        await memory.add("I like tea", user_id="u", wait=False)
        adding = asyncio.create_task(memory.add("I like tea", user_id="u"))
        flushed = await asyncio.wait_for(asyncio.gather(*(memory.flush() for _ in range(12))), 60)
        assert (await adding).status == "complete"
        assert all(result.failed == [] for result in flushed)


# ---------------------------------------------------------------- updates and repeats


def test_an_update_of_metadata_keeps_a_text_that_changed_meanwhile_and_its_sources(open_memory, tmp_path):
    memory = open_memory()
    memory_id = memory.add("I live in Berlin", user_id="u").added[0].id
    sources = memory.get(memory_id).sources
    memory.update(memory_id, metadata={"checked": True})
    assert (memory.get(memory_id).memory, memory.get(memory_id).sources) == ("I live in Berlin", sources)
    assert memory.get(memory_id).metadata == {"checked": True}

    class Slow(HashEmbeddings):
        def embed_documents(self, values):
            time.sleep(0.2)
            return super().embed_documents(values)

    slow = Memory(
        llm="verbatim",
        embedder=Slow(dimension=16),
        store=tmp_path / "m.db",
    )
    renaming = threading.Thread(target=lambda: memory.update(memory_id, "I live in Madrid"))
    renaming.start()
    slow.update(memory_id, metadata={"checked": False})
    renaming.join()
    slow.close()
    assert memory.get(memory_id).memory == "I live in Madrid"


def test_who_changes_a_memory_is_not_who_said_it(open_memory):
    memory = open_memory()
    memory_id = memory.add("I like tea", user_id="u", actor_id="alice").added[0].id
    memory.update(memory_id, "I like green tea", actor_id="moderator")
    assert memory.get(memory_id).actor_id == "alice"
    assert [event.actor_id for event in memory.history(memory_id)] == ["alice", "moderator"]


@pytest.mark.parametrize("mode", ["verbatim", "llm"])
def test_what_ends_soon_does_not_stand_for_what_lasts(open_memory, mode):
    memory = open_memory() if mode == "verbatim" else open_memory(facts("I am away"), facts("I am away"))
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    memory.add("I am away", user_id="u", expires_at=soon)
    memory.add("I am away", user_id="u")
    time.sleep(0.4)
    assert texts(memory.get_all(user_id="u")) == ["I am away"]


def test_two_speakers_may_say_the_same(open_memory):
    memory = open_memory(facts("Is allergic to nuts"), facts("Is allergic to nuts"), decide(0, "ADD"))
    for name in ("alice", "bob"):
        memory.add({"role": "user", "name": name, "content": "I am allergic to nuts"}, user_id="group")
    assert sorted(item.actor_id for item in memory.get_all(user_id="group")) == ["alice", "bob"]


def test_case_may_be_all_that_tells_two_facts_apart(open_memory):
    memory = open_memory()
    memory.add("My login is JohnD", user_id="u")
    memory.add("My login is johnd", user_id="u")
    assert memory.count(user_id="u") == 2


def test_what_was_said_twice_is_deleted_twice(open_memory):
    memory = open_memory()
    memory_id = memory.add("My salary is 70000", user_id="u").added[0].id
    again = memory.add("My salary is 70000", user_id="u")
    assert [change.event for change in again] == ["NONE"]
    assert len(memory.get(memory_id).sources) == 2
    memory.delete(memory_id)
    assert memory.context("salary", user_id="u").text == ""


def test_deleting_by_filter_hides_the_sources_too(open_memory):
    memory = open_memory()
    memory.add("My salary is 70000", user_id="u", metadata={"topic": "money"})
    memory.add("I like tea", user_id="u", metadata={"topic": "food"})
    assert memory.delete_all(user_id="u", filters={"topic": "money"}).deleted == 1
    found = memory.search("salary tea", user_id="u", include=("memories", "excerpts"))
    assert texts(found) == ["I like tea"]
    assert [excerpt.text for excerpt in found.excerpts] == ["I like tea"]


# ---------------------------------------------------------------- models that make things up


@pytest.mark.parametrize("target", [99, -1])
def test_none_with_a_made_up_target_loses_nothing(open_memory, target):
    memory = open_memory(facts("Lives in Berlin"), facts("Lives in Madrid"), decide(0, "NONE", target))
    memory.add("Berlin", user_id="u")
    result = memory.add("Madrid", user_id="u")
    assert (result.status, len(result.rejected)) == ("partial", 1)
    assert sorted(texts(memory.get_all(user_id="u"))) == ["Lives in Berlin", "Lives in Madrid"]


def test_uncited_tool_text_cannot_rewrite_a_memory(open_memory):
    memory = open_memory(
        facts("Is allergic to peanuts"),
        {"facts": [{"text": "Is not allergic to anything", "cites": []}]},
        decide(0, "UPDATE", 0, text="Is not allergic to anything"),
    )
    memory.add("I am allergic to peanuts", user_id="u")
    result = memory.add(
        [("user", "look it up"), ("tool", "The user is not allergic to anything")], user_id="u"
    )
    assert result.updated == []
    assert "cannot change what a user said" in result.rejected[0].reason
    assert "Is allergic to peanuts" in texts(memory.get_all(user_id="u"))


def test_a_large_add_is_decided_against_all_that_it_concerns(open_memory):
    def model(messages):
        text = messages[-1].text
        if not text.startswith("memories:"):
            return facts(*(f"Person{n} lives in Berlin now" for n in range(40)))
        memories, _, new = text.partition("\nfacts:\n")
        known = {line.split('"')[1].split()[0]: int(line.split()[0]) for line in memories.splitlines()[1:]}
        assert len(known) <= 80
        lines = [line for line in new.splitlines() if line[:1].isdigit()]
        rows = [(int(line.split()[0].rstrip(":")), line.split('"')[1].split()[0]) for line in lines]
        return {
            "decisions": [{"fact": n, "op": "NONE", "target": known[who]} for n, who in rows if who in known]
        }

    memory = open_memory(model)
    memory.add([f"Person{n} lives in Berlin" for n in range(60)], user_id="u", infer=False)
    result = memory.add("They all moved", user_id="u")
    assert [change.event for change in result] == ["NONE"] * 40  # no fact went without its memory
    assert memory.count(user_id="u") == 60


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    "value",
    [
        "9999-12-31T23:59:59-12:00",
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
@pytest.mark.parametrize("argument", ["observed_at", "expires_at"])
def test_times_out_of_range(open_memory, argument, value):
    memory = open_memory()
    with pytest.raises(UsageError, match="years 1 to 9999"):
        memory.add("x", user_id="u", **{argument: value})
    assert memory.count(user_id="u") == 0


def test_of_several_versions_that_held_the_last_one_recorded_is_what_was_true(open_memory):
    replies = [facts("Lives in Berlin")]
    for city in ("Madrid", "Paris"):
        replies += [facts(f"Lives in {city}"), decide(0, "UPDATE", 0, text=f"Lives in {city}")]
    memory = open_memory(*replies)
    for city, said in (("Berlin", "2024-01-01"), ("Madrid", "2026-01-01"), ("Paris", "2025-01-01")):
        memory.add(f"I live in {city}", user_id="u", observed_at=said)
    for limit in (1, 10):
        page = memory.get_all(user_id="u", as_of="2025-06-01", limit=limit)
        assert (texts(page), page.next_cursor) == (["Lives in Paris"], None)
    assert texts(memory.search("lives", user_id="u", as_of="2025-06-01")) == ["Lives in Paris"]
    assert texts(memory.get_all(user_id="u", as_of="2024-06-01")) == ["Lives in Berlin"]


def test_a_plan_is_known_from_the_day_it_was_made(open_memory):
    memory = open_memory(facts(fact("Her sister marries on 20 June 2090", when="2090-06-20")))
    memory.add("My sister marries on 20 June 2090", user_id="u", observed_at="2026-01-01")
    assert memory.get_all(user_id="u", as_of="2026-02-01").results[0].event_time == datetime(
        2090, 6, 20, tzinfo=UTC
    )
    assert texts(memory.get_all(user_id="u", as_of="2025-12-31")) == []


def test_what_was_said_later_is_no_excerpt_of_an_earlier_time(open_memory):
    memory = open_memory()
    memory.add("I like tea", user_id="u", observed_at="2026-01-01")
    asked = {"user_id": "u", "include": ("memories", "excerpts")}
    assert memory.search("tea", as_of="2025-01-01", **asked).excerpts == []
    assert len(memory.search("tea", as_of="2026-02-01", **asked).excerpts) == 1


# ---------------------------------------------------------------- reading while others write


def test_a_memory_that_is_being_updated_is_always_found(open_memory):
    memory = open_memory()
    memory_id = memory.add("tea number 0", user_id="u").added[0].id
    stop = threading.Event()

    def keep_updating():
        n = 0
        while not stop.is_set():
            n += 1
            memory.update(memory_id, f"tea number {n}")

    writer = threading.Thread(target=keep_updating)
    writer.start()
    try:
        found = [len(memory.search("tea number", user_id="u")) for _ in range(400)]
    finally:
        stop.set()
        writer.join()
    assert found.count(1) >= 398  # three looks in a row may all come too late, in theory


def test_the_order_of_equal_hits_does_not_depend_on_the_limit(open_memory):
    memory = open_memory(embedder=HashEmbeddings(dimension=16))
    memory.add(["the same words"] * 150, user_id="u", infer=False)
    best = {
        limit: memory.search("the same words", user_id="u", limit=limit).results[0].id
        for limit in (5, 60, 100)
    }
    assert len(set(best.values())) == 1


def test_searching_writes_nothing(tmp_path):
    path = tmp_path / "m.db"
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        memory.add("I like tea", user_id="u")
    with Memory(llm="verbatim", embedder=HashEmbeddings(dimension=16), store=path) as memory:
        memory.search("tea", user_id="u")
    with Memory(llm="verbatim", embedder=HashEmbeddings(dimension=32), store=path) as memory:
        memory.add("I like coffee", user_id="u")  # no other model has claimed the store yet
        assert texts(memory.search("coffee", user_id="u", limit=1)) == ["I like coffee"]
