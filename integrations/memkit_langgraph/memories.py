"""A user's memories as items: the same ones that ``memory.search`` finds, through the same verbs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from langgraph.store.base import GetOp, Item, PutOp, SearchItem, SearchOp

from memkit_core import MemoryItem
from memkit_core.errors import UsageError

from .namespaces import user_of
from .values import filter_of, ttl_micros

if TYPE_CHECKING:
    from memkit_core import Memory

#: Metadata of a memory that was put as an item: its key, and the field that its text stood in.
KEY: Final = "langgraph_key"
FIELD: Final = "langgraph_field"
#: Where the text of a memory may stand in a value; the first one counts.
_TEXT_FIELDS: Final = ("memory", "content", "text", "data")
#: How many more hits a filtered search asks for at a time, and where it ends.
_FIRST, _MOST = 50, 1_000


class Memories:
    """The namespaces ``user_namespace(label, user_id)`` of all users, each no more than that user's memories.

    Args:
        label: Their first label, None if memories are not shown.
        extract: A put of messages is extracted from, whatever its value says.
    """

    def __init__(self, memory: Memory, label: str | None, *, extract: bool) -> None:
        self._memory = memory
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

    def check(self, op: PutOp) -> None:
        """Refuse what cannot become a memory.

        Raises:
            UsageError: It has neither a text nor messages, or bears the name of a field of ours.
        """
        if op.value is None:
            return
        if {KEY, FIELD} & op.value.keys():
            raise UsageError(f"{KEY} and {FIELD} are memkit's own names")
        if "messages" not in op.value:
            _text_of(op.value)

    def read(self, user: str, op: GetOp | SearchOp) -> Item | list[SearchItem] | None:
        """One memory, or those that a search finds."""
        if isinstance(op, GetOp):
            found = self._find(user, op.key)
            return None if found is None else Item(**_fields(tuple(op.namespace), found))
        where = filter_of(op.filter)
        if op.limit < 0 or op.offset < 0:
            raise UsageError(f"limit and offset must not be negative, they are {op.limit} and {op.offset}")
        query = op.query if op.query and op.query.strip() else None
        hits = self._listed(user) if query is None else self._searched(user, query)
        fitting = (hit for hit in hits if where is None or where.matches(value_of(hit)))
        page = islice(fitting, op.offset, op.offset + op.limit)
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
        found = self._memory.get(key, user_id=user)
        if found is None:
            page = self._memory.get_all(user_id=user, filters={f"metadata.{KEY}": key}, limit=1)
            found = page.results[0] if page.results else None
        return found

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
        found = self._find(user, op.key)
        if op.value is None:
            if found is not None:
                self._memory.delete(found.id, user_id=user)
            return
        field, text = _text_of(op.value)
        metadata = {name: part for name, part in op.value.items() if name not in (field, "memory", "extract")}
        if field != "memory":
            metadata[FIELD] = field
        if found is None:
            metadata[KEY] = op.key
            self._memory.add(text, user_id=user, metadata=metadata, infer=False, expires_at=_expiry(op))
            return
        if KEY in found.metadata:
            metadata[KEY] = found.metadata[KEY]
        self._memory.update(
            found.id,
            None if text == found.memory else text,
            user_id=user,
            metadata=metadata,
            expires_at=_expiry(op),
        )


def _expiry(op: PutOp) -> datetime | None:
    lives = ttl_micros(op.ttl)
    return None if lives is None else datetime.now(UTC) + timedelta(microseconds=lives)


def _text_of(value: Mapping[str, Any]) -> tuple[str, str]:
    for field in _TEXT_FIELDS:
        text = value.get(field)
        if isinstance(text, str) and text.strip():
            return field, text
    raise UsageError(
        f"a memory's value has its text under one of {', '.join(_TEXT_FIELDS)}, or messages: other values go"
        " into another namespace than the memories'"
    )


def value_of(memory: MemoryItem) -> dict[str, Any]:
    """A memory as an item's value: its metadata and its text."""
    value = {name: part for name, part in memory.metadata.items() if name not in (KEY, FIELD)}
    field = memory.metadata.get(FIELD)
    if isinstance(field, str):
        value[field] = memory.memory
    value["memory"] = memory.memory
    return value


def _fields(namespace: tuple[str, ...], memory: MemoryItem) -> dict[str, Any]:
    key = memory.metadata.get(KEY)
    return {
        "namespace": namespace,
        "key": key if isinstance(key, str) else memory.id,
        "value": value_of(memory),
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
    }
