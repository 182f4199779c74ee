"""What CrewAI's memory lists, counts and forgets: the memories that were saved by way of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

from crewai.memory.types import MemoryRecord, ScopeInfo

from memkit_core.errors import NotFoundError, UsageError

from .matching import all_of, below, saved_here
from .records import categories as categories_of
from .records import children, fits, info, newest_first, record_of
from .whose import Whose

_PAGE: Final = 500
_BY_TEXT: Final = (
    "memkit finds and saves by text, not by vectors of another's: use MemkitMemory itself, or MemkitStorage"
    " as the storage of CrewAI's own Memory"
)


class KeptMemories:
    """The memories of an owner, as far as CrewAI has saved them, behind CrewAI's protocol for storages.

    By id any memory of the owner is found and deleted; lists, counts and deletions without ids never touch
    what others have told memkit.
    """

    def __init__(self, whose: Whose) -> None:
        self._whose = whose

    def __deepcopy__(self, memo: dict[int, object]) -> KeptMemories:
        return self

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """The memory with this id, None if the owner has none."""
        item = self._whose.lent.memory.get(record_id, **self._whose.ids())
        return None if item is None else record_of(item)

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """The memories of a scope, newest first."""
        return newest_first(self._inside(scope_prefix))[offset : offset + limit]

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete what fulfils all conditions; their history stays.

        Returns:
            How many there were.
        """
        if record_ids is None:
            found = self._inside(scope_prefix)
        else:
            found = [record for one in record_ids if (record := self.get_record(one)) is not None]
        gone = [
            record.id
            for record in found
            if fits(
                record,
                scope_prefix=scope_prefix,
                categories=categories,
                older_than=older_than,
                metadata_filter=metadata_filter,
            )
        ]
        return sum(self._delete(one) for one in gone)

    def _delete(self, record_id: str) -> bool:
        try:
            self._whose.lent.memory.delete(record_id, **self._whose.ids())
        except NotFoundError:
            # Somebody else was faster.
            return False
        return True

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """How many there are in a scope, since when, with which categories, and the scopes below."""
        return info(self._inside(scope), scope)

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes one step below."""
        return children(self._inside(parent), parent)

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """How many memories of a scope each category has."""
        return categories_of(self._inside(scope_prefix))

    def count(self, scope_prefix: str | None = None) -> int:
        """How many memories a scope has."""
        where = all_of(saved_here(), below(scope_prefix))
        return self._whose.lent.memory.count(filters=where, **self._whose.ids())

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete the memories of a scope; their history stays."""
        self.delete(scope_prefix)

    def save(self, records: list[MemoryRecord]) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Not for this one.

        Raises:
            UsageError: Always.
        """
        raise UsageError(_BY_TEXT)

    def search(
        self,
        query_embedding: Sequence[float],  # noqa: ARG002 - the protocol's, as are the others
        scope_prefix: str | None = None,  # noqa: ARG002
        categories: list[str] | None = None,  # noqa: ARG002
        metadata_filter: dict[str, Any] | None = None,  # noqa: ARG002
        limit: int = 10,  # noqa: ARG002
        min_score: float = 0.0,  # noqa: ARG002
    ) -> NoReturn:
        """Not for this one.

        Raises:
            UsageError: Always.
        """
        raise UsageError(_BY_TEXT)

    def update(self, record: MemoryRecord) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Not for this one.

        Raises:
            UsageError: Always.
        """
        raise UsageError(_BY_TEXT)

    async def asave(self, records: list[MemoryRecord]) -> NoReturn:
        """See ``save``."""
        self.save(records)

    async def asearch(
        self,
        query_embedding: Sequence[float],
        scope_prefix: str | None = None,  # noqa: ARG002 - the protocol's, as are the others
        categories: list[str] | None = None,  # noqa: ARG002
        metadata_filter: dict[str, Any] | None = None,  # noqa: ARG002
        limit: int = 10,  # noqa: ARG002
        min_score: float = 0.0,  # noqa: ARG002
    ) -> NoReturn:
        """See ``search``."""
        self.search(query_embedding)

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

    def _inside(self, scope_prefix: str | None) -> list[MemoryRecord]:
        where = all_of(saved_here(), below(scope_prefix))
        ids = self._whose.ids()
        found: list[MemoryRecord] = []
        cursor: str | None = None
        while True:
            page = self._whose.lent.memory.get_all(filters=where, limit=_PAGE, cursor=cursor, **ids)
            found += [record_of(item) for item in page.results]
            cursor = page.next_cursor
            if cursor is None:
                return found
