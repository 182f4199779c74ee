"""What a model takes for known: dropped only if a memory says it; its new metadata is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def facts(*texts, **more):
    return {"facts": [{"text": text, "cites": [0], **more} for text in texts]}


@pytest.fixture
def open_memory(tmp_path):
    opened = []

    def opener(*replies, hooks=(), llm=None):
        memory = Memory(
            llm=llm or ScriptedChatModel(list(replies)), embedder="none", store=tmp_path / "m.db", hooks=hooks
        )
        opened.append(memory)
        return memory

    yield opener
    for memory in opened:
        memory.close()


def decided(open_memory, known, new, *decisions):
    """The result of an add that means ``new`` while ``known`` is remembered."""
    memory = open_memory(
        facts(*known), facts(new), {"decisions": [{"fact": 0, **decision} for decision in decisions]}
    )
    memory.add("…", user_id="u", observed_at="2026-01-01")
    return memory, memory.add("…", user_id="u", observed_at="2026-02-01")


@pytest.mark.parametrize(
    "decision",
    [
        {"op": "NONE"},
        {"op": "NONE", "target": 0},
        {"op": "UPDATE", "target": 0, "text": "Ana has a cat"},
    ],
)
@pytest.mark.parametrize(
    "new",
    [
        "Ana is allergic to nuts",
        "Ana has a dog called Rex",
        "Ben has a cat",
        "Ana has 3 cats",
        "Ana does not have a cat",
        "Ana tiene alergia a las nueces",
        "Ana ist gegen Nüsse allergisch",
        "安娜对坚果过敏",
    ],
)
def test_a_fact_that_no_memory_says_is_added_whatever_the_model_says(open_memory, decision, new):
    memory, result = decided(open_memory, ["Ana has a cat"], new, decision)
    assert [(change.event, change.memory, change.reason) for change in result] == [
        ("ADD", new, "no memory that was offered says it")
    ]
    assert [(one.item.split()[0], one.reason) for one in result.rejected] == [
        (decision["op"], "no memory that was offered says it")
    ]
    assert memory.count(user_id="u") == 2


@pytest.mark.parametrize(
    ("known", "new"),
    [
        ("Ana has a cat", "Ana owns a cat"),
        ("The user likes hiking at weekends", "Ana enjoys hiking at weekends"),
        ("Ana moved to Rome in 2019", "In 2019 Ana moved to Rome"),
        ("Ana does not eat meat", "Ana never eats meat"),
        ("Ana tiene dos hijos", "Ana tiene dos niños"),
        ("Ana wohnt in Rom", "Ana lebt in Rom"),
        ("安娜住在罗马", "安娜现在住在罗马"),
    ],
)
@pytest.mark.parametrize("target", [None, 0, 1])
def test_a_fact_that_a_memory_says_in_other_words_is_known(open_memory, known, new, target):
    # The model names the memory, another one, or none.
    memory, result = decided(open_memory, [known, "It rains a lot"], new, {"op": "NONE", "target": target})
    assert [(change.event, change.memory) for change in result] == [("NONE", known)]
    assert result.status == "complete"
    item = next(item for item in memory.get_all(user_id="u") if item.memory == known)
    assert len(item.sources) == 2


def test_somebody_elses_words_without_a_name_are_not_known(open_memory):
    memory = open_memory(
        facts("Likes tea"), facts("Likes tea a lot"), {"decisions": [{"fact": 0, "op": "NONE"}]}
    )
    for name in ("Ana", "Ben"):
        result = memory.add({"role": "user", "name": name, "content": "I like tea"}, user_id="u")
    assert [change.event for change in result] == ["ADD"]


def test_what_lasts_longer_is_not_known(open_memory):
    memory = open_memory(
        facts("Ana lives in Rome"),
        facts("Rome is where Ana lives"),
        {"decisions": [{"fact": 0, "op": "NONE"}]},
    )
    memory.add("…", user_id="u", expires_at="2999-01-01")
    assert [change.event for change in memory.add("…", user_id="u")] == ["ADD"]


@pytest.mark.parametrize("again", ["Ana has a cat", "Ana owns a cat"])
def test_what_is_said_again_brings_its_new_metadata(open_memory, again):
    memory = open_memory(
        facts("Ana has a cat"),
        facts(again),
        {"decisions": [{"fact": 0, "op": "NONE", "target": 0}]},
        facts(again),
    )
    first = memory.add("…", user_id="u", metadata={"a": 1, "b": 1})
    (change,) = memory.add("…", user_id="u", metadata={"b": 2, "c": 3})
    assert (change.event, change.memory, change.previous_memory) == (
        "UPDATE",
        "Ana has a cat",
        "Ana has a cat",
    )
    assert (change.id, change.reason) == (first.added[0].id, "said again, with new metadata: c")
    item = memory.get(change.id)
    assert (item.metadata, item.revision, len(item.sources)) == ({"a": 1, "b": 1, "c": 3}, 2, 2)
    assert [event.reason for event in memory.history(change.id)][1] == "said again, with new metadata: c"


def test_metadata_that_is_there_already_changes_nothing(open_memory):
    memory = open_memory(facts("Ana has a cat"), facts("Ana has a cat"))
    for _ in range(2):
        result = memory.add("…", user_id="u", metadata={"a": 1})
    assert [change.event for change in result] == ["NONE"]
    assert memory.get(result.results[0].id).revision == 1


def test_one_memory_said_again_twice_is_changed_once(open_memory):
    memory = open_memory(facts("Ana has a cat"), facts("Ana has a cat", "Ana has a cat."))
    memory.add("…", user_id="u")
    result = memory.add("…", user_id="u", metadata={"a": 1})
    assert [change.event for change in result] == ["UPDATE", "NONE"]
    assert memory.get(result.results[0].id).revision == 2


def test_without_a_model_new_metadata_is_told_to_be_left_out(open_memory):
    memory = open_memory(llm="verbatim")
    memory.add("I have a cat.", user_id="u")
    (change,) = memory.add("I have a cat.", user_id="u", metadata={"a": 1})
    assert (change.event, change.reason) == (
        "NONE",
        "remembered word for word; its metadata stays as it is, without a",
    )


def test_hooks_see_new_metadata_and_may_veto_or_edit_it(open_memory):
    def clean(proposal):
        if "no" in proposal.metadata:
            return None
        metadata = {key: value for key, value in proposal.metadata.items() if key != "secret"}
        return replace(proposal, metadata=metadata, text=proposal.text.replace("Bo", "B."))

    memory = open_memory(*(facts("Ana has Bo") for _ in range(3)), llm=None)
    memory.add("…", user_id="u")
    memory.close()
    memory = open_memory(*(facts("Ana has Bo") for _ in range(3)), hooks=[clean])
    (vetoed,) = memory.add("…", user_id="u", metadata={"no": 1})
    assert (vetoed.event, memory.get(vetoed.id).revision) == ("NONE", 1)
    (change,) = memory.add("…", user_id="u", metadata={"secret": 1, "fine": 2})
    item = memory.get(change.id)
    assert (item.memory, item.metadata, item.revision) == ("Ana has B.", {"fine": 2}, 2)
