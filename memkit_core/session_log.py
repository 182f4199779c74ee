"""A session's messages for adapters: texts in order, in the item store beside the memories."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote

from .protocols import FoundItem, ItemGet, ItemPut, ItemSearch, ItemStore, StoredItem

ALL: Final = 1_000_000_000
_REMEMBERED: Final = "remembered"
_GENERATION: Final = "generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """The last messages of a log.

    Attributes:
        generation: Another one: messages were removed.
        remembered: The key of the last message that became part of the memories.
        stored: By their keys, which grow in the order in which messages were put; the last one first.
        changed_at: When the last message was put, in microseconds since 1970 UTC; 0 if there is none.
    """

    generation: str
    remembered: str
    stored: dict[str, StoredItem]
    changed_at: int


class SessionLog:
    """The messages of a user's session in one adapter. Blocking; reads see what any process has put."""

    __slots__ = ("_place", "_state")

    def __init__(self, adapter: str, user_id: str, session_id: str) -> None:
        session = (adapter, label(user_id), label(session_id))
        self._place = (*session, "messages")
        self._state = (*session, "state")

    def page(self, items: ItemStore, limit: int = ALL) -> LogPage:
        """The last so many messages, all by default."""
        generation, remembered, found = items.ask(
            [
                ItemGet(namespace=self._state, key=_GENERATION),
                ItemGet(namespace=self._state, key=_REMEMBERED),
                ItemSearch(prefix=self._place, limit=limit),
            ],
            now=_clock(),
        )
        stored = {hit.item.key: hit.item for hit in cast("tuple[FoundItem, ...]", found)}
        return LogPage(
            generation=_value(generation),
            remembered=_value(remembered),
            stored=stored,
            changed_at=max((item.updated_at for item in stored.values()), default=0),
        )

    def append(
        self, items: ItemStore, messages: Sequence[str], *, after: int | None = None, remembered: bool = False
    ) -> str:
        """Put messages behind those that are there, all or none.

        Args:
            messages: JSON objects.
            after: When the last one was put, if that is known.
            remembered: They and all before them have become part of the memories.

        Returns:
            The key of the last one.
        """
        puts, now = self.appending(
            messages, after=self._changed_at(items) if after is None else after, remembered=remembered
        )
        items.put(puts, now=now)
        return puts[len(messages) - 1].key if messages else ""

    def appending(
        self, messages: Sequence[str], *, after: int, remembered: bool = False
    ) -> tuple[list[ItemPut], int]:
        """What ``append`` puts, and when."""
        now = _behind(after)
        puts = self._puts(messages, now)
        if remembered:
            puts.append(self._stating(_REMEMBERED, puts[-1].key if puts else ""))
        return puts, now

    def replace(self, items: ItemStore, messages: Sequence[str]) -> None:
        """Put messages in the place of those that are there; they count as remembered."""
        page = self.page(items)
        now = _behind(page.changed_at)
        new = self._puts(messages, now)
        state = [
            self._stating(_GENERATION, uuid.uuid4().hex),
            self._stating(_REMEMBERED, new[-1].key if new else ""),
        ]
        removed = [ItemPut(namespace=self._place, key=key, value=None) for key in page.stored]
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


def _value(answer: object) -> str:
    return str(json.loads(answer.value)["value"]) if isinstance(answer, StoredItem) else ""


def _behind(changed_at: int) -> int:
    # A clock that was set back must not put a message before those that are there.
    return max(_clock(), changed_at + 1)


def _clock() -> int:
    return time.time_ns() // 1000
