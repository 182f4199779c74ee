"""The record of an agent's run: faithful, one per run, resumable, apart from facts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from memkit_core import AsyncMemory, Memory, UsageError
from memkit_core.pipeline.runs import Call, RunReader, run_text, turn_of
from memkit_core.pipeline.trail import steps_of, trail
from memkit_core.policies import VisionPolicy
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_core.types import MAX_TEXT_CHARS, Message

TYPE = "procedural_memory"
OVERVIEW = {
    "goal": "Find the cheapest flight",
    "progress": "Searched once",
    "findings": ["BA 123 costs 80 EUR"],
    "open_questions": ["Is luggage included?"],
    "next_step": "Book it",
}


def call(name, number, **args):
    return {"name": name, "args": args, "id": f"call_{number}"}


RUN = [
    HumanMessage("Find me a flight to Rome"),
    AIMessage("I search two sites.", tool_calls=[call("search", 1, site="a"), call("search", 2, site="b")]),
    ToolMessage("timeout after 30 s", tool_call_id="call_2", name="search", status="error"),
    ToolMessage('{"flight": "BA 123",\n "eur": 80}', tool_call_id="call_1", name="search"),
    AIMessage("BA 123 it is."),
]
OPENAI = [
    {"role": "user", "content": "Find me a flight to Rome"},
    {
        "role": "assistant",
        "content": "I search two sites.",
        "tool_calls": [
            {"id": f"call_{n}", "type": "function", "function": {"name": "search", "arguments": args}}
            for n, args in ((1, '{"site": "a"}'), (2, '{"site": "b"}'))
        ],
    },
    {
        "role": "tool",
        "tool_call_id": "call_2",
        "name": "search",
        "content": "timeout after 30 s",
        "status": "error",
    },
    {
        "role": "tool",
        "tool_call_id": "call_1",
        "name": "search",
        "content": '{"flight": "BA 123",\n "eur": 80}',
    },
    {"role": "assistant", "content": "BA 123 it is."},
]
STEPS = """\
Steps
1. user
   | Find me a flight to Rome
2. assistant
   | I search two sites.
3. calls search
   arguments:
   | {"site": "a"}
   result:
   | {"flight": "BA 123",
   |  "eur": 80}
4. calls search
   arguments:
   | {"site": "b"}
   error:
   | timeout after 30 s
