"""What a hook has taken out of a fact is in no byte of the store, and in no result."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

SECRET = "73114711"


def redact(proposal):
    return replace(proposal, text=proposal.text.replace(SECRET, "…").replace("Zarquon", "someone"))


def veto(proposal):
    return None if SECRET in proposal.text else proposal


def tidy(proposal):
    """Takes the secret out of what stands beside the text."""
    kept = {key: value for key, value in proposal.attributes.items() if value != SECRET}
    return replace(proposal, attributes=kept)


def fact(text, **more):
    return {"text": text, "cites": [0], **more}


def run(path, hook, replies, **config):
    """Says something harmless, twice under each key; the secret is in what the model makes of it alone."""
    results = []
    with Memory(
        llm=ScriptedChatModel(list(replies)),
        embedder=HashEmbeddings(16),
        store=path / "m.db",
        config=MemoryConfig(**config),
        hooks=[hook],
    ) as memory:
        for number in range(sum("facts" in reply for reply in replies)):
            results.append(memory.add("It is my card, mind.", user_id="u", idempotency_key=str(number)))
            results.append(memory.add("It is my card, mind.", user_id="u", idempotency_key=str(number)))
        told = " ".join(result.model_dump_json() for result in results)
        for item in memory.get_all(user_id="u"):
            told += " ".join(event.model_dump_json() for event in memory.history(item.id))
        stored = b"".join(file.read_bytes() for file in sorted(path.glob("m.db*")))  # the log is still there
    stored += b"".join(file.read_bytes() for file in sorted(path.glob("m.db*")))
    return results, told, stored


HAS_ONE = {"facts": [fact("Ana has a card")]}
NOW = f"Ana has the card {SECRET}"


@pytest.mark.parametrize("hook", [redact, veto])
@pytest.mark.parametrize(
    "decision",
    [
        {"op": "UPDATE", "target": 0, "reason": f"{SECRET} is new"},
        {"op": "UPDATE", "target": 0, "text": f"Ana has a card, {SECRET}", "reason": f"{SECRET} is new"},
        {"op": "DELETE", "target": 0, "reason": f"{SECRET} replaces it"},
        {"op": "ADD", "reason": f"another one: {SECRET}"},
    ],
)
def test_reasons_and_doubts_go_with_the_text(tmp_path, hook, decision):
    replies = [HAS_ONE, {"facts": [fact(NOW)]}, {"decisions": [{"fact": 0, **decision}, {"op": SECRET}]}]
    results, told, stored = run(tmp_path, hook, replies)
    assert [result.replayed for result in results] == [False, True, False, True]
    assert SECRET not in told
    assert SECRET.encode() not in stored


@pytest.mark.parametrize("hook", [redact, veto])
def test_another_facts_reason_may_quote_it_too(tmp_path, hook):
    replies = [
        HAS_ONE,
        {"facts": [fact("Ana likes her card"), fact(NOW)]},
        {
            "decisions": [
                {"fact": 0, "op": "UPDATE", "target": 0, "reason": f"as with {SECRET}"},
                {"fact": 1, "op": "ADD"},
            ]
        },
    ]
    _, told, stored = run(tmp_path, hook, replies)
    assert SECRET not in told
    assert SECRET.encode() not in stored


@pytest.mark.parametrize("hook", [redact, veto])
def test_what_a_retraction_rests_on_no_hook_has_seen(tmp_path, hook):
    gone = {"fact": 0, "op": "DELETE", "target": 0, "retract": True, "reason": f"{SECRET} is lost"}
    replies = [HAS_ONE, {"facts": [fact(f"Ana has lost {SECRET}")]}, {"decisions": [gone]}]
    results, told, stored = run(tmp_path, hook, replies)
    assert [result.deleted[0].reason for result in results[2:]] == [
        "left out, for hooks have not passed it"
    ] * 2
    assert SECRET not in told
    assert SECRET.encode() not in stored


def test_a_fact_that_no_hook_has_seen_is_told_but_not_kept(tmp_path):
    replies = [{"facts": [fact(NOW)]}]
    results, _, stored = run(tmp_path, redact, replies, grounding={"mode": "strict"})
    assert SECRET in results[0].rejected[0].item
    assert [(one.item, one.reason) for one in results[1].rejected] == [
        ("left out", "left out, for hooks have not passed it")
    ]
    assert SECRET.encode() not in stored


def test_what_is_beyond_the_limit_is_left_out(tmp_path):
    slots = {"slot": "phone", "about": "Ana"}
    replies = [
        {"facts": [fact("Ana's phone is 5", **slots)]},
        {"facts": [fact(f"Ana's phone is {SECRET}", **slots)]},
    ]
    _, told, stored = run(tmp_path, redact, replies, decisions={"max_destructive": 0})
    assert SECRET not in told
    assert SECRET.encode() not in stored


def test_whose_slot_it_is_goes_with_the_name(tmp_path):
    replies = [{"facts": [fact("Zarquon lives in Rome", slot="lives_in", about="Zarquon")]}]
    results, told, stored = run(tmp_path, redact, replies)
    assert results[0].added[0].memory == "someone lives in Rome"
    assert re.search(b"zarquon", stored, re.IGNORECASE) is None
    assert re.search("zarquon", told, re.IGNORECASE) is None


def test_attributes_count_as_well(tmp_path):
    field = {"type": "object", "properties": {"number": {"type": "string"}}}
    policy = {"kinds": {"card": {"description": "A card", "fields": field}}}
    more = {"kind": "card", "attributes": {"number": SECRET}}
    replies = [
        HAS_ONE,
        {"facts": [fact("Ana has a blue card", **more)]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": f"number {SECRET}"}]},
    ]
    results, told, stored = run(tmp_path, tidy, replies, extraction=policy)
    assert results[2].updated[0].reason == "edited by tidy"
    assert SECRET not in told
    assert SECRET.encode() not in stored


def test_a_hook_that_only_adds_leaves_reasons_and_doubts(tmp_path):
    def tag(proposal):
        return replace(proposal, metadata={**proposal.metadata, "team": "x"})

    replies = [
        HAS_ONE,
        {"facts": [fact("Ana has 3 cards")]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": "more of them"}]},
    ]
    results, _, _ = run(tmp_path, tag, replies)
    change = results[2].updated[0]
    assert (change.reason, change.doubts) == (
        "more of them",
        [
            "number 3 is not in the cited messages",
            "name Ana is not in the cited messages",
        ],
    )
