"""Facts of one batch that say much the same one after the other: they are held against each other."""

from __future__ import annotations

from memkit_core import Memory, MemoryConfig
from memkit_core.policies import BackgroundPolicy, DecisionPolicy
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

JANUARY, FEBRUARY, MARCH = "2026-01-01", "2026-02-01", "2026-03-01"
EATS = ("Ana is a vegetarian", "Ana is no vegetarian any more")
SAID = ("I am a vegetarian", "I am no vegetarian any more")


def drawn(*texts):
    """The reply of an extraction: one fact of each message."""
    return {"facts": [{"text": text, "cites": [n]} for n, text in enumerate(texts)]}


def decided(op, *, fact=0, target=0, **more):
    return {"decisions": [{"fact": fact, "op": op, "target": target, "reason": "told", **more}]}


def opened(*replies, hooks=(), **config):
    chat = ScriptedChatModel(list(replies))
    later = BackgroundPolicy(batch_seconds=3_600)
    config = MemoryConfig(store="sqlite://:memory:", background=later, **config)
    return Memory(llm=chat, embedder=HashEmbeddings(16), config=config, hooks=hooks), chat


def tell(memory, *said, start=1, **options):
    """One batch of several messages, a month apart."""
    messages = [
        {"role": "user", "content": text, "observed_at": f"2026-{start + n:02}-01"}
        for n, text in enumerate(said)
    ]
    return memory.add(messages, user_id="u", actor_id="Ana", **options)


def texts(memory, **options):
    return sorted(item.memory for item in memory.get_all(user_id="u", **options))


def test_the_later_one_ends_the_earlier_one():
    memory, chat = opened(drawn(*EATS), decided("DELETE"))
    with memory:
        result = tell(memory, *SAID)
        assert [(c.event, c.memory, bool(c.held_until)) for c in result.results] == [
            ("ADD", EATS[0], True),
            ("ADD", EATS[1], False),
        ]
        assert texts(memory) == [EATS[1]]
        assert texts(memory, as_of="2026-01-15") == [EATS[0]]
        assert texts(memory, as_of=FEBRUARY) == [EATS[1]]
        assert memory.admin.doctor().ok
        shown = chat.calls[1].text
        assert 'memories:\n0 2026-01-01 by "Ana": "Ana is a vegetarian"\nfacts:\n0 by "Ana":' in shown


def test_nobody_waits_for_them():
    memory, _ = opened(drawn(*EATS), decided("UPDATE", text=EATS[1]))
    with memory:
        for said, time in zip(SAID, (JANUARY, FEBRUARY), strict=True):
            memory.add(said, user_id="u", actor_id="Ana", observed_at=time, wait=False)
        assert memory.flush().completed == 2
        assert texts(memory) == [EATS[1]]
        assert texts(memory, as_of=JANUARY) == [EATS[0]]


def test_of_one_instant_the_later_message_counts():
    memory, _ = opened(drawn(*EATS), decided("DELETE"))
    with memory:
        memory.add(list(SAID), user_id="u", actor_id="Ana")
        assert texts(memory) == [EATS[1]]


def test_three_in_a_row():
    diets = ("Ana is a vegetarian", "Ana is no vegetarian any more", "Ana is a strict vegetarian again")
    first, second = decided("DELETE"), decided("DELETE", fact=1, target=1)
    both = {"decisions": first["decisions"] + second["decisions"]}
    memory, chat = opened(drawn(*diets), both)
    with memory:
        tell(memory, *diets)
        assert len(chat.calls) == 2
        assert texts(memory) == [diets[2]]
        assert [texts(memory, as_of=time) for time in (JANUARY, FEBRUARY, MARCH)] == [
            [diet] for diet in diets
        ]


def test_what_says_more_of_the_same_takes_its_place():
    dog = ("Ana has a dog", "Ana's dog is a brown dog")
    memory, _ = opened(drawn(*dog), decided("UPDATE", text="Ana has a dog, a brown dog"))
    with memory:
        result = tell(memory, "I have a dog", "My dog is a brown dog")
        assert texts(memory) == ["Ana has a dog, a brown dog"]
        assert texts(memory, as_of=JANUARY) == ["Ana has a dog"]
        (now,) = memory.get_all(user_id="u")
        assert now.sources == [*result.results[0].sources, *result.results[1].sources[1:]]
        assert len(now.sources) == 2
        assert memory.search("brown dog", user_id="u").results[0].id == now.id


def test_what_says_the_same_is_kept_once():
    likes = ("Ana likes green tea", "Ana likes green tea very much")
    memory, _ = opened(drawn(*likes), decided("NONE"))
    with memory:
        result = tell(memory, "I like green tea", "I like green tea very much")
        assert [c.event for c in result.results] == ["ADD", "NONE"]
        assert texts(memory) == [likes[0]]


