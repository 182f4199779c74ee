"""Every kind of bad reply is a typed error with its reason, however the model is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from memkit_core.errors import ModelOutputError
from memkit_core.testing import FaultyChatModel, ScriptedChatModel
from memkit_core.types import Usage

Ask = Callable[..., Any]

GOOD = {"facts": [{"text": "likes tea", "cites": [0]}]}
GOOD_TEXT = '{"facts": [{"text": "likes tea", "cites": [0]}]}'

WAYS = {"native": {"native": True}, "tools": {"tools": True}, "text": {}}

MALFORMED = {
    "empty": ("", "empty"),
    "blank": (" \n\t ", "empty"),
    "prose": ("I found that the user likes tea.", "unparsable"),
    "html": ("<html><body>502 Bad Gateway</body></html>", "unparsable"),
    "yaml": ("facts:\n  - text: likes tea", "unparsable"),
    "scalar": ("null", "unparsable"),
    "trailing comma": ('{"facts": [{"text": "a"},]}', "unparsable"),
    "single quotes": ("{'facts': [{'text': 'a'}]}", "unparsable"),
    "comment": ('{"facts": [] // none\n}', "unparsable"),
    "unended": ('{"facts": [{"text": "a"}, {"text": "b', "unparsable"),
    "unended behind a whole item": ('{"facts": [{"text": "a"}], "note": ', "unparsable"),
    "NaN": ('{"facts": [{"text": "a", "cites": [NaN]}]}', "unparsable"),
    "infinity": ('{"facts": [{"text": "a", "cites": [-Infinity]}]}', "unparsable"),
    "float overflow": ('{"facts": [{"text": "a", "cites": [1e999]}]}', "unparsable"),
    "5,000 digits": ('{"facts": [{"text": "a", "cites": [' + "9" * 5000 + "]}]}", "unparsable"),
    "nested 60 deep in vain": ('{"facts": ' + "[" * 60 + "]" * 60 + "}", "invalid"),
    "nested 200 deep": ('{"facts": ' + "[" * 200 + "]" * 200 + "}", "unparsable"),
    "nested 100,000 deep": ('{"facts": ' + "[" * 100_000 + "]" * 100_000 + "}", "unparsable"),
    "nested without end": ('{"facts": ' * 20_000, "unparsable"),
    "two answers": (GOOD_TEXT + '\n{"facts": []}', "unparsable"),
    "broken fence": ("```json\n{facts: []}\n```", "unparsable"),
    "thoughts only": ("<think>The user likes tea. " + GOOD_TEXT, "empty"),
    "empty object": ("{}", "invalid"),
    "another shape": ('{"answer": "likes tea"}', "invalid"),
    "facts are a string": ('{"facts": "likes tea"}', "invalid"),
    "facts are null": ('{"facts": null}', "invalid"),
    "only bad items": ('{"facts": [{"fact": "a"}, 7, null]}', "invalid"),
    "a bad field beside the items": ('{"facts": [{"text": "a"}], "note": 7}', "invalid"),
    "10 MB": ('{"facts": [{"text": "' + "x" * 10_000_000 + '"}]}', "invalid"),
}

CUT = {
    "OpenAI": {"finish_reason": "length"},
    "Anthropic": {"stop_reason": "max_tokens"},
    "Gemini": {"finish_reason": "MAX_TOKENS"},
    "Gemini's enumeration": {"finish_reason": "FinishReason.MAX_TOKENS"},
    "Bedrock": {"stopReason": "max_tokens"},
    "Ollama": {"done_reason": "length"},
    "responses": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    "a full window": {"stop_reason": "model_context_window_exceeded"},
}

REFUSED: dict[str, dict[str, Any]] = {
    "OpenAI": {"additional_kwargs": {"refusal": "I cannot help."}},
    "a block": {"content": [{"type": "refusal", "refusal": "I cannot help."}]},
    "a standard block": {
        "content": [{"type": "non_standard", "value": {"type": "refusal", "refusal": "No."}}]
    },
    "Anthropic": {"response_metadata": {"stop_reason": "refusal"}},
    "filter": {"content": GOOD_TEXT, "response_metadata": {"finish_reason": "content_filter"}},
    "Gemini": {"response_metadata": {"finish_reason": "SAFETY"}},
    "filtered and incomplete": {
        "response_metadata": {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_reply_has_its_reason(put: Ask, way: str, case: str) -> None:
    reply, reason = MALFORMED[case]
    model = ScriptedChatModel([reply, reply], **WAYS[way])
    with pytest.raises(ModelOutputError) as caught:
        put(model)
    assert caught.value.reason == reason
    assert [call.way for call in model.calls] == [way, way]
    assert caught.value.usage is not None
    assert caught.value.usage.chat_calls == 2
    # A tool call's arguments come parsed: they are kept as equal JSON, not letter by letter.
    assert caught.value.raw.strip()[:9] == reply.strip()[:9]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", MALFORMED)
def test_a_repair_is_asked_for_once_and_believed(put: Ask, way: str, case: str) -> None:
    model = ScriptedChatModel([MALFORMED[case][0], GOOD], **WAYS[way])
    answer = put(model)
    assert answer.value.model_dump() == {**GOOD, "note": None}
    assert answer.rejected == ()
    assert answer.usage.chat_calls == 2
    asked_again = model.calls[1].text
    assert "cannot be used" in asked_again
    assert len(asked_again) < 20_000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CUT)
def test_a_cut_reply_fails_even_if_it_parses(put: Ask, way: str, case: str) -> None:
    model = ScriptedChatModel([AIMessage(GOOD_TEXT, response_metadata=CUT[case])], **WAYS[way])
    with pytest.raises(ModelOutputError) as caught:
        put(model)
    assert caught.value.reason == "truncated"
    assert caught.value.raw == GOOD_TEXT
    assert len(model.calls) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_not_asked_again(put: Ask, way: str, case: str) -> None:
    model = ScriptedChatModel([AIMessage(**{"content": "", **REFUSED[case]})], **WAYS[way])
    with pytest.raises(ModelOutputError) as caught:
        put(model)
    assert caught.value.reason == "refused"
    assert len(model.calls) == 1


@pytest.mark.parametrize("way", WAYS)
def test_nothing_found_is_an_answer(put: Ask, way: str) -> None:
    answer = put(ScriptedChatModel([{"facts": []}], **WAYS[way]))
    assert answer.value.facts == []
    assert answer.rejected == ()


@pytest.mark.parametrize("way", WAYS)
def test_good_items_of_a_partly_bad_reply_are_kept(put: Ask, way: str) -> None:
    reply = {
        "facts": [
            {"text": "one"},
            {"text": ""},
            {"text": "two", "cites": ["x"], "why": 1},
            "three",
            {"text": "four"},
        ]
    }
    model = ScriptedChatModel([reply], **WAYS[way])
    answer = put(model)
    assert [fact.text for fact in answer.value.facts] == ["one", "four"]
    assert [line.partition(":")[0] for line in answer.rejected] == ["facts[1]", "facts[2]", "facts[3]"]
    assert "cites[0]" in answer.rejected[1]
    assert "why" in answer.rejected[1]
    assert "three" not in "".join(answer.rejected)
    assert answer.usage.chat_calls == 1


def test_a_partly_bad_reply_is_a_failure_where_items_do_not_stand_alone(put: Ask) -> None:
    reply = {"facts": [{"text": "one"}, {"text": ""}]}
    with pytest.raises(ModelOutputError, match=r"facts\[1\]\.text"):
        put(ScriptedChatModel([reply, reply]), item_field=None)


@pytest.mark.parametrize("fault", ["empty", "truncated", "malformed", "refusal", "prose", "huge"])
@pytest.mark.parametrize("way", WAYS)
def test_faults_of_replies_are_typed(put: Ask, way: str, fault: str) -> None:
    reasons = {"truncated": "truncated", "refusal": "refused", "empty": "empty", "huge": "invalid"}
    with pytest.raises(ModelOutputError) as caught:
        put(FaultyChatModel([], faults=fault, **WAYS[way]))
    assert caught.value.reason == reasons.get(fault, "unparsable")


@pytest.mark.parametrize(
    "reply",
    [
        GOOD_TEXT,
        f"```json\n{GOOD_TEXT}\n```",
        f"Here is what I found in message [1]:\n\n```\n{GOOD_TEXT}\n```\nAnything else?",
        f"<think>Maybe {{'facts'}} or {GOOD_TEXT[:-9]}?</think>\n{GOOD_TEXT}",
        f"no opening tag, as some servers send it {GOOD_TEXT[:20]}</think>{GOOD_TEXT}",
        '[{"text": "likes tea", "cites": [0]}]',
        f"{GOOD_TEXT}\n{GOOD_TEXT}",
    ],
)
def test_json_is_found_in_what_models_write_around_it(put: Ask, reply: str) -> None:
    assert put(ScriptedChatModel([reply])).value.model_dump() == {**GOOD, "note": None}


def test_strings_are_cleaned(put: Ask) -> None:
    for way in WAYS.values():
        answer = put(ScriptedChatModel(['{"facts": [{"text": "t\\u0000e\\ud800a \\ud83c\\udf75"}]}'], **way))
        assert answer.value.facts[0].text == "tea 🍵"


def test_usage_is_the_sum_of_what_was_reported(put: Ask) -> None:
    def reply(text: str, tokens: int) -> AIMessage:
        usage = {"input_tokens": tokens, "output_tokens": 2 * tokens, "total_tokens": 3 * tokens}
        return AIMessage(text, usage_metadata=usage)

    answer = put(ScriptedChatModel([reply("{", 10), reply(GOOD_TEXT, 7)]))
    assert answer.usage == Usage(chat_calls=2, input_tokens=17, output_tokens=34)
    with pytest.raises(ModelOutputError) as caught:
        put(ScriptedChatModel([reply("{", 10), AIMessage("no tokens reported")]))
    assert caught.value.usage == Usage(chat_calls=2, input_tokens=10, output_tokens=20)


def test_tool_calls_side_by_side_are_one_answer(put: Ask) -> None:
    def call(text: str, number: int) -> dict[str, Any]:
        return {"name": "Found", "args": {"facts": [{"text": text}]}, "id": str(number), "type": "tool_call"}

    model = ScriptedChatModel([AIMessage("", tool_calls=[call("a", 1), call("b", 2)])], tools=True)
    assert [fact.text for fact in put(model).value.facts] == ["a", "b"]


def test_a_call_of_another_tool_is_repaired(put: Ask) -> None:
    other = {"name": "search_web", "args": {"q": "tea"}, "id": "1", "type": "tool_call"}
    model = ScriptedChatModel([AIMessage("", tool_calls=[other]), GOOD], tools=True)
    assert put(model).usage.chat_calls == 2
    assert "Found" in model.calls[1].text


def test_replies_of_content_blocks_are_read(put: Ask) -> None:
    blocks = [
        {"type": "reasoning", "reasoning": '{"facts": "no"}'},
        {"type": "text", "text": GOOD_TEXT[:20]},
        {"type": "text", "text": GOOD_TEXT[20:]},
    ]
    assert len(put(ScriptedChatModel([AIMessage(blocks)])).value.facts) == 1
