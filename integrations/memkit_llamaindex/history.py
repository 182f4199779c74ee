"""The messages of one session, in memkit's own store: in order, exactly as they were, and for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock

from memkit_core.adapting import ALL, SessionLog
from memkit_core.errors import UsageError
from memkit_core.protocols import ItemStore

#: So many of the last messages are read to see what is new; if all of them are, so many times as many.
_PAGE: Final = 4
_MORE: Final = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of a history.

    Attributes:
        key: Keys grow in the order in which messages were put.
        role: Of the message as it was put.
    """

    key: str
    role: MessageRole
    value: str
    message: ChatMessage
    # What a change of the message, or within its blocks, is seen by.
    then: dict[str, Any]
    inside: list[dict[str, Any]]

    @classmethod
    def of(cls, key: str, value: str) -> Entry:
        """One from what was stored."""
        told = ChatMessage.model_validate_json(value)
        then = dict(
            told.__dict__, blocks=list(told.blocks), additional_kwargs=deepcopy(told.additional_kwargs)
        )
        return cls(
            key, told.role, value, told, then, [dict(deepcopy(block.__dict__)) for block in told.blocks]
        )

    def told(self) -> ChatMessage:
        """The message as it was put, whatever was done to those that were handed out before."""
        return self.message if _as_put([self]) else ChatMessage.model_validate_json(self.value)


def told(entries: Sequence[Entry]) -> list[ChatMessage]:
    """The messages as they were put, see ``Entry.told``."""
    # A whole history is handed out in every turn: looking at all at once takes a tenth of the time of copies.
    if _as_put(entries):
        return [entry.message for entry in entries]
    return [entry.told() for entry in entries]


def _as_put(entries: Sequence[Entry]) -> bool:
    now = [entry.message.__dict__ for entry in entries]
    if now != [entry.then for entry in entries]:
        return False
    # The blocks are the same ones, or equal to them.
    inside = [block.__dict__ for message in now for block in message["blocks"]]
    return inside == [then for entry in entries for then in entry.inside]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A history as it was read: nothing but what was put behind it has to be read again.

    Attributes:
        generation: Another one: messages were removed.
        remembered: The key of the last message that became part of the memories.
        changed_at: When the last message was put, in microseconds since 1970 UTC; 0 if there is none.
        entries: In order.
    """

    generation: str
    remembered: str
    changed_at: int
    entries: tuple[Entry, ...]

    def last(self, count: int | None) -> tuple[Entry, ...]:
        """The last so many, from a user's message on; all of a shorter history, or for None."""
        if count is None or len(self.entries) <= count:
            return self.entries
        entries = self.entries[-count:]
        # A tool's result without its call is refused by providers.
        asked = (n for n, entry in enumerate(entries) if entry.role is MessageRole.USER)
        return entries[next(asked, 0) :]

    def unremembered(self) -> list[Entry]:
        """The messages behind the last one that became part of the memories."""
        behind = takewhile(lambda entry: entry.key > self.remembered, reversed(self.entries))
        return list(behind)[::-1]


class History(SessionLog):
    """The messages of a user's session. Blocking; reads see what any process has put."""

    __slots__ = ()

    def __init__(self, user_id: str, session_id: str) -> None:
        super().__init__("memkit_llamaindex", user_id, session_id)

    def read(self, items: ItemStore, known: Known | None = None) -> Known:
        """The history as it is now, by way of how it was known."""
        limit = ALL if known is None else _PAGE
        while True:
            page = self.page(items, limit)
            stored = page.stored
            before = known.entries if known is not None and known.generation == page.generation else ()
            older, newer = _split(before, min(stored, default=""))
            whole = len(stored) < limit
            if whole or next(reversed(stored)) in newer:
                break
            limit *= _MORE
        if whole:
            older, newer = (), {key: entry for key, entry in newer.items() if key in stored}
        entries = before
        fresh = [Entry.of(item.key, item.value) for item in stored.values() if item.key not in newer]
        if fresh or len(older) + len(newer) < len(before):
            entries = (*older, *sorted((*newer.values(), *fresh), key=lambda entry: entry.key))
        return Known(
            generation=page.generation,
            remembered=page.remembered,
            changed_at=page.changed_at,
            entries=entries,
        )


def text_of(message: ChatMessage) -> str:
    """What a message says in words."""
    return "\n".join(block.text for block in message.blocks if isinstance(block, TextBlock)).strip()


def calls_tools(message: ChatMessage) -> bool:
    """Whether a message asks for tools to be called: its run goes on."""
    called = any(isinstance(block, ToolCallBlock) for block in message.blocks)
    return called or bool(message.additional_kwargs.get("tool_calls"))


def written(message: ChatMessage) -> str:
    """A message as the JSON that it comes back from.

    Raises:
        UsageError: It is none, or its additional arguments are no JSON.
    """
    if not isinstance(cast("object", message), ChatMessage):
        raise UsageError(f"a history takes ChatMessage, not {type(message).__name__}")
    told: dict[str, Any] = message.model_dump(exclude={"additional_kwargs"}, mode="json")
    # A message with images in its arguments has them among its blocks too, and would get them twice.
    extra = {name: value for name, value in message.additional_kwargs.items() if name != "images"}
    if extra:
        extra = ChatMessage(role=message.role, additional_kwargs=extra).model_dump()["additional_kwargs"]
    try:
        return json.dumps({**told, "additional_kwargs": extra})
    except (TypeError, ValueError) as error:
        raise UsageError(f"a message's additional_kwargs must be JSON to be kept: {error}") from error


def _split(entries: tuple[Entry, ...], key: str) -> tuple[tuple[Entry, ...], dict[str, Entry]]:
    """The entries before a key, and those from it on by their keys."""
    end = len(entries)
    while end and entries[end - 1].key >= key:
        end -= 1
    return entries[:end], {entry.key: entry for entry in entries[end:]}
