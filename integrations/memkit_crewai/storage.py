"""A storage for CrewAI's own memory: its records and vectors, kept in memkit's store."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import quote

from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
from crewai.memory.types import MemoryRecord, ScopeInfo

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import UsageError
from memkit_core.protocols import FoundItem, ItemGet, ItemPut, ItemSearch, ItemStore, StoredItem

from .records import categories as categories_of
from .records import children, fits, info, newest_first
from .whose import Whose

_ALL: Final = 1_000_000_000
_VECTOR: Final = "embedding"
_LENGTH: Final = "length"


class MemkitStorage:
    """A storage for ``crewai.memory.Memory(storage=…)``: CrewAI's models analyse, embed and decide, and what
    they keep lies in memkit's file, one owner apart from the next.

    The records are no memories of memkit's: ``memory.search`` and ``delete_all`` do not know them. For that
    there is ``MemkitMemory``. Searches compare with every record of the owner, exactly.

    Args:
        memory: Either face. Whoever opened it closes it.
        user_id: Whose records. No function: CrewAI's memory saves in a thread of its own, later.
        agent_id: With a user: apart from what other agents keep for them. Without: whose own records.

    Raises:
        UsageError: An argument is wrong, or the memory's store keeps no items.
    """

    def __init__(
        self, memory: Memory | AsyncMemory, *, user_id: str | None = None, agent_id: str | None = None
    ) -> None:
        if callable(user_id):
            raise UsageError("MemkitStorage takes one user's id: CrewAI's memory calls it from other threads")
        whose = Whose.of(memory, user_id, agent_id)
        self._items: ItemStore = whose.lent.items
        owner = ("agent", _label(agent_id or "")) if user_id is None else ("user", _label(user_id))
        learnt_by = "any" if user_id is None or agent_id is None else f"agent-{_label(agent_id)}"
        self._place = ("memkit_crewai", *owner, learnt_by, "records")
        self._state = (*self._place[:-1], "state")

    def __deepcopy__(self, memo: dict[int, object]) -> MemkitStorage:
        return self

    def save(self, records: list[MemoryRecord]) -> None:
        """Keep records, all or none; one with a known id takes the place of the one that is there.

        Raises:
            EmbeddingDimensionMismatchError: The vectors are not as long as those that are there.
        """
        puts = [ItemPut(namespace=self._place, key=one.id, value=_written(one)) for one in records]
        if new := [len(record.embedding) for record in records if record.embedding]:
            length = self._length() or new[0]
            if wrong := [one for one in new if one != length]:
                raise EmbeddingDimensionMismatchError(length, wrong[0])
            puts.append(ItemPut(namespace=self._state, key=_LENGTH, value=json.dumps({"value": length})))
        if puts:
            self._items.put(puts, now=_clock())

    def update(self, record: MemoryRecord) -> None:
        """Keep a record in the place of the one with its id.

        Raises:
            EmbeddingDimensionMismatchError: As for ``save``.
        """
        self.save([record])

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """The records nearest to a vector, with their cosines, 0 at least.

        The conditions hold before the limit. Records without a vector are not found.

        Raises:
            EmbeddingDimensionMismatchError: The vector is not as long as those that are there.
        """
        import numpy as np

        length = self._length()
        if length is None or limit < 1:
            return []
        if len(query_embedding) != length:
            raise EmbeddingDimensionMismatchError(length, len(query_embedding))
        found = [
            record
            for record in self._all()
            if record.embedding
            and fits(
                record, scope_prefix=scope_prefix, categories=categories, metadata_filter=metadata_filter
            )
        ]
        if not found:
            return []
        vectors = np.asarray([record.embedding for record in found], dtype=np.float32)
        query = np.asarray(query_embedding, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        cosines = np.divide(vectors @ query, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        scores = [min(1.0, max(0.0, float(cosine))) for cosine in cosines]
        ranked = sorted(zip(found, scores, strict=True), key=lambda pair: pair[1], reverse=True)
        return [pair for pair in ranked if pair[1] >= min_score][:limit]

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete what fulfils all conditions; none: all of the owner's records.

        Returns:
            How many there were.
        """
        known = self._all()
        gone = [
            record.id
            for record in known
            if fits(
                record,
                scope_prefix=scope_prefix,
                categories=categories,
                record_ids=record_ids,
                older_than=older_than,
                metadata_filter=metadata_filter,
            )
        ]
        if gone:
            puts = [ItemPut(namespace=self._place, key=one, value=None) for one in gone]
            if len(gone) == len(known):
                # What comes next may be embedded by another model.
                puts.append(ItemPut(namespace=self._state, key=_LENGTH, value=None))
            self._items.put(puts, now=_clock())
        return len(gone)

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """The record with this id, None if the owner has none."""
        (answer,) = self._items.ask([ItemGet(namespace=self._place, key=record_id)], now=_clock())
        return None if answer is None else _read(cast("StoredItem", answer))

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """The records of a scope, newest first."""
        return newest_first(self._inside(scope_prefix))[offset : offset + limit]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """How many there are in a scope, since when, with which categories, and the scopes below."""
        return info(self._all(), scope)

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes one step below."""
        return children(self._all(), parent)

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """How many records of a scope each category has."""
        return categories_of(self._inside(scope_prefix))

    def count(self, scope_prefix: str | None = None) -> int:
        """How many records a scope has."""
        return len(self._inside(scope_prefix))

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete the owner's records of a scope, all by default."""
        self.delete(scope_prefix)

    async def asave(self, records: list[MemoryRecord]) -> None:
        """See ``save``."""
        await asyncio.to_thread(self.save, records)

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """See ``search``."""
        return await asyncio.to_thread(
            self.search, query_embedding, scope_prefix, categories, metadata_filter, limit, min_score
        )

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """See ``delete``."""
        return await asyncio.to_thread(
            self.delete, scope_prefix, categories, record_ids, older_than, metadata_filter
        )

    def _all(self) -> list[MemoryRecord]:
        (found,) = self._items.ask([ItemSearch(prefix=self._place, limit=_ALL)], now=_clock())
        return [_read(hit.item) for hit in cast("tuple[FoundItem, ...]", found)]

    def _inside(self, scope_prefix: str | None) -> list[MemoryRecord]:
        return [record for record in self._all() if fits(record, scope_prefix=scope_prefix)]

    def _length(self) -> int | None:
        """Of the vectors that are there."""
        (answer,) = self._items.ask([ItemGet(namespace=self._state, key=_LENGTH)], now=_clock())
        return None if answer is None else int(json.loads(cast("StoredItem", answer).value)["value"])


def _label(text: str) -> str:
    # A namespace's label has no full stop.
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E")


def _written(record: MemoryRecord) -> str:
    import numpy as np

    told: dict[str, Any] = record.model_dump(mode="json")
    if record.embedding:
        packed = np.asarray(record.embedding, dtype="<f4").tobytes()
        told[_VECTOR] = base64.b64encode(packed).decode("ascii")
    return json.dumps(told, ensure_ascii=False)


def _read(item: StoredItem) -> MemoryRecord:
    import numpy as np

    told = json.loads(item.value)
    packed = told.pop(_VECTOR, None)
    record = MemoryRecord.model_validate(told)
    if packed is not None:
        record.embedding = np.frombuffer(base64.b64decode(packed), dtype="<f4").tolist()
    return record


def _clock() -> int:
    return time.time_ns() // 1000