def test_a_wrong_none_loses_nothing():
    memory, _ = opened(drawn(*EATS), decided("NONE"))
    with memory:
        result = tell(memory, *SAID)
        assert texts(memory) == sorted(EATS)
        assert [r.reason for r in result.rejected] == ["no memory that was offered says it"]


def test_what_is_taken_back_ends_and_leaves_nothing_in_its_place():
    words = ("Ana is a vegetarian", "Ana takes back that she is a vegetarian")
    memory, _ = opened(drawn(*words), decided("DELETE", retract=True))
    with memory:
        result = tell(memory, words[0], words[1])
        assert [c.memory for c in result.results] == [words[0]]
        assert texts(memory) == []
        assert texts(memory, as_of=JANUARY) == [words[0]]
        assert memory.admin.doctor().ok


def test_what_repeats_one_that_is_ended_ends_with_it():
    tea = ("Ana likes green tea", "Ana likes green tea very much", "Ana does not like green tea any more")
    replies = {
        "decisions": [
            {"fact": 0, "op": "NONE", "target": 0},
            {"fact": 1, "op": "DELETE", "target": 1, "reason": "no more"},
        ]
    }
    memory, _ = opened(drawn(*tea), replies)
    with memory:
        tell(memory, *tea)
        assert texts(memory) == [tea[2]]


def test_one_fact_that_is_said_to_do_everything():
    tea = ("Ana likes green tea", "Ana likes green tea a lot", "Ana does not like green tea any more")
    everything = [
        {"fact": 1, "op": "NONE", "target": 0},
        {"fact": 1, "op": "DELETE", "target": 0, "retract": True},
        {"fact": 1, "op": "DELETE", "target": 1},
        {"fact": 0, "op": "NONE", "target": 0},
    ]
    memory, _ = opened(drawn(*tea), {"decisions": everything})
    with memory:
        tell(memory, *tea)
        assert texts(memory) == [tea[2]]
        assert memory.admin.doctor().ok


def test_other_things_and_one_message_cost_no_further_call():
    for reply in (
        drawn("Ana is a vegetarian", "Ana has two cats"),
        {"facts": [{"text": text, "cites": [0]} for text in EATS]},
    ):
        memory, chat = opened(reply)
        with memory:
            tell(memory, *SAID)
            assert len(chat.calls) == 1
            assert len(texts(memory)) == 2


def test_nobody_ends_what_somebody_else_says():
    facts = drawn(*EATS)
    memory, chat = opened(facts)
    with memory:
        said = [
            {"role": "user", "content": SAID[0], "name": "Ana"},
            {"role": "user", "content": "Ana is no vegetarian any more", "name": "Bo"},
        ]
        memory.add(said, user_id="u")
        assert len(chat.calls) == 1
        assert len(texts(memory)) == 2


def test_the_limit_counts_them():
    memory, _ = opened(drawn(*EATS), decided("DELETE"), decisions=DecisionPolicy(max_destructive=0))
    with memory:
        result = tell(memory, *SAID)
        assert texts(memory) == sorted(EATS)
        assert [r.reason for r in result.rejected] == ["too many updates and deletions in one call"]


def test_made_up_numbers_change_nothing():
    wrong = {
        "decisions": [{"fact": 7, "op": "DELETE", "target": 0}, {"fact": 0, "op": "DELETE", "target": 9}]
    }
    memory, _ = opened(drawn(*EATS), wrong)
    with memory:
        result = tell(memory, *SAID)
        assert texts(memory) == sorted(EATS)
        assert len(result.rejected) == 2


def test_a_vetoed_one_ends_nothing():
    def veto(proposal):
        return None if proposal.text == EATS[1] else proposal

    memory, _ = opened(drawn(*EATS), decided("DELETE"), hooks=[veto])
    with memory:
        tell(memory, *SAID)
        assert texts(memory) == [EATS[0]]


def test_known_beside_an_older_memory():
    memory, chat = opened(
        drawn("Ana likes tea"),
        drawn(*EATS),
        {"decisions": [{"fact": 0, "op": "ADD"}, {"fact": 1, "op": "ADD"}]},
        decided("DELETE"),
    )
    with memory:
        tell(memory, "I like tea")
        tell(memory, *SAID, start=2)
        assert len(chat.calls) == 4
        assert texts(memory) == sorted([EATS[1], "Ana likes tea"])
        history = [version for item in memory.get_all(user_id="u") for version in memory.history(item.id)]
        assert {entry.new_memory for entry in history} == {EATS[1], "Ana likes tea"}


