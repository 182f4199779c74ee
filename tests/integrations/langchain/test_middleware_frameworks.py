"""The middleware beside what else an agent has: approvals, summaries, structured output, streams, agents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    hook_config,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_langchain import MemoryMiddleware

from .scripted import Scripted, calls, kept, known, of, said

FACES = pytest.mark.parametrize("face", ["sync", "async"])


@tool
def weather(city: str) -> str:
    """The weather."""
    return f"Sun in {city}."


def _agent(model: Scripted, *middleware: Any, **more: Any) -> Any:
    return create_agent(
        model, more.pop("tools", []), middleware=list(middleware), checkpointer=InMemorySaver(), **more
    )


async def _run(agent: Any, face: str, *args: Any, **more: Any) -> Any:
    return agent.invoke(*args, **more) if face == "sync" else await agent.ainvoke(*args, **more)


def _asked(memory: Memory, user: str = "ann") -> list[str]:
    return [text for role, text in kept(memory, user) if role == "user"]


@FACES
@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_run_that_waits_for_a_human_is_saved_when_it_ends(
    memory: Memory, face: str, decision: str
) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    model = Scripted(script=[calls("weather", city="Oslo"), "Sun."])
    approval = HumanInTheLoopMiddleware({"weather": True})
    agent = _agent(model, MemoryMiddleware(memory), approval, tools=[weather])
    stopped = await _run(agent, face, said("How is it where I live?"), of("ann"))
    assert "__interrupt__" in stopped
    assert len(kept(memory, "ann")) == 1
    await _run(agent, face, Command(resume={"decisions": [{"type": decision}]}), of("ann"))
    assert kept(memory, "ann")[1:] == [("user", "How is it where I live?"), ("assistant", "Sun.")]
    assert all("Oslo" in text for text in model.systems)


async def test_a_run_that_nobody_resumes_is_saved_by_the_next_one(memory: Memory) -> None:
    model = Scripted(script=[calls("weather", city="Oslo"), "Sun."])
    agent = _agent(
        model, MemoryMiddleware(memory), HumanInTheLoopMiddleware({"weather": True}), tools=[weather]
    )
    agent.invoke(said("I like Oslo."), of("ann"))
    agent.invoke(said("I like Rome."), of("ann"))
    assert _asked(memory) == ["I like Oslo.", "I like Rome."]


@FACES
async def test_what_a_summary_replaces_is_saved_once_and_the_summary_never(memory: Memory, face: str) -> None:
    summary = Scripted(script="They spoke of weather.")
    shorter = SummarizationMiddleware(summary, trigger=("messages", 5), keep=("messages", 2))
    model = Scripted(script=lambda messages: f"Answer {len(messages)}.")
    agent = _agent(model, MemoryMiddleware(memory), shorter)
    texts = [f"I like number {number}." for number in range(8)]
    for text in texts:
        await _run(agent, face, said(text), of("ann"))
    assert summary.shown
    assert _asked(memory) == texts
    assert len(kept(memory, "ann")) == 16
    assert not any("They spoke" in text for _, text in kept(memory, "ann"))
    assert not any("They spoke" in message.text for message in model.shown[-1] if message.type == "system")


@FACES
async def test_a_question_that_a_summary_replaces_in_its_own_run_is_saved(memory: Memory, face: str) -> None:
    memory.add("I live in Oslo.", user_id="ann")
    model = Scripted(script=[*(calls("weather", text=f"Step {n}.", city="Oslo") for n in range(4)), "Sun."])
    shorter = SummarizationMiddleware(
        Scripted(script="They spoke."), trigger=("messages", 6), keep=("messages", 2)
    )
    agent = _agent(model, MemoryMiddleware(memory), shorter, tools=[weather])
    result = await _run(agent, face, said("How is it where I live?"), of("ann"))
    assert "How is it where I live?" not in [message.text for message in result["messages"]]
    assert kept(memory, "ann")[1:] == [
        ("user", "How is it where I live?"),
        *(("assistant", f"Step {n}.") for n in range(4)),
        ("assistant", "Sun."),
    ]


class Weather(BaseModel):
    """How it is."""

    sky: str


@FACES
async def test_structured_output_by_a_tool(memory: Memory, face: str) -> None:
    script = [calls("weather", city="Oslo"), calls("Weather", cloud="?"), calls("Weather", sky="clear")]
    agent = _agent(
        Scripted(script=script),
        MemoryMiddleware(memory),
        tools=[weather],
        response_format=ToolStrategy(Weather),
    )
    result = await _run(agent, face, said("I like clear skies."), of("ann"))
    assert result["structured_response"] == Weather(sky="clear")
    assert kept(memory, "ann") == [("user", "I like clear skies.")]
    assert len([m for m in result["messages"] if "memkit_remembered" in m.response_metadata]) == 1


@FACES
async def test_structured_output_by_the_provider(memory: Memory, face: str) -> None:
    script = [calls("weather", city="Oslo"), '{"sky": "clear"}']
    agent = _agent(
        Scripted(script=script),
        MemoryMiddleware(memory),
        tools=[weather],
        response_format=ProviderStrategy(Weather),
    )
    result = await _run(agent, face, said("I like clear skies."), of("ann"))
    assert result["structured_response"] == Weather(sky="clear")
    assert kept(memory, "ann") == [("user", "I like clear skies."), ("assistant", '{"sky": "clear"}')]


@FACES
async def test_a_tool_that_answers_by_itself_ends_the_run(memory: Memory, face: str) -> None:
    @tool(return_direct=True)
    def report(city: str) -> str:
        """A report."""
        return f"All well in {city}."

    agent = _agent(Scripted(script=[calls("report", city="Oslo")]), MemoryMiddleware(memory), tools=[report])
    await _run(agent, face, said("I like reports."), of("ann"))
    assert kept(memory, "ann") == [("user", "I like reports.")]


@FACES
@pytest.mark.parametrize("own", [True, False])
async def test_an_agent_as_a_tool(memory: Memory, face: str, own: bool) -> None:
    with Memory(llm="verbatim", embedder="none", store="sqlite://:memory:") as inner:
        inner.add("The research desk is in Bergen.", user_id="ann")
        seen = Scripted(script=[calls("weather", city="Oslo"), "It is sunny.", "It is still sunny."])
        middleware = [MemoryMiddleware(inner, save="off")] if own else []
        researcher = create_agent(seen, [weather], middleware=middleware)

        @tool
        async def research(task: str) -> str:
            """Research."""
            return str((await researcher.ainvoke(said(task)))["messages"][-1].text)

        @tool("research")
        def research_now(task: str) -> str:
            """Research."""
            return str(researcher.invoke(said(task))["messages"][-1].text)

        memory.add("I live in Oslo.", user_id="ann")
        asks = calls("research", task="Where is the desk?")
        model = Scripted(script=[asks, asks, "Sunny."])
        tools = [research if face == "async" else research_now]
        agent = _agent(model, MemoryMiddleware(memory), tools=tools)
        await _run(agent, face, said("How is it where I live?"), of("ann"))
        assert kept(memory, "ann")[1:] == [("user", "How is it where I live?"), ("assistant", "Sunny.")]
        assert [("Bergen" in text) for text in seen.systems] == [own] * 3
        assert not any("Oslo" in text for text in seen.systems)
        assert all("Oslo" in text and "Bergen" not in text for text in model.systems)
        assert len(kept(inner, "ann")) == 1


def _internal(messages: list[Any]) -> dict[str, Any]:
    """What the memory's own model says."""
    if "memories:" in messages[-1].text:
        return {"decisions": [{"fact": 0, "op": "ADD", "target": None, "text": None, "reason": "new"}]}
    return {"facts": [{"text": "Ann likes tea, INTERNAL.", "cites": [0]}]}


