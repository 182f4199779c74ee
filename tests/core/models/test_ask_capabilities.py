"""What a model can do is worked out, what it refuses is remembered, and failures keep their cause."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, Field

from memkit_core.errors import ModelCallError, ModelOutputError
from memkit_core.models import ways
from memkit_core.testing import FaultyChatModel, ProviderFault, ScriptedChatModel, ScriptExhaustedError

Ask = Callable[..., Any]

GOOD = {"facts": [{"text": "likes tea", "cites": [0]}]}
GOOD_TEXT = '{"facts": [{"text": "likes tea"}]}'


class RefusesFormat(ScriptedChatModel):
    """A server that knows its parameters only when it sees them."""

    refuses: tuple[str, ...] = ("response_format",)
    error: Any = None

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        for name in self.refuses:
            if kwargs.get(name):
                raise self.error or ProviderFault(f"{name} is not supported by this model", status_code=400)
        return super()._generate(messages, stop, run_manager, **kwargs)

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        return self._generate(messages, stop, run_manager, **kwargs)


class NoTools(FakeListChatModel):
    """Overrides ``bind_tools`` only to say that it cannot."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class NoChoice(ScriptedChatModel):
    """Knows tools, but not how to be made to call one."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        if "tool_choice" in kwargs:
            raise ValueError("tool_choice is not supported")
        return super().bind_tools(tools)


class CountsBindings(ScriptedChatModel):
    """Tells how often it was bound."""

    bindings: list[str] = Field(default_factory=list)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.bindings.append(str(kwargs))
        return super().bind_tools(tools, **kwargs)


class Bare(FakeListChatModel):
    """Gives the parsed value without the message, whatever it is asked for."""

    value: Any = None

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **kwargs: Any) -> Any:
        if kwargs:
            raise ValueError(f"unsupported: {kwargs}")
        return RunnableLambda(lambda _: self.value)


def test_the_best_way_is_taken(put: Ask) -> None:
    for options, way in (
        ({"native": True, "tools": True}, "native"),
        ({"tools": True}, "tools"),
        ({}, "text"),
    ):
        model = ScriptedChatModel([GOOD], **options)
        assert len(put(model).value.facts) == 1
        assert [call.way for call in model.calls] == [way]


def test_only_text_carries_the_schema_in_the_prompt(put: Ask) -> None:
    for options in ({"native": True}, {"tools": True}, {}):
        model = ScriptedChatModel([GOOD], **options)
        put(model)
        assert ("JSON schema" in model.calls[0].text) is (not options)
        assert [message.type for message in model.calls[0].messages] == ["system", "human"]


def test_a_model_without_any_structure_answers_in_text(put: Ask) -> None:
    assert len(put(FakeListChatModel(responses=[GOOD_TEXT])).value.facts) == 1
    assert len(put(NoTools(responses=[GOOD_TEXT])).value.facts) == 1


def test_a_model_that_cannot_be_made_to_call_a_tool_is_offered_it(put: Ask) -> None:
    model = NoChoice([GOOD], tools=True)
    assert len(put(model).value.facts) == 1
    assert model.calls[0].way == "tools"


def test_a_model_is_bound_once_and_not_kept_alive(put: Ask) -> None:
    model = CountsBindings([GOOD, GOOD, GOOD], tools=True)
    for _ in range(3):
        assert len(put(model).value.facts) == 1
    assert len(model.bindings) == 1
    assert [call.way for call in model.calls] == ["tools"] * 3
    other = CountsBindings([GOOD], tools=True)
    put(other)
    assert len(other.calls) == 1
    assert len(model.calls) == 3
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_model_that_gives_no_message_is_believed(put: Ask) -> None:
    found = ways_found()
    assert len(put(Bare(responses=["unused"], value=GOOD)).value.facts) == 1
    assert len(put(Bare(responses=["unused"], value=found.model_validate(GOOD))).value.facts) == 1
    with pytest.raises(ModelOutputError) as caught:
        put(Bare(responses=["unused"], value={"facts": 7}))
    assert caught.value.reason == "invalid"


def ways_found() -> type[BaseModel]:
    class Found(BaseModel):
        facts: list[dict[str, Any]]

    return Found


def test_wrappers_keep_what_they_add(put: Ask) -> None:
    for options in ({"native": True}, {"tools": True}, {}):
        model = ScriptedChatModel([GOOD], **options)
        assert len(put(model.with_config(tags=["mine"])).value.facts) == 1
        assert {"mine", "nostream"} <= set(model.calls[0].tags)
        faulty = FaultyChatModel([GOOD], faults=["timeout"], **options)
        assert (
            len(put(faulty.with_retry(wait_exponential_jitter=False, stop_after_attempt=2)).value.facts) == 1
        )
        first = FaultyChatModel([], faults="timeout", **options)
        second = ScriptedChatModel([GOOD], **options)
        assert len(put(first.with_fallbacks([second])).value.facts) == 1
        assert second.calls[0].way == first.calls[0].way


def test_a_refused_parameter_is_remembered_for_the_object(put: Ask) -> None:
    model = RefusesFormat([GOOD, GOOD], native=True, tools=True)
    assert put(model).usage.chat_calls == 2
    assert put(model).usage.chat_calls == 1
    assert [call.way for call in model.calls] == ["tools", "tools"]
    another = RefusesFormat([GOOD], native=True, tools=True)
    assert put(another).usage.chat_calls == 2


def test_both_structured_ways_may_be_refused(put: Ask) -> None:
    model = RefusesFormat([GOOD], native=True, tools=True)
    model.refuses = ("response_format", "tools")
    assert put(model).usage.chat_calls == 3
    assert [call.way for call in model.calls] == ["text"]


def test_what_was_remembered_is_forgotten_with_the_object(put: Ask) -> None:
    gc.collect()
    before = len(ways._refused._known)
    model = RefusesFormat([GOOD], native=True)
    put(model)
    assert len(ways._refused._known) == before + 1
    del model
    gc.collect()
    assert len(ways._refused._known) == before


@pytest.mark.parametrize(
    "error",
    [
        ProviderFault("maximum context length exceeded", status_code=400),
        ProviderFault("response_format quota exceeded", status_code=429),
        ProviderFault("tool server down", status_code=500),
        TypeError("unhashable type: 'list'"),
    ],
)
def test_other_errors_are_no_reason_to_ask_in_another_way(put: Ask, error: Exception) -> None:
    model = RefusesFormat([GOOD], native=True, tools=True)
    model.error = error
    with pytest.raises(ModelCallError) as caught:
        put(model)
    assert caught.value.__cause__ is error
    assert caught.value.usage is not None
    assert caught.value.usage.chat_calls == 1


def test_one_misshapen_tool_call_is_not_held_against_the_model(put: Ask) -> None:
    model = RefusesFormat([GOOD], native=True, tools=True)
    model.error = ProviderFault("tool_use_failed: see failed_generation", status_code=400)
    assert put(model).usage.chat_calls == 2
    assert "native" not in ways._refused.get(model)


@pytest.mark.parametrize("fault", ["timeout", "reset", "rate_limit", "server_error"])
@pytest.mark.parametrize("options", [{"native": True}, {"tools": True}, {}], ids=["native", "tools", "text"])
def test_a_failed_call_is_typed_and_keeps_its_cause(put: Ask, fault: str, options: dict[str, bool]) -> None:
    model = FaultyChatModel([GOOD], faults=[fault], **options)
    with pytest.raises(ModelCallError, match="FaultyChatModel failed") as caught:
        put(model)
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__) not in str(caught.value)
    if fault == "rate_limit":
        assert isinstance(caught.value.__cause__, ProviderFault)
        assert caught.value.__cause__.response.headers["retry-after"] == "1"
        assert "status 429" in str(caught.value)
    assert len(put(model).value.facts) == 1


def test_a_failed_repair_call_is_a_failed_call(put: Ask) -> None:
    with pytest.raises(ModelCallError) as caught:
        put(ScriptedChatModel(["nonsense", TimeoutError()]))
    assert caught.value.usage is not None
    assert caught.value.usage.chat_calls == 2


def test_an_exhausted_script_says_so(put: Ask) -> None:
    with pytest.raises(ModelCallError) as caught:
        put(ScriptedChatModel([]))
    assert isinstance(caught.value.__cause__, ScriptExhaustedError)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_interruptions_pass_through(interruption: type[BaseException]) -> None:
    from memkit_core.models.structured import ask
    from memkit_core.runtime import BlockingRuntime, Gates, Workers, drive

    model = ScriptedChatModel([interruption()])
    with pytest.raises(interruption):
        drive(
            ask(
                BlockingRuntime(Gates(), Workers(1, "t")),
                model,
                ways_found(),
                [("user", "x")],
                item_field="facts",
            )
        )


def test_internal_calls_are_tagged(put: Ask) -> None:
    for options in ({"native": True}, {"tools": True}, {}):
        model = ScriptedChatModel([GOOD], **options)
        put(model)
        assert {"nostream", "memkit"} <= set(model.calls[0].tags)


def test_graphs_do_not_stream_internal_calls() -> None:
    pytest.importorskip("langgraph")
    from langgraph.graph import END, START, MessagesState, StateGraph

    from memkit_core.models.structured import ask
    from memkit_core.runtime import BlockingRuntime, Gates, Workers, drive

    memory_model = ScriptedChatModel([GOOD], native=True)
    user_model: BaseChatModel = ScriptedChatModel(["Hello there."])

    def node(state: MessagesState) -> dict[str, Any]:
        runtime = BlockingRuntime(Gates(), Workers(1, "t"))
        drive(ask(runtime, memory_model, ways_found(), [("user", "x")], item_field="facts"))
        return {"messages": [user_model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    parts = graph.compile().stream({"messages": [("user", "hi")]}, stream_mode="messages")
    assert [message.content for message, _ in parts] == ["Hello there."]
    assert len(memory_model.calls) == 1


def test_message_objects_may_be_mixed_with_pairs(put: Ask) -> None:
    from langchain_core.messages import HumanMessage

    model = ScriptedChatModel(["", GOOD])
    put(model, messages=[("system", "s"), HumanMessage("I like tea.")])
    assert "I like tea." in model.calls[0].text
