"""Whatever a model replies, asking ends in an answer or a typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from memkit_core.errors import ModelError, ModelOutputError
from memkit_core.models.structured import Answer, ask
from memkit_core.runtime import BlockingRuntime, Gates, Workers, drive
from memkit_core.testing import ScriptedChatModel


class Item(BaseModel):
    text: str = Field(min_length=1)
    cites: list[int] = Field(default_factory=list[int])


class Found(BaseModel):
    facts: list[Item]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["facts", "text", "cites", "a"]), inner, max_size=4)
    ),
    max_leaves=16,
)
ITEMS = st.fixed_dictionaries({"text": VALUES | st.text()}, optional={"cites": VALUES, "a": VALUES})
REPLIES = VALUES | st.text() | st.fixed_dictionaries({"facts": st.lists(ITEMS | VALUES, max_size=5)})
BLOCKS = st.lists(st.text() | st.dictionaries(st.sampled_from(["type", "text", "value"]), VALUES), max_size=3)
METADATA = st.dictionaries(
    st.sampled_from(["finish_reason", "stop_reason", "incomplete_details", "status"]), VALUES, max_size=3
)


def asked(model: Any) -> Answer[Found] | ModelError:
    runtime = BlockingRuntime(Gates(), Workers(1, "fuzz"))
    try:
        return drive(ask(runtime, model, Found, [("user", "x")], item_field="facts"))
    except ModelError as error:
        return error


@pytest.mark.parametrize("options", [{"native": True}, {"tools": True}, {}], ids=["native", "tools", "text"])
@settings(max_examples=100, deadline=None)
@given(reply=REPLIES)
def test_any_reply_is_an_answer_or_a_typed_error(options: dict[str, bool], reply: Any) -> None:
    result = asked(ScriptedChatModel([reply, reply], **options))
    if isinstance(result, ModelError):
        assert isinstance(result, ModelOutputError)
        assert result.reason in ("empty", "unparsable", "invalid")
        assert result.usage is not None
        return
    # Nothing is lost without a word: every item is in the answer or among the rejected.
    given_items = json.loads(result.raw)
    items = given_items if isinstance(given_items, list) else given_items["facts"]
    assert len(result.value.facts) + len(result.rejected) == len(items)
    result.value.model_dump_json().encode()


@settings(max_examples=100, deadline=None)
@given(content=st.text() | BLOCKS, metadata=METADATA)
def test_any_message_is_an_answer_or_a_typed_error(content: Any, metadata: dict[str, Any]) -> None:
    message = AIMessage(content, response_metadata=metadata)
    result = asked(ScriptedChatModel([message, message]))
    assert isinstance(result, ModelError)  # a failed call where LangChain itself stumbles over the blocks
    assert result.usage is not None
