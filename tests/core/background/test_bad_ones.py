"""What a failure of a joint extraction does to the batches in it."""

from __future__ import annotations

import threading

import pytest

from memkit_core.pipeline.batching import RETRY_AFTER
from memkit_core.policies import BackgroundPolicy, ResiliencePolicy

from .repeating import Repeater, texts

LATER = BackgroundPolicy(batch_seconds=3_600)


@pytest.mark.parametrize("bad", [0, 17, 39])
def test_one_bad_batch_stays_pending_alone(open_memory, bad):
    model = Repeater(poison="poison")
    memory = open_memory(model, background=LATER)
    lines = [f"Fact number {n}" for n in range(40)]
    lines[bad] = "poison"
    for line in lines:
        memory.add(line, user_id="u", wait=False)
    flushed = memory.flush()
    assert (flushed.completed, flushed.pending) == (39, 1)
    assert [failure.error_type for failure in flushed.failed] == ["ModelOutputError"]
    assert texts(memory) == sorted(line for line in lines if line != "poison")
    good = [text for asked in model.asked if "poison" not in asked for text in asked]
    assert good == [line for line in lines if line != "poison"]  # in order, and each once
    assert len(model.asked) <= 30  # found by halving; each refusal is asked about once more


def test_a_bad_one_is_tried_less_and_less_but_whenever_asked(open_memory):
    model = Repeater(poison="poison")
    memory = open_memory(model, background=LATER)
    memory.add("poison", user_id="u", wait=False)
    memory.flush()
    store = memory._engine.services.store
    now = memory._engine.services.clock()

    def claimable(seconds):
        at = now + seconds * 1_000_000
        claimed = store.claim_batches(limit=1, now=at, lease_micros=0)
        return bool(claimed)

    asked = len(model.asked)
    assert not claimable(RETRY_AFTER / 1e6 - 5)  # nobody asks it in the background so soon
    memory.add("I like tea", user_id="u", wait=False)
    assert memory.flush().pending == 1  # who flushes wants it tried all the same
    assert any(shown == ["poison"] for shown in model.asked[asked:])
    assert ["I like tea"] in model.asked  # and never together with others again
    model.poison = None
    assert (memory.flush().pending, texts(memory)) == (0, ["I like tea", "poison"])


def test_a_model_that_is_down_is_not_asked_batch_by_batch(open_memory):
    calls = 0

    def down(messages):
        nonlocal calls
        calls += 1
        raise ConnectionError("no route to the model")

    memory = open_memory(down, background=LATER, resilience=ResiliencePolicy(attempts=1))
    for n in range(30):
        memory.add(f"Fact number {n}", user_id="u", wait=False)
    flushed = memory.flush()
    assert (flushed.completed, flushed.pending, calls) == (0, 30, 1)
    assert [failure.error_type for failure in flushed.failed] == ["ModelCallError"]


def test_a_model_that_refuses_everything_is_asked_a_limited_number_of_times(open_memory):
    model = Repeater(poison="Fact")
    memory = open_memory(model, background=LATER)
    for n in range(128):
        memory.add(f"Fact number {n}", user_id="u", wait=False)
    assert memory.flush().pending == 128
    assert len(model.asked) <= 160
    model.poison = None
    assert memory.flush().pending == 0
    assert len(texts(memory)) == 128


def test_messages_deleted_meanwhile_are_not_extracted(open_memory):
    reached, held = threading.Event(), threading.Event()
    model = Repeater()

    def slow(messages):
        reached.set()
        held.wait(10)
        return model(messages)

    memory = open_memory(slow, background=LATER)
    memory.add("I like tea", user_id="u", run_id="gone", wait=False)
    memory.add("I like chess", user_id="u", wait=False)
    memory.add("I like rice", user_id="u", wait=False)
    flusher = threading.Thread(target=memory.flush)
    flusher.start()
    reached.wait(10)
    memory.delete_all(user_id="u", run_id="gone")
    held.set()
    flusher.join()
    assert texts(memory) == ["I like chess", "I like rice"]
    assert memory.flush().pending == 0


def test_the_rest_goes_on_when_one_was_taken_over(open_memory):
    model, stolen = Repeater(), []

    def steal(messages):
        if not stolen:  # another process takes one over, as if the lease had run out
            services = memory._engine.services
            at = services.clock() + 10**9
            stolen.extend(services.store.claim_batches(limit=1, now=at, lease_micros=0))
        return model(messages)

    memory = open_memory(steal, background=LATER)
    for n in range(4):
        memory.add(f"Fact number {n}", user_id="u", wait=False)
    memory.flush()
    assert texts(memory) == [f"Fact number {n}" for n in range(1, 4)]  # without the one of another's
    services = memory._engine.services
    services.store.release_batch(stolen[0].batch_id, stolen[0].lease, error="", not_before=0)
    assert memory.flush().pending == 0
    assert texts(memory) == [f"Fact number {n}" for n in range(4)]


def test_long_jobs_are_claimed_a_few_at_a_time(open_memory, monkeypatch):
    monkeypatch.setattr("memkit_core.storage.sqlite.batches._CLAIMED_CHARS", 500)
    model = Repeater()
    memory = open_memory(model, background=LATER)
    for n in range(5):
        memory.add(f"Fact number {n}", user_id="u", metadata={"long": "x" * 300}, wait=False)
    assert memory.flush().pending == 0
    assert model.asked == [[f"Fact number {n}"] for n in range(5)]  # bounded, and in order all the same


def test_what_failed_in_the_background_is_tried_again_there(open_memory, monkeypatch):
    monkeypatch.setattr("memkit_core.background._SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("memkit_core.pipeline.batching.RETRY_AFTER", 20_000)
    model, failures = Repeater(), []

    def recovering(messages):
        if len(failures) < 3:
            failures.append(1)
            raise ConnectionError("no route to the model")
        return model(messages)

    background = BackgroundPolicy(batch_seconds=0)
    memory = open_memory(recovering, background=background, resilience=ResiliencePolicy(attempts=1))
    memory.add("I like tea", user_id="u", wait=False)
    pause = threading.Event()
    for _ in range(200):  # nobody flushes
        if memory.count(user_id="u"):
            break
        pause.wait(0.05)
    assert (texts(memory), len(failures)) == (["I like tea"], 3)
