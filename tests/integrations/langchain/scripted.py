"""Agents with a model that follows a script, and what it was shown."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field


class Scripted(BaseChatModel):
    """Says what the script says, word by word where it is streamed, and keeps what it was shown.

    Attributes:
        script: Answers in order, or a function of the messages.
    """

    script: Any = "Well."
    shown: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_kwargs: Any) -> Any:
        return self

    @property
    def systems(self) -> list[str]:
        """The system message's text of each call, empty where there was none."""
        return [call[0].text if isinstance(call[0], SystemMessage) else "" for call in self.shown]

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        self.shown.append(list(messages))
        reply = self.script
        if isinstance(reply, list):
            reply = reply[len(self.shown) - 1]
        if callable(reply):
            reply = reply(messages)
        if isinstance(reply, Exception):
            raise reply
        return AIMessage(reply) if isinstance(reply, str) else reply

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages).model_copy())])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        calls = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": number}
            for number, call in enumerate(reply.tool_calls)
        ]
        words = reply.text.split(" ") if reply.text else [""]
        for number, word in enumerate(words):
            text = word if number == 0 else f" {word}"
            chunk = AIMessageChunk(text, tool_call_chunks=calls if number == 0 else [])
            yield ChatGenerationChunk(message=chunk)


def calls(name: str, *, text: str = "", **args: Any) -> AIMessage:
    """An answer that calls one tool."""
    return AIMessage(
        text, tool_calls=[{"name": name, "args": args, "id": f"call-{name}", "type": "tool_call"}]
    )


def said(*texts: str) -> dict[str, Any]:
    """An agent's input."""
    return {"messages": [HumanMessage(text) for text in texts]}


def of(user: str | None, thread: str | None = "t") -> Any:
    """A run's config."""
    return {"configurable": {k: v for k, v in (("thread_id", thread), ("user_id", user)) if v}}


def known(memory: Any, user: str) -> list[str]:
    """All memories of a user."""
    return sorted(item.memory for item in memory.get_all(user_id=user, limit=1000))


def kept(memory: Any, user: str) -> list[tuple[str, str]]:
    """Role and text of every message that was stored for a user, in order: what ``add`` was called with."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.jsonl"
        memory.admin.export(file, user_id=user)
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
    return [(line["role"], line["content"]) for line in lines if line["kind"] == "message"]
