"""The steps of an agent's run as text: every action and result in order, long ones cut with a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ..types import Scope, clean_text
from .runs import Call, Turn

#: How much of one text is shown, in characters; of older ones where the whole would be too long.
SHOWN_CHARS: Final = 2_000
OLDER_CHARS: Final = 200
_RECENT: Final = 20
_OVERVIEW_CHARS: Final = 2_000
_ITEMS: Final = 30
_ITEM_CHARS: Final = 500


@dataclass(slots=True, kw_only=True)
class Step:
    """One step: a text, or an action and its result.

    Attributes:
        title: What it is. ``texts``: labels, verbatim texts, and the ids of the messages they stand in.
    """

    title: str
    message_id: str
    texts: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    failed: bool = False


def steps_of(turns: Sequence[tuple[str, Turn]]) -> list[Step]:
    """The steps of a run, from its messages with their ids; results stand with the calls they answer."""
    steps: list[Step] = []
    waiting: list[tuple[Call, Step]] = []
    for message_id, turn in turns:
        if turn.role == "tool":
            _answer(steps, waiting, message_id, turn)
            continue
        if turn.text.strip():
            steps.append(Step(title=turn.role, message_id=message_id, texts=[("", turn.text, message_id)]))
        for call in turn.calls:
            step = Step(title=f"calls {_inline(call.name)}", message_id=message_id)
            step.texts.append(("arguments", call.arguments, message_id))
            steps.append(step)
            waiting.append((call, step))
    for _, step in waiting:
        step.title += " (no result in these messages)"
    return steps


def _answer(steps: list[Step], waiting: list[tuple[Call, Step]], message_id: str, turn: Turn) -> None:
    """Put a tool's message with the call that it answers, or for itself if there is none."""
    named = [pair for pair in waiting if turn.call_id is not None and pair[0].call_id == turn.call_id]
    if turn.call_id is None and turn.tool is not None:
        named = [pair for pair in waiting if pair[0].name == turn.tool]
    label = "error" if turn.failed else "result"
    if named:
        waiting.remove(named[0])
        step = named[0][1]
    else:
        whose = " ".join(_inline(part) for part in (turn.tool, turn.call_id) if part)
        step = Step(
            title=f"tool {label} without a call{f' ({whose})' if whose else ''}", message_id=message_id
        )
        steps.append(step)
    step.texts.append((label, turn.text, message_id))
    step.failed = step.failed or turn.failed


def trail(steps: Sequence[Step], limit: int) -> str:
    """The steps, numbered, in at most so many characters.

    If they are more, older texts are cut shorter; if that is not enough, the oldest steps are left out. Both
    is said, with the messages in which the whole stands.
    """
    lines = [_lines(number, step, SHOWN_CHARS) for number, step in enumerate(steps, 1)]
    if _size(lines) > limit:
        older = max(0, len(steps) - _RECENT)
        lines[:older] = [_lines(n, step, OLDER_CHARS) for n, step in enumerate(steps[:older], 1)]
    left_out, size = 0, _size(lines)
    while size > limit - 300 and left_out < len(lines) and (left_out or size > limit):
        size -= len(lines[left_out]) + 1
        left_out += 1
    if left_out:
        first, last = steps[0].message_id, steps[left_out - 1].message_id
        note = f"(steps 1 to {left_out} are left out here; they stand whole in messages {first} to {last})"
        return "\n".join([note, *lines[left_out:]])
    return "\n".join(lines)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _lines(number: int, step: Step, shown: int) -> str:
    lines = [f"{number}. {step.title}"]
    for label, text, message_id in step.texts:
        cut = text[:shown]
        lines += [f"   {label}:"] if label else []
        # A mark before each line: no text can pose as a step.
        lines += [f"   | {line}" for line in cut.splitlines() or [""]]
        if len(cut) < len(text):
            lines.append(
                f"   ({len(text) - len(cut):,} more characters; the whole stands in message {message_id})"
            )
    return "\n".join(lines)


def _inline(text: str) -> str:
    return " ".join(text.split())[:200]


def head(scope: Scope, steps: Sequence[Step], missing: int) -> str:
    """The first line of a record: whose run it is and how long."""
    run = "" if scope.run_id is None else f", run {_inline(scope.run_id)!r}"
    errors = sum(step.failed for step in steps)
    parts = [f"{len(steps)} step{'s' * (len(steps) != 1)}"]
    parts += [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    parts += [f"{missing} deleted message{'s' * (missing != 1)} missing"] if missing else []
    return f"Run of agent {_inline(scope.agent_id or '')!r}{run}: {', '.join(parts)}"


def cut_overview(overview: Mapping[str, Any]) -> dict[str, Any]:
    """An overview with texts and lists of a bounded length."""
    kept: dict[str, Any] = {}
    for key, value in overview.items():
        if isinstance(value, list):
            listed = cast("list[object]", value)[:_ITEMS]
            items = [clean_text(str(item)).strip()[:_ITEM_CHARS] for item in listed]
            kept[key] = [item for item in items if item]
        else:
            kept[key] = clean_text(str(value)).strip()[:_OVERVIEW_CHARS]
    return kept


def overview_text(overview: Mapping[str, Any], steps: int, last: int) -> str:
    """An overview as lines; it may be older than the last step, which is said then."""
    until = "" if steps == last else f" (of steps 1 to {steps}, written earlier)"
    lines = [f"Overview{until}", f"Goal: {overview['goal']}", f"Progress: {overview['progress']}"]
    for name, key in (("Findings", "findings"), ("Open questions", "open_questions")):
        if overview[key]:
            lines += [f"{name}:", *(f"- {item}" for item in overview[key])]
    lines += [f"Next step: {overview['next_step']}"] if overview["next_step"] else []
    return "\n".join(lines)