def _parts(mode: str, part: Any) -> str:
    return part[0].text if mode == "messages" else str(part)


@FACES
@pytest.mark.parametrize("mode", ["messages", "updates", "values"])
@pytest.mark.parametrize("wait", [True, False])
async def test_a_stream_shows_nothing_of_the_memory(face: str, mode: str, wait: bool) -> None:
    script = ScriptedChatModel(_internal)
    with Memory(llm=script, embedder=HashEmbeddings(), store="sqlite://:memory:") as memory:
        memory.add("I live in RECALLED.", user_id="ann", infer=False)
        model = Scripted(script=[calls("weather", city="Oslo"), "It is sunny there."])
        agent = _agent(model, MemoryMiddleware(memory, wait=wait, tools=["search_memory"]), tools=[weather])
        question, run = said("I like tea. How is it where I live?"), of("ann")
        if face == "sync":
            parts = list(agent.stream(question, run, stream_mode=mode))
        else:
            parts = [part async for part in agent.astream(question, run, stream_mode=mode)]
        memory.flush()
        assert known(memory, "ann") == ["Ann likes tea, INTERNAL.", "I live in RECALLED."]
    shown = [_parts(mode, part) for part in parts]
    assert not any("INTERNAL" in text or "RECALLED" in text for text in shown)
    assert all("RECALLED" in text for text in model.systems)
    if mode == "messages":
        chunks = [part.text for part, _ in parts if isinstance(part, AIMessageChunk) and part.text]
        assert chunks == ["It", " is", " sunny", " there."]
        assert not [part for part, _ in parts if type(part) is AIMessage]
    if mode == "values":
        assert {key for part in parts for key in part} == {"messages"}


