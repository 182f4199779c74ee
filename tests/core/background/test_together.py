"""Waiting batches of one owner become one extraction, one decision and one commit."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from memkit_core import AsyncMemory, MemoryConfig, UsageError
from memkit_core.policies import BackgroundPolicy
from memkit_core.testing import ScriptedChatModel

from .repeating import Repeater, texts

NAMES = "Ada Bo Cem Dora Eli Finn Gail Hugo Ines Jon Kim Lou Mia Ned Olaf Pia Quinn Rosa Sven Tom".split()
PLACES = (
    "Lima Bern Rome Oslo Cork Graz Turin Malmo Porto Delft Kyoto Quito Tunis Riga Hanoi Accra Bergen Sofia "
    "Split Leeds"
).split()
LATER = BackgroundPolicy(batch_seconds=3_600)


def test_one_extraction_for_all_that_waits(open_memory):
    model = Repeater()
    memory = open_memory(model, background=LATER)
    lines = [f"{name} comes from {place}" for name, place in zip(NAMES, PLACES, strict=True)]
    results = [memory.add(line, user_id="u", wait=False, idempotency_key=line) for line in lines]
    assert {result.status for result in results} == {"pending"}
    assert lines[7] in memory.context(lines[7], user_id="u").text  # the messages are found meanwhile
    assert model.calls == 0
    flushed = memory.flush()
    assert (flushed.completed, flushed.pending, flushed.failed) == (20, 0, [])
    assert model.asked == [lines]
    assert texts(memory) == sorted(lines)
    for line, first in zip(lines, results, strict=True):  # each call's own result stands under its key
        again = memory.add(line, user_id="u", idempotency_key=line)
        assert ([change.memory for change in again], again.replayed) == ([line], True)
        assert (again.batch_id, again.message_ids) == (first.batch_id, first.message_ids)
        assert list(again.results[0].sources) == first.message_ids
    assert model.calls == 1


def test_full_batches_do_not_wait(open_memory):
    model = Repeater()
    memory = open_memory(model, background=BackgroundPolicy(batch_seconds=3_600, batch_tokens=100))
    for n in range(12):
        memory.add(f"Fact number {n}", user_id="u", wait=False)
    deadline = threading.Event()
    for _ in range(200):
        if memory.count(user_id="u") >= 5:
            break
        deadline.wait(0.05)
    assert memory.count(user_id="u") >= 5  # nobody has flushed
    memory.flush()
    assert [text for asked in model.asked for text in asked] == [f"Fact number {n}" for n in range(12)]
    assert max(len(asked) for asked in model.asked) <= 5


def test_the_oldest_waits_for_a_limited_time(open_memory):
    model = Repeater()
    memory = open_memory(model, background=BackgroundPolicy(batch_seconds=0.1))
    memory.add("I like tea", user_id="u", wait=False)
    pause = threading.Event()
    for _ in range(200):
        if memory.count(user_id="u"):
            break
        pause.wait(0.05)
    assert texts(memory) == ["I like tea"]


def test_only_what_was_asked_in_the_same_way_goes_together(open_memory):
    model = Repeater()
    memory = open_memory(model, background=LATER)
    memory.add("a1", user_id="u", metadata={"n": 1}, wait=False)
    memory.add("b1", user_id="u", metadata={"n": 2}, wait=False)
    memory.add("a2", user_id="u", metadata={"n": 1}, wait=False)
    memory.add("c1", user_id="u", run_id="r1", wait=False)
    memory.add("d1", user_id="u", run_id="r2", wait=False)
    memory.add("c2", user_id="u", run_id="r1", wait=False)
    memory.add("e1", user_id="v", wait=False)
    memory.flush()
    mine = [asked for asked in model.asked if asked != ["e1"]]
    # What could see one another stays in order; runs that cannot may overtake each other.
    assert mine == [["a1"], ["b1"], ["a2"], ["c1", "c2"], ["d1"]]
    rows = {item.memory: item for item in memory.get_all(user_id="u")}
    assert [rows[name].metadata for name in ("a1", "b1", "a2")] == [{"n": 1}, {"n": 2}, {"n": 1}]
    assert (rows["c2"].run_id, rows["d1"].run_id) == ("r1", "r2")


def test_many_owners_on_few_threads(open_memory):
    running, most, lock, gate = 0, 0, threading.Lock(), threading.Event()
    model = Repeater()

    def slow(messages):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(0.02)
        with lock:
            running -= 1
        return model(messages)

    memory = open_memory(slow, background=BackgroundPolicy(batch_seconds=0, concurrency=3))
    for n in range(60):
        memory.add(f"I am {n % 20}, line {n // 20}", user_id=f"u{n % 20}", wait=False)
    before = {thread.name for thread in threading.enumerate()}
    assert len([name for name in before if name.startswith("memkit-background")]) <= 3
    assert memory.flush().pending == 0
    assert 1 < most <= 3
    for n in range(20):
        lines = [f"I am {n}, line {k}" for k in range(3)]
        assert texts(memory, f"u{n}") == lines
        assert [text for asked in model.asked for text in asked if f" {n}," in text] == lines  # in order


async def test_the_event_loop_goes_on_meanwhile(tmp_path):
    held = threading.Event()
    model = Repeater()

    def slow(messages):
        held.wait(10)
        return model(messages)

    chat = ScriptedChatModel(slow)
    config = MemoryConfig(background=LATER)
    async with AsyncMemory(llm=chat, embedder="none", store=tmp_path / "m.db", config=config) as memory:
        for n in range(5):
            await memory.add(f"Fact number {n}", user_id="u", wait=False)
        flushing = asyncio.create_task(memory.flush())
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not flushing.done()
        assert await memory.count(user_id="u") == 0
        early = await memory.flush(timeout=0.05)
        assert (early.completed, early.pending, early.timed_out) == (0, 5, True)
        held.set()
        assert (await flushing).pending == 0
        assert await memory.count(user_id="u") == 5
    assert model.asked == [[f"Fact number {n}" for n in range(5)]]


def test_a_limited_flush_reports_what_still_runs(open_memory):
    held = threading.Event()
    model = Repeater()

    def slow(messages):
        held.wait(10)
        return model(messages)

    memory = open_memory(slow, background=BackgroundPolicy(batch_seconds=3_600, concurrency=1))
    for user in ("u", "v"):
        memory.add("I like tea", user_id=user, wait=False)
    early = memory.flush(timeout=0.05)
    assert (early.completed, early.pending, early.failed, early.timed_out) == (0, 2, [], True)
    held.set()
    done = memory.flush(timeout=math.inf)
    assert (done.pending, done.timed_out) == (0, False)
    assert texts(memory, "u") == texts(memory, "v") == ["I like tea"]


def test_a_limited_flush_reports_what_was_done_by_then(open_memory):
    held = threading.Event()
    model = Repeater()

    def slow(messages):
        if "I like tea" in messages[-1].text:
            held.wait(10)
        return model(messages)

    memory = open_memory(slow, background=BackgroundPolicy(batch_seconds=3_600, concurrency=2))
    memory.add("I like tea", user_id="u", wait=False)
    memory.add("I like jam", user_id="v", wait=False)
    early = memory.flush(timeout=3)
    assert (early.completed, early.pending, early.timed_out) == (1, 1, True)
    assert texts(memory, "v") == ["I like jam"]
    held.set()
    assert memory.flush(timeout=10**400).pending == 0
    again = memory.flush(timeout=30)
    assert (again.completed, again.pending, again.timed_out) == (0, 0, False)


@pytest.mark.parametrize("timeout", [math.nan, -1, -math.inf, True, "5", [5]])
def test_no_number_of_seconds(open_memory, timeout):
    memory = open_memory(Repeater())
    with pytest.raises(UsageError, match="number of seconds"):
        memory.flush(timeout=timeout)


def test_closing_leaves_what_waits_to_the_next_opening(open_memory):
    first = Repeater()
    memory = open_memory(first, background=LATER)
    for n in range(3):
        memory.add(f"Fact number {n}", user_id="u", wait=False)
    memory.close()
    assert first.calls == 0
    second = Repeater()
    memory = open_memory(second)
    pause = threading.Event()
    for _ in range(200):  # the opening itself takes them up
        if memory.count(user_id="u") == 3:
            break
        pause.wait(0.05)
    assert second.asked == [[f"Fact number {n}" for n in range(3)]]
