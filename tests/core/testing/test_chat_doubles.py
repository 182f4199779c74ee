"""The scripted chat model behaves like a real one as far as its callers can tell."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from memkit_core.testing import FaultyChatModel, ProviderFault, ScriptedChatModel, ScriptExhaustedError


class Shape(BaseModel):
    """An answer."""

    value: int


def test_replies_come_in_order_and_calls_are_kept() -> None:
    model = ScriptedChatModel(["one", {"two": 2}, Shape(value=3), AIMessage("four"), lambda messages: "five"])
    texts = [model.invoke(f"question {n}").text for n in range(5)]
    assert texts == ["one", '{"two": 2}', '{"value":3}'.replace(":", ": "), "four", "five"]
    assert [call.text for call in model.calls] == [f"question {n}" for n in range(5)]
    assert {call.way for call in model.calls} == {"text"}
    with pytest.raises(ScriptExhaustedError, match="5 replies and this is call 6"):
        model.invoke("one more")


def test_sync_equals_async() -> None:
    for options in ({}, {"native": True}, {"tools": True}):
        first, second = (ScriptedChatModel([{"value": 1}], delay=0.001, **options) for _ in range(2))
        reply, other = first.invoke("hi"), asyncio.run(second.ainvoke("hi"))
        assert reply.content == other.content
        assert reply.usage_metadata == other.usage_metadata == {
            "input_tokens": 1, "output_tokens": 2, "total_tokens": 3,
        }  # fmt: skip


def test_one_function_answers_every_call() -> None:
    model = ScriptedChatModel(lambda messages: messages[-1].text.upper())
    assert [model.invoke(text).text for text in ("a", "b")] == ["A", "B"]


def test_exceptions_are_raised() -> None:
    model = ScriptedChatModel([TimeoutError("slow"), lambda _: ValueError("odd"), "fine"])
    with pytest.raises(TimeoutError, match="slow"):
        model.invoke("a")
    with pytest.raises(ValueError, match="odd"):
        asyncio.run(model.ainvoke("a"))
    assert model.invoke("a").text == "fine"


def test_native_structured_output() -> None:
    model = ScriptedChatModel([{"value": 1}, {"value": 2}, "nonsense"], native=True)
    assert model.with_structured_output(Shape).invoke("a") == Shape(value=1)
    raw: Any = model.with_structured_output(Shape, include_raw=True)
    assert raw.invoke("a")["parsed"] == Shape(value=2)
    failed = raw.invoke("a")
    assert failed["parsed"] is None
    assert failed["parsing_error"] is not None
    assert failed["raw"].text == "nonsense"
    assert [call.way for call in model.calls] == ["native"] * 3
    with pytest.raises(ValueError, match="method"):
        model.with_structured_output(Shape, method="json_mode")


def test_tools() -> None:
    model = ScriptedChatModel([{"value": 1}, '{"value": 2}', '{"value": ', "I would rather talk"], tools=True)
    bound = model.bind_tools([Shape])
    first, second, third, fourth = (bound.invoke("a") for _ in range(4))
    assert first.tool_calls[0]["args"] == {"value": 1}
    assert second.tool_calls[0]["name"] == "Shape"
    assert third.invalid_tool_calls[0]["args"] == '{"value": '
    assert fourth.text == "I would rather talk"
    assert not fourth.tool_calls
    structured = ScriptedChatModel([{"value": 3}], tools=True).with_structured_output(Shape)
    assert structured.invoke("a") == Shape(value=3)


def test_a_plain_model_can_do_neither() -> None:
    model = ScriptedChatModel([])
    with pytest.raises(NotImplementedError):
        model.bind_tools([Shape])
    with pytest.raises(NotImplementedError):
        model.with_structured_output(Shape)


def test_threads_share_one_script() -> None:
    model = ScriptedChatModel([str(n) for n in range(200)])
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: model.invoke("a").text, range(200)))
    assert sorted(texts, key=int) == [str(n) for n in range(200)]
    assert len(model.calls) == 200


def test_faults_come_in_order_and_use_no_reply_up() -> None:
    model = FaultyChatModel(["good", "also good"], faults=["timeout", None, "rate_limit", "empty"])
    with pytest.raises(TimeoutError):
        model.invoke("a")
    assert model.invoke("a").text == "good"
    with pytest.raises(ProviderFault) as caught:
        model.invoke("a")
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (429, "1")
    assert model.invoke("a").text == ""
    assert model.invoke("a").text == "also good"
    with pytest.raises(ScriptExhaustedError):
        model.invoke("a")


def test_one_fault_may_last() -> None:
    model = FaultyChatModel(["never"], faults="reset")
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            asyncio.run(model.ainvoke("a"))
    with pytest.raises(ValueError, match="unknown fault 'typo'"):
        FaultyChatModel([], faults=["typo"])
