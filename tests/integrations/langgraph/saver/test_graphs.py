"""Real graphs: interrupts, time travel, graphs in graphs, parallel nodes, agents, users side by side."""

from __future__ import annotations

import asyncio
import operator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import UsageError
from memkit_core.testing import ScriptedChatModel
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, say, thread


class Notes(TypedDict):
    notes: Annotated[list[str], operator.add]


def _asking(saver: MemkitSaver) -> Any:
    def ask(state: Notes) -> Notes:
        return {"notes": [f"asked, {interrupt('may I?')}"]}

    builder = StateGraph(Notes)
    builder.add_node("first", lambda state: {"notes": ["first"]})
    builder.add_node("ask", ask)
    builder.add_edge(START, "first")
    builder.add_edge("first", "ask")
    return builder.compile(checkpointer=saver)


def test_an_interrupt_waits_over_a_restart_and_over_pruning(path: Path) -> None:
    with MemkitSaver.from_conn_string(str(path)) as saver:
        waiting = _asking(saver).invoke({"notes": []}, thread())
        assert waiting["__interrupt__"][0].value == "may I?"
    with MemkitSaver.from_conn_string(str(path)) as saver:
        saver.prune(["t"])
        graph = _asking(saver)
        assert graph.get_state(thread()).next == ("ask",)
        assert graph.invoke(Command(resume="yes"), thread())["notes"] == ["first", "asked, yes"]


def test_time_travel_forks_a_thread(saver: MemkitSaver) -> None:
    graph = chat(saver)
    say(graph, "one")
    say(graph, "two")
    history = list(graph.get_state_history(thread()))
    early = next(s for s in history if len(s.values["messages"]) == 2 and not s.next)
    forked = graph.invoke({"messages": [("user", "three")]}, early.config)
    assert [m.content for m in forked["messages"]] == ["one", "You said: one", "three", "You said: three"]
    assert len(list(graph.get_state_history(thread()))) == len(history) + 3
    old = graph.get_state(history[0].config).values["messages"]
    assert [m.content for m in old] == ["one", "You said: one", "two", "You said: two"]


def test_a_graph_in_a_graph_is_interrupted_and_goes_on(saver: MemkitSaver) -> None:
    inner = StateGraph(Notes)
    inner.add_node("ask", lambda state: {"notes": [f"inner {interrupt('inner?')}"]})
    inner.add_edge(START, "ask")
    outer = StateGraph(Notes)
    outer.add_node("inner", inner.compile())
    outer.add_node("last", lambda state: {"notes": ["last"]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "last")
    graph = outer.compile(checkpointer=saver)
    graph.invoke({"notes": ["start"]}, thread())
    saver.prune(["t"])
    state = graph.get_state(thread(), subgraphs=True)
    assert state.tasks[0].state.values["notes"] == ["start"]
    done = graph.invoke(Command(resume="yes"), thread())
    assert done["notes"] == ["start", "start", "inner yes", "last"]
    namespaces = {found.config["configurable"]["checkpoint_ns"] for found in saver.list(_everywhere())}
    assert len(namespaces) == 2
    saver.prune(["t"])
    left = [found.config["configurable"]["checkpoint_ns"] for found in saver.list(_everywhere())]
    assert left == [""]  # the inner graph went with the checkpoint it belonged to


def _everywhere() -> Any:
    return {"configurable": {"thread_id": "t"}}


def test_parallel_nodes_write_in_the_order_of_their_tasks(saver: MemkitSaver) -> None:
    builder = StateGraph(Notes)
    for number in range(8):
        builder.add_node(f"n{number}", lambda state, number=number: {"notes": [str(number)]})
        builder.add_edge(START, f"n{number}")
    graph = builder.compile(checkpointer=saver)
    assert graph.invoke({"notes": []}, thread())["notes"] == [str(number) for number in range(8)]
    assert graph.get_state(thread()).values["notes"] == [str(number) for number in range(8)]


def test_an_agent_with_tools_goes_on_where_it_was(path: Path) -> None:
    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    def agent(saver: MemkitSaver, replies: list[Any]) -> Any:
        return create_agent(ScriptedChatModel(replies, tools=True), tools=[weather], checkpointer=saver)

    call = {"name": "weather", "args": {"city": "Rome"}, "id": "c1", "type": "tool_call"}
    with MemkitSaver.from_conn_string(str(path)) as saver:
        replies = [AIMessage("", tool_calls=[call]), AIMessage("It is sunny.")]
        agent(saver, replies).invoke({"messages": [("user", "Weather in Rome?")]}, thread())
    with MemkitSaver.from_conn_string(str(path)) as saver:
        texts = say(agent(saver, [AIMessage("You are welcome.")]), "Thanks")
    assert texts == ["Weather in Rome?", "", "sunny in Rome", "It is sunny.", "Thanks", "You are welcome."]


def test_two_agents_and_two_users_never_see_each_other(memory: Memory) -> None:
    graphs = [chat(MemkitSaver(memory), reply=lambda said, n=n: f"{n} heard {said}") for n in range(2)]
    for turn in range(3):
        for user in ("ann", "bob"):
            for number, graph in enumerate(graphs):
                texts = say(graph, f"{user} {number} {turn}", f"{user}-{number}", user_id=user)
                assert len(texts) == 2 * turn + 2
                assert all(f"{user} {number}" in text for text in texts)


def test_threads_run_side_by_side(saver: MemkitSaver) -> None:
    graph = chat(saver)

    def run(number: int) -> list[str]:
        for turn in range(4):
            texts = say(graph, f"{number} {turn}", f"thread {number}")
        return texts

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(8)))
    assert all(len(texts) == 8 and texts[0] == f"{number} 0" for number, texts in enumerate(found))


