"""CrewAI's records: their paths, what of them fits a question, and what they are as memories of memkit's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from crewai.memory.types import MemoryRecord, ScopeInfo

from memkit_core import MemoryItem

#: Under these keys a memory's metadata keep what only CrewAI knows of it.
SCOPE: Final = "crewai_scope"
CATEGORIES: Final = "crewai_categories"
IMPORTANCE: Final = "crewai_importance"
SOURCE: Final = "crewai_source"
PRIVATE: Final = "crewai_private"
_OURS: Final = frozenset({SCOPE, CATEGORIES, IMPORTANCE, SOURCE, PRIVATE})


def path(scope: str | None) -> str:
    """A scope as a path: ``/``, or names behind one slash each, none at its end."""
    parts = [part for part in (scope or "").split("/") if part]
    return "/" + "/".join(parts)


def joined(root: str | None, inner: str | None) -> str:
    """The path of a scope below a root."""
    return path(f"{root or ''}/{inner or ''}")


def within(scope: str, prefix: str | None) -> bool:
    """Whether a scope is the path or below it. ``/crew/ab`` is not below ``/crew/a``."""
    top = path(prefix)
    return top == "/" or path(scope) == top or path(scope).startswith(f"{top}/")


def naive(moment: datetime) -> datetime:
    """A time as CrewAI has its times: UTC, without saying so."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def fits(
    record: MemoryRecord,
    *,
    scope_prefix: str | None = None,
    categories: Sequence[str] | None = None,
    record_ids: Sequence[str] | None = None,
    older_than: datetime | None = None,
    metadata_filter: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a record fulfils all conditions that there are."""
    return (
        within(record.scope, scope_prefix)
        and (not categories or bool(set(categories) & set(record.categories)))
        and (record_ids is None or record.id in record_ids)
        and (older_than is None or naive(record.created_at) < naive(older_than))
        and all(
            key in record.metadata and record.metadata[key] == value
            for key, value in (metadata_filter or {}).items()
        )
    )


def newest_first(records: Iterable[MemoryRecord]) -> list[MemoryRecord]:
    """The records by their time."""
    return sorted(records, key=lambda record: (naive(record.created_at), record.id), reverse=True)


def children(records: Iterable[MemoryRecord], parent: str) -> list[str]:
    """The paths one step below a path that hold something."""
    top = path(parent).rstrip("/")
    below = (path(record.scope)[len(top) + 1 :] for record in records if within(record.scope, parent))
    return sorted({f"{top}/{rest.partition('/')[0]}" for rest in below if rest})


def categories(records: Iterable[MemoryRecord]) -> dict[str, int]:
    """How many records each category has."""
    return dict(Counter(name for record in records for name in record.categories))


def info(records: Iterable[MemoryRecord], scope: str) -> ScopeInfo:
    """What CrewAI wants to know of a scope."""
    inside = [record for record in records if within(record.scope, scope)]
    times = [naive(record.created_at) for record in inside]
    return ScopeInfo(
        path=path(scope),
        record_count=len(inside),
        categories=sorted(categories(inside)),
        oldest_record=min(times, default=None),
        newest_record=max(times, default=None),
        child_scopes=children(inside, scope),
    )


def metadata_of(
    *,
    scope: str,
    categories: Sequence[str] | None,
    metadata: Mapping[str, Any] | None,
    importance: float | None,
    source: str | None,
    private: bool,
) -> dict[str, Any]:
    """What a memory keeps beside its text. The path is always there: it says that CrewAI has saved it."""
    told: dict[str, Any] = {**(metadata or {}), SCOPE: path(scope)}
    if categories:
        told[CATEGORIES] = list(categories)
    if importance is not None:
        told[IMPORTANCE] = importance
    if source is not None:
        told[SOURCE] = source
    if private:
        told[PRIVATE] = True
    return told


def record_of(item: MemoryItem) -> MemoryRecord:
    """A memory as CrewAI's record; one that CrewAI has not saved is in ``/``."""
    told = item.metadata
    return MemoryRecord(
        id=item.id,
        content=item.memory,
        scope=str(told.get(SCOPE, "/")),
        categories=list(told.get(CATEGORIES, ())),
        metadata={key: value for key, value in told.items() if key not in _OURS},
        importance=float(told.get(IMPORTANCE, 0.5)),
        created_at=naive(item.created_at),
        last_accessed=naive(item.updated_at),
        source=told.get(SOURCE),
        private=told.get(PRIVATE) is True,
    )
