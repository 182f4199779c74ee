"""Between LangGraph's items and those of memkit's item store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from langgraph.store.base import Item, ListNamespacesOp, SearchItem

from memkit_core.errors import UsageError
from memkit_core.protocols import FoundItem, ItemFilter, NamespaceListing, StoredItem

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST: Final = 2**63 - 1
_MINUTE: Final = 60_000_000
#: Signs that no field of a filter has in any store of LangGraph.
_STRANGE: Final = re.compile(r"[\x00-\x1f'\"`;()\\]")


def dump(value: Mapping[str, Any]) -> str:
    """An item's value as JSON text.

    Raises:
        UsageError: It is no JSON object.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"an item's value is a mapping, not {type(value).__name__}")
    plain = dict(value)
    try:
        _check_keys(plain)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"an item's value must be a JSON object: {error}") from error
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a character: only its escape can be stored
        return json.dumps(plain, allow_nan=False)
    return text


def _check_keys(value: Any) -> None:
    # json would silently turn numbers into texts, and tuples into lists.
    if isinstance(value, dict):
        parts: dict[Any, Any] = cast("Any", value)
        for key, part in parts.items():
            if not isinstance(key, str):
                raise TypeError(f"its keys are texts, not {type(key).__name__}")
            _check_keys(part)
    elif isinstance(value, tuple):
        raise TypeError("it holds a tuple, which would come back as a list: make it one")
    elif isinstance(value, list):
        items: list[Any] = cast("Any", value)
        for part in items:
            _check_keys(part)


def load(text: str) -> dict[str, Any]:
    """The value that was dumped."""
    value: dict[str, Any] = json.loads(text)
    return value


def moment(micros: int) -> datetime:
    """An instant as an aware datetime."""
    return _EPOCH + timedelta(microseconds=micros)


def ttl_micros(minutes: float | None) -> int | None:
    """A time to live in microseconds.

    Raises:
        UsageError: It is no number of minutes.
    """
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes < 1e10:
        raise UsageError(f"a ttl is a number of minutes, not {minutes!r}")
    return round(minutes * _MINUTE)


def item_of(stored: StoredItem) -> Item:
    """The item as LangGraph sees it, a copy of its own."""
    return Item(
        value=load(stored.value),
        key=stored.key,
        namespace=stored.namespace,
        created_at=moment(stored.created_at),
        updated_at=moment(stored.updated_at),
    )


def search_item_of(found: FoundItem) -> SearchItem:
    """The hit as LangGraph sees it, a copy of its own."""
    stored = found.item
    return SearchItem(
        namespace=stored.namespace,
        key=stored.key,
        value=load(stored.value),
        created_at=moment(stored.created_at),
        updated_at=moment(stored.updated_at),
        score=found.score,
    )


def check_page(limit: int, offset: int) -> None:
    """Refuse a page that there cannot be.

    Raises:
        UsageError: ``limit`` or ``offset`` is no number from 0 to 2**63 - 1.
    """
    for name, value in (("limit", limit), ("offset", offset)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            raise UsageError(f"{name} is not negative and at most 2**63 - 1; {value!r:.40} is not")


def filter_of(wanted: Mapping[str, Any] | None) -> ItemFilter | None:
    """The filter that is meant.

    Raises:
        UsageError: A field's name or an operator cannot be one.
    """
    if not wanted:
        return None
    for name in cast("Mapping[Any, Any]", wanted):
        if isinstance(name, str) and _STRANGE.search(name):
            raise UsageError(
                f"Invalid filter key: {name!r}. A field's name holds no quotes, brackets, semicolons,"
                " backslashes and control characters"
            )
    return ItemFilter(dict(wanted))


def listing_of(op: ListNamespacesOp) -> NamespaceListing:
    """What a listing of namespaces asks for.

    Raises:
        UsageError: A condition is neither about the beginning nor about the end.
    """
    patterns: dict[str, list[tuple[str, ...]]] = {"prefix": [], "suffix": []}
    for condition in op.match_conditions or ():
        if condition.match_type not in patterns:
            raise UsageError(f"a condition is 'prefix' or 'suffix', not {condition.match_type!r}")
        patterns[condition.match_type].append(tuple(condition.path))
    return NamespaceListing(
        prefixes=tuple(patterns["prefix"]),
        suffixes=tuple(patterns["suffix"]),
        max_depth=op.max_depth,
        limit=op.limit,
        offset=op.offset,
    )
