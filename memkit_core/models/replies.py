"""From a model's reply to clean JSON values, strictly and in linear time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from ..errors import ModelOutputError
from ..types import clean_text

#: Longest reply that is read, in characters. No answer that was asked for comes near it.
MAX_REPLY_CHARS: Final = 1_048_576
#: Deepest nesting of objects and lists that is read.
MAX_DEPTH: Final = 64
#: Most JSON-like stretches of a reply that are looked at.
MAX_STRETCHES: Final = 1_000
#: Longest number literal that is read, in characters.
MAX_NUMBER_CHARS: Final = 64

# A bracket may be prose, as in "[see below]". A brace never is: what is inside it could pass as the answer.
_START: Final = re.compile(r'\{|\[\s*+(?:["{\[\]\-0-9]|true\b|false\b|null\b)')
_FENCE: Final = re.compile(r"```\w*+(.*)```", re.DOTALL)
# Possessive quantifiers: without them a long string costs the matcher memory for every character.
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]]', re.DOTALL)
_THOUGHTS_END: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THOUGHTS_START: Final = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)


class _BadJsonError(ValueError):
    """What is wrong with the JSON, in words that may go back to the model."""


def decode_json(text: str) -> object:
    """The one JSON object in a reply, with clean strings; a list only if the reply is nothing else.

    It may stand alone, inside a code fence, in prose, or behind a ``<think>`` block. Trailing commas,
    comments, NaN, infinities, a key given twice, numbers of more than 64 characters and nesting deeper than
    64 are errors; NUL characters and lone surrogates are taken out of strings. Nothing is ever looked for
    inside a damaged value, so that a cut or broken reply cannot pass as a smaller one.

    Raises:
        ModelOutputError: ``reason`` is ``empty``, ``invalid`` (longer than 1 MiB) or ``unparsable`` (no
            JSON, broken JSON, or several different ones).
    """
    check_size(text)
    body = _behind_thoughts(text)
    if not body.strip():
        raise ModelOutputError("the reply is empty", reason="empty", raw=text)
    fenced = _FENCE.fullmatch(body.strip())
    whole = (fenced.group(1) if fenced else body).strip()
    found: list[object] = []
    problem = ""
    try:
        for count, span in enumerate(_spans(body)):
            if count == MAX_STRETCHES:
                raise _BadJsonError("the reply holds too many braces and brackets outside of one JSON value")
            try:
                value = clean_value(_DECODER.decode(span))
            except ValueError as error:  # a JSONDecodeError, or one of ours
                if "{" in span:  # else prose such as "[1, 2 and 3]"
                    problem = problem or f"broken JSON: {error}"
            else:
                if span[0] == "{" or span == whole:
                    found.append(value)
    except _BadJsonError as error:  # the rest cannot be told apart: what stood before it is no answer either
        problem = str(error)
    if found and not problem:
        if all(value == found[0] for value in found):
            return found[0]
        problem = f"the reply holds {len(found)} different JSON values; give exactly one"
    raise ModelOutputError(problem or "the reply holds no JSON", reason="unparsable", raw=text)


def check_size(text: str) -> None:
    """Raise if a reply is longer than 1 MiB.

    Raises:
        ModelOutputError: ``invalid``, with the beginning of the reply.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise ModelOutputError(
            f"the reply has {len(text):,} characters; at most {MAX_REPLY_CHARS:,} are read",
            reason="invalid",
            raw=text[:MAX_REPLY_CHARS],
        )


def clean_value(value: Any, *, depth: int = 0) -> Any:
    """A JSON value with clean strings, checked for depth and for numbers that are none.

    Raises:
        ValueError: It is nested deeper than 64, holds NaN, an infinity or a huge integer, or two of its
            keys become one.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _BadJsonError("NaN and infinities are no JSON numbers")
    if isinstance(value, int) and value.bit_length() > 4 * MAX_NUMBER_CHARS:
        raise _BadJsonError("a number has too many digits")
    if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
        raise _BadJsonError(f"the JSON is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        fields: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        pairs: list[tuple[str, Any]] = [(clean_text(str(key)), item) for key, item in fields.items()]
        return {key: clean_value(item, depth=depth + 1) for key, item in _unique(pairs).items()}
    if isinstance(value, list | tuple):
        return [clean_value(item, depth=depth + 1) for item in cast("Sequence[Any]", value)]
    return value


def _behind_thoughts(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        return text
    ends = [match.end() for match in _THOUGHTS_END.finditer(text)]
    if ends:
        return text[ends[-1] :]
    # Thoughts without an end: what is in them is no answer.
    return "" if _THOUGHTS_START.match(text) else text


def _spans(text: str) -> Iterator[str]:
    """The outermost balanced JSON-like stretches. Each character is looked at a fixed number of times."""
    position = 0
    while (start := _START.search(text, position)) is not None:
        depth = 0
        for token in _TOKEN.finditer(text, start.start()):
            mark = token.group()
            if mark == '"':
                break
            if mark in ("{", "["):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _BadJsonError(f"the JSON is nested deeper than {MAX_DEPTH}")
            elif mark in ("}", "]"):
                depth -= 1
                if depth == 0:
                    position = token.end()
                    break
        if depth:
            raise _BadJsonError("the JSON does not end: a quote, brace or bracket is missing")
        yield text[start.start() : position]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _BadJsonError("a key is given twice in one object")
    return result


def _integer(literal: str) -> int:
    if len(literal) > MAX_NUMBER_CHARS:
        raise _BadJsonError("a number has too many digits")
    return int(literal)


def _real(literal: str) -> float:
    number = float(literal)
    if len(literal) > MAX_NUMBER_CHARS or not math.isfinite(number):
        raise _BadJsonError("a number is too long or too large")
    return number


def _constant(literal: str) -> None:
    raise _BadJsonError(f"{literal} is no JSON value")


# strict=False: a raw line break inside a string is a harmless slip that many models make.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_real,
    parse_constant=_constant,
    strict=False,
)
