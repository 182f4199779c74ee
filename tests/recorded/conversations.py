"""The conversations, and how they are held with a memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memkit_core import Memory, MemoryConfig

from .scoring import Change, GoldAdd, Keys, Seen, Tally, Text, score_add, score_state

FOLDER = Path(__file__).parent
REPLIES = FOLDER / "replies"
BEGIN, END = "<!-- recorded: begin -->", "<!-- recorded: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation with what should come of it.

    Attributes:
        adds: What is said, add by add, in the words of ``Memory.add``.
        gold: What each add should learn.
        current, gone: What should hold at the end, and what should not.
    """

    name: str
    language: str
    covers: tuple[str, ...]
    scope: Mapping[str, str]
    adds: tuple[Mapping[str, Any], ...]
    gold: tuple[GoldAdd, ...]
    current: tuple[Keys, ...]
    gone: tuple[Keys, ...]

    @property
    def recording(self) -> Path:
        """Where the replies to it are kept."""
        return REPLIES / f"{self.name}.json"


def conversations() -> list[Conversation]:
    """All of them, in the order of their languages' files."""
    return [
        _conversation(file.stem, row)
        for file in sorted((FOLDER / "conversations").glob("*.json"))
        for row in json.loads(file.read_text(encoding="utf-8"))
    ]


def _conversation(language: str, row: Mapping[str, Any]) -> Conversation:
    return Conversation(
        name=row["id"],
        language=language,
        covers=tuple(row["covers"]),
        scope=row["scope"],
        adds=tuple({key: add[key] for key in ("observed_at", "messages")} for add in row["adds"]),
        gold=tuple(GoldAdd.of(add) for add in row["adds"]),
        current=tuple(Keys(groups=tuple(keys)) for keys in row["current"]),
        gone=tuple(Keys(groups=tuple(keys)) for keys in row["gone"]),
    )


def hold(conversation: Conversation, model: Any) -> list[Seen]:
    """What each add of a conversation did, with an empty memory and this chat model."""
    seen: list[Seen] = []
    patient = MemoryConfig(store="sqlite://:memory:", resilience={"timeout": None, "attempts": 1})
    with Memory(llm=model, embedder="embedded", config=patient) as memory:
        before: list[Text] = []
        for add in conversation.adds:
            result = memory.add(**add, **conversation.scope)
            changes = [_change(memory, change) for change in result.results]
            after = [_text(item) for item in memory.get_all(**conversation.scope, limit=1_000)]
            seen.append(Seen(changes=changes, before=before, after=after, failed=result.status == "pending"))
            before = after
    return seen


def _change(memory: Memory, change: Any) -> Change:
    # A memory that is retired, also by a later decision of the same add, is known by its text only.
    item = None if change.id is None or change.event == "DELETE" else memory.get(change.id)
    text = Text(text=change.memory) if item is None else Text(text=change.memory, actor_id=item.actor_id)
    return Change(
        event=change.event,
        memory=text,
        previous=change.previous_memory,
        event_time=None if item is None else item.event_time,
    )


def _text(item: Any) -> Text:
    return Text(text=item.memory, actor_id=item.actor_id)


def score(conversation: Conversation, seen: Sequence[Seen]) -> Tally:
    """What the memory of a conversation is worth."""
    parts = [score_add(gold, one) for gold, one in zip(conversation.gold, seen, strict=True)]
    return sum(parts, score_state(conversation.current, conversation.gone, seen[-1].after))


def published(text: str, tallies: Mapping[str, Sequence[Tally]]) -> str:
    """The text of a page with these figures between its two marks."""
    head, found, rest = text.partition(BEGIN)
    _, ends, tail = rest.partition(END)
    assert found, "the page has lost its marks"
    assert ends, "the page has lost a mark"
    return f"{head}{BEGIN}\n\n{table(tallies)}\n\n{summary(tallies)}\n\n{END}{tail}"


def summary(tallies: Mapping[str, Sequence[Tally]]) -> str:
    """What the table does not say, in two sentences."""
    total = sum((tally for ones in tallies.values() for tally in ones), Tally())
    return (
        f"Of the {total.made} memories made, {total.forbidden} must not be remembered at all.\n"
        f"{total.failed} of the {total.adds} calls got no usable reply and stayed pending."
    )


def table(tallies: Mapping[str, Sequence[Tally]]) -> str:
    """Right ones of all, by language and in total, as a table in Markdown."""
    rows = {language: sum(ones, Tally()) for language, ones in tallies.items()}
    rows["**all**"] = sum(rows.values(), Tally())
    lines = [
        "| | conversations | precision | recall | decisions | dates | at the end |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, all_of_it in rows.items():
        count = len(tallies[name]) if name in tallies else sum(map(len, tallies.values()))
        cells = [
            _share(all_of_it.made_right, all_of_it.made),
            _share(all_of_it.found, all_of_it.wanted),
            _share(all_of_it.decided_right, all_of_it.decided),
            _share(all_of_it.dated_right, all_of_it.dated),
            _share(all_of_it.states_right, all_of_it.states),
        ]
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(right: int, count: int) -> str:
    return "-" if not count else f"{right}/{count} = {100 * right / count:.0f} %"
