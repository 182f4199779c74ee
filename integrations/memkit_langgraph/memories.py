"""A user's memories as items: the same ones that ``memory.search`` finds, through the same verbs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from langgraph.store.base import GetOp, Item, PutOp, SearchItem, SearchOp

from memkit_core import MemoryItem
from memkit_core.errors import ConflictError, NotFoundError, UsageError

from .namespaces import user_of
from .turns import Turns
from .values import check_page, filter_of, ttl_micros
from .wording import FIELD, KEY, text_of, value_of

if TYPE_CHECKING:
    from memkit_core.adapting import Lent

#: How many more hits a filtered search asks for at a time, and where it ends.
_FIRST, _MOST = 50, 1_000
#: How often a put is begun again because another process has removed the memory meanwhile.
_TRIES: Final = 10
#: What expires then does not.
_NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)


class Memories:
    """The namespaces ``user_namespace(label, user_id)`` of all users, each no more than that user's memories.

    Args:
        label: Their first label, None if memories are not shown.
        extract: A put of messages is extracted from, whatever its value says.
    """

    def __init__(self, lent: Lent, label: str | None, *, extract: bool) -> None:
        self._lent = lent
        self._memory = lent.memory
        self._turns = Turns()
        self._label = label
        self._extract = extract

    def user(self, namespace: tuple[str, ...] | list[str]) -> str | None:
        """Whose memories a namespace is, None for one of items."""
        if self._label is None or len(namespace) != 2 or namespace[0] != self._label:
            return None
        try:
            return str(user_of(namespace))
        except UsageError:
            return None  # a label of the caller's own: what is there are items

    def check(self, user: str, op: PutOp) -> None:
        """Refuse what cannot become a memory.

        Raises:
            UsageError: It has neither a text nor messages, bears the name of a field of ours, or holds what
                no memory can.
            VisionUnsupportedError: It has messages with images, and no model can see.
        """
        if op.value is None:
            return
        if {KEY, FIELD} & op.value.keys():
            raise UsageError(f"{KEY} and {FIELD} are memkit's own names")
        found = self.extraction(op, user)
        if found is None:
            text, metadata = _told(op.value)
            named = {**metadata, KEY: op.key}
            _expiry(op)
            self._lent.check_add(text, user_id=user, key=op.key, metadata=named, infer=False)
            return
        self._lent.check_add(
            found["messages"], user_id=user, key=op.key, metadata=found["metadata"], infer=found["infer"]
        )

    def read(self, user: str, op: GetOp | SearchOp) -> Item | list[SearchItem] | None:
        """One memory, or those that a search finds."""
        if isinstance(op, GetOp):
            found = self._find(user, op.key)
            return None if found is None else Item(**_fields(tuple(op.namespace), found))
        where = filter_of(op.filter)
        check_page(op.limit, op.offset)
        query = op.query if op.query and op.query.strip() else None
        hits = self._listed(user) if query is None else self._searched(user, query)
        fitting = (hit for hit in hits if where is None or where.matches(value_of(hit)))
        page = islice(fitting, op.offset, min(op.offset + op.limit, sys.maxsize))
        namespace = tuple(op.namespace_prefix)
        return [SearchItem(**_fields(namespace, hit), score=getattr(hit, "score", None)) for hit in page]

    def _listed(self, user: str) -> Iterator[MemoryItem]:
        cursor: str | None = None
        found: list[MemoryItem] = []
        while True:
            page = self._memory.get_all(user_id=user, cursor=cursor)
            found += page.results
            cursor = page.next_cursor
            if cursor is None:
                break
        # Pages come by when a memory was made, items by when they were changed last.
        found.sort(key=lambda memory: (memory.updated_at, memory.id), reverse=True)
        yield from found

    def _searched(self, user: str, query: str) -> Iterator[MemoryItem]:
        given, limit = 0, _FIRST
        while True:
            hits = self._memory.search(query, user_id=user, limit=limit).results
            yield from hits[given:]
            if len(hits) < limit or limit >= _MOST:
                return
            given, limit = len(hits), min(limit * 2, _MOST)

    def _find(self, user: str, key: str) -> MemoryItem | None:
        found = self._all(user, key)
        return found[0] if found else None

    def _all(self, user: str, key: str) -> list[MemoryItem]:
        """The memory of a key; more than one, the first is the one to keep, if processes put it together."""
        found = self._memory.get(key, user_id=user)
        if found is not None:
            return [found]
        page = self._memory.get_all(user_id=user, filters={f"metadata.{KEY}": key})
        return sorted(page.results, key=lambda memory: (memory.created_at, memory.id))

    def extraction(self, op: PutOp, user: str) -> dict[str, Any] | None:
        """What ``memory.add`` is called with if a put hands over messages, None otherwise."""
        if op.value is None or "messages" not in op.value:
            return None
        metadata = {name: part for name, part in op.value.items() if name not in ("messages", "extract")}
        return {
            "messages": op.value["messages"],
            "user_id": user,
            "metadata": metadata or None,
            "infer": self._extract or bool(op.value.get("extract")),
            "expires_at": _expiry(op),
        }

    def put(self, user: str, op: PutOp) -> None:
        """Store, change or remove one memory.

        Raises:
            MemkitError: As the verb of memory that does it. Nothing was changed.
        """
        with self._turns.of(user, op.key):
            for _ in range(_TRIES):
                try:
                    self._put(user, op)
                except NotFoundError:  # another process has removed it since it was found
                    continue
                return
        raise ConflictError(f"other processes put and remove the key {op.key!r} all the time")

    def _put(self, user: str, op: PutOp) -> None:
        found = self._all(user, op.key)
        if op.value is None:
            self._remove(user, found)
            return
        text, metadata = _told(op.value)
        own: str | None = None
        if not found:
            named = {**metadata, KEY: op.key}
            added = self._memory.add(text, user_id=user, metadata=named, infer=False, expires_at=_expiry(op))
            own = next((one.id for one in added.results), None)
            # Another process may have found none either. Whoever comes last sees both, and leaves one.
            found = self._all(user, op.key)
        for kept in found[:1]:
            if kept.id != own:
                self._change(user, kept, op, text, metadata)
        self._remove(user, found[1:])

    def _change(self, user: str, found: MemoryItem, op: PutOp, text: str, metadata: dict[str, Any]) -> None:
        if KEY in found.metadata:
            metadata = {**metadata, KEY: found.metadata[KEY]}
        expires = _expiry(op)
        if expires is None and found.expires_at is not None:
            expires = _NEVER
        self._memory.update(
            found.id,
            None if text == found.memory else text,
            user_id=user,
            metadata=metadata,
            expires_at=expires,
        )

    def _remove(self, user: str, found: Iterable[MemoryItem]) -> None:
        for memory in found:
            with suppress(NotFoundError):  # another process was faster
                self._memory.delete(memory.id, user_id=user)


def _told(value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text of a memory, and the metadata beside it."""
    field, text = text_of(value)
    left_out = {"memory", "extract"}
    if isinstance(value[field], str):
        left_out.add(field)
    metadata = {name: part for name, part in value.items() if name not in left_out}
    if field != "memory":
        metadata[FIELD] = field
    return text, metadata


def _expiry(op: PutOp) -> datetime | None:
    lives = ttl_micros(op.ttl)
    return None if lives is None else datetime.now(UTC) + timedelta(microseconds=lives)


def _fields(namespace: tuple[str, ...], memory: MemoryItem) -> dict[str, Any]:
    key = memory.metadata.get(KEY)
    return {
        "namespace": namespace,
        "key": key if isinstance(key, str) else memory.id,
        "value": value_of(memory),
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
    }
