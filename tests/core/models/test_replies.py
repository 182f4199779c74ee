"""The decoder of replies: strict, and never anything but a value or a typed error."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memkit_core.errors import ModelOutputError
from memkit_core.models.replies import MAX_DEPTH, MAX_REPLY_CHARS, clean_value, decode_json

SIZE = 262_144

HOSTILE = {
    "braces": "{" * SIZE,
    "brackets": "[" * SIZE,
    "brackets with space": "[ " * (SIZE // 2),
    "brackets with values": "[1" * (SIZE // 2),
    "pairs": "{}" * (SIZE // 2),
    "citations": "[1] " * (SIZE // 4),
    "broken citations": "[1,] " * (SIZE // 5),
    "objects": '{"a": 1} ' * (SIZE // 9),
    "broken objects": '{"a" 1} ' * (SIZE // 8),
    "quotes": '{"' + '"' * SIZE,
    "quotes in braces": '{"' * (SIZE // 2),
    "backslashes": '{"' + "\\" * SIZE,
    "escaped quotes": '{"' + '\\"' * (SIZE // 2),
    "strings without end": '{"a": "' * (SIZE // 7),
    "thoughts": "<think>" * (SIZE // 7),
    "ends of thoughts": "</think>" * (SIZE // 8),
    "fences": "```json\n" * (SIZE // 8),
    "blanks": "[" + " " * SIZE + "[",
    "digits": '{"a": ' + "1" * SIZE + "}",
    "decimals": '{"a": 0.' + "1" * SIZE + "}",
    "keys": "{" + ",".join(f'"k{n}": {n}' for n in range(SIZE // 14)) + "}",
    "a long key": '{"' + "k" * SIZE + '": 1, "' + "k" * SIZE + '": 2}',
    "closing": "}" * SIZE,
}


def reason(text: str) -> str:
    with pytest.raises(ModelOutputError) as caught:
        decode_json(text)
    return caught.value.reason


def outcome(text: str) -> str:
    try:
        value = decode_json(text)
    except ModelOutputError as error:
        return error.reason if error.raw == text else "raw reply lost"
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return "value" if isinstance(value, dict | list) else "no JSON"


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_replies_end_in_a_value_or_a_typed_error(case: str) -> None:
    assert outcome(HOSTILE[case]) in ("value", "empty", "unparsable")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet='{}[]",:\\ \n\t01eE.-truefalsnN`</think>\0\ud800'))
@example('{"a": "\\ud800"}')
@example("{\ud800: 1}")
@example("[NaN]")
def test_any_text_is_a_value_or_a_typed_error(text: str) -> None:
    assert outcome(text) in ("value", "empty", "unparsable")


def cleaned(value: Any) -> Any:
    try:
        return clean_value(value)
    except ValueError:  # two keys that differ only in what was taken out
        return None


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.booleans(),
    st.sampled_from(["", "Here:\n", "<think>{</think>"]),
)
def test_an_object_survives_its_wrapping(value: dict[str, Any], fence: bool, before: str) -> None:
    expected = cleaned(value)
    if expected is None:
        return
    text = json.dumps(value)
    assert decode_json(before + (f"```json\n{text}\n```" if fence else text)) == expected


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=4), st.data())
def test_a_cut_object_is_never_a_smaller_one(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    end = data.draw(st.integers(0, len(text) - 1))
    assert reason(text[:end]) in ("empty", "unparsable")


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_clean_values_are_storable(value: Any) -> None:
    json.dumps(cleaned(value), ensure_ascii=False).encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, {"a": [-math.inf]}, {"a": 1, "a\0": 2}])
def test_values_that_are_no_json_are_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        clean_value(value)


def test_depth_is_limited_for_parsed_values_too() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert clean_value(deep) == deep
    with pytest.raises(ValueError, match="deeper"):
        clean_value([deep])
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="deeper"):
        clean_value(deep)
    while isinstance(
        deep, dict
    ):  # taken apart by hand: the interpreter's own way down may not be deep enough
        deep = deep.pop("a")


def test_duplicate_keys_are_refused() -> None:
    assert reason('{"facts": [1], "facts": []}') == "unparsable"
    assert reason('{"a": {"b": 1, "b": 1}}') == "unparsable"
    assert reason('{"a": 1, "a\\u0000": 2}') == "unparsable"


def test_nothing_is_taken_from_inside_a_damaged_value() -> None:
    assert reason('{"facts": [{"text": "a"}], "note": oops}') == "unparsable"
    assert reason("{facts: []}") == "unparsable"
    assert reason('{facts: [{"text": "a"}]}') == "unparsable"
    assert reason('{"a": 1} {"b": ') == "unparsable"
    assert reason("facts: []") == "unparsable"


def test_a_list_must_be_the_whole_reply() -> None:
    assert decode_json(" [1, 2]\n") == [1, 2]
    assert decode_json("```json\n[]\n```") == []
    assert reason("Nothing in [1].") == "unparsable"
    assert decode_json('As [1, 2 and 3] and [4] say: {"facts": []}') == {"facts": []}


def test_line_breaks_inside_strings_are_forgiven() -> None:
    assert decode_json('{"a": "one\ntwo\tthree"}') == {"a": "one\ntwo\tthree"}


def test_thoughts_are_no_answer() -> None:
    assert decode_json('<think>{"a": 1}</think>{"a": 2}') == {"a": 2}
    assert decode_json('<THINKING>{"a": 1}</THINKING>\n{"a": 2}') == {"a": 2}
    assert reason('<think>{"a": 1}</think>') == "empty"
    assert reason('<think>{"a": 1}') == "empty"
    assert decode_json('{"a": "</think>"}') == {"a": "</think>"}


def test_huge_replies_are_refused_unread() -> None:
    text = '{"a": "' + "x" * MAX_REPLY_CHARS + '"}'
    with pytest.raises(ModelOutputError) as caught:
        decode_json(text)
    assert caught.value.reason == "invalid"
    assert len(caught.value.raw) <= MAX_REPLY_CHARS
