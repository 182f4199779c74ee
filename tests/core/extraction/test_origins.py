"""Where a text comes from: the role says it, a caller may name what is believed less, never more."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from memkit_core import Memory, UsageError
from memkit_core.types import Message, parse_time

WHEN = parse_time("2026-01-02", "then")


@pytest.fixture
def memory(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as opened:
        yield opened


def origins(memory):
    found = memory.get_all(user_id="u", filters={"trust": {"exists": True}})
    return {item.memory: (item.origin, item.trust) for item in found}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "Ana moved.", "origin": "document"},
        Message(role="user", content="Ana moved.", origin="document", observed_at=WHEN),
        HumanMessage("Ana moved.", origin="document"),
        {"role": "assistant", "content": "Ana moved.", "origin": "document"},
        {"role": "tool", "content": "Ana moved.", "origin": "document"},
    ],
)
def test_a_document_is_one_however_it_comes(memory, message):
    memory.add([message], user_id="u", infer=False)
    assert origins(memory) == {"Ana moved.": ("document", "untrusted")}
    assert memory.count(user_id="u") == 0


@pytest.mark.parametrize("origin", [None, "user"])
def test_the_role_says_it_otherwise(memory, origin):
    memory.add([{"role": "user", "content": "Ana moved.", "origin": origin}], user_id="u", infer=False)
    assert origins(memory) == {"Ana moved.": ("user", "trusted")}


@pytest.mark.parametrize("role", ["assistant", "tool", "system"])
def test_a_message_that_names_no_origin_is_its_role_s(memory, role):
    memory.add([Message(role=role, content="Ana moved.", observed_at=WHEN)], user_id="u", infer=False)
    assert origins(memory) == {"Ana moved.": (role, "untrusted")}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "x", "origin": "user"},
        {"role": "tool", "content": "x", "origin": "image"},
        {"role": "function", "content": "x", "origin": "assistant"},
        {"role": "assistant", "content": "x", "origin": "user"},
        {"role": "assistant", "content": "x", "origin": "system"},
        {"role": "system", "content": "x", "origin": "user"},
        Message(role="tool", content="x", origin="system", observed_at=WHEN),
        AIMessage("x", origin="user"),
    ],
)
def test_nobody_is_believed_more_than_the_role(memory, message):
    with pytest.raises(UsageError, match="message 0: text of the role"):
        memory.add([message], user_id="u")


@pytest.mark.parametrize("origin", ["web", "", 7, ["user"], "USER"])
def test_no_origin(memory, origin):
    with pytest.raises(UsageError, match="origin is one of user, assistant"):
        memory.add([{"role": "user", "content": "x", "origin": origin}], user_id="u")


@pytest.mark.parametrize("key", ["orgin", "timestamp", "metadata", "user_id", 7, ""])
def test_a_key_that_means_nothing_to_memkit(memory, key):
    with pytest.raises(UsageError, match=r"unknown keys: .*role, content, name, observed_at, origin"):
        memory.add([{"role": "user", "content": "x", key: "y"}], user_id="u")
    assert memory.count(user_id="u") == 0


def test_what_providers_put_into_their_messages(memory):
    chat = {
        "id": "1",
        "type": "message",
        "status": "completed",
        "refusal": None,
        "audio": None,
        "annotations": [],
        "function_call": None,
        "tool_calls": None,
        "reasoning_content": "…",
        "additional_kwargs": {},
        "response_metadata": {},
        "usage_metadata": None,
    }
    memory.add([{"role": "user", "content": "I moved.", "name": "Ana"} | chat], user_id="u", infer=False)
    memory.add(
        [{"role": "user", "content": "I came."}, {"role": "tool", "content": "ok", "tool_call_id": "1"}],
        user_id="u",
        infer=False,
    )
    dumped = HumanMessage("I went.").model_dump()
    memory.add([{"role": "user", **dumped}], user_id="u", infer=False)
    assert {item.memory for item in memory.get_all(user_id="u")} == {"I moved.", "I came.", "I went."}
