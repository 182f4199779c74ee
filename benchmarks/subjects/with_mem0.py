"""mem0ai with everything on this machine: Qdrant's local mode, the scripted model, the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from ..data import DIMENSION, case
from .base import Subject

_OPEN = """\
from langchain_core.embeddings import FakeEmbeddings
from langchain_core.language_models import FakeListChatModel
from mem0 import Memory
Memory.from_config({
    "vector_store": {"provider": "qdrant", "config": {
        "path": "qdrant", "on_disk": True, "embedding_model_dims": 384}},
    "llm": {"provider": "langchain", "config": {"model": FakeListChatModel(responses=[""])}},
    "embedder": {"provider": "langchain", "config": {"model": FakeEmbeddings(size=384)}},
    "history_db_path": "history.db",
})
"""


class Mem0(Subject):
    """The open-source edition without its optional extras (BM25 and entities need downloaded models)."""

    name = "mem0"
    distributions = ("mem0ai", "qdrant-client", "chromadb", "langchain-core")
    abilities = frozenset({"store", "reopen", "model", "async"})
    import_code = "import mem0"
    open_code = _OPEN
    notes: ClassVar[Mapping[str, str]] = {
        "": "Qdrant's local mode, which loads all vectors of a folder; vectors only, since its keyword and "
        "entity search need models from the network",
        "batch-add": "takes a list of messages, and stores and embeds them one by one",
        "model-add": "asks once: new memories are added and old ones left as they are",
        "concurrent-adds": "asks once; the synchronous model runs on the default executor's threads; on "
        "Chroma, since Qdrant's local mode is made for one thread (adds at once raise IndexError "
        "or lose facts)",
    }
    fill_rows = 200

    def open(self) -> None:
        mem0: Any = import_module("mem0")
        chat: Any = import_module("benchmarks.chat")
        self.chat = chat.ScriptedChat(_script, latency=self.opening.latency)
        kind = mem0.AsyncMemory if self.opening.asynchronous else mem0.Memory
        store: dict[str, Any] = {
            "provider": "qdrant",
            "config": {
                "path": str(self.folder / "qdrant"),
                "on_disk": True,
                "embedding_model_dims": DIMENSION,
            },
        }
        if self.opening.asynchronous:
            store = {"provider": "chroma", "config": {"path": str(self.folder / "chroma")}}
        self._memory = kind.from_config(
            {
                "vector_store": store,
                "llm": {"provider": "langchain", "config": {"model": self.chat}},
                "embedder": {"provider": "langchain", "config": {"model": chat.langchain_table()}},
                "history_db_path": str(self.folder / "history.db"),
            }
        )

    def close(self) -> None:
        self._memory.close()
        if not self.opening.asynchronous:
            self._memory.vector_store.client.close()  # its own ``close`` keeps the folder locked

    def add_batch(self, texts: list[str], user: str) -> None:
        self._memory.add(_said(texts), user_id=user, infer=False)

    def search(self, question: str, user: str) -> int:
        # random vectors are far from each other: its default threshold would leave most of them out
        found = self._memory.search(question, filters={"user_id": user}, top_k=10, threshold=0.0)
        return len(found["results"])

    def add(self, messages: list[dict[str, str]], user: str) -> None:
        _check(self._memory.add(messages, user_id=user))

    async def afill(self, texts: list[str], user: str) -> None:
        await self._memory.add(_said(texts), user_id=user, infer=False)

    async def aadd(self, messages: list[dict[str, str]], user: str) -> int:
        return len((await self._memory.add(messages, user_id=user))["results"])


def _said(texts: list[str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def _check(result: Any) -> None:
    if len(result["results"]) != len(case().facts):
        raise AssertionError(f"the add did not go through: {result!r}")


def _script(_prompt: str, _tools: list[str]) -> str:
    facts = [{"id": str(number), "text": fact["text"]} for number, fact in enumerate(case().facts)]
    return json.dumps({"memory": facts}, ensure_ascii=False)
