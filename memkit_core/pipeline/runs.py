"""Messages of an agent's run: tool calls and results as text that is stored whole, and read back exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..types import Image, Message, MessageRecord, clean_text
from .parts import ContentReader

_CALL: Final = "[tool call] "
_RESULT: Final = "[tool result] "
#: Lines of what an assistant said that look like a call, escaped or not.
_LOOKALIKE: Final = re.compile(r"^(\\*)(?=\[tool call\] )", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call: the arguments as JSON text, or as the model wrote them if they are none."""

    call_id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of a run.

    Attributes:
        calls: The tools that an assistant called with it.
        call_id, tool, failed: Of a tool's message: which call it answers, and whether it tells an error.
    """

    role: str
    text: str
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    tool: str | None = None
    failed: bool = False


class RunReader(ContentReader):
    """Reads the messages of a run; images leave their marks only."""

    def read(self, content: object, where: str) -> tuple[str, tuple[Image, ...]]:
        """See ``ContentReader.read``."""
        return super().read(content, where)[0], ()

    def stored(self, item: object, role: str, text: str) -> str:
        """See ``run_text``."""
        return run_text(item, role, text)


def run_text(item: object, role: str, text: str) -> str:
    """What is stored of a message: its text, and its tool calls or which call it answers.

    Args:
        item: The message as the caller gave it. ``text``: what its content says.
    """
    if role == "assistant":
        said = _LOOKALIKE.sub(r"\1\\", text)
        return "\n".join([*([said] if said else []), *(_call_line(call) for call in _calls(item))])
    if role == "tool":
        answers = {"id": _text(_field(item, "tool_call_id")), "name": _text(_field(item, "name"))}
        head: dict[str, object] = {key: value for key, value in answers.items() if value is not None}
        if _field(item, "status") == "error" or _field(item, "is_error") is True:
            head["error"] = True
        return f"{_RESULT}{_json(head)}\n{text}"
    return text


def turn_of(message: Message) -> Turn:
    """The message as it was before ``run_text``."""
    content = message.content
    if message.role == "tool" and content.startswith(_RESULT):
        head, _, text = content.partition("\n")
        read: dict[str, Any] = json.loads(head.removeprefix(_RESULT))
        return Turn(
            role="tool",
            text=text,
            call_id=read.get("id"),
            tool=read.get("name"),
            failed=read.get("error") is True,
        )
    if message.role != "assistant":
        return Turn(role=message.role, text=content)
    lines = content.split("\n")
    calls = [_read_call(line) for line in lines if line.startswith(_CALL)]
    text = "\n".join(line for line in lines if not line.startswith(_CALL))
    return Turn(role="assistant", text=re.sub(r"(?m)^\\(?=\\*\[tool call\] )", "", text), calls=tuple(calls))


def _call_line(call: Call) -> str:
    try:
        arguments: object = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    body: dict[str, object] = {"id": call.call_id, "name": call.name, "arguments": call.arguments}
    if isinstance(arguments, dict) and _json(cast("object", arguments)) == call.arguments:
        body["arguments"] = cast("object", arguments)
    return _CALL + _json({key: value for key, value in body.items() if value is not None})


def _read_call(line: str) -> Call:
    body: dict[str, Any] = json.loads(line.removeprefix(_CALL))
    arguments = body["arguments"]
    return Call(
        call_id=body.get("id"),
        name=body["name"],
        arguments=arguments if isinstance(arguments, str) else _json(arguments),
    )


def _calls(item: object) -> list[Call]:
    """The tool calls of a message, in LangChain's or OpenAI's shape, those with broken arguments as well."""
    rows: list[object] = []
    for key in ("tool_calls", "invalid_tool_calls"):
        value = _field(item, key)
        if isinstance(value, list | tuple):
            rows += cast("Sequence[object]", value)
    legacy = _field(item, "function_call")
    if isinstance(legacy, Mapping):
        rows.append({"function": cast("Mapping[str, object]", legacy)})
    return [_call(row) for row in rows]


def _call(row: object) -> Call:
    inner = row
    for key in ("function", "custom"):
        if isinstance(_field(row, key), Mapping):
            inner = _field(row, key)
    arguments: object = None
    for key in ("args", "arguments", "input"):
        arguments = _field(inner, key) if arguments is None else arguments
    name = _field(inner, "name")
    return Call(
        call_id=_text(_field(row, "id")),
        name=clean_text(name) if isinstance(name, str) and name else "unnamed",
        arguments=clean_text(arguments) if isinstance(arguments, str) else _json(arguments or {}),
    )


def _field(item: object, key: str) -> object:
    """A value of a dict or an object."""
    if isinstance(item, Mapping):
        return cast("Mapping[str, object]", item).get(key)
    return getattr(item, key, None)


def _text(value: object) -> str | None:
    return clean_text(value) if isinstance(value, str) and value else None


def _json(value: object) -> str:
    """JSON in one line, whatever the arguments hold."""
    return clean_text(json.dumps(value, ensure_ascii=False, default=str))


def told_again(before: Sequence[MessageRecord], new: Sequence[MessageRecord]) -> frozenset[int]:
    """Which of the new messages of a run only repeat what it has told: places in ``new``.

    A batch may begin with the whole run so far, or with a window of it behind the run's system message. A
    window is one if it holds a tool call or result, which have ids of their own, or goes on behind at least
    two messages with which the run ended; else the same is taken to have been said once more.
    """
    told, again = _said(before), _said(new)
    if before and again[: len(before)] == told:
        return frozenset(range(len(before)))
    opening = told[: _systems(told)]
    head = _systems(again)
    found = {place for place in range(head) if again[place] in opening}
    window = again[head:]
    for start in range(len(told)):
        size = min(len(told) - start, len(window))
        overlap = told[start : start + size] == window[:size]
        if overlap and _sure(new[head : head + size], len(window)):
            return frozenset(found | set(range(head, head + size)))
    return frozenset(found)


def _said(messages: Sequence[MessageRecord]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def _systems(said: Sequence[tuple[str, str]]) -> int:
    """How many system messages it begins with."""
    return next((place for place, (role, _) in enumerate(said) if role != "system"), len(said))


def _sure(overlap: Sequence[MessageRecord], window: int) -> bool:
    """Whether a window overlaps with the run, rather than that the same was said twice."""
    turns = [turn_of(message) for message in overlap]
    if any(turn.call_id or any(call.call_id for call in turn.calls) for turn in turns):
        return True
    return 2 <= len(overlap) < window
