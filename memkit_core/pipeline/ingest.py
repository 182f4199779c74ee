"""Callers' input to checked values: messages, metadata, times. Nothing is stored here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from ..errors import UsageError
from ..types import (
    FIRST_MICROS,
    LAST_MICROS,
    Message,
    Micros,
    Role,
    check_id,
    check_text,
    parse_time,
    zone_of,
)
from .parts import ContentReader

MAX_MESSAGES: Final = 50_000
MAX_METADATA_CHARS: Final = 65_536
MAX_METADATA_DEPTH: Final = 32
MAX_KEY_CHARS: Final = 256
DAY_MINUTES: Final = 1_440

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
#: Where text may come from.
ORIGINS: Final = ("user", "assistant", "tool", "document", "system", "image")
#: Origins that text of a role may have: its own, and those that are believed less.
_ORIGINS_OF: Final[dict[Role, tuple[str, ...]]] = {
    "user": ORIGINS,
    "system": ("system", "assistant", "tool", "document"),
    "assistant": ("assistant", "tool", "document"),
    "tool": ("tool", "document"),
}
_KEYS: Final = ("role", "content", "name", "observed_at", "origin")
#: What providers and frameworks put into their message dicts beside these. It is nothing said.
_PASSED_OVER: Final = frozenset(
    (
        "id type status model phase stop_reason stop_sequence usage cache_control "  # of the message itself
        "tool_calls tool_call_id tool_name function_call invalid_tool_calls artifact is_error "
        "refusal audio annotations prefix weight reasoning reasoning_content reasoning_details thinking "
        "additional_kwargs response_metadata usage_metadata example"
    ).split()
)
_KNOWN: Final = _PASSED_OVER | frozenset(_KEYS)
#: What LangChain calls the type of a message that was put together from a stream.
_CHUNKS: Final = {
    "HumanMessageChunk": "human",
    "AIMessageChunk": "ai",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
    "ChatMessageChunk": "chat",
}
_HELP: Final = (
    "messages are a string, a dict such as {'role': 'user', 'content': '…'}, a LangChain message, "
    "a (role, text) pair, or a list of these"
)


def parse_messages(
    messages: object, *, actor_id: str | None, observed_at: Micros, reader: ContentReader, zone: int = 0
) -> tuple[Message, ...]:
    """The conversation a caller means, in order. Messages without any text or image are left out.

    Args:
        messages: As a caller gave them.
        actor_id: Who speaks in user messages that carry no name.
        observed_at: When messages were said that do not say it. ``zone``: by which clock, in minutes.
        reader: Reads their contents.

    Raises:
        UsageError: It is none, is empty, or holds text or an image that cannot be stored.
    """
    if actor_id is not None:
        check_id(actor_id, "actor_id")
    items = _items(messages)
    if len(items) > MAX_MESSAGES:
        raise UsageError(f"{len(items):,} messages in one call; the limit is {MAX_MESSAGES:,}: split them")
    parsed = [
        m
        for n, item in enumerate(items)
        if (m := _message(item, n, actor_id, (observed_at, zone), reader)) is not None
    ]
    if not parsed:
        raise UsageError("no message has any text: there is nothing to remember")
    return tuple(parsed)


def _items(messages: object) -> Sequence[object]:
    one = messages  # before isinstance narrows it to a container of unknown items
    if isinstance(messages, str | Mapping | Message) or _is_langchain(messages):
        return [one]
    if not isinstance(messages, list | tuple):
        raise UsageError(f"{_HELP}; not {type(messages).__name__}")
    items = cast("Sequence[object]", messages)
    # ("user", "Hello") is one message; a tuple of two texts that begins otherwise is two.
    pair = isinstance(messages, tuple) and len(items) == 2 and all(isinstance(item, str) for item in items)
    return [one] if pair and items[0] in _ROLES else items


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(cast("tuple[object, ...]", value)) == 2


def _is_langchain(value: object) -> bool:
    return isinstance(getattr(value, "type", None), str) and hasattr(value, "content")


def _message(
    item: object, number: int, actor_id: str | None, time: tuple[Micros, int], reader: ContentReader
) -> Message | None:
    where = f"message {number}"
    whole = item  # before isinstance narrows it to a container of unknown items
    if isinstance(item, Message):
        _check_ready(item, where)
        text = check_text(reader.stored(item, item.role, item.content), where)
        # "user" is what the field says where a caller says nothing: the role tells then.
        origin = _origin(None if item.origin == "user" else item.origin, item.role, where)
        return replace(item, content=text, origin=origin) if text.strip() else None
    name: object = None
    said: object = None
    source: object = None
    if isinstance(item, str):
        role_name, content = "user", cast("object", item)
    elif isinstance(item, Mapping):
        row = cast("Mapping[str, Any]", item)
        if "role" not in row or not ("content" in row or "tool_calls" in row):
            raise UsageError(f"{where} needs the keys 'role' and 'content'")
        _check_keys(row, where)
        role_name, content, name = row["role"], row.get("content"), row.get("name")
        said, source = row.get("observed_at"), row.get("origin")
    elif _is_langchain(item):
        message = cast("Any", item)
        role_name, content, name = message.type, message.content, getattr(message, "name", None)
        source = getattr(message, "origin", None)  # it takes fields of its user's own
        role_name = _CHUNKS.get(role_name, role_name)
        if role_name == "chat":  # LangChain's ChatMessage names its role itself
            role_name = message.role
    elif _is_pair(item):
        role_name, content = cast("tuple[Any, object]", item)
    else:
        raise UsageError(f"{where}: {_HELP}; not {type(item).__name__}")
    if not isinstance(role_name, str) or role_name not in _ROLES:
        raise UsageError(f"{where} has the role {role_name!r}; roles are user, assistant, system and tool")
    role = _ROLES[role_name]
    text, images = reader.read(content, where)
    text = check_text(reader.stored(whole, role, text), where)
    if not text.strip():
        return None
    if name is not None and role != "tool":
        speaker: str | None = check_id(name, f"{where}: name")
    else:
        speaker = actor_id if role == "user" else None
    return Message(
        role=role,
        content=text,
        actor_id=speaker,
        observed_at=time[0] if said is None else parse_time(said, f"{where}: observed_at"),
        zone=time[1] if said is None else zone_of(said),
        origin=_origin(source, role, where),
        images=images,
    )


def _check_keys(row: Mapping[str, Any], where: str) -> None:
    """A key that memkit does not know may mean something to its caller: it is not passed over in silence."""
    unknown = [key for key in cast("Mapping[object, object]", row) if key not in _KNOWN]
    if unknown:
        shown = ", ".join(f"{key!r:.40}" for key in unknown[:5])
        raise UsageError(
            f"{where}: unknown keys: {shown}; memkit reads {', '.join(_KEYS)}, and passes over what "
            "providers add, such as tool_calls or id; what is yours goes into add(metadata=…)"
        )


def _origin(given: object, role: Role, where: str) -> str:
    """Where a text comes from: its role says it, unless its caller names what is believed less."""
    if given is None:
        return role
    if given not in ORIGINS:
        raise UsageError(f"{where}: origin is one of {', '.join(ORIGINS)}, not {given!r:.40}")
    allowed = _ORIGINS_OF[role]
    if given not in allowed:
        raise UsageError(
            f"{where}: text of the role {role} is not of origin {given!r}; it may be {', '.join(allowed)}"
        )
    return str(given)


def _check_ready(message: Message, where: str) -> None:
    """A message that comes as memkit's own type, with nothing in it that others could not say."""
    check_text(message.content, where)
    if message.role not in _ROLES.values() or message.origin not in ORIGINS:
        raise UsageError(
            f"{where}: roles are user, assistant, system and tool, and origins {', '.join(ORIGINS)}"
        )
    if message.actor_id is not None:
        check_id(message.actor_id, f"{where}: actor_id")
    if message.images:
        raise UsageError(f"{where}: give images as content blocks of a dict or a LangChain message")
    if not -DAY_MINUTES < message.zone < DAY_MINUTES:
        raise UsageError(f"{where}: zone is in minutes east of UTC, less than a day")
    if not FIRST_MICROS <= message.observed_at <= LAST_MICROS:
        raise UsageError(f"{where}: observed_at lies outside the years 1 to 9999 in UTC")