async def test_a_stream_of_events_shows_nothing_of_the_memory_s_model_as_an_answer() -> None:
    script = ScriptedChatModel(_internal)
    with Memory(llm=script, embedder="none", store="sqlite://:memory:") as memory:
        agent = _agent(Scripted(script="Well then."), MemoryMiddleware(memory, wait=True))
        events = [event async for event in agent.astream_events(said("I like tea."), of("ann"), version="v2")]
    told = [event for event in events if event["event"] in ("on_chat_model_end", "on_chat_model_stream")]
    internal = [event for event in told if "nostream" in event.get("tags", [])]
    assert len(internal) == 1
    assert not any("INTERNAL" in str(event["data"]) for event in told if event not in internal)


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_a_stream_of_the_newer_protocol_shows_nothing_of_the_memory() -> None:
    with Memory(llm=ScriptedChatModel(_internal), embedder="none", store="sqlite://:memory:") as memory:
        agent = _agent(Scripted(script="Well then."), MemoryMiddleware(memory, wait=True))
        run = agent.stream_events(said("I like tea."), of("ann"), version="v3")
        assert [str(message.text) for message in run.messages] == ["Well then."]
        events = list(agent.stream_events(said("I like rain, and tea."), of("ann", "u"), version="v3"))
        assert known(memory, "ann") == ["Ann likes tea, INTERNAL."]
    assert events
    assert not any("INTERNAL" in str(event) for event in events)