async def test_everything_async_from_either_memory(path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder="none", store=path) as memory:
        saver = MemkitSaver(memory)
        graph = chat(saver)
        found = await asyncio.gather(
            *(graph.ainvoke({"messages": [("user", str(n))]}, thread(str(n))) for n in range(6))
        )
        assert [result["messages"][-1].content for result in found] == [f"You said: {n}" for n in range(6)]
        assert len([state async for state in graph.aget_state_history(thread("3"))]) == 3
        assert say(graph, "again", "3") == [
            "3",
            "You said: 3",
            "again",
            "You said: again",
        ]  # sync, same saver
        await saver.adelete_thread("3")
        assert (await graph.aget_state(thread("3"))).values == {}


async def test_a_cancelled_run_leaves_a_whole_thread(path: Path) -> None:
    async with MemkitSaver.from_conn_string(str(path)) as saver:
        graph = chat(saver)
        for number in range(12):
            task = asyncio.create_task(graph.ainvoke({"messages": [("user", str(number))]}, thread()))
            await asyncio.sleep(number * 0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            state = await graph.aget_state(thread())
            assert len(state.values.get("messages", [])) <= 2 * (number + 1)
        done = await graph.ainvoke({"messages": [("user", "last")]}, thread())
        assert done["messages"][-1].content == "You said: last"


def _append(state: list[str], writes: list[list[str]]) -> list[str]:
    return state + [text for write in writes for text in write]


class Deltas(TypedDict):
    notes: Annotated[list[str], DeltaChannel(_append, snapshot_frequency=4)]


def _deltas(saver: MemkitSaver) -> Any:
    builder = StateGraph(Deltas)
    builder.add_node("a", lambda state: {"notes": ["a"]})
    builder.add_node("b", lambda state: {"notes": ["b"]})
    builder.add_node("c", lambda state: {"notes": [f"c{len(state['notes'])}"]})
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")
    builder.add_edge(["a", "b"], "c")
    builder.add_edge("c", END)
    return builder.compile(checkpointer=saver)


def test_delta_channels_are_rebuilt_also_after_pruning_and_copying(path: Path) -> None:
    with MemkitSaver.from_conn_string(str(path)) as saver:
        graph = _deltas(saver)
        for turn in range(7):
            graph.invoke({"notes": [f"t{turn}"]}, thread())
            saver.prune(["t"])
        expected = graph.get_state(thread()).values["notes"]
        assert expected[:4] == ["t0", "a", "b", "c3"]
        assert len(expected) == 28
    with MemkitSaver.from_conn_string(str(path)) as saver:
        assert _deltas(saver).get_state(thread()).values["notes"] == expected
        saver.copy_thread("t", "copy")
        assert _deltas(saver).get_state(thread("copy")).values["notes"] == expected
        assert _deltas(saver).invoke({"notes": ["more"]}, thread("copy"))["notes"][:28] == expected


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_ends_in_the_same_state(saver: MemkitSaver, durability: Any) -> None:
    graph = _deltas(saver)
    plain = chat(saver)
    for _ in range(3):
        graph.invoke({"notes": ["x"]}, thread("d"), durability=durability)
        await plain.ainvoke({"messages": [("user", "hi")]}, thread("m"), durability=durability)
    assert graph.get_state(thread("d")).values["notes"] == [
        *("x", "a", "b", "c3", "x", "a", "b", "c7", "x", "a", "b", "c11")
    ]
    assert len(plain.get_state(thread("m")).values["messages"]) == 6


def test_tasks_that_are_sent_and_states_that_are_updated(saver: MemkitSaver) -> None:
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda state: {"notes": ["plan"]})
    builder.add_node("work", lambda job: {"notes": [f"work {job}"]})
    builder.add_conditional_edges("plan", lambda state: [Send("work", number) for number in range(3)])
    builder.add_edge(START, "plan")
    graph = builder.compile(checkpointer=saver, interrupt_before=["work"])
    graph.invoke({"notes": []}, thread())
    assert graph.get_state(thread()).next == ("work", "work", "work")
    assert graph.invoke(None, thread())["notes"] == ["plan", "work 0", "work 1", "work 2"]
    graph.update_state(thread(), {"notes": ["by hand"]}, as_node="work")
    assert graph.get_state(thread()).values["notes"][-1] == "by hand"
    found = list(graph.get_state_history(thread(), filter={"source": "update"}))
    assert len(found) == 1
    assert len(list(graph.get_state_history(thread(), before=found[0].config, limit=2))) == 2


def test_the_functional_api_keeps_what_a_run_returned(saver: MemkitSaver) -> None:
    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint(checkpointer=saver)
    def flow(number: int, *, previous: list[int] | None = None) -> list[int]:
        asked = interrupt("more?") if number == 3 else 0
        return [*(previous or []), double(number).result() + asked]

    config = thread()
    assert flow.invoke(1, config) == [2]
    assert flow.invoke(2, config) == [2, 4]
    assert "__interrupt__" in flow.invoke(3, config)
    assert flow.invoke(Command(resume=100), config) == [2, 4, 106]


async def test_setup_is_there_for_both_ways(saver: MemkitSaver) -> None:
    saver.setup()
    await saver.setup()


def test_ids_of_any_kind(saver: MemkitSaver) -> None:
    graph = chat(saver)
    names: list[Any] = [
        "a@b.c",
        "ümläut/..",
        "x\0y",
        7,
        UUID(int=5),
        str(UUID(int=6)),
        "'; DROP TABLE checkpoints",
    ]
    for name in names:
        assert len(say(graph, "hi", name)) == 2
    for wrong in ("", None, "\ud800"):
        with pytest.raises(UsageError):
            say(graph, "hi", wrong)
