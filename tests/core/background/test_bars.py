"""How many calls of a model a long conversation costs, and that nothing is there twice."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
from pathlib import Path

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

from .repeating import Repeater, texts

CALLS_PER_1000_TURNS = 60
#: A folder with LoCoMo's conversations as JSON, which are not memkit's to ship.
LOCOMO = os.environ.get("MEMKIT_LOCOMO")


def conversation(turns):
    """Invented turns as long as those of LoCoMo: 120 to 140 characters on average."""
    rng = random.Random(5)
    names = "Ann Bob Cem Dora Eli Fay Gus Hana".split()
    verbs = "visited bought painted lost found repaired sold borrowed".split()
    things = "bicycle garden violin kitchen letter camera boat lamp jacket novel window piano".split()
    places = "Lisbon Oslo Quito Kyoto Accra Lima Porto Graz Turin Cork".split()

    def sentence():
        return (
            f"{rng.choice(names)} {rng.choice(verbs)} the {rng.choice(things)} number {rng.randrange(1_000)} "
            f"in {rng.choice(places)} with the {rng.choice(things)}"
        )

    return [". ".join(sentence() for _ in range(rng.choice((1, 2, 2, 3)))) for _ in range(turns)]


def calls_per_1000(turns, store):
    """All calls of a model that makes a fact of every third turn; one ``add`` for each turn."""
    model = Repeater(every=3)
    with Memory(llm=ScriptedChatModel(model), embedder=HashEmbeddings(dimension=64), store=store) as memory:
        for turn in turns:
            memory.add(turn, user_id="u", wait=False)
        assert memory.flush().pending == 0
        assert len([text for asked in model.asked for text in asked]) == len(turns)
        assert memory.count(user_id="u") >= len(turns) // 4
    return 1_000 * model.calls / len(turns)


def test_a_thousand_turns_take_few_calls(tmp_path):
    assert calls_per_1000(conversation(1_000), tmp_path / "m.db") <= CALLS_PER_1000_TURNS


@pytest.mark.skipif(LOCOMO is None, reason="MEMKIT_LOCOMO names no folder with LoCoMo")
def test_locomo_takes_few_calls(tmp_path):
    for number, path in enumerate(sorted(Path(LOCOMO).glob("*.json"))):
        held = json.loads(path.read_text(encoding="utf-8"))
        sessions = [held.get(f"session_{n}") or [] for n in range(1, 100)]
        turns = [turn["text"] for session in sessions for turn in session if turn.get("text")]
        assert calls_per_1000(turns, tmp_path / f"{number}.db") <= CALLS_PER_1000_TURNS


def test_a_thousand_retried_adds_leave_nothing_twice(tmp_path):
    repeat, rng, lock = Repeater(), random.Random(1), threading.Lock()

    def failing(messages):
        with lock:
            fails = rng.random() < 0.1
        if fails:
            raise ConnectionError("no route to the model")
        return repeat(messages)

    lines = [f"Fact number {n}" for n in range(1_000)]
    config = MemoryConfig(background={"batch_seconds": 0.01, "batch_tokens": 400}, resilience={"attempts": 1})
    store = tmp_path / "m.db"
    with Memory(llm=ScriptedChatModel(failing), embedder="none", store=store, config=config) as memory:

        def work(seed):
            own = random.Random(seed)
            for line in own.sample(lines, len(lines)):
                memory.add(line, user_id=f"u{number_of(line)}", idempotency_key=line, wait=own.random() < 0.2)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while memory.flush().pending:
            pass
        assert sorted(text for n in range(5) for text in texts(memory, f"u{n}")) == sorted(lines)
        for line in lines[::50]:
            again = memory.add(line, user_id=f"u{number_of(line)}", idempotency_key=line)
            assert ([change.memory for change in again], again.replayed) == ([line], True)
    assert stored_messages(store) == 1_000


def number_of(line):
    return int(line.split()[-1]) % 5


def stored_messages(store):
    connection = sqlite3.connect(store)
    try:
        return connection.execute("SELECT count(*) FROM messages").fetchone()[0]
    finally:
        connection.close()