class Guard(AgentMiddleware[Any, Any, Any]):
    """Ends runs before or after the model."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        if self.where == "before" and "forbidden" in state["messages"][-1].text:
            return {"jump_to": "end", "messages": [AIMessage("No.")]}
        return None

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        if self.where == "after" and "forbidden" in state["messages"][-2].text:
            return {"jump_to": "end"}
        return None


def test_a_run_that_ends_before_the_model_is_saved_by_the_next_one(memory: Memory) -> None:
    agent = _agent(Scripted(), MemoryMiddleware(memory), Guard("before"))
    agent.invoke(said("I like the forbidden city."), of("ann"))
    assert kept(memory, "ann") == []
    agent.invoke(said("I like tea."), of("ann"))
    assert kept(memory, "ann") == [
        ("user", "I like the forbidden city."),
        ("assistant", "No."),
        ("user", "I like tea."),
        ("assistant", "Well."),
    ]


def test_a_run_that_is_ended_before_its_tools_is_saved_by_the_next_one(memory: Memory) -> None:
    script = [calls("weather", text="I look.", city="Oslo"), "Well."]
    agent = _agent(Scripted(script=script), MemoryMiddleware(memory), Guard("after"), tools=[weather])
    agent.invoke(said("I like the forbidden city."), of("ann"))
    agent.invoke(said("I like tea."), of("ann"))
    assert _asked(memory) == ["I like the forbidden city.", "I like tea."]


def test_a_run_whose_model_fails_is_saved_by_the_next_one(memory: Memory) -> None:
    agent = _agent(Scripted(script=[ValueError("down"), "Well."]), MemoryMiddleware(memory))
    with pytest.raises(ValueError, match="down"):
        agent.invoke(said("I like tea."), of("ann"))
    assert kept(memory, "ann") == []
    agent.invoke(said("I like rain."), of("ann"))
    assert _asked(memory) == ["I like tea.", "I like rain."]


def test_a_step_that_runs_again_saves_nothing_twice(memory: Memory) -> None:
    class Crash(AgentMiddleware[Any, Any, Any]):
        crashes = 1

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            response = handler(request)
            if self.crashes:
                self.crashes -= 1
                raise RuntimeError("the machine is gone")
            return response

    answers = Scripted(script=["Well.", "Another answer."])
    agent = _agent(answers, Crash(), MemoryMiddleware(memory))
    with pytest.raises(RuntimeError, match="gone"):
        agent.invoke(said("I like tea."), of("ann"))
    agent.invoke(None, of("ann"))
    assert kept(memory, "ann") == [("user", "I like tea."), ("assistant", "Well.")]
    retried = create_agent(
        Scripted(),
        middleware=[ModelRetryMiddleware(max_retries=2, initial_delay=0), Crash(), MemoryMiddleware(memory)],
    )
    retried.invoke(said("I like rain."), of("bob"))
    assert _asked(memory, "bob") == ["I like rain."]


def test_deleted_rewritten_and_branched_messages_are_saved_once(memory: Memory) -> None:
    agent = _agent(Scripted(), MemoryMiddleware(memory))
    agent.invoke(said("I like tea."), of("ann"))
    before = agent.get_state(of("ann")).config
    before["configurable"]["user_id"] = "ann"
    agent.invoke(said("I like rain."), of("ann"))
    agent.invoke(said("I like snow."), before)  # another branch, from before the rain
    messages = agent.get_state(of("ann")).values["messages"]
    # Its answer deleted, and every mark gone with what a program wrote in its own way.
    rewritten = [AIMessage(m.text, id=m.id) for m in messages[:-1] if m.type == "ai"]
    agent.update_state(of("ann"), {"messages": [*rewritten, RemoveMessage(id=messages[-1].id)]})
    agent.invoke(said("I like hail."), of("ann"))
    assert _asked(memory) == ["I like tea.", "I like rain.", "I like snow.", "I like hail."]


def test_what_is_redacted_in_the_input_is_saved_redacted(memory: Memory) -> None:
    agent = _agent(Scripted(), PIIMiddleware("email"), MemoryMiddleware(memory))
    agent.invoke(said("Write to me at ann@example.com, I like mail."), of("ann"))
    assert "ann@example.com" not in str(kept(memory, "ann"))
    assert "I like mail." in str(kept(memory, "ann"))


async def test_a_cancelled_run_leaves_the_middleware_at_work(memory: Memory) -> None:
    started, blocked = asyncio.Event(), True

    class Slow(AgentMiddleware[Any, Any, Any]):
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            if blocked:
                started.set()
                await asyncio.sleep(60)
            return await handler(request)

    agent = _agent(Scripted(), MemoryMiddleware(memory), Slow())
    task = asyncio.create_task(agent.ainvoke(said("I like tea."), of("ann")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept(memory, "ann") == []
    blocked = False
    await agent.ainvoke(said("I like rain."), of("ann"))
    assert _asked(memory) == ["I like tea.", "I like rain."]


async def test_a_run_that_is_cancelled_while_it_saves_saves_nothing_twice() -> None:
    script = ScriptedChatModel(lambda _: {"facts": []}, delay=0.05)
    with Memory(llm=script, embedder="none", store="sqlite://:memory:") as memory:
        agent = _agent(Scripted(), MemoryMiddleware(memory, wait=True, k=0))
        for seconds in (0.0, 0.01, 0.03):
            task = asyncio.create_task(agent.ainvoke(said(f"I like number {seconds}."), of("ann")))
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await agent.ainvoke(said("I like tea."), of("ann"))
        memory.flush()
        asked = _asked(memory)
        assert asked[-1] == "I like tea."
        assert len(asked) == len(set(asked))


def test_messages_of_the_caller_without_ids(memory: Memory) -> None:
    agent = create_agent(Scripted(), middleware=[MemoryMiddleware(memory)])
    for _ in range(2):
        agent.invoke({"messages": [{"role": "user", "content": "I like tea."}]}, of("ann", None))
    assert _asked(memory) == ["I like tea.", "I like tea."]  # said twice
    assert HumanMessage("x").id is None
