"""Real agents and chat engines of LlamaIndex with ``MemkitMemory``, under scripted models."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.workflow import Context

from memkit_core import Memory
from memkit_llamaindex import MemkitMemory, MemkitRetriever, MemkitToolSpec

pytestmark = [
    # LlamaIndex looks through all attributes of a workflow, those that pydantic has deprecated too,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:inspect"),
    # and its ReAct agent asks its context what its workflows have deprecated.
    pytest.mark.filterwarnings("ignore:is_running called:DeprecationWarning"),
]


class Script:
    """A function-calling model that gives one reply after the other and keeps what it was asked."""

    def __init__(self, *replies: ChatMessage | Callable[[Sequence[ChatMessage]], ChatMessage]) -> None:
        self.asked: list[list[ChatMessage]] = []
        self._replies = list(replies)
        self.llm = MockFunctionCallingLLM(response_generator=self._reply, is_chat_model=True)

    def _reply(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatMessage:
        self.asked.append(list(messages))
        reply = self._replies.pop(0)
        return reply(messages) if callable(reply) else reply


def says(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def calls(name: str, **arguments: Any) -> ChatMessage:
    block = ToolCallBlock(tool_call_id="1", tool_name=name, tool_kwargs=arguments)
    return ChatMessage(role="assistant", blocks=[block])


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def roles(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.role.value for message in messages]


def texts(memory: Memory, user_id: str = "ann") -> list[str]:
    return [item.memory for item in memory.get_all(user_id=user_id)]


async def test_a_function_agent_recalls_calls_a_tool_and_remembers(memory: Memory) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    script = Script(calls("add", a=1, b=2), says("It is 3."), says("Peanuts."))
    agent = FunctionAgent(tools=[add], llm=script.llm, streaming=False)
    mine = MemkitMemory(memory, user_id="ann", session_id="s", wait=True)
    answered = await agent.run("What is 1 + 2? I live in Berlin.", memory=mine)
    assert str(answered) == "It is 3."
    assert roles(mine.get_all()) == ["user", "assistant", "tool", "assistant"]
    assert mine.get_all()[1].blocks[0] == calls("add", a=1, b=2).blocks[0]
    assert any("Berlin" in text for text in texts(memory))
    again = MemkitMemory(memory, user_id="ann", session_id="s", wait=True)
    await agent.run("What am I allergic to?", memory=again)
    last = script.asked[-1]
    assert roles(last) == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert "allergic to peanuts" in str(last[0].content)


async def test_a_context_keeps_the_history_over_its_dict(memory: Memory) -> None:
    script = Script(says("Hello Ann."), says("You are Ann."))
    agent = FunctionAgent(tools=[], llm=script.llm, streaming=False)
    context = Context(agent)
    await agent.run("My name is Ann.", ctx=context, memory=MemkitMemory(memory, user_id="ann"))
    restored = Context.from_dict(agent, context.to_dict())
    await agent.run("Who am I?", ctx=restored)
    seen = [m.content for m in script.asked[-1] if m.role != MessageRole.SYSTEM]
    assert seen == ["My name is Ann.", "Hello Ann.", "Who am I?"]


async def test_a_function_agent_with_tools_of_memory(memory: Memory) -> None:
    script = Script(
        calls("save_memory", content="Ann plays the cello."),
        lambda messages: says(f"Saved: {messages[-1].content}"),
    )
    tools: Any = MemkitToolSpec(memory, user_id="ann").to_tool_list()
    agent = FunctionAgent(tools=tools, llm=script.llm, streaming=False)
    await agent.run(
        user_msg="Remember that I play the cello.", memory=MemkitMemory(memory, user_id="ann", wait=True)
    )
    assert "Ann plays the cello." in texts(memory)


async def test_a_streaming_function_agent(memory: Memory) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    script = Script(calls("add", a=1, b=2), says("It is 3."))
    agent = FunctionAgent(tools=[add], llm=script.llm, streaming=True)
    mine = MemkitMemory(memory, user_id="ann", wait=True)
    running = agent.run(user_msg="What is 1 + 2? I live in Berlin.", memory=mine)
    streamed = [event.delta async for event in running.stream_events() if isinstance(event, AgentStream)]
    assert str(await running) == "It is 3."
    # What is recalled and remembered stays out of what the user is shown.
    assert "It is 3." in "".join(streamed)
    assert "peanuts" not in "".join(streamed)
    assert roles(mine.get_all()) == ["user", "assistant", "tool", "assistant"]
    assert any("Berlin" in text for text in texts(memory))


async def test_an_agent_answers_where_the_memory_fails(
    memory: Memory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(says("Hello."), says("Hello again."))
    agent = FunctionAgent(tools=[], llm=script.llm, streaming=False)
    mine = MemkitMemory(memory, user_id="ann")
    with closing(sqlite3.connect(tmp_path / "llama.db", isolation_level=None)) as connection:
        connection.execute("ALTER TABLE memories RENAME TO gone")
        assert str(await agent.run(user_msg="I live in Berlin.", memory=mine)) == "Hello."
        connection.execute("ALTER TABLE gone RENAME TO memories")
    assert "could not remember" in caplog.text
    assert str(await agent.run(user_msg="I work in Potsdam.", memory=mine)) == "Hello again."
    told = texts(memory)
    assert [sum(place in text for text in told) for place in ("Berlin", "Potsdam")] == [1, 1]


async def test_many_users_at_once_on_one_loop(memory: Memory) -> None:
    names = [f"User{n}" for n in range(8)]

    def reply(messages: Sequence[ChatMessage], **kwargs: Any) -> ChatMessage:
        return says(" ".join(sorted({name for name in names if name in str(messages)})))

    agent = FunctionAgent(llm=MockFunctionCallingLLM(response_generator=reply), streaming=False)

    async def talk(name: str) -> None:
        for turn in range(4):
            mine = MemkitMemory(memory, user_id=name, session_id="one", wait=True)
            assert str(await agent.run(user_msg=f"{turn}: my secret is {name}", memory=mine)) == name

    await asyncio.gather(*(talk(name) for name in names))
    for name in names:
        assert all(name in text for text in texts(memory, name))
        assert len(texts(memory, name)) >= 4


async def test_a_react_agent(memory: Memory) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    script = Script(
        says('Thought: I need a tool.\nAction: add\nAction Input: {"a": 1, "b": 2}'),
        says("Thought: I can answer without using any more tools.\nAnswer: 3"),
    )
    agent = ReActAgent(tools=[add], llm=script.llm, streaming=False)
    # This agent drops a leading system message.
    mine = MemkitMemory(memory, user_id="ann", insert_method="user", wait=True)
    answered = await agent.run("What is 1 + 2? I am allergic to peanuts.", memory=mine)
    assert str(answered) == "3"
    assert roles(mine.get_all())[0] == "user"
    assert (mine.get_all()[-1].content or "").endswith("3")
    (asked,) = [m for m in script.asked[0] if m.role == MessageRole.USER]
    assert str(asked.content).endswith("What is 1 + 2? I am allergic to peanuts.")
    assert len(str(asked.content)) > 100


async def test_a_workflow_of_two_agents(memory: Memory) -> None:
    script = Script(calls("handoff", to_agent="second", reason="it knows"), says("Forty-two."))
    first = FunctionAgent(
        name="first", description="asks", llm=script.llm, can_handoff_to=["second"], streaming=False
    )
    second = FunctionAgent(name="second", description="answers", llm=script.llm, streaming=False)
    workflow = AgentWorkflow(agents=[first, second], root_agent="first")
    mine = MemkitMemory(memory, user_id="ann", session_id="s", wait=True)
    context = Context(workflow)
    assert "Forty-two." in str(await workflow.run("I own a horse. What now?", memory=mine, ctx=context))
    assert any("I own a horse." in text for text in texts(memory))
    back = Context.from_dict(workflow, context.to_dict())
    restored = await back.store.get("memory")
    assert isinstance(restored, MemkitMemory)
    assert restored.get_all() == mine.get_all()
    assert "Forty-two." in str(restored.get_all()[-1].content)


@pytest.mark.parametrize("insert_method", ["system", "user"])
async def test_the_chat_engines(memory: Memory, insert_method: Any) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    retriever = MemkitRetriever(memory, user_id="ann", k=1)
    query_engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    mine = [MemkitMemory(memory, user_id="ann", insert_method=insert_method, wait=True) for _ in range(3)]
    simple = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=mine[0])
    condense = CondenseQuestionChatEngine.from_defaults(query_engine, llm=MockLLM(), memory=mine[1])
    context = ContextChatEngine.from_defaults(retriever, llm=MockLLM(), memory=mine[2])
    for engine, kept in zip((simple, condense, context), mine, strict=True):
        # The double replies with the prompt that it got.
        assert "allergic to peanuts" in str(engine.chat("What am I allergic to?"))
        assert roles(kept.get_all()) == ["user", "assistant"]
        await engine.achat("And what else?")
        assert roles(kept.get_all()) == ["user", "assistant"] * 2
        assert engine.chat_history == kept.get_all()
        engine.reset()
        assert kept.get_all() == []
    assert "I am allergic to peanuts." in texts(memory)


async def test_the_chat_engine_that_condenses_and_retrieves(memory: Memory) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    script = Script(says("Peanuts."), says("Nothing else."))
    mine = MemkitMemory(memory, user_id="ann", wait=True)
    retriever = MemkitRetriever(memory, user_id="ann", k=1)
    engine = CondensePlusContextChatEngine.from_defaults(retriever, llm=script.llm, memory=mine)
    assert str(engine.chat("What am I allergic to?")) == "Peanuts."
    assert "allergic to peanuts" in str(script.asked[0])
    assert str(await engine.achat("And what else?")) == "Nothing else."
    said = ["What am I allergic to?", "Peanuts.", "And what else?", "Nothing else."]
    assert [m.content for m in mine.get_all()] == said


async def test_streamed_answers_are_kept(memory: Memory) -> None:
    mine = MemkitMemory(memory, user_id="ann", wait=True)
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=3), memory=mine)
    assert "".join(engine.stream_chat("I live in Berlin.").response_gen)
    assert roles(mine.get_all()) == ["user", "assistant"]
    streamed = await engine.astream_chat("And I work in Potsdam.")
    assert "".join([token async for token in streamed.async_response_gen()])
    assert roles(mine.get_all()) == ["user", "assistant"] * 2
    assert any("Berlin" in text for text in texts(memory))
