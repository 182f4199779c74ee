"""Recorded replies come back as they were given, to the same request and to no other."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from memkit_core import AsyncMemory, Memory
from memkit_core.testing import (
    FaultyChatModel,
    HashEmbeddings,
    ProviderFault,
    RecordedCallError,
    RecordedChatModel,
    RecordingMissingError,
    ScriptedChatModel,
)

FACTS = {"facts": [{"text": "Mara lives in Berlin.", "cites": [0]}]}
MOVED = {"facts": [{"text": "Mara lives in Rome.", "cites": [0]}]}
DECISION = {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]}
WAYS = [{}, {"tools": True}, {"native": True}, {"native": True, "tools": True}]


class Tempered(ScriptedChatModel):
    """A scripted model with a temperature and a key."""

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"temperature": 0.0, "model": "tempered", "api_key": "canary"}


class Answer(BaseModel):
    """An answer."""

    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "replies.json"


def _told(model: Any) -> list[str]:
    with Memory(llm=model, embedder=HashEmbeddings(), store="sqlite://:memory:") as memory:
        for text in ("I live in Berlin.", "I moved to Rome."):
            at = "2015-03-09T12:00:00+01:00"
            memory.add(text, user_id="mara", observed_at=at).raise_for_failures()
        return [item.memory for item in memory.get_all(user_id="mara")]


@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_a_recording_stands_for_its_model_in_every_way(path: Path, ways: dict[str, bool]) -> None:
    real = ScriptedChatModel([FACTS, MOVED, DECISION], **ways)
    assert _told(RecordedChatModel(path, model=real)) == ["Mara lives in Rome."]
    assert {call.way for call in real.calls} == {next(iter(ways), "text")}
    replayed = RecordedChatModel(path)
    assert _told(replayed) == ["Mara lives in Rome."]
    assert len(replayed.used) == 3
    assert replayed.unused == ()


@pytest.mark.parametrize("ways", WAYS, ids=str)
async def test_what_was_recorded_by_sync_calls_is_replayed_by_async_ones(
    path: Path, ways: dict[str, bool]
) -> None:
    _told(RecordedChatModel(path, model=ScriptedChatModel([FACTS, MOVED, DECISION], **ways)))
    model = RecordedChatModel(path)
    async with AsyncMemory(llm=model, embedder=HashEmbeddings(), store="sqlite://:memory:") as memory:
        result = await memory.add(
            "I live in Berlin.", user_id="mara", observed_at="2015-03-09T12:00:00+01:00"
        )
        assert [change.memory for change in result.added] == ["Mara lives in Berlin."]


async def test_async_calls_record(path: Path) -> None:
    real = ScriptedChatModel(["one"])
    assert (await RecordedChatModel(path, model=real).ainvoke("hello")).text == "one"
    assert RecordedChatModel(path).invoke("hello").text == "one"


def test_a_reply_comes_back_with_its_calls_usage_and_metadata(path: Path) -> None:
    reply = AIMessage(
        content=[{"type": "text", "text": "Let me see."}],
        tool_calls=[{"name": "look", "args": {"at": 3}, "id": "call_1", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": "look", "args": "{", "id": "2", "error": "bad", "type": "invalid_tool_call"}
        ],
        usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        response_metadata={"finish_reason": "length", "id": "fleeting"},
        additional_kwargs={"refusal": "no", "parsed": object()},
    )
    first = RecordedChatModel(path, model=ScriptedChatModel([reply])).invoke("hello")
    again = RecordedChatModel(path).invoke("hello")
    for message in (first, again):
        assert message.content == reply.content
        assert message.tool_calls == reply.tool_calls
        assert message.invalid_tool_calls == reply.invalid_tool_calls
        assert message.usage_metadata == reply.usage_metadata
        assert message.response_metadata["finish_reason"] == "length"
        assert "id" not in message.response_metadata
        assert message.additional_kwargs == {"refusal": "no"}


def test_a_reply_cannot_be_changed_by_who_received_it(path: Path) -> None:
    reply = AIMessage("", tool_calls=[{"name": "look", "args": {"at": [3]}, "id": "1", "type": "tool_call"}])
    model = RecordedChatModel(path, model=ScriptedChatModel([reply]))
    model.invoke("hello").tool_calls[0]["args"]["at"].append(4)
    assert model.invoke("hello").tool_calls[0]["args"] == {"at": [3]}


def _history(call: str, message: str, args: dict[str, int]) -> list[Any]:
    return [
        HumanMessage("hello", id=message),
        AIMessage("", id=message, tool_calls=[{"name": "look", "args": args, "id": call}]),
        ToolMessage("nothing", tool_call_id=call),
    ]


def test_ids_and_the_order_of_keys_do_not_matter(path: Path) -> None:
    model = RecordedChatModel(path, model=ScriptedChatModel(["one"]))
    model.invoke(_history("call_a", "m1", {"x": 1, "y": 2}))
    assert RecordedChatModel(path).invoke(_history("call_b", "m2", {"y": 2, "x": 1})).text == "one"


def _requests(model: Any) -> list[Any]:
    tool = {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}
    other = {**tool, "description": "Look closely."}
    return [
        lambda: model.invoke("hello"),
        lambda: model.invoke("Hello"),
        lambda: model.invoke([("system", "hello")]),
        lambda: model.invoke([HumanMessage("hello", name="ann")]),
        lambda: model.invoke("hello", stop=["x"]),
        lambda: model.bind(temperature=1).invoke("hello"),
        lambda: model.bind_tools([tool]).invoke("hello"),
        lambda: model.bind_tools([other]).invoke("hello"),
        lambda: model.bind_tools([tool], tool_choice="any").invoke("hello"),
        lambda: model.with_structured_output(Answer, include_raw=True).invoke("hello")["raw"],
        lambda: model.invoke(_history("a", "m", {"x": 1})),
        lambda: model.invoke(_history("a", "m", {"x": 2})),
    ]


def test_every_part_of_a_request_tells_it_from_others(path: Path) -> None:
    real = ScriptedChatModel(lambda _: f'{{"text": "{len(real.calls)}"}}', native=True, tools=True)
    recorded = [request() for request in _requests(RecordedChatModel(path, model=real))]
    assert len(real.calls) == len(recorded)
    for said, request in zip(recorded, _requests(RecordedChatModel(path)), strict=True):
        again = request()
        assert (again.content, again.tool_calls) == (said.content, said.tool_calls)


def test_structured_output_is_parsed_and_says_what_is_wrong(path: Path) -> None:
    real = ScriptedChatModel([{"text": "yes"}, "no"], native=True)
    for given in (real, None):
        model = RecordedChatModel(path, model=given)
        assert model.with_structured_output(Answer).invoke("hello") == Answer(text="yes")
        whole = model.with_structured_output(Answer, include_raw=True).invoke("hello again")
        assert whole["parsed"] is None
        assert isinstance(whole["parsing_error"], ValueError)


def test_an_unknown_request_says_how_to_record_it(path: Path) -> None:
    RecordedChatModel(path, model=ScriptedChatModel(["one"])).invoke("hello")
    model = RecordedChatModel(path)
    with pytest.raises(RecordingMissingError, match=r"ends with 'goodbye'.*model=\.\.\.") as caught:
        model.invoke("goodbye")
    assert len(caught.value.request_hash) == 64
    assert model.missing == (caught.value.request_hash,)
    assert model.used == ()
    with pytest.raises(RecordingMissingError, match="no recording at"):
        RecordedChatModel(path.with_name("other.json"))


def test_a_recording_goes_on_where_it_stopped(path: Path) -> None:
    model = RecordedChatModel(path, model=ScriptedChatModel(["one", ConnectionResetError("down")]))
    assert model.invoke("hello").text == "one"
    with pytest.raises(ConnectionResetError):
        model.invoke("goodbye")
    more = RecordedChatModel(path, model=ScriptedChatModel(["two"]))
    assert [more.invoke(text).text for text in ("hello", "goodbye", "hello")] == ["one", "two", "one"]


@pytest.mark.parametrize("fault", ["timeout", "rate_limit", "server_error"])
def test_failures_of_the_moment_are_not_recorded(path: Path, fault: str) -> None:
    model = RecordedChatModel(path, model=FaultyChatModel(["one"], faults=[fault]))
    with pytest.raises((TimeoutError, ProviderFault)):
        model.invoke("hello")
    assert not path.exists()
    assert model.invoke("hello").text == "one"


def test_a_lasting_refusal_is_replayed(path: Path) -> None:
    refusal = ProviderFault("response_format is not supported", status_code=400)
    for given in (ScriptedChatModel([refusal, FACTS], native=True), None):
        with pytest.raises(RecordedCallError, match="not supported") as caught:
            RecordedChatModel(path, model=given).with_structured_output(Answer).invoke("hello")
        assert caught.value.status_code == 400
        assert type(caught.value).__name__ == "ProviderFault"


def test_a_model_that_refuses_a_way_is_asked_in_the_next_one_also_in_replay(path: Path) -> None:
    refusal = ProviderFault("response_format is not supported", status_code=400)
    for given in (ScriptedChatModel([refusal, FACTS], native=True), None):
        model = RecordedChatModel(path, model=given)
        with Memory(llm=model, embedder=HashEmbeddings(), store="sqlite://:memory:") as memory:
            at = "2015-03-09T12:00:00Z"
            added = memory.add("I live in Berlin.", user_id="u", observed_at=at).added
            assert [change.memory for change in added] == ["Mara lives in Berlin."]
        assert len(model.used) == 2


def test_another_model_is_told_from_the_recorded_one(path: Path) -> None:
    RecordedChatModel(path, model=Tempered(["one"])).invoke("hello")
    assert json.loads(path.read_text())["model"]["parameters"] == {"temperature": 0.0, "model": "tempered"}
    assert "canary" not in path.read_text()
    with pytest.raises(ValueError, match="another model"):
        RecordedChatModel(path, model=ScriptedChatModel(["two"]))
    assert RecordedChatModel(path, model=Tempered([])).invoke("hello").text == "one"


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match="no recording"):
        RecordedChatModel(path)


def test_what_nobody_asks_for_any_more_can_be_dropped(path: Path) -> None:
    model = RecordedChatModel(path, model=ScriptedChatModel(["one", "two"]))
    model.invoke("hello")
    model.invoke("goodbye")
    later = RecordedChatModel(path)
    later.invoke("goodbye")
    assert len(later.unused) == 1
    later.drop_unused()
    assert RecordedChatModel(path).unused == later.used


def test_a_model_without_tools_cannot_be_bound(path: Path) -> None:
    model = RecordedChatModel(path, model=ScriptedChatModel([]))
    with pytest.raises(NotImplementedError):
        model.bind_tools([{"name": "look", "description": "", "parameters": {}}])
    with pytest.raises(NotImplementedError):
        model.with_structured_output(Answer)


def test_threads_record_side_by_side(path: Path) -> None:
    model = RecordedChatModel(path, model=ScriptedChatModel(lambda messages: messages[-1].text))
    threads = [threading.Thread(target=model.invoke, args=(f"hello {n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replay = RecordedChatModel(path)
    assert [replay.invoke(f"hello {n}").text for n in range(16)] == [f"hello {n}" for n in range(16)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
