"""The messages of one session, in memkit's own store: in order, exactly as they were, and for good."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, cast
from urllib.parse import quote

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock

from memkit_core.errors import UsageError
from memkit_core.protocols import FoundItem, ItemGet, ItemPut, ItemSearch, ItemStore, StoredItem

_ALL: Final = 1_000_000_000
#: So many of the last messages are read to see what is new; if all of them are, so many times as many.
_PAGE: Final = 4
_MORE: Final = 16
_REMEMBERED: Final = "remembered"
_GENERATION: Final = "generation"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of a history.

    Attributes:
        key: Keys grow in the order in which messages were put.
        role: Of the message as it was put.
    """

    key: str
    role: MessageRole
    _value: str
    _told: ChatMessage
    # To see a change by: of a message that is nothing but a text its block and that text, else a copy.
    _then: tuple[TextBlock, str] | ChatMessage

    @classmethod
    def of(cls, key: str, value: str) -> Entry:
        """One from what was stored."""
        told = ChatMessage.model_validate_json(value)
        block = told.blocks[0] if len(told.blocks) == 1 and not told.additional_kwargs else None
        if isinstance(block, TextBlock):
            return cls(key, told.role, value, told, (block, block.text))
        return cls(key, told.role, value, told, told.model_copy(deep=True))

    def told(self) -> ChatMessage:
        """The message as it was put, whatever was done to those that were handed out before."""
        # A whole history is handed out in every turn: looking takes a quarter of the time of a copy, and less
        # where it need not look far.
        now = self._told.__dict__
        blocks, more = now["blocks"], now["additional_kwargs"]
        if isinstance(self._then, tuple):
            block, text = self._then
            same = not more and len(blocks) == 1 and blocks[0] is block and block.text is text
        else:
            then = self._then.__dict__
            same = more == then["additional_kwargs"] and _inside(blocks) == _inside(then["blocks"])
        if same and now["role"] is self.role:
            return self._told
        return ChatMessage.model_validate_json(self._value)


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


class History:
    """The messages of a user's session. Blocking; reads see what any process has put."""

    __slots__ = ("_place", "_state")

    def __init__(self, user_id: str, session_id: str) -> None:
        session = ("memkit_llamaindex", label(user_id), label(session_id))
        self._place = (*session, "messages")
        self._state = (*session, "state")

    def read(self, items: ItemStore, known: Known | None = None) -> Known:
        """The history as it is now, by way of how it was known."""
        limit = _ALL if known is None else _PAGE
        while True:
            generation, remembered, page = items.ask(
                [
                    ItemGet(namespace=self._state, key=_GENERATION),
                    ItemGet(namespace=self._state, key=_REMEMBERED),
                    ItemSearch(prefix=self._place, limit=limit),
                ],
                now=_clock(),
            )
            stored = {hit.item.key: hit.item for hit in cast("tuple[FoundItem, ...]", page)}
            told = _value(generation)
            before = known.entries if known is not None and known.generation == told else ()
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
            generation=told,
            remembered=_value(remembered),
            changed_at=max((item.updated_at for item in stored.values()), default=0),
            entries=entries,
        )

    def append(
        self, items: ItemStore, messages: Sequence[str], *, after: int | None = None, remembered: bool = False
    ) -> str:
        """Put messages behind those that are there, all or none.

        Args:
            messages: As ``written`` made them.
            after: When the last one was put, if that is known.
            remembered: They and all before them have become part of the memories.

        Returns:
            The key of the last one.
        """
        now = _behind(self._changed_at(items) if after is None else after)
        puts = self._puts(messages, now)
        key = puts[-1].key if puts else ""
        items.put([*puts, self._stating(_REMEMBERED, key)] if remembered else puts, now=now)
        return key

    def replace(self, items: ItemStore, messages: Sequence[str]) -> None:
        """Put messages in the place of those that are there; they count as remembered."""
        known = self.read(items)
        now = _behind(known.changed_at)
        new = self._puts(messages, now)
        state = [
            self._stating(_GENERATION, uuid.uuid4().hex),
            self._stating(_REMEMBERED, new[-1].key if new else ""),
        ]
        removed = [ItemPut(namespace=self._place, key=entry.key, value=None) for entry in known.entries]
        items.put([*removed, *new, *state], now=now)

    def mark(self, items: ItemStore, key: str) -> None:
        """Note that all messages up to this one have become part of the memories."""
        items.put([self._stating(_REMEMBERED, key)], now=_clock())

    def _changed_at(self, items: ItemStore) -> int:
        (found,) = items.ask([ItemSearch(prefix=self._place, limit=1)], now=_clock())
        return max((hit.item.updated_at for hit in cast("tuple[FoundItem, ...]", found)), default=0)

    def _puts(self, messages: Sequence[str], now: int) -> list[ItemPut]:
        # What two processes put at one moment is kept, each in one piece.
        tag = uuid.uuid4().hex[:12]
        return [
            ItemPut(namespace=self._place, key=f"{now:020d}-{tag}-{position:06d}", value=message)
            for position, message in enumerate(messages)
        ]

    def _stating(self, name: str, value: str) -> ItemPut:
        return ItemPut(namespace=self._state, key=name, value=json.dumps({"value": value}))


def label(text: str) -> str:
    """The text as a label of a namespace; different texts have different ones."""
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E")


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


def _inside(blocks: list[object]) -> list[object]:
    """What blocks hold, to be compared: five times as fast as comparing models."""
    return [getattr(block, "__dict__", block) for block in blocks]


def _split(entries: tuple[Entry, ...], key: str) -> tuple[tuple[Entry, ...], dict[str, Entry]]:
    """The entries before a key, and those from it on by their keys."""
    end = len(entries)
    while end and entries[end - 1].key >= key:
        end -= 1
    return entries[:end], {entry.key: entry for entry in entries[end:]}


def _value(answer: object) -> str:
    return str(json.loads(answer.value)["value"]) if isinstance(answer, StoredItem) else ""


def _behind(changed_at: int) -> int:
    # A clock that was set back must not put a message before those that are there.
    return max(_clock(), changed_at + 1)


def _clock() -> int:
    return time.time_ns() // 1000