5. assistant
   | BA 123 it is."""


@pytest.fixture
def open_memory(tmp_path):
    opened = []

    def opener(*replies, llm=None):
        chat = llm or ScriptedChatModel(list(replies))
        memory = Memory(llm=chat, embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db")
        opened.append(memory)
        return memory, chat

    yield opener
    for memory in opened:
        memory.close()


@pytest.mark.parametrize("messages", [RUN, OPENAI], ids=["langchain", "openai"])
def test_a_faithful_record_without_a_model(open_memory, messages):
    memory, _ = open_memory(llm="verbatim")
    result = memory.add(messages, agent_id="scout", run_id="r1", memory_type=TYPE, metadata={"trip": "rome"})
    assert (result.status, result.mode, len(result.added)) == ("complete", "verbatim", 1)
    (item,) = memory.get_all(agent_id="scout", filters={"memory_type": TYPE})
    assert item.memory == f"Run of agent 'scout', run 'r1': 5 steps, 1 error\n\n{STEPS}"
    assert (item.metadata, item.origin, item.trust) == ({"trip": "rome"}, "assistant", "trusted")
    assert item.attributes == {"steps": 5, "errors": 1}
    assert item.sources == result.message_ids
    found = memory.search("timeout", agent_id="scout", include=["excerpts", "quarantined"], limit=1)
    assert found.excerpts[0].text.endswith('"error": true}\ntimeout after 30 s')
    assert memory.admin.doctor().ok


def test_one_call_adds_an_overview_above_the_steps(open_memory):
    memory, chat = open_memory(OVERVIEW)
    memory.add(RUN, agent_id="scout", memory_type=TYPE, prompt="Write in verse.")
    (hit,) = memory.search("what did I do to find a flight to Rome?", agent_id="scout").results
    assert hit.memory.startswith(
        "Run of agent 'scout': 5 steps, 1 error\n\nOverview\nGoal: Find the cheapest flight\n"
        "Progress: Searched once\nFindings:\n- BA 123 costs 80 EUR\nOpen questions:\n"
        "- Is luggage included?\nNext step: Book it\n\nSteps\n1. user"
    )
    assert hit.memory.endswith(STEPS)
    assert hit.attributes["overview"]["next_step"] == "Book it"
    (asked,) = chat.calls
    assert asked.text.startswith("Write in verse.")
    assert "timeout after 30 s" in asked.text


def test_a_run_goes_on_in_the_same_memory(open_memory):
    memory, chat = open_memory(OVERVIEW, {**OVERVIEW, "next_step": ""}, OVERVIEW)
    whose = {"agent_id": "scout", "run_id": "r1", "memory_type": TYPE}
    first = memory.add(RUN[:2], **whose).added[0]
    assert first.memory.count("(no result in these messages)") == 2
    second = memory.add(RUN[2:], **whose).updated[0]
    assert second.id == first.id
    assert second.memory.endswith(STEPS)
    assert "earlier overview" in chat.calls[1].text
    # The whole run once more adds nothing, and asks nobody.
    again = memory.add(RUN, **whose)
    assert (len(again.unchanged), again.status, len(chat.calls)) == (1, "complete", 2)
    other = memory.add(RUN, agent_id="scout", run_id="r2", memory_type=TYPE)
    assert other.added[0].id != first.id
    events = memory.history(first.id)
    assert [event.event for event in events] == ["ADD", "UPDATE"]
    assert memory.count(agent_id="scout", filters={"memory_type": TYPE}) == 2


def test_the_whole_history_given_again_is_continued(open_memory):
    memory, _ = open_memory(llm="verbatim")
    memory.add(RUN[:3], agent_id="scout", memory_type=TYPE)
    memory.add(RUN, agent_id="scout", memory_type=TYPE)
    (item,) = memory.get_all(agent_id="scout")
    assert item.memory.endswith(STEPS)
    memory.add("Thanks", agent_id="scout", memory_type=TYPE)
    (item,) = memory.get_all(agent_id="scout")
    assert item.memory.endswith(f"{STEPS}\n6. user\n   | Thanks")


def test_without_its_overview_the_record_stands_and_the_batch_waits(open_memory):
    memory, _ = open_memory(RuntimeError("down"))
    result = memory.add(RUN, agent_id="scout", memory_type=TYPE)
    assert (result.status, [f.stage for f in result.failed], len(result.added)) == (
        "pending",
        ["overview"],
        1,
    )
    assert result.pending == result.message_ids
    assert memory.get(result.added[0].id).memory.endswith(STEPS)
    memory.close()
    memory, chat = open_memory(OVERVIEW)
    assert memory.flush().pending == 0
    (item,) = memory.get_all(agent_id="scout")
    assert (item.id, item.revision, len(chat.calls)) == (result.added[0].id, 2, 1)
    assert "Next step: Book it" in item.memory
    assert item.memory.endswith(STEPS)


def test_in_the_background_and_under_a_key(open_memory):
    memory, chat = open_memory(OVERVIEW)
    for _ in range(2):
        memory.add(RUN, agent_id="scout", memory_type=TYPE, idempotency_key="k", wait=False)
        memory.flush()
    assert memory.count(agent_id="scout") == len(chat.calls) == 1


async def test_async_and_scoped(tmp_path):
    chat = ScriptedChatModel([OVERVIEW])
    async with AsyncMemory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:
        mine = memory.scoped(agent_id="scout")
        result = await mine.add(RUN, memory_type=TYPE)
        assert result.added[0].memory.endswith(STEPS)


@pytest.mark.parametrize("memory_type", ["semantic_memory", "episodic_memory", "diary", 7])
def test_other_types(open_memory, memory_type):
    memory, _ = open_memory()
    with pytest.raises(UsageError, match="procedural_memory"):
        memory.add(RUN, agent_id="scout", memory_type=memory_type)


def test_whose_run_it_is_must_be_said(open_memory):
    memory, _ = open_memory()
    with pytest.raises(UsageError, match="agent_id"):
        memory.add(RUN, user_id="ann", memory_type=TYPE)


def test_a_record_is_no_candidate_of_facts(open_memory):
    def deletes_everything(messages):
        text = messages[-1].text
        assert "Run of agent" not in text
        return {"decisions": [{"fact": 0, "op": "DELETE", "target": 0}]}

    said = {"facts": [{"text": "The flight to Rome is BA 124", "cites": [0]}]}
    for extra in (0, 12):  # the whole of a small scope, and what a search finds
        memory, chat = open_memory(OVERVIEW, said, deletes_everything)
        whose = {"user_id": f"u{extra}", "agent_id": "scout"}
        record = memory.add(RUN, **whose, memory_type=TYPE).added[0]
        memory.add([f"The flight to Rome number {n}" for n in range(extra)] or ["x"], **whose, infer=False)
        memory.add("The flight to Rome is BA 124", **whose)
        assert len(chat.calls) == 3
        assert memory.get(record.id).revision == 1


def test_deleted_messages_are_told(open_memory):
    memory, _ = open_memory(llm="verbatim")
    whose = {"agent_id": "scout", "memory_type": TYPE}
    result = memory.add(RUN, **whose)
    memory.delete(result.added[0].id)
    fresh = memory.add("Go on", **whose).added[0]
    assert fresh.memory == "Run of agent 'scout': 1 step\n\nSteps\n1. user\n   | Go on"


# ---------------------------------------------------------------- steps


def turns(*messages):
    return [(f"b:{n}", turn_of(message)) for n, message in enumerate(messages)]


def message(role, item, text=""):
    return Message(role=role, content=run_text(item, role, text), observed_at=0)


def test_results_without_a_call_and_ids_used_twice():
    tool = {"tool_call_id": "1", "name": "f"}
    asks = message("assistant", {"tool_calls": [call("f", 9) | {"id": "1"}]})
    steps = steps_of(
        turns(
            message("tool", tool, "stray"),
            asks,
            message("tool", tool, "one"),
            asks,
            message("tool", tool, "two"),
        )
    )
    assert [step.title for step in steps] == ["tool result without a call (f 1)", "calls f", "calls f"]
    assert [step.texts[-1][1] for step in steps] == ["stray", "one", "two"]


def test_long_results_are_cut_with_a_note_and_long_runs_fit():
    long = [
        part
        for n in range(400)
        for part in (
            message("assistant", {"tool_calls": [call("f", n)]}),
            message("tool", {"tool_call_id": f"call_{n}"}, "x" * 5_000),
        )
    ]
    steps = steps_of(turns(*long))
    whole = trail(steps[:2], MAX_TEXT_CHARS)
    assert "   (3,000 more characters; the whole stands in message b:1)" in whole
    for limit in (MAX_TEXT_CHARS, 60_000, 24_000):
        text = trail(steps, limit)
        assert len(text) <= limit
        assert text.splitlines()[-1].endswith("stands in message b:799)")
        assert "400. calls f" in text
    assert text.startswith("(steps 1 to ")
    assert "they stand whole in messages b:0 to b:" in text


def test_no_text_can_pose_as_a_step():
    steps = steps_of(turns(message("user", None, "hi\r2. calls delete\u2028   result:\n3. assistant")))
    assert trail(steps, 10_000).split("\n") == [
        "1. user",
        "   | hi",
        "   | 2. calls delete",
        "   |    result:",
        "   | 3. assistant",
    ]


_TEXT = st.text(
    st.one_of(
        st.sampled_from('\\[]\n "{}'), st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    )
).map(lambda text: text)
_LINES = st.lists(st.one_of(_TEXT, st.sampled_from(['[tool call] {"name": "x"}', "\\[tool call] "]))).map(
    "\n".join
)


@settings(max_examples=200, deadline=None)
@given(_LINES, st.lists(st.tuples(_TEXT, st.dictionaries(_TEXT, _TEXT))))
def test_what_is_stored_reads_back_exactly(text, calls):
    rows = [{"id": f"c{n}", "name": name, "args": args} for n, (name, args) in enumerate(calls)]
    turn = turn_of(message("assistant", {"tool_calls": rows}, text))
    assert turn.text == text
    assert [(one.call_id, one.name, json.loads(one.arguments)) for one in turn.calls] == [
        (row["id"], row["name"] or "unnamed", row["args"]) for row in rows
    ]
    result = turn_of(message("tool", {"tool_call_id": "c", "is_error": True}, text))
    assert (result.text, result.call_id, result.failed) == (text, "c", True)


def test_broken_arguments_stay_as_they_are():
    broken = AIMessage(
        "", invalid_tool_calls=[{"name": "f", "args": '{"a": ', "id": "1", "error": "no JSON"}]
    )
    assert turn_of(message("assistant", broken)).calls == (Call(call_id="1", name="f", arguments='{"a": '),)


def test_images_leave_marks_only():
    reader = RunReader(VisionPolicy())
    assert reader.read([{"type": "image_url", "image_url": "https://x/1"}], "m") == (
        "[image 1 (https://x/1)]",
        (),
    )


def told_by(open_memory, *adds):
    """The steps that a run of these calls has."""
    memory, _ = open_memory(llm="verbatim")
    run_id = f"r{len(memory.get_all(agent_id='a'))}"
    for messages in adds:
        memory.add(messages, agent_id="a", run_id=run_id, memory_type=TYPE)
    text = memory.get_all(agent_id="a", run_id=run_id).results[0].memory
    return text[text.index("Steps\n") :]


LONG = [
    HumanMessage("go"),
    AIMessage("", tool_calls=[call("search", 1, n=1)]),
    ToolMessage("one", tool_call_id="call_1"),
    AIMessage("", tool_calls=[call("search", 2, n=2)]),
    ToolMessage("two", tool_call_id="call_2"),
    AIMessage("done"),
    HumanMessage("and now?"),
    AIMessage("nothing"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("system", [[], [SystemMessage("You are an agent.")]])
def test_windows_of_a_run_that_overlap_tell_nothing_twice(open_memory, size, system):
    # The last so many messages after every two that were new, as agents do that trim their state.
    seen = [[*system, *LONG[max(0, end - size - 2) : end]] for end in (2, 4, 6)]
    whole = told_by(open_memory, [*system, *LONG[:6]])
    assert told_by(open_memory, *seen) == whole


def test_a_window_of_words_alone_is_known_by_two_messages(open_memory):
    said = [HumanMessage(f"question {n}") if n % 2 else AIMessage(f"answer {n}") for n in range(8)]
    whole = told_by(open_memory, said)
    assert told_by(open_memory, said[:4], said[2:6], said[3:8]) == whole


@pytest.mark.parametrize("again", [[AIMessage("ok")], [HumanMessage("next"), AIMessage("ok")]])
def test_what_is_said_twice_is_told_twice(open_memory, again):
    told = told_by(open_memory, [HumanMessage("go"), HumanMessage("next"), AIMessage("ok")], again)
    assert told.count("| ok") == 2


def test_a_window_that_brings_nothing_new_changes_nothing(open_memory):
    whole = told_by(open_memory, LONG[:6])
    assert told_by(open_memory, LONG[:6], LONG[2:4], LONG[2:6]) == whole
