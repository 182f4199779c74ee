"""A chat model that understands every prompt of memkit, in each of eight behaviours."""

from __future__ import annotations

import json
import re
from inspect import isawaitable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from memkit_core import AsyncMemory, Memory
from memkit_core.testing import FaultyChatModel, ScriptedChatModel
from memkit_core.testing.faults import ProviderFault

#: Longest prompt of the model with a tiny context, in characters.
TINY = 7_500
_LINE = re.compile(r'^(\d+) \w{3} [\d-]+ [\d:]+ \w+.*?: (".*")$', re.MULTILINE)
_NUMBERED = re.compile(r'^(\d+)(?: [^"\n]*)?: (".*")$', re.MULTILINE)


def understood(messages: list[Any]) -> dict[str, Any]:
    """A faithful answer to any of memkit's prompts."""
    text = "\n".join(message.text for message in messages)
    if "Judge from these messages" in text:
        facts = _NUMBERED.findall(text.rpartition("\nfacts:")[2])
        return {"verdicts": [{"fact": int(n), "supported": "yes"} for n, _ in facts]}
    if "You describe images" in text:
        numbers = re.findall(r"image (\d+):", text)
        return {"images": [{"image": int(n), "description": "A brown dog on a beach."} for n in numbers]}
    if "open_questions" in text:
        return {"goal": "Find a flight", "progress": "Searched", "findings": ["BA 123 costs 80 EUR"]}
    if "\nmemories:" in text or text.startswith("memories:"):
        facts = _NUMBERED.findall(text.rpartition("facts:\n")[2].partition("\n\n")[0])
        return {"decisions": [_decided(int(n), json.loads(fact)) for n, fact in facts]}
    found = [
        {"text": json.loads(said), "cites": [int(n)], "kind": "pet", "attributes": {"name": "Rex"}}
        for n, said in _LINE.findall(text)
    ]
    return {"facts": found}


def _decided(number: int, fact: str) -> dict[str, Any]:
    if "green" in fact:
        return {"fact": number, "op": "UPDATE", "target": 0, "text": fact, "reason": "more exact"}
    return {"fact": number, "op": "ADD"}


def _prose(messages: list[Any]) -> str:
    shown = json.dumps(understood(messages), indent=1)
    return f"Here is what I found [as asked]:\n\n```json\n{shown}\n```\nLet me know if you need more."


def _plain(messages: list[Any]) -> Any:
    if any(message.type == "system" for message in messages):
        raise ProviderFault("System role not supported", status_code=400)
    return understood(messages)


def _tiny(messages: list[Any]) -> Any:
    size = sum(len(message.text) for message in messages)
    if size > TINY:
        said = f"This model's maximum context length is {TINY // 4} tokens; you sent {size // 4}."
        raise ProviderFault(said, status_code=400)
    return understood(messages)


def _refusing(_: list[Any]) -> AIMessage:
    return AIMessage("", additional_kwargs={"refusal": "I will not do that."})


@pytest.fixture
def model_of():
    """Makes a chat model of a behaviour."""

    def make(behaviour: str) -> ScriptedChatModel:
        faults = ("timeout", "empty", "malformed", "server_error", "truncated", "reset", "prose")
        match behaviour:
            case "native":
                return ScriptedChatModel(understood, native=True)
            case "tools":
                return ScriptedChatModel(understood, tools=True)
            case "prose":
                return ScriptedChatModel(_prose)
            case "no system role":
                return ScriptedChatModel(_plain, tools=True)
            case "tiny context":
                return ScriptedChatModel(_tiny)
            case "refusing":
                return ScriptedChatModel(_refusing)
            case "flaky":
                return FaultyChatModel(understood, faults=[f for fault in faults * 4 for f in (fault, None)])
        return ScriptedChatModel(understood)

    return make


class Face:
    """``Memory`` and ``AsyncMemory`` called in one way."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    async def __call__(self, verb: str, *args: Any, **options: Any) -> Any:
        target = self.memory
        for name in verb.split("."):
            target = getattr(target, name)
        result = target(*args, **options)
        return await result if isawaitable(result) else result


@pytest.fixture(params=["sync", "async"])
def face_of(request, tmp_path):
    """Opens the sync or the async face."""

    async def opened(**options: Any) -> Face:
        kind = Memory if request.param == "sync" else AsyncMemory
        memory = kind(store=tmp_path / "m.db", **options)
        faces.append(memory)
        return Face(memory)

    faces: list[Any] = []
    yield opened
    for memory in faces:
        getattr(memory, "blocking", memory).close()
