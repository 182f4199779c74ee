"""Short ways to fill and to ask a record store, for its conformance tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from .. import analysis
from ..protocols import (
    AddMemory,
    Candidates,
    ChangeSet,
    CommitReceipt,
    Completion,
    NewBatch,
    Query,
    RecordStore,
    SearchRequest,
)
from ..types import MemoryRecord, Message, Micros, Scope

T0: Final[Micros] = 1_700_000_000_000_000
MINUTE: Final[Micros] = 60_000_000
ANN: Final = Scope(user_id="ann")


def query(scope: Scope = ANN, now: Micros = T0 + 1_000 * MINUTE, **options: Any) -> Query:
    """A query of the current truth, long after everything the tests write."""
    return Query(scope=scope, now=now, **options)


def batch_of(texts: Sequence[str], scope: Scope = ANN, at: Micros = T0, **options: Any) -> NewBatch:
    """A batch of user messages, a second apart."""
    said = tuple(
        Message(role="user", content=text, observed_at=at + i * 1_000_000) for i, text in enumerate(texts)
    )
    return NewBatch(batch_id=str(uuid4()), scope=scope, messages=said, recorded_at=at, **options)


def add_of(text: str, scope: Scope = ANN, at: Micros = T0, **options: Any) -> AddMemory:
    """A new memory under a new id."""
    options.setdefault("memory_id", str(uuid4()))
    options.setdefault("valid_from", at)
    return AddMemory(scope=scope, text=text, **options)


def commit(
    store: RecordStore, *changes: Any, scope: Scope = ANN, at: Micros = T0, **options: Any
) -> CommitReceipt:
    """Commit some changes at once."""
    return store.commit(ChangeSet(scope=scope, recorded_at=at, changes=changes, **options))


def done(batch_id: str, lease: str | None = None) -> tuple[Completion, ...]:
    """What a commit says that finishes one batch."""
    return (Completion(batch_id=batch_id, lease=lease),)


def remember(
    store: RecordStore, text: str, scope: Scope = ANN, at: Micros = T0, **options: Any
) -> MemoryRecord:
    """Add one memory; returns it as stored."""
    return commit(store, add_of(text, scope, at, **options), scope=scope, at=at).applied[0].record


def texts_of(records: Sequence[MemoryRecord]) -> list[str]:
    """The texts in alphabetical order."""
    return sorted(record.text for record in records)


def everything(store: RecordStore, asked: Query) -> list[MemoryRecord]:
    """All memories of a query, up to a limit no test reaches."""
    return store.scan(asked, limit=10_000)


def search(store: RecordStore, text: str, *, scope: Scope = ANN, **options: Any) -> Candidates:
    """Search by the analysed terms of a text."""
    asked = options.pop("query", query(scope))
    return store.search(SearchRequest(query=asked, terms=analysis.query_terms(text), **options))
