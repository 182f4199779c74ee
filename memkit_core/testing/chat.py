"""Chat models for tests: one that follows a script, and one that fails on demand. Needs LangChain."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, PrivateAttr

from .faults import CALL_FAULTS, check_fault

Way = Literal["native", "tools", "text"]


class ScriptExhaustedError(AssertionError):
    """A scripted model was called more often than its script has replies."""


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call that a scripted model received.

    Attributes:
        way: Whether it was asked for native structured output, a tool call, or text.
        tags: LangChain tags of the call.
    """

    messages: tuple[BaseMessage, ...]
    way: Way
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """All messages' text, one after the other."""
        return "\n".join(message.text for message in self.messages)


class ScriptedChatModel(BaseChatModel):
    """A chat model that gives prepared replies, one per call, and keeps every call in ``calls``.

    A reply is a string (sent as it is), a dict, list or pydantic object (sent as JSON), an ``AIMessage``
    (sent untouched), an exception (raised), or a function of the messages that returns one of these. In
    place of a list, one function answers every call.

    With ``tools=True`` and tools bound, dicts and strings that begin with a brace or bracket come as a
    tool call, a broken one as an invalid tool call, and other strings as text. With ``native=True`` the
    model has structured output of its own and answers in JSON text. With neither it knows text only.
    Token usage is counted in words. Safe to call from several threads.

    Args:
        replies: The script.
        native: Whether ``with_structured_output`` works by itself.
        tools: Whether ``bind_tools`` works.
        delay: Seconds that each call takes.
    """

    replies: Any = Field(default_factory=list[Any])
    native: bool = False
    tools: bool = False
    delay: float = 0.0

    _calls: list[ScriptedCall] = PrivateAttr(default_factory=list[ScriptedCall])
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(
        self,
        replies: Sequence[Any] | Callable[[list[BaseMessage]], Any] = (),
        *,
        native: bool = False,
        tools: bool = False,
        delay: float = 0.0,
    ) -> None:
        fields: dict[str, Any] = {
            "replies": replies if callable(replies) else list(replies),
            "native": native,
            "tools": tools,
            "delay": delay,
            "profile": {"structured_output": native, "tool_calling": tools},
        }
        super().__init__(**fields)

    @property
    def calls(self) -> list[ScriptedCall]:
        """Every call so far, in order; a copy."""
        with self._lock:
            return list(self._calls)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The model made to answer by a tool call.

        Raises:
            NotImplementedError: It was made without ``tools=True``.
        """
        if not self.tools:
            raise NotImplementedError
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """The model made to answer in the shape of a pydantic class.

        Raises:
            NotImplementedError: It was made without ``native=True`` and ``tools=True``.
            ValueError: For further arguments, such as ``method``.
        """
        if not self.native:
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        if kwargs:
            raise ValueError(f"unsupported arguments: {sorted(kwargs)}")
        if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise TypeError("the scripted model's structured output takes a pydantic class")
        model = self.bind(response_format=schema.__name__)
        parser: Runnable[Any, Any] = PydanticOutputParser(pydantic_object=schema)
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the base class names it
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            time.sleep(self.delay)
        return self._answer(messages, kwargs, run_manager)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the base class names it
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            await asyncio.sleep(self.delay)
        return self._answer(messages, kwargs, run_manager)

    def _answer(
        self,
        messages: list[BaseMessage],
        bound: Mapping[str, Any],
        run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
    ) -> ChatResult:
        tools: list[dict[str, Any]] = bound.get("tools") or []
        way: Way = "tools" if tools else "native" if "response_format" in bound else "text"
        tags = tuple(getattr(run, "tags", None) or ())
        with self._lock:
            self._calls.append(ScriptedCall(tuple(messages), way, tags))
            reply = self._next_reply()
        message = _message(_evaluated(reply, messages), tools, words=sum(map(_words, messages)))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _next_reply(self) -> Any:
        """The reply of this call. The lock is held."""
        if callable(self.replies):
            return self.replies
        number = len(self._calls) - 1
        if number >= len(self.replies):
            raise ScriptExhaustedError(
                f"the script has {len(self.replies)} replies and this is call {number + 1}: "
                f"{self._calls[-1].text[-300:]!r}"
            )
        return self.replies[number]


class FaultyChatModel(ScriptedChatModel):
    """A scripted chat model that fails when it is told to.

    Args:
        replies: The good replies; a failing call uses none of them up.
        faults: One name for every call, or one name (or None) per call in order; further calls are good.
            Names: timeout, reset, rate_limit (429 with Retry-After), server_error (500), unauthorized (401),
            bad_request (400), empty, truncated, malformed, refusal, prose, huge (10 MB).
        native, tools, delay: As for ``ScriptedChatModel``.
    """

    _faults: Any = PrivateAttr(default=())
    _good: int = PrivateAttr(default=0)

    def __init__(
        self,
        replies: Sequence[Any] | Callable[[list[BaseMessage]], Any] = (),
        *,
        faults: str | Sequence[str | None] = (),
        native: bool = False,
        tools: bool = False,
        delay: float = 0.0,
    ) -> None:
        for fault in [faults] if isinstance(faults, str) else faults:
            check_fault(fault, {**CALL_FAULTS, **REPLY_FAULTS})
        super().__init__(replies, native=native, tools=tools, delay=delay)
        self._faults = faults if isinstance(faults, str) else tuple(faults)

    def _next_reply(self) -> Any:
        number = len(self._calls) - 1
        fault: str | None = None
        if isinstance(self._faults, str):
            fault = self._faults
        elif number < len(self._faults):
            fault = self._faults[number]
        if fault is not None:
            return CALL_FAULTS[fault]() if fault in CALL_FAULTS else REPLY_FAULTS[fault]()
        if callable(self.replies):
            return self.replies
        self._good += 1
        if self._good > len(self.replies):
            raise ScriptExhaustedError(f"the script has {len(self.replies)} good replies; all are used up")
        return self.replies[self._good - 1]


#: What a call that succeeds may bring back in place of an answer, by the fault's name.
REPLY_FAULTS: Final[Mapping[str, Callable[[], Any]]] = {
    "empty": lambda: AIMessage(content=""),
    "truncated": lambda: AIMessage(
        content='{"facts": [{"text": "The user li', response_metadata={"finish_reason": "length"}
    ),
    "malformed": lambda: '{"facts": [{"text": "The user likes tea",}], "decisions": [,]}',
    "refusal": lambda: AIMessage(content="", additional_kwargs={"refusal": "I cannot help with that."}),
    "prose": lambda: "I have read the conversation and will remember what matters.",
    "huge": lambda: '{"facts": [{"text": "' + "x" * 10_000_000 + '"}]}',
}


def _evaluated(reply: Any, messages: list[BaseMessage]) -> Any:
    if callable(reply):
        reply = reply(messages)
    if isinstance(reply, BaseException):
        raise reply
    return reply


def _message(reply: Any, tools: list[dict[str, Any]], *, words: int) -> AIMessage:
    if isinstance(reply, AIMessage):
        return reply
    if isinstance(reply, BaseModel):
        reply = reply.model_dump(mode="json")
    text: str = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
    count = len(text.split())
    usage = UsageMetadata(input_tokens=words, output_tokens=count, total_tokens=words + count)
    if not tools or text.lstrip()[:1] not in ("{", "["):
        return AIMessage(content=text, usage_metadata=usage)
    name: str = tools[0]["function"]["name"]
    try:
        arguments: Any = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        call = ToolCall(name=name, args=cast("dict[str, Any]", arguments), id="call_1", type="tool_call")
        return AIMessage(content="", tool_calls=[call], usage_metadata=usage)
    broken = InvalidToolCall(
        name=name, args=text, id="call_1", error="arguments are no JSON object", type="invalid_tool_call"
    )
    return AIMessage(content="", invalid_tool_calls=[broken], usage_metadata=usage)


def _words(message: BaseMessage) -> int:
    return len(message.text.split())
