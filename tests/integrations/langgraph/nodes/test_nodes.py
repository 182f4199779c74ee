"""Graphs that recall before the model speaks and remember afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from memkit_core import Memory, UsageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_langgraph import create_recall_node, create_remember_node

pytest.importorskip("langgraph.graph")

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph


class WithText(MessagesState):
    recalled: str


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder=HashEmbeddings(), store="sqlite://:memory:") as opened:
        yield opened


def _echo(state: Any) -> dict[str, Any]:
    """A model that tells the system messages it has seen."""
    seen = [str(m.content) for m in state["messages"] if isinstance(m, SystemMessage)]
    return {"messages": [AIMessage("seen: " + " | ".join(seen))]}


def _graph(*nodes: Any, schema: Any = MessagesState) -> Any:
    builder = StateGraph(schema)
    names = [START]
    for node in nodes:
        name = node.__name__ if callable(node) else node.get_name()
        builder.add_node(name, node)
        builder.add_edge(names[-1], name)
        names.append(name)
    builder.add_edge(names[-1], END)
    return builder.compile(checkpointer=InMemorySaver())


def _said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def _of(user: str | None, thread: str = "t") -> Any:
    return {"configurable": {"thread_id": thread} | ({"user_id": user} if user else {})}


def _known(memory: Memory, user: str) -> list[str]:
    return sorted(item.memory for item in memory.get_all(user_id=user))


def test_what_one_thread_said_is_recalled_in_another(memory: Memory) -> None:
    graph = _graph(create_recall_node(memory), _echo, create_remember_node(memory))
    graph.invoke(_said("I am allergic to peanuts."), _of("ann", "one"))
    answer = graph.invoke(_said("What am I allergic to?"), _of("ann", "two"))["messages"]
    assert isinstance(answer[0], SystemMessage)
    assert answer[0].text.startswith("<memories>")
    assert answer[0].text.endswith("</memories>")
    assert "I am allergic to peanuts." in answer[-1].text
    assert (
        "peanuts"
        not in graph.invoke(_said("What am I allergic to?"), _of("bob", "three"))["messages"][-1].text
    )


async def test_the_same_under_ainvoke(memory: Memory) -> None:
    graph = _graph(create_recall_node(memory.aio), _echo, create_remember_node(memory.aio))
    await graph.ainvoke(_said("I am allergic to peanuts."), _of("ann", "one"))
    answer = await graph.ainvoke(_said("What am I allergic to?"), _of("ann", "two"))
    assert "I am allergic to peanuts." in answer["messages"][-1].text


async def test_interleaved_users_and_agents_never_see_each_other(memory: Memory) -> None:
    agents = {
        name: _graph(
            create_recall_node(memory, agent_id=name), _echo, create_remember_node(memory, agent_id=name)
        )
        for name in ("chef", "guide")
    }
    pairs = [(agent, user) for agent in agents for user in ("ann", "bob")]

    async def say(agent: str, user: str, text: str, thread: str) -> str:
        told = await agents[agent].ainvoke(_said(text), _of(user, f"{agent} {user} {thread}"))
        return str(told["messages"][-1].text)

    await asyncio.gather(*(say(a, u, f"My word for {a} is {u}{a}.", "one") for a, u in pairs))
    answers = await asyncio.gather(*(say(a, u, "What is my word?", "two") for a, u in pairs))
    for pair, answer in zip(pairs, answers, strict=True):
        seen = [(agent, user) for agent, user in pairs if f"{user}{agent}" in answer]
        assert seen == [pair]


def test_there_is_one_recalled_message_behind_the_leading_ones(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    memory.add("I play chess.", user_id="ann")
    graph = _graph(create_recall_node(memory, k=1), _echo)
    first = [SystemMessage("Be brief.", id="s"), HumanMessage("Where do I live?")]
    graph.invoke({"messages": first}, _of("ann"))
    kinds = [type(m).__name__ for m in graph.invoke(_said("Which game do I play?"), _of("ann"))["messages"]]
    assert kinds == ["SystemMessage", "SystemMessage", *["HumanMessage", "AIMessage"] * 2]
    told = graph.get_state(_of("ann")).values["messages"]
    assert [m.id for m in told[:2]] == ["s", "memkit-recall"]
    assert "chess" in told[1].text
    assert "Oslo" not in told[1].text


def test_what_is_no_longer_recalled_leaves_the_messages(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    graph = _graph(create_recall_node(memory), _echo)
    graph.invoke(_said("Where do I live?"), _of("ann"))
    memory.delete_all(user_id="ann")
    messages = graph.invoke(_said("Where do I live?"), _of("ann"))["messages"]
    assert not [m for m in messages if isinstance(m, SystemMessage)]


def test_a_key_of_its_own_takes_the_text(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    graph = _graph(create_recall_node(memory, into="recalled"), schema=WithText)
    assert "Oslo" in graph.invoke(_said("Where do I live?"), _of("ann"))["recalled"]
    assert graph.invoke(_said("Where do I live?"), _of("bob", "u"))["recalled"] == ""
    assert graph.invoke({"messages": []}, _of("ann", "v"))["recalled"] == ""


def test_every_message_is_saved_once(memory: Memory) -> None:
    graph = _graph(_echo, create_remember_node(memory))
    for text in ("I like tea.", "I like rain.", "I like snow."):
        graph.invoke(_said(text), _of("ann"))
    assert _known(memory, "ann") == ["I like rain.", "I like snow.", "I like tea."]
    assert memory.count(user_id="bob") == 0
    batches = memory.search("seen", user_id="ann", include=("excerpts",), limit=100).excerpts
    assert len([one for one in batches if one.role == "assistant"]) <= 3


def test_a_node_that_runs_again_adds_nothing_twice(memory: Memory) -> None:
    calls: list[int] = []

    def crash(state: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the machine is gone")
        return {}

    remember = create_remember_node(memory)
    builder = StateGraph(MessagesState)
    # In one step: when the other node fails, this one's update is lost or kept, its work is done.
    builder.add_node("remember", remember)
    builder.add_node("crash", crash)
    builder.add_edge(START, "remember")
    builder.add_edge(START, "crash")
    graph = builder.compile(checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="gone"):
        graph.invoke(_said("I like tea."), _of("ann"))
    graph.invoke(None, _of("ann"))
    state = {"messages": [HumanMessage("I like rain.", id="m")]}
    for _ in range(2):
        remember.invoke(state, _of("ann"))
    assert _known(memory, "ann") == ["I like rain.", "I like tea."]


def test_branches_and_trimmed_threads_are_saved_once(memory: Memory) -> None:
    graph = _graph(_echo, create_remember_node(memory))
    graph.invoke(_said("I like tea."), _of("ann"))
    before = graph.get_state(_of("ann")).config
    before["configurable"]["user_id"] = "ann"
    graph.invoke(_said("I like rain."), _of("ann"))
    graph.invoke(_said("I like snow."), before)  # another branch, from before the rain
    messages = graph.get_state(_of("ann")).values["messages"]
    graph.update_state(_of("ann"), {"messages": [RemoveMessage(id=m.id) for m in messages[:2]]})
    graph.invoke(_said("I like hail."), _of("ann"))
    assert _known(memory, "ann") == ["I like hail.", "I like rain.", "I like snow.", "I like tea."]


def test_without_a_thread_only_the_last_question_is_new(memory: Memory) -> None:
    remember = create_remember_node(memory)
    history = [
        HumanMessage("I like tea.", id="1"),
        AIMessage("Noted.", id="2"),
        HumanMessage("I like rain.", id="3"),
    ]
    remember.invoke({"messages": history}, {"configurable": {"user_id": "ann"}})
    assert _known(memory, "ann") == ["I like rain."]


def test_recalled_memories_and_instructions_are_not_saved(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    graph = _graph(create_recall_node(memory), create_remember_node(memory))
    graph.invoke(
        {"messages": [SystemMessage("You are Max."), HumanMessage("I like tea in Oslo.")]}, _of("ann")
    )
    assert _known(memory, "ann") == ["I like tea in Oslo.", "I live in Oslo."]


def test_a_run_for_nobody_is_an_error_even_where_failures_are_logged(memory: Memory) -> None:
    for node in (create_recall_node(memory), create_remember_node(memory)):
        with pytest.raises(UsageError, match="no user id"):
            _graph(node).invoke(_said("Hello."), _of(None))


def test_a_fixed_user_and_a_function_name_the_user(memory: Memory) -> None:
    _graph(create_remember_node(memory, user_id="ann")).invoke(_said("I like tea."), _of("bob"))
    node = create_remember_node(
        memory, user_id=lambda config, _: f"tenant/{config['configurable']['user_id']}"
    )
    _graph(node).invoke(_said("I like rain."), _of("bob"))
    assert _known(memory, "ann") == ["I like tea."]
    assert _known(memory, "tenant/bob") == ["I like rain."]
    assert _known(memory, "bob") == []


def test_a_failing_memory_does_not_end_the_run(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    graph = _graph(create_recall_node(memory), _echo, create_remember_node(memory))
    memory.close()
    with caplog.at_level(logging.WARNING):
        answer = graph.invoke(_said("My secret is 4711."), _of("ann"))
    assert answer["messages"][-1].text == "seen: "
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "4711" not in caplog.text


async def test_a_failing_memory_can_end_the_run() -> None:
    memory = Memory(llm="verbatim", embedder="none", store="sqlite://:memory:")
    recall = create_recall_node(memory, on_error="raise")
    remember = create_remember_node(memory, on_error="raise")
    memory.close()
    for node in (recall, remember):
        with pytest.raises(UsageError, match="closed"):
            _graph(node).invoke(_said("Hello."), _of("ann"))
        with pytest.raises(UsageError, match="closed"):
            await _graph(node).ainvoke(_said("Hello."), _of("ann"))


def test_what_could_not_be_saved_is_saved_by_the_next_run(memory: Memory, tmp_path: Any) -> None:
    graph = _graph(create_remember_node(memory))
    graph.invoke(_said("I like tea."), _of("ann"))
    saver = graph.checkpointer
    memory.close()
    graph.invoke(_said("I like rain."), _of("ann"))
    with Memory(llm="verbatim", embedder="none", store="sqlite://:memory:") as other:
        graph = _graph(create_remember_node(other))
        graph.checkpointer = saver
        graph.invoke(_said("I like snow."), _of("ann"))
        assert _known(other, "ann") == ["I like rain.", "I like snow."]


@pytest.mark.parametrize("into", ["messages", "recalled"])
async def test_a_run_whose_recall_fails_sees_nothing_of_the_run_before(memory: Memory, into: str) -> None:
    memory.add("Ann's number is 4711.", user_id="ann")
    seen: list[str] = []

    def model(state: Any) -> dict[str, Any]:
        system = [message.text for message in state["messages"] if isinstance(message, SystemMessage)]
        seen.append(" ".join([state.get("recalled") or "", *system]))
        return {"messages": [AIMessage("Well.")]}

    graph = _graph(create_recall_node(memory, into=into), model, schema=WithText)
    graph.invoke(_said("What is Ann's number?"), _of("ann"))
    assert "4711" in seen[0]
    memory.close()
    graph.invoke(_said("What is Ann's number?"), _of("bob"))
    await graph.ainvoke(_said("What is Ann's number?"), _of("bob"))
    assert len(seen) == 3
    assert not any("4711" in text for text in seen[1:])


async def test_a_message_that_memory_refuses_keeps_no_other_one_out(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    graph = _graph(create_remember_node(memory))

    def said(*texts: str) -> dict[str, Any]:
        return {"messages": [HumanMessage(text) for text in texts]}

    with caplog.at_level(logging.WARNING):
        graph.invoke(said("I like tea.", "A \x00 in the middle"), _of("ann"))
        await graph.ainvoke(said("Another \x00 one", "I like rain."), _of("ann"))
        graph.invoke(said("I like snow."), _of("ann"))
    assert _known(memory, "ann") == ["I like rain.", "I like snow.", "I like tea."]
    assert len(caplog.records) == 2


@pytest.mark.parametrize("wait", [True, False])
def test_the_memory_s_own_model_is_not_streamed_to_the_user(wait: bool) -> None:
    script = ScriptedChatModel(lambda _: {"facts": [{"text": "Ann likes tea.", "cites": [0]}]})
    with Memory(llm=script, embedder="none", store="sqlite://:memory:") as memory:
        graph = _graph(create_recall_node(memory), create_remember_node(memory, wait=wait))
        streamed = list(graph.stream(_said("I like tea."), _of("ann"), stream_mode="messages"))
        memory.flush()
        assert _known(memory, "ann") == ["Ann likes tea."]
    assert not [part for part, _ in streamed if isinstance(part, AIMessage | AIMessageChunk)]


@pytest.mark.parametrize(
    "make",
    [
        lambda m: create_recall_node(m, k=0),
        lambda m: create_recall_node(m, token_budget=10),
        lambda m: create_recall_node(m, on_error="ignore"),  # type: ignore[arg-type]
        lambda m: create_remember_node(m, name=""),
        lambda m: create_remember_node("memory"),
    ],
)
def test_wrong_arguments_are_told_when_the_node_is_made(memory: Memory, make: Any) -> None:
    with pytest.raises(UsageError):
        make(memory)
