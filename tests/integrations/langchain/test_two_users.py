"""Two users at once in one process, by middleware, retriever and tools: nothing of one reaches the other."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import create_retriever_tool

from memkit_core import Memory
from memkit_langchain import MemoryMiddleware, MemoryRetriever

from .scripted import Scripted, calls, known, of, said

SECRETS = {"ann": "ruby", "bob": "opal"}
_asking: ContextVar[str] = ContextVar("asking")


def _agent(memory: Memory) -> Any:
    """One agent and one retriever for both; its answer is all that it was shown by anybody."""
    retriever = MemoryRetriever(
        memory=memory, user_id=lambda _config, _runtime: _asking.get(), k=3, excerpts=True
    )
    foreign = {
        user: memory.add(f"My first {word}.", user_id=user).results[0].id for user, word in SECRETS.items()
    }

    def speak(messages: list[Any]) -> AIMessage | str:
        last = messages[-1]
        if last.type == "tool":
            return " | ".join(message.text for message in messages if message.type != "human")
        tool, _, rest = last.text.partition(": ")
        if tool in ("update_memory", "delete_memory"):
            more = {"content": "Overwritten."} if tool == "update_memory" else {}
            return calls(tool, memory_id=foreign[rest], **more)
        if tool == "save_memory":
            return calls(tool, content=rest)
        return calls(tool, query=rest) if tool in ("search_memory", "recall") else messages[0].text

    tools = ["save_memory", "search_memory", "update_memory", "delete_memory"]
    middleware = MemoryMiddleware(memory, k=3, tools=tools)
    recall = create_retriever_tool(retriever, "recall", "Recalls.")
    return create_agent(Scripted(script=speak), tools=[recall], middleware=[middleware])


async def _interleaved(memory: Memory, turns: int) -> None:
    agent = _agent(memory)
    recalled: list[bool] = []

    async def turn(user: str, number: int) -> int:
        _asking.set(user)
        word = SECRETS[user]
        other = next(one for one in SECRETS if one != user)
        kinds = (
            f"My {word} has number {number % 50}.",
            "search_memory: Which number has my stone?",
            "recall: Which number has my stone?",
            f"save_memory: I polished my {word} {number % 20} times.",
            f"{'update' if number % 2 else 'delete'}_memory: {other}",
        )
        asked = said(kinds[number % len(kinds)])
        state = await agent.ainvoke(asked, of(user, None))
        shown = " ".join(message.text for message in state["messages"])
        recalled.append(word in shown)
        return shown.count(SECRETS[other])

    for start in range(0, turns // 2, 5):
        leaks = await asyncio.gather(
            *(turn(user, number) for number in range(start, start + 5) for user in SECRETS)
        )
        assert sum(leaks) == 0
    assert len(recalled) == turns
    assert recalled.count(True) > turns / 2
    for user, word in SECRETS.items():
        assert f"My first {word}." in known(memory, user)
        other = next(secret for secret in SECRETS.values() if secret != word)
        assert not [text for text in known(memory, user) if other in text or "Overwritten" in text]


async def test_two_users_at_once_never_see_each_other(memory: Memory) -> None:
    await _interleaved(memory, 300)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_two_users_never_see_each_other_in_ten_thousand_turns(memory: Memory) -> None:
    await _interleaved(memory, 10_000)
