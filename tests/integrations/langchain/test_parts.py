"""The retriever and the tools at work: whose memories, what a document tells, what a model may choose."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage

from memkit_core import AsOf, Memory
from memkit_core.errors import UsageError
from memkit_langchain import MemoryRetriever, create_memory_tools


class _Scripted(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **_kwargs: Any) -> Any:
        return self


def _calls(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "c1"}])


async def test_documents_tell_whence_they_are_in_both_faces(memory: Memory) -> None:
    memory.add("Ann keeps bees.", user_id="ann", metadata={"topic": "garden"})
    memory.add("Bob keeps bees.", user_id="bob")
    retriever = MemoryRetriever(memory=memory, user_id="ann", k=3, excerpts=True)
    found = retriever.invoke("Who keeps bees?")
    assert found[0].metadata["type"] == "memory"
    assert "excerpt" in [document.metadata["type"] for document in found]
    assert all("Bob" not in document.page_content for document in found)
    assert found[0].id == memory.get_all(user_id="ann").results[0].id
    assert found[0].metadata["metadata"] == {"topic": "garden"}
    assert 0 < found[0].metadata["relevance"] <= 1
    assert [document.id for document in await retriever.ainvoke("Who keeps bees?")] == [d.id for d in found]


async def test_a_retriever_answers_as_of_a_day(memory: Memory) -> None:
    memory.add("Ann keeps bees.", user_id="ann", observed_at="2026-03-01")
    memory.add("Ann keeps hens.", user_id="ann", observed_at="2026-06-01")

    def texts(documents: list[Document]) -> list[str]:
        return sorted(document.page_content for document in documents)

    now = MemoryRetriever(memory=memory, user_id="ann")
    april = MemoryRetriever(memory=memory, user_id="ann", as_of="2026-04-01")
    assert texts(now.invoke("What?")) == ["Ann keeps bees.", "Ann keeps hens."]
    assert texts(april.invoke("What?")) == texts(await april.ainvoke("What?")) == ["Ann keeps bees."]
    assert texts(now.invoke("What?", as_of=datetime(2026, 4, 1, tzinfo=UTC))) == ["Ann keeps bees."]
    assert texts(await april.ainvoke("What?", as_of="2026-07-01")) == texts(now.invoke("What?"))
    unknown_then = AsOf(known="2020-01-01")
    assert MemoryRetriever(memory=memory, user_id="ann", as_of=unknown_then).invoke("What?") == []
    with pytest.raises(ValueError, match="some day"):
        MemoryRetriever(memory=memory, user_id="ann", as_of="some day")


def test_a_retriever_for_nobody_is_refused(memory: Memory) -> None:
    with pytest.raises(ValueError, match="user_id is a non-empty text"):
        MemoryRetriever(memory=memory, user_id="")
    with pytest.raises(UsageError):
        MemoryRetriever(memory=memory, user_id=lambda config, runtime: "").invoke("x")


def test_the_model_sees_no_user(memory: Memory) -> None:
    shown = {tool.name: set(tool.args) for tool in create_memory_tools(memory, update=True, delete=True)}
    assert shown == {
        "save_memory": {"content"},
        "search_memory": {"query", "limit"},
        "update_memory": {"memory_id", "content"},
        "delete_memory": {"memory_id"},
    }


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_in_an_agent_the_run_names_the_user(memory: Memory, face: str) -> None:
    replies = iter([_calls("save_memory", content="I keep bees.", user_id="bob"), AIMessage("Noted.")])
    agent = create_agent(_Scripted(messages=replies), tools=create_memory_tools(memory))
    said: Any = {"messages": [("user", "Remember: I keep bees.")]}
    run: Any = {"configurable": {"user_id": "ann@example.com"}}
    state = agent.invoke(said, run) if face == "sync" else await agent.ainvoke(said, run)
    assert state["messages"][-1].text == "Noted."
    assert [item.memory for item in memory.get_all(user_id="ann@example.com")] == ["I keep bees."]
    assert not memory.get_all(user_id="bob").results


async def test_a_run_for_nobody_is_refused(memory: Memory) -> None:
    save, search = create_memory_tools(memory)
    with pytest.raises(UsageError):
        save.invoke({"content": "I keep bees."})
    with pytest.raises(UsageError):
        await search.ainvoke({"query": "bees"})


async def test_foreign_ids_are_unknown_and_own_ones_change(memory: Memory) -> None:
    mine = memory.add("Ann keeps bees.", user_id="ann").results[0].id
    theirs = memory.add("Bob keeps bees.", user_id="bob").results[0].id
    tools = {t.name: t for t in create_memory_tools(memory, user_id="ann", update=True, delete=True)}
    for number in (theirs, "nonsense"):
        assert "no memory" in tools["update_memory"].invoke({"memory_id": number, "content": "x"})
        assert "no memory" in await tools["delete_memory"].ainvoke({"memory_id": number})
    assert "UPDATE" in await tools["update_memory"].ainvoke({"memory_id": mine, "content": "Ann keeps hens."})
    found = tools["search_memory"].invoke({"query": "hens", "limit": 10**9})
    assert found.count('"memory": ') == found.count("Ann keeps hens.") == 1
    assert "DELETE" in tools["delete_memory"].invoke({"memory_id": mine})
    assert [item.memory for item in memory.get_all(user_id="bob")] == ["Bob keeps bees."]


def test_a_tool_message_answers_a_tool_call(memory: Memory) -> None:
    save, _ = create_memory_tools(memory, user_id="ann")
    told = save.invoke({"name": "save_memory", "args": {"content": "I ski."}, "id": "7", "type": "tool_call"})
    assert isinstance(told, ToolMessage)
    assert "I ski." in told.text


def test_the_run_s_context_names_the_user_before_its_config(memory: Memory) -> None:
    replies = iter([_calls("save_memory", content="I keep bees."), AIMessage("Noted.")])
    agent = create_agent(_Scripted(messages=replies), tools=create_memory_tools(memory), context_schema=dict)
    agent.invoke(
        {"messages": [("user", "Remember it.")]},
        {"configurable": {"user_id": "bob"}},
        context={"user_id": "ann"},
    )
    assert [item.memory for item in memory.get_all(user_id="ann")] == ["I keep bees."]
    assert not memory.get_all(user_id="bob").results
