"""memkit itself, as an application uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from ..data import DIMENSION, case, table
from .base import Subject

_MESSAGE = re.compile(r'^(\d+) .*?: (".*")$', re.MULTILINE)


class Memkit(Subject):
    """A memory in a file of its own, with full durability."""

    name = "memkit"
    peer = False
    distributions = ("memkit-core",)
    abilities = frozenset({"store", "reopen", "model", "async", "background", "graph", "agent", "llama"})
    ways = ("tools", "native", "text")
    import_code = "import memkit_core"
    open_code = "from memkit_core import Memory; Memory()"
    notes: ClassVar[Mapping[str, str]] = {
        "": "every add is on disk (fsync) when it returns; search is by vector and by keyword"
    }
    fill_rows = 10_000

    def open(self) -> None:
        from memkit_core import Memory

        from ..chat import ScriptedChat

        every = self.opening.every
        played = script if every is None else partial(repeat, every)
        self.chat = ScriptedChat(played, latency=self.opening.latency, way=self.opening.way)
        embedder: Any = table()  # it needs no base class, only LangChain's methods
        self._memory = Memory(llm=self.chat, embedder=embedder, store=self.folder / "memkit.db")

    def close(self) -> None:
        self._memory.close()

    def graph_store(self) -> Any:
        from memkit_langgraph import MemkitStore

        return MemkitStore(self._memory, index={"dims": DIMENSION, "embed": table(), "fields": ["text"]})

    def graph_saver(self) -> Any:
        from memkit_langgraph import MemkitSaver

        return MemkitSaver(self._memory)

    def middleware(self) -> Any:
        from memkit_langchain import MemoryMiddleware

        return MemoryMiddleware(self._memory)

    def chat_memory(self, user: str) -> Any:
        from memkit_llamaindex import MemkitMemory

        return MemkitMemory(self._memory, user_id=user)

    def add_batch(self, texts: list[str], user: str) -> None:
        self._memory.add(texts, user_id=user, infer=False)

    def search(self, question: str, user: str) -> int:
        return len(self._memory.search(question, user_id=user, limit=10))

    def add(self, messages: list[dict[str, str]], user: str) -> None:
        _check(self._memory.add(messages, user_id=user))

    def add_later(self, text: str, user: str) -> None:
        self._memory.add(text, user_id=user, wait=False)

    def flush(self) -> None:
        if self._memory.flush().pending:
            raise AssertionError("the flush left something pending")

    async def aadd(self, messages: list[dict[str, str]], user: str) -> int:
        result = await self._memory.aio.add(messages, user_id=user)
        _check(result)
        return len(result.results)


def _check(result: Any) -> None:
    if result.status != "complete":
        raise AssertionError(f"the add did not go through: {result!r}")


def script(prompt: str, tools: list[str]) -> str | list[tuple[str, dict[str, Any]]]:
    """The facts of the case, then what becomes of them, numbered as the prompt numbers the memories."""
    told = case()
    if "Decisions" in tools or "\nmemories:\n" in prompt:
        numbers = _numbers(prompt)
        answer: dict[str, Any] = {
            "decisions": [
                {
                    "fact": number,
                    "op": "UPDATE" if number in told.updates else "ADD",
                    "target": numbers[told.memories[told.updates[number]]]
                    if number in told.updates
                    else None,
                    "text": fact["text"] if number in told.updates else None,
                    "reason": "it has changed" if number in told.updates else "new",
                }
                for number, fact in enumerate(told.facts)
            ]
        }
    else:
        answer = {"facts": told.facts}
    return [(tools[0], answer)] if tools else json.dumps(answer, ensure_ascii=False)


def repeat(every: int, prompt: str, tools: list[str]) -> str | list[tuple[str, dict[str, Any]]]:
    """Each so-manieth message as a fact; none of them changes a memory."""
    if "Decisions" in tools or "\nmemories:\n" in prompt:
        answer: dict[str, Any] = {"decisions": []}
    else:
        shown = _MESSAGE.findall(prompt.rpartition("messages:\n")[2])
        facts = [{"text": json.loads(text), "cites": [int(n)]} for n, text in shown if int(n) % every == 0]
        answer = {"facts": facts}
    return [(tools[0], answer)] if tools else json.dumps(answer, ensure_ascii=False)


def _numbers(prompt: str) -> dict[str, int]:
    lines = prompt.split("memories:\n", 1)[1].split("facts:\n", 1)[0].splitlines()
    rows = (line.partition(": ") for line in lines if line[:1].isdigit())
    return {json.loads(text): int(head.split()[0]) for head, _, text in rows}
