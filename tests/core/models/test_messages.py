"""Text of replies in whatever form it comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from memkit_core.models.messages import content_text, reply_usage, stop_state
from memkit_core.types import Usage


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("plain", "plain"),
        (AIMessage("a"), "a"),
        (AIMessage(["a", {"type": "text", "text": "b"}]), "ab"),
        (AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "b"}]), "b"),
        (AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "output_text", "text": "b"}]), "b"),
        (AIMessage([{"type": "image_url", "image_url": {"url": "x"}}]), ""),
        (AIMessage([{"type": "text"}, {"type": "text", "text": None}]), ""),
        (AIMessageChunk("chunk"), "chunk"),
        (SimpleNamespace(content=None), ""),
        (SimpleNamespace(content={"text": "a"}), ""),
        (SimpleNamespace(content=[7, None, "a"]), "a"),
        (None, ""),
        (object(), ""),
    ],
)
def test_content_text(message: Any, text: str) -> None:
    assert content_text(message) == text


@pytest.mark.parametrize(
    "metadata", [None, {}, {"finish_reason": None}, {"finish_reason": "stop"}, {"stop_reason": 7}]
)
def test_ordinary_ends_are_complete(metadata: Any) -> None:
    assert stop_state(SimpleNamespace(content="a", response_metadata=metadata)) == "complete"


@pytest.mark.parametrize(
    "usage", [None, {}, {"input_tokens": None}, {"input_tokens": -3, "output_tokens": "x"}]
)
def test_unreported_tokens_count_as_none(usage: Any) -> None:
    assert reply_usage(SimpleNamespace(usage_metadata=usage)) == Usage(chat_calls=1)
