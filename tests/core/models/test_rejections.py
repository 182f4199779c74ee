"""What providers say when they turn a prompt away, in their own words."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from memkit_core.models.rejections import refuses_system, too_long, without_system
from memkit_core.testing.faults import ProviderFault

PROMPT = [("system", "List the facts."), ("user", "I like tea.")]


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (40000) exceeds the maximum number of tokens allowed (32768).",
        "the request exceeds the available context size. try increasing the context size",
        "Input is too long for requested model.",
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
        "too many tokens: the maximum is 4000",
    ],
)
def test_too_long(words):
    assert too_long(ProviderFault(words, status_code=400))
    assert not too_long(ProviderFault(words, status_code=429))
    assert not refuses_system(ProviderFault(words, status_code=400), PROMPT)


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "This model doesn't support system messages.",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
    ],
)
def test_no_system_message(words):
    assert refuses_system(ProviderFault(words, status_code=400), PROMPT)
    assert refuses_system(ValueError(words), [SystemMessage("x"), HumanMessage("y")])
    assert not refuses_system(ProviderFault(words, status_code=400), PROMPT[1:])
    assert not refuses_system(ProviderFault(words, status_code=503), PROMPT)
    assert not too_long(ProviderFault(words, status_code=400))


@pytest.mark.parametrize("words", ["invalid api key", "the tool's schema is invalid", "internal error"])
def test_neither(words):
    error = ProviderFault(words, status_code=400)
    assert not too_long(error)
    assert not refuses_system(error, PROMPT)


def test_the_user_is_told_what_the_system_message_said():
    assert without_system(PROMPT) == [("user", "List the facts.\n\nI like tea.")]
    assert without_system([SystemMessage("A"), HumanMessage("B")]) == [("user", "A\n\nB")]
    assert without_system([("system", "A"), ("assistant", "B")]) == [("user", "A"), ("assistant", "B")]
    image = {"type": "image_url", "image_url": {"url": "https://pics.example/dog.png"}}
    blocks = [{"type": "text", "text": "A"}, image]
    assert without_system([("system", "A"), ("user", [image])]) == [("user", blocks)]
