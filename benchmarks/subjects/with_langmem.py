"""LangMem over LangGraph's store in memory: its tools for single memories, its manager for conversations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from ..data import DIMENSION, case
from .base import Subject

_OPEN = """\
from langchain_core.embeddings import FakeEmbeddings
from langchain_core.language_models import FakeListChatModel
from langgraph.store.memory import InMemoryStore
from langmem import create_memory_store_manager
store = InMemoryStore(index={"dims": 384, "embed": FakeEmbeddings(size=384)})
create_memory_store_manager(FakeListChatModel(responses=[""]), store=store)
"""


class LangMem(Subject):
    """The manager recalls ten memories, as many as memkit offers."""

    name = "langmem"
    distributions = ("langmem", "langgraph", "langchain-core")
    abilities = frozenset({"store", "model", "async"})
    import_code = "import langmem"
    open_code = _OPEN
    notes: ClassVar[Mapping[str, str]] = {
        "": "LangGraph's InMemoryStore keeps nothing on disk; vectors only; LangMem's tools add and search",
        "batch-add": "LangMem has no verb for many: one batch of LangGraph's store",
        "model-add": "asks once, by tool calls; the scripted reply adds every fact and patches none",
        "concurrent-adds": "asks once, by tool calls",
    }

    def open(self) -> None:
        langmem: Any = import_module("langmem")
        memory: Any = import_module("langgraph.store.memory")
        chat: Any = import_module("benchmarks.chat")
        self._put: Any = import_module("langgraph.store.base").PutOp
        table = chat.langchain_table()
        self.chat = chat.ScriptedChat(_script, latency=self.opening.latency)
        self._store = memory.InMemoryStore(index={"dims": DIMENSION, "embed": table})
        namespace = ("memories", "{langgraph_user_id}")
        self._manage = langmem.create_manage_memory_tool(namespace, store=self._store)
        self._find = langmem.create_search_memory_tool(
            namespace, store=self._store, response_format="content_and_artifact"
        )
        self._manager = langmem.create_memory_store_manager(
            self.chat, namespace=namespace, store=self._store, query_limit=10
        )

    def add_raw(self, text: str, user: str) -> None:
        self._manage.invoke({"content": text, "action": "create"}, config=_config(user))

    def add_batch(self, texts: list[str], user: str) -> None:
        self._store.batch(
            [
                self._put(
                    namespace=("memories", user),
                    key=str(uuid.uuid4()),
                    value={"kind": "Memory", "content": {"content": text}},
                )
                for text in texts
            ]
        )

    def search(self, question: str, user: str) -> int:
        call = {"type": "tool_call", "id": "call_1", "name": "search_memory"}
        found = self._find.invoke({**call, "args": {"query": question, "limit": 10}}, config=_config(user))
        return len(found.artifact)

    def add(self, messages: list[dict[str, str]], user: str) -> None:
        _check(self._manager.invoke({"messages": messages}, config=_config(user)))

    async def aadd(self, messages: list[dict[str, str]], user: str) -> int:
        puts = await self._manager.ainvoke({"messages": messages}, config=_config(user))
        _check(puts)
        return len(puts)


def _config(user: str) -> dict[str, Any]:
    return {"configurable": {"langgraph_user_id": user}}


def _check(puts: list[Any]) -> None:
    if len(puts) != len(case().facts):
        raise AssertionError(f"the add did not go through: {puts!r}")


def _script(_prompt: str, _tools: list[str]) -> list[tuple[str, dict[str, Any]]]:
    return [("Memory", {"content": fact["text"]}) for fact in case().facts]
