"""langmem's tools, unchanged, on this store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from memkit_core import Memory
from memkit_langgraph import MemkitStore, user_label, user_namespace

langmem = pytest.importorskip("langmem")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


def tools(namespace: Any, store: MemkitStore) -> tuple[Any, Any]:
    return (
        langmem.create_manage_memory_tool(namespace=namespace, store=store),
        langmem.create_search_memory_tool(namespace=namespace, store=store),
    )


@pytest.mark.parametrize("label", ["notes", "memories"])
def test_create_search_update_delete(memory: Memory, label: str) -> None:
    store = MemkitStore(memory)
    manage, search = tools((label, "{user}"), store)
    ana: Any = {"configurable": {"user": user_label("ana@example.com")}}
    ben: Any = {"configurable": {"user": user_label("ben")}}
    manage.invoke({"content": "Ana prefers green tea", "action": "create"}, ana)
    manage.invoke({"content": "Ben prefers coffee", "action": "create"}, ben)
    found = json.loads(search.invoke({"query": "tea"}, ana))
    assert [item["value"]["content"] for item in found] == ["Ana prefers green tea"]
    manage.invoke({"content": "Ana prefers black tea", "action": "update", "id": found[0]["key"]}, ana)
    again = json.loads(search.invoke({"query": "tea"}, ana))
    assert [item["value"]["content"] for item in again] == ["Ana prefers black tea"]
    known = [hit.memory for hit in memory.search("tea", user_id="ana@example.com").results]
    assert known == (["Ana prefers black tea"] if label == "memories" else [])
    manage.invoke({"action": "delete", "id": again[0]["key"]}, ana)
    assert json.loads(search.invoke({"query": "tea"}, ana)) == []
    assert len(json.loads(search.invoke({"query": "coffee"}, ben))) == 1


async def test_asynchronously(memory: Memory) -> None:
    store = MemkitStore(memory)
    manage, search = tools(user_namespace("memories", "ana"), store)
    await manage.ainvoke({"content": "Ana prefers green tea", "action": "create"})
    found = json.loads(await search.ainvoke({"query": "tea"}))
    assert found[0]["value"]["content"] == "Ana prefers green tea"
    assert memory.search("tea", user_id="ana").results[0].memory == "Ana prefers green tea"


class Preference(BaseModel):
    topic: str
    text: str


@pytest.mark.parametrize("label", ["notes", "memories"])
def test_with_a_schema(memory: Memory, label: str) -> None:
    store = MemkitStore(memory)
    namespace = user_namespace(label, "ana")
    manage = langmem.create_manage_memory_tool(namespace=namespace, store=store, schema=Preference)
    search = langmem.create_search_memory_tool(namespace=namespace, store=store)
    jazz, rock = ({"topic": "music", "text": f"likes {what}"} for what in ("jazz", "rock"))
    manage.invoke({"content": jazz, "action": "create"})
    found = json.loads(search.invoke({"query": "music"}))
    assert [item["value"]["content"] for item in found] == [jazz]
    manage.invoke({"content": rock, "action": "update", "id": found[0]["key"]})
    again = json.loads(search.invoke({"query": "music"}))
    assert [item["value"]["content"] for item in again] == [rock]
    if label == "memories":
        assert "likes rock" in memory.search("music", user_id="ana").results[0].memory
    manage.invoke({"action": "delete", "id": again[0]["key"]})
    assert json.loads(search.invoke({"query": "music"})) == []
