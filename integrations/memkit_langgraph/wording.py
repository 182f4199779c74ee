"""The text of a memory in an item's value, and the value again."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, cast

from memkit_core import MemoryItem
from memkit_core.errors import UsageError

#: Metadata of a memory that was put as an item: its key, and the field that its text stood in.
KEY: Final = "langgraph_key"
FIELD: Final = "langgraph_field"
#: Where the text of a memory may stand in a value; the first one counts.
_TEXT_FIELDS: Final = ("memory", "content", "text", "data")


def text_of(value: Mapping[str, Any]) -> tuple[str, str]:
    """The field that a memory's text stands in, and the text: a mapping there is put into words.

    Raises:
        UsageError: There is none.
    """
    for field in _TEXT_FIELDS:
        text = value.get(field)
        if isinstance(text, str) and text.strip():
            return field, text
    for field in _TEXT_FIELDS[1:]:
        parts = value.get(field)
        if isinstance(parts, Mapping) and (text := _in_words(cast("Any", parts))):
            return field, text
    raise UsageError(
        f"a memory's value has its text under one of {', '.join(_TEXT_FIELDS)} (or a mapping, but under"
        " memory), or messages: other values go into another namespace than the memories'"
    )


def _in_words(parts: Mapping[Any, Any]) -> str:
    """A mapping as lines of names and values; a text that stands alone as it is."""
    told = {name: part for name, part in parts.items() if part not in (None, "", [], {})}
    if len(told) == 1:
        ((name, only),) = told.items()
        if name in _TEXT_FIELDS and isinstance(only, str):
            return only.strip()
    return "\n".join(f"{name}: {_word(part)}" for name, part in told.items())


def _word(part: Any) -> str:
    if isinstance(part, str):
        return part
    try:
        return json.dumps(part, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a memory's value must be a JSON object: {error}") from error


def value_of(memory: MemoryItem) -> dict[str, Any]:
    """A memory as an item's value: its metadata and its text.

    A mapping that was put for the text comes back as long as the memory still says what it said.
    """
    value = {name: part for name, part in memory.metadata.items() if name not in (KEY, FIELD)}
    field = memory.metadata.get(FIELD)
    if isinstance(field, str):
        put: Any = value.get(field)
        if not isinstance(put, Mapping) or _plain(_in_words(cast("Any", put))) != _plain(memory.memory):
            value[field] = memory.memory
    value["memory"] = memory.memory
    return value


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
