"""The retriever and the tools at work: whose memories, what a document tells, what a model may choose."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

from memkit_core import AsOf, Memory
from memkit_core.errors import UsageError
from memkit_langchain import (
    MemoryMiddleware,
    MemoryRetriever,
    create_memory_tools,
    create_recall,
    create_remember,
)


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


@pytest.mark.parametrize("how", ["id", "function", "run"])
async def test_one_retriever_serves_many_users_by_their_runs(memory: Memory, how: str) -> None:
    memory.add("Ann keeps bees.", user_id="ann")
    memory.add("Bob keeps hens.", user_id="bob")

    def of_run(config: Any, _runtime: Any) -> str:
        return str(config["configurable"]["user_id"])

    whose: Any = {"id": "ann", "function": of_run, "run": None}[how]
    retriever = MemoryRetriever(memory=memory, user_id=whose)
    chain = RunnableLambda(lambda query: query) | retriever
    for user, expected in (("ann", "Ann keeps bees."), ("bob", "Bob keeps hens.")):
        config: Any = {"configurable": {"user_id": user}}
        expected = "Ann keeps bees." if how == "id" else expected
        found = [
            retriever.invoke("Who keeps what?", config),
            await retriever.ainvoke("Who keeps what?", config),
            chain.invoke("Who keeps what?", config),
            await chain.ainvoke("Who keeps what?", config),
            *retriever.batch(["Who keeps what?"], config),
            *await chain.abatch(["Who keeps what?"], config),
        ]
        assert [[document.page_content for document in documents] for documents in found] == [[expected]] * 6
    if how == "run":
        with pytest.raises(UsageError, match="user"):
            retriever.invoke("Who keeps what?")


@pytest.mark.parametrize(
    "more", [{"top_k": 3}, {"search_kwargs": {"k": 3}}, {"filter": {}}, {"agent_id": ""}]
)
def test_a_retriever_refuses_what_it_does_not_know(memory: Memory, more: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        MemoryRetriever(memory=memory, user_id="ann", **more)


@pytest.mark.parametrize("tools", [["save_memory", "search_memory"], None])
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (_calls("save_memory", content=" "), "content is empty: say in a whole sentence what to remember."),
        (_calls("search_memory", query=""), "query is empty: say in a few words what to look for."),
        (_calls("save_memory", content="x" * 1_000_001), "The memory refuses this: "),
    ],
)
async def test_a_model_is_told_of_arguments_that_it_can_mend(
    memory: Memory, tools: Any, call: AIMessage, told: str
) -> None:
    for face in ("invoke", "ainvoke"):
        model = _Scripted(messages=iter([call, AIMessage("Well.")]))
        named: Any = {"middleware": [MemoryMiddleware(memory, tools=tools)]} if tools else {}
        agent = create_agent(model, create_memory_tools(memory) if not tools else [], **named)
        given: Any = {"messages": [("user", "Hi")]}, {"configurable": {"user_id": "ann"}}
        result = agent.invoke(*given) if face == "invoke" else await agent.ainvoke(*given)
        (answer,) = (m for m in result["messages"] if isinstance(m, ToolMessage))
        assert answer.text.startswith(told)


def test_a_closed_memory_is_no_fault_of_a_model(tmp_path: Any) -> None:
    memory = Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db")
    (save, *_) = create_memory_tools(memory, user_id="ann")
    memory.close()
    with pytest.raises(UsageError, match="closed"):
        save.invoke({"content": "Ann keeps bees."})


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"since": datetime(2026, 1, 1, tzinfo=UTC)}},
        {"metadata": "x"},
        {"agent_id": ""},
        {"wait": "yes"},
        {"user_id": ""},
    ],
)
def test_what_no_add_would_take_is_refused_where_it_is_given(memory: Memory, more: Any) -> None:
    for make in (MemoryMiddleware, create_remember):
        with pytest.raises(UsageError, match=next(iter(more))):
            make(memory, **more)


@pytest.mark.parametrize("more", [{"agent_id": ""}, {"k": "3"}, {"threshold": 2}, {"token_budget": 10}])
def test_what_no_search_would_take_is_refused_where_it_is_given(memory: Memory, more: Any) -> None:
    for make in (MemoryMiddleware, create_recall):
        with pytest.raises(UsageError, match=next(iter(more))):
            make(memory, **more)
    with pytest.raises(UsageError, match="list"):
        MemoryMiddleware(memory, tools="save_memory")