def parse_metadata(metadata: object, *, max_chars: int = MAX_METADATA_CHARS) -> dict[str, Any]:
    """A caller's metadata as a plain JSON object, independent of the caller's own.

    Raises:
        UsageError: It is not a dict with string keys and JSON values, or is too long as JSON.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise UsageError(f"metadata is a dict, not {type(metadata).__name__}")
    given = cast("Mapping[object, Any]", metadata)
    if not given:
        return {}
    for key in given:
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS:
            raise UsageError(
                f"metadata keys are strings of 1 to {MAX_KEY_CHARS} characters; {key!r:.80} is not"
            )
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"metadata must be JSON: {error}") from None
    check_text(text, "metadata as JSON", max_chars=max_chars)
    parsed: dict[str, Any] = json.loads(text)
    _check_nesting(given, parsed, 1)
    return parsed


def _check_nesting(given: object, parsed: object, depth: int) -> None:
    """What JSON's own round trip lets pass: keys it turns into strings, NUL characters, deep nesting."""
    if depth > MAX_METADATA_DEPTH:
        raise UsageError(f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels")
    if isinstance(parsed, str):
        if "\0" in parsed:
            raise UsageError("metadata holds a NUL character: pass memkit_core.clean_text(text)")
    elif isinstance(given, Mapping) and isinstance(parsed, dict):
        read = cast("dict[str, object]", parsed)
        for key, value in cast("Mapping[object, object]", given).items():
            if not isinstance(key, str):
                raise UsageError(f"metadata keys are strings at every level; {key!r} is not")
            _check_nesting(key, key, depth)
            _check_nesting(value, read[key], depth + 1)
    elif isinstance(given, list | tuple) and isinstance(parsed, list):
        rows = cast("list[object]", parsed)
        for item, row in zip(cast("Sequence[object]", given), rows, strict=True):
            _check_nesting(item, row, depth + 1)
