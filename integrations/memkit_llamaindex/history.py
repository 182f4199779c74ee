"""The messages of one session, in memkit's own store: in order, exactly as they were, and for good."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock

from memkit_core.errors import UsageError
from memkit_core.protocols import FoundItem, ItemGet, ItemPut, ItemSearch, ItemStore, StoredItem

_ALL: Final = 1_000_000_000
#: So many of the last messages are read to see what is new.
_PAGE: Final = 8
_REMEMBERED: Final = "remembered"
_GENERATION: Final = "generation"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message and its key; keys grow in the order in which messages were put."""

    key: str
    message: ChatMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A history as it was read: nothing but what was put behind it has to be read again.

    Attributes:
        generation: Another one: messages were removed.
        remembered: The key of the last message that became part of the memories.
        entries: In order, to be copied before they are handed out.
    """

    generation: str
    remembered: str
    entries: tuple[Entry, ...]

    def told(self, *, last: int | None = None) -> list[Entry]:
        """Copies; of a longer history those of the last so many, from a user's message on."""
        entries = self.entries
        if last is not None and len(entries) > last:
            entries = entries[-last:]
            # A tool's result without its call is refused by providers.
            asked = (n for n, entry in enumerate(entries) if entry.message.role == MessageRole.USER)
            entries = entries[next(asked, 0) :]
        return [Entry(entry.key, _copied(entry.message)) for entry in entries]

    def unremembered(self) -> list[Entry]:
        """The messages behind the last one that became part of the memories."""
        return [entry for entry in self.entries if entry.key > self.remembered]


@dataclass(frozen=True, slots=True)
class History:
    """The messages of a user's session. Blocking; reads see what any process has put."""

    user_id: str
    session_id: str

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return ("memkit_llamaindex", label(self.user_id), label(self.session_id), "messages")

    @property
    def _state(self) -> tuple[str, str, str, str]:
        return (*self._place[:3], "state")

    def read(self, items: ItemStore, known: Known | None = None) -> Known:
        """The history as it is now, by way of how it was known."""
        generation, remembered, page = items.ask(
            [
                ItemGet(namespace=self._state, key=_GENERATION),
                ItemGet(namespace=self._state, key=_REMEMBERED),
                ItemSearch(prefix=self._place, limit=_PAGE),
            ],
            now=_clock(),
        )
        stored = [hit.item for hit in cast("tuple[FoundItem, ...]", page)]
        before: dict[str, Entry] = {}
        if known is not None and known.generation == _value(generation):
            before = {entry.key: entry for entry in known.entries}
        if len(stored) == _PAGE and stored[-1].key not in before:
            # Older ones are new as well.
            stored = self._stored(items, limit=_ALL)
        new = [_entry(item) for item in stored if item.key not in before]
        entries = tuple(before.values())
        if new:
            entries = tuple(sorted((*entries, *new), key=lambda entry: entry.key))
        return Known(generation=_value(generation), remembered=_value(remembered), entries=entries)

    def append(self, items: ItemStore, messages: Sequence[ChatMessage]) -> None:
        """Put messages behind those that are there, all or none."""
        now = self._now(items)
        items.put(self._puts(messages, now), now=now)

    def replace(self, items: ItemStore, messages: Sequence[ChatMessage]) -> None:
        """Put messages in the place of those that are there; they count as remembered."""
        now = self._now(items)
        old = self._stored(items, limit=_ALL)
        new = self._puts(messages, now)
        state = [
            self._stating(_GENERATION, uuid.uuid4().hex),
            self._stating(_REMEMBERED, new[-1].key if new else ""),
        ]
        removed = [ItemPut(namespace=self._place, key=item.key, value=None) for item in old]
        items.put([*removed, *new, *state], now=now)

    def mark(self, items: ItemStore, key: str) -> None:
        """Note that all messages up to this one have become part of the memories."""
        items.put([self._stating(_REMEMBERED, key)], now=_clock())

    def _stored(self, items: ItemStore, *, limit: int) -> list[StoredItem]:
        (found,) = items.ask([ItemSearch(prefix=self._place, limit=limit)], now=_clock())
        return sorted((hit.item for hit in cast("tuple[FoundItem, ...]", found)), key=lambda item: item.key)

    def _now(self, items: ItemStore) -> int:
        # A clock that was set back must not put a message before those that are there.
        last = self._stored(items, limit=1)
        return max(_clock(), last[0].updated_at + 1) if last else _clock()

    def _puts(self, messages: Sequence[ChatMessage], now: int) -> list[ItemPut]:
        return [
            ItemPut(
                namespace=self._place,
                # What two processes put at one moment is kept, each in one piece.
                key=f"{now:020d}-{tag}-{position:06d}",
                value=_written(message),
            )
            for tag in [uuid.uuid4().hex[:12]]
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


def _entry(item: StoredItem) -> Entry:
    return Entry(item.key, ChatMessage.model_validate_json(item.value))


def _value(answer: object) -> str:
    return str(json.loads(answer.value)["value"]) if isinstance(answer, StoredItem) else ""


def _copied(message: ChatMessage) -> ChatMessage:
    # What an agent adds to a message that it got is not part of the history.
    changed = {"blocks": list(message.blocks), "additional_kwargs": dict(message.additional_kwargs)}
    return message.model_copy(update=changed)


def _written(message: ChatMessage) -> str:
    told: dict[str, Any] = message.model_dump(exclude={"additional_kwargs"}, mode="json")
    # A message with images in its arguments has them among its blocks too, and would get them twice.
    extra = {name: value for name, value in message.additional_kwargs.items() if name != "images"}
    dumped = ChatMessage(role=message.role, additional_kwargs=extra).model_dump()["additional_kwargs"]
    try:
        return json.dumps({**told, "additional_kwargs": dumped})
    except (TypeError, ValueError) as error:
        raise UsageError(f"a message's additional_kwargs must be JSON to be kept: {error}") from error


def _clock() -> int:
    return time.time_ns() // 1000