def test_what_changes_a_memory_is_ended_too():
    """Of two facts that are to change one memory one does; the other one ends it, or is ended."""
    foods = ("Ana eats fish and no meat", "Ana eats no fish any more")
    memory, _ = opened(
        drawn("Ana eats no meat"),
        drawn(*foods),
        {"decisions": [{"fact": n, "op": "UPDATE", "target": 0} for n in (0, 1)]},
        decided("DELETE"),
    )
    with memory:
        first = tell(memory, "I eat no meat").results[0]
        result = tell(memory, *foods, start=2)
        assert [(c.event, c.memory, bool(c.held_until)) for c in result.results] == [
            ("DELETE", "Ana eats no meat", False),
            ("ADD", foods[0], True),
            ("ADD", foods[1], False),
        ]
        assert [texts(memory, as_of=time) for time in (JANUARY, "2026-02-15", MARCH)] == [
            [first.memory],
            [foods[0]],
            [foods[1]],
        ]
        assert texts(memory) == [foods[1]]
        assert memory.admin.doctor().ok


def test_what_was_said_twice_ends_twice():
    tea = ("Ana likes green tea", "Ana likes green tea", "Ana does not like green tea any more")
    memory, chat = opened(drawn(*tea), decided("DELETE"))
    with memory:
        result = tell(memory, *tea)
        assert chat.calls[1].text.count('"Ana likes green tea"') == 1
        assert texts(memory) == [tea[2]]
        (held,) = memory.get_all(user_id="u", as_of=FEBRUARY)
        assert (held.memory, len(held.sources)) == (tea[0], 2)
        assert [(c.event, c.id) for c in result.results[:2]] == [("ADD", held.id), ("NONE", held.id)]


def test_what_was_said_again_after_its_end_holds():
    tea = ("Ana likes green tea", "Ana does not like green tea any more", "Ana likes green tea")
    both = {"decisions": decided("DELETE")["decisions"] + decided("DELETE", fact=1, target=1)["decisions"]}
    memory, _ = opened(drawn(*tea), both)
    with memory:
        tell(memory, *tea)
        assert [texts(memory, as_of=time) for time in (JANUARY, FEBRUARY, MARCH)] == [[one] for one in tea]
        assert texts(memory) == [tea[2]]


def test_repeats_of_repeats_end_together():
    tea = ("likes green tea", "likes green tea a lot", "likes green tea so much", "hates green tea")
    chain = [{"fact": n, "op": "NONE", "target": n} for n in (0, 1)]
    memory, _ = opened(drawn(*tea), {"decisions": [*chain, {"fact": 2, "op": "DELETE", "target": 2}]})
    with memory:
        result = tell(memory, *tea)
        assert [c.event for c in result.results] == ["ADD", "NONE", "NONE", "ADD"]
        assert len({c.id for c in result.results[:3]}) == 1
        assert texts(memory) == [tea[3]]
        (held,) = memory.get_all(user_id="u", as_of=MARCH)
        assert len(held.sources) == 3


def test_a_fact_that_is_said_to_repeat_itself():
    diets = ("Ana is a vegetarian", "Ana is no vegetarian any more", "Ana is a strict vegetarian again")
    itself = [{"fact": 0, "op": "NONE", "target": 1}, {"fact": 1, "op": "DELETE", "target": 1}]
    memory, _ = opened(drawn(*diets), {"decisions": itself})
    with memory:
        result = tell(memory, *diets)
        assert result.rejected == []
        assert texts(memory) == sorted([diets[0], diets[2]])


def test_what_takes_back_and_ends_a_memory_is_stored():
    """It ends a memory as news, and takes back only what the batch said."""
    over = "Ana is a vegetarian no longer"
    memory, _ = opened(
        drawn("Ana cooks vegetarian"),
        drawn(EATS[0], over),
        {"decisions": [{"fact": 0, "op": "ADD"}, {"fact": 1, "op": "DELETE", "target": 0}]},
        decided("DELETE", retract=True),
    )
    with memory:
        tell(memory, "I cook vegetarian")
        tell(memory, EATS[0], over, start=2)
        assert texts(memory) == [over]


def test_a_correction_of_the_past_reaches_back():
    """It names a time before the other was said: the other never held, and then neither does its absence."""
    facts = drawn(*EATS)
    facts["facts"][1]["when"] = "2025-06-01"
    memory, _ = opened(facts, decided("DELETE"))
    with memory:
        result = tell(memory, SAID[0], "I am no vegetarian any more since June 2025")
        assert texts(memory) == [EATS[1]]
        assert [texts(memory, as_of=time) for time in ("2025-07-01", "2026-01-15")] == [[EATS[1]], [EATS[1]]]
        assert result.results[0].held_until is not None
        assert memory.admin.doctor().ok


def test_words_that_the_model_makes_up_are_not_stored():
    memory, _ = opened(drawn(*EATS), decided("UPDATE", text="Ana is no vegetarian any more, says Dr. Petrov"))
    with memory:
        result = tell(memory, *SAID)
        assert texts(memory) == [EATS[1]]
        assert "Petrov" in result.rejected[0].reason
