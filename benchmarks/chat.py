"""LangChain's side of the data: a chat model that follows a script, and the table of embeddings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from pydantic import PrivateAttr

from .data import Table

#: How a model can be asked for structure; the last one puts the schema into the prompt's text.
Way = Literal["tools", "native", "text"]
#: Text, or tool calls as (name, arguments); made from all that the model saw and the tools' names.
Reply = str | list[tuple[str, dict[str, Any]]]
#: One call's parts: (role or "schema", text).
Parts = list[tuple[str, str]]


class LangChainTable(Table, Embeddings):
    """The table for those who insist on LangChain's class."""


@cache
def langchain_table() -> LangChainTable:
    return LangChainTable()


class ScriptedChat(BaseChatModel):
    """A chat model that takes a fixed time, says what the script says, and keeps what it was asked.

    Attributes:
        latency: Seconds that each call sleeps.
    """

    script: Any
    latency: float = 0.0
    _asked: list[Parts] = PrivateAttr(default_factory=list)
    _slept: list[float] = PrivateAttr(default_factory=list)

    def __init__(
        self, script: Callable[[str, list[str]], Reply], *, latency: float = 0.0, way: Way = "tools"
    ) -> None:
        fields: dict[str, Any] = {"script": script, "latency": latency}
        fields["profile"] = {"structured_output": way == "native", "tool_calling": way == "tools"}
        super().__init__(**fields)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def taken(self) -> tuple[list[Parts], float]:
        """What was asked since the last time, and the seconds slept over it."""
        asked, slept = list(self._asked), sum(self._slept)
        self._asked.clear()
        self._slept.clear()
        return asked, slept

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        made = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=made, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **_: Any
    ) -> Runnable[Any, Any]:
        if not include_raw:
            raise NotImplementedError("only what keeps the raw reply is played here")
        form = {"type": "json_schema", "json_schema": convert_to_openai_function(schema, strict=True)}
        return self.bind(response_format=form) | RunnableLambda(_unparsed)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: Any = None,  # noqa: ARG002 - the base class names it
        run_manager: Any = None,  # noqa: ARG002 - so it does this
        **kwargs: Any,
    ) -> ChatResult:
        before = time.perf_counter()
        time.sleep(self.latency)
        return self._answer(messages, kwargs, time.perf_counter() - before)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: Any = None,  # noqa: ARG002 - the base class names it
        run_manager: Any = None,  # noqa: ARG002 - so it does this
        **kwargs: Any,
    ) -> ChatResult:
        before = time.perf_counter()
        await asyncio.sleep(self.latency)
        return self._answer(messages, kwargs, time.perf_counter() - before)

    def _answer(self, messages: list[BaseMessage], bound: dict[str, Any], slept: float) -> ChatResult:
        self._slept.append(slept)
        tools: list[Any] = bound.get("tools") or []
        schemas = tools or ([bound["response_format"]] if "response_format" in bound else [])
        parts = [(message.type, str(message.text)) for message in messages]
        parts += [("schema", json.dumps(s, ensure_ascii=False, separators=(",", ":"))) for s in schemas]
        self._asked.append(parts)
        reply = self.script("\n".join(text for _, text in parts), [t["function"]["name"] for t in tools])
        if isinstance(reply, str):
            message = AIMessage(content=reply)
        else:
            calls = [
                {"name": name, "args": args, "id": f"call_{n}", "type": "tool_call"}
                for n, (name, args) in enumerate(reply)
            ]
            message = AIMessage(content="", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _unparsed(message: Any) -> dict[str, Any]:
    return {"raw": message, "parsed": None, "parsing_error": None}
