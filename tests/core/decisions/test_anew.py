"""One batch ends a memory and says it again, before or after that: both can be carried out."""

from __future__ import annotations

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

OLD = "Ana is a vegetarian"
OVER = "Ana eats fish by now"
NEW = "Ana is a vegetarian, as ever"


def opened(*replies):
    chat = ScriptedChatModel(list(replies))
    return Memory(llm=chat, embedder=HashEmbeddings(16), config=MemoryConfig(store="sqlite://:memory:")), chat


def drawn(*texts):
    return {"facts": [{"text": text, "cites": [n]} for n, text in enumerate(texts)]}


def decided(*ops):
    """One decision a fact, each on the one memory."""
    rows = [{"fact": n, "op": op, "target": None if op == "ADD" else 0} for n, op in enumerate(ops)]
    return {"decisions": rows}


def tell(memory, *said):
    messages = [
        {"role": "user", "content": text, "observed_at": f"2026-0{n + 2}-01"} for n, text in enumerate(said)
    ]
    return memory.add(messages, user_id="u", actor_id="Ana")


def texts(memory, **options):
    return sorted(item.memory for item in memory.get_all(user_id="u", **options))


@pytest.fixture(params=["DELETE", "UPDATE"])
def ending(request):
    return request.param


def test_what_is_said_again_after_its_end_is_new(ending):
    memory, _ = opened(drawn(OVER, NEW), decided(ending, "NONE"), {"decisions": []})
    with memory:
        memory.add(OLD, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-01")
        result = tell(memory, OVER, NEW)
        assert (result.failed, result.pending, result.rejected) == ([], [], [])
        assert texts(memory, as_of="2026-01-15") == [OLD]
        assert texts(memory, as_of="2026-02-15") == [OVER]
        assert texts(memory) == sorted([OVER, NEW])
        assert memory.admin.doctor().ok


def test_it_ends_what_ended_it(ending):
    over = "Ana is a vegetarian no more"
    memory, _ = opened(drawn(over, NEW), decided(ending, "NONE"), decided("DELETE"))
    with memory:
        memory.add(OLD, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-01")
        tell(memory, over, NEW)
        assert texts(memory, as_of="2026-02-15") == [over]
        assert texts(memory) == [NEW]
        assert memory.admin.doctor().ok


def test_the_same_words_come_back(ending):
    """In the same words it is known before any model is asked; the end of what it repeats comes before it."""
    memory, _ = opened(drawn(OVER, OLD), decided(ending), {"decisions": []})
    with memory:
        memory.add(OLD, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-01")
        result = tell(memory, OVER, OLD)
        assert (result.failed, result.pending) == ([], [])
        assert texts(memory) == sorted([OVER, OLD])
        assert texts(memory, as_of="2026-02-15") == [OVER]
        assert memory.admin.doctor().ok


def test_what_was_said_before_the_end_is_a_source_of_what_ended(ending):
    memory, _ = opened(drawn(NEW, OVER), decided("NONE", ending))
    with memory:
        there = memory.add(OLD, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-01").results[0]
        result = tell(memory, NEW, OVER)
        assert (result.failed, result.pending) == ([], [])
        assert texts(memory) == [OVER]
        (before,) = memory.get_all(user_id="u", as_of="2026-02-15")
        assert (before.memory, len(before.sources)) == (OLD, 2)
        assert there.id == before.id
        (now,) = memory.get_all(user_id="u")
        assert len(now.sources) == 1
        assert memory.admin.doctor().ok


def test_one_that_goes_on_is_known():
    """An update that still says what was said ends nothing: it is no news when it comes again."""
    more = "Ana is a vegetarian and likes cheese"
    memory, chat = opened(drawn(more, NEW), decided("UPDATE", "NONE"))
    with memory:
        memory.add(OLD, user_id="u", actor_id="Ana", infer=False, observed_at="2026-01-01")
        tell(memory, more, NEW)
        assert len(chat.calls) == 2
        assert texts(memory) == [more]
