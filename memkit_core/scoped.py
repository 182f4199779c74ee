"""A memory that cannot leave one scope: the same verbs without ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .admin_results import RollbackResult, UsageReport
from .admin_verbs import AdminVerbs
from .results import (
    AddResult,
    ContextResult,
    DeleteAllResult,
    History,
    MemoryChange,
    MemoryItem,
    MemoryPage,
    SearchResult,
)
from .runtime import drive
from .types import AsOf, Scope
from .verbs import Time, Verbs

if TYPE_CHECKING:
    from .filters import Filter

    Filters = Mapping[str, Any] | Filter


class ScopedMemory:
    """The verbs of ``Memory`` inside one scope. Get it as ``memory.scoped(user_id=…)``.

    The id of a memory outside the scope behaves like an id that does not exist.
    """

    def __init__(self, verbs: Verbs, scope: Scope) -> None:
        self._verbs = verbs
        self._scope = scope

    def add(
        self,
        messages: object,
        *,
        actor_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        infer: bool = True,
        memory_type: str | None = None,
        prompt: str | None = None,
        observed_at: Time | None = None,
        expires_at: Time | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> AddResult:
        """See ``Memory.add``."""
        return drive(
            self._verbs.add(
                messages,
                self._scope,
                actor_id=actor_id,
                metadata=metadata,
                infer=infer,
                memory_type=memory_type,
                prompt=prompt,
                observed_at=observed_at,
                expires_at=expires_at,
                idempotency_key=idempotency_key,
                wait=wait,
            )
        )

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        threshold: float | None = None,
        filters: Filters | None = None,
        actor_id: str | None = None,
        as_of: Time | AsOf | None = None,
        include: Collection[str] = ("memories",),
        explain: bool = False,
    ) -> SearchResult:
        """See ``Memory.search``."""
        return drive(
            self._verbs.search(
                query,
                self._scope,
                limit=limit,
                threshold=threshold,
                filters=filters,
                actor_id=actor_id,
                as_of=as_of,
                include=include,
                explain=explain,
            )
        )

    def context(
        self,
        query: str,
        *,
        token_budget: int = 1500,
        limit: int = 20,
        threshold: float | None = None,
        filters: Filters | None = None,
    ) -> ContextResult:
        """See ``Memory.context``."""
        return drive(
            self._verbs.context(
                query,
                self._scope,
                token_budget=token_budget,
                limit=limit,
                threshold=threshold,
                filters=filters,
            )
        )

    def get(self, memory_id: str) -> MemoryItem | None:
        """See ``Memory.get``."""
        return drive(self._verbs.get(memory_id, self._scope))

    def get_all(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        filters: Filters | None = None,
        as_of: Time | AsOf | None = None,
    ) -> MemoryPage:
        """See ``Memory.get_all``."""
        return drive(
            self._verbs.get_all(self._scope, limit=limit, cursor=cursor, filters=filters, as_of=as_of)
        )

    def count(self, *, filters: Filters | None = None) -> int:
        """See ``Memory.count``."""
        return drive(self._verbs.count(self._scope, filters=filters))

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_at: Time | None = None,
        actor_id: str | None = None,
    ) -> MemoryChange:
        """See ``Memory.update``."""
        return drive(
            self._verbs.update(
                memory_id, text, self._scope, metadata=metadata, expires_at=expires_at, actor_id=actor_id
            )
        )

    def delete(self, memory_id: str) -> MemoryChange:
        """See ``Memory.delete``."""
        return drive(self._verbs.delete(memory_id, self._scope))

    def delete_all(self, *, filters: Filters | None = None) -> DeleteAllResult:
        """See ``Memory.delete_all``."""
        return drive(self._verbs.delete_all(self._scope, filters=filters))

    def history(self, memory_id: str, *, as_of: Time | AsOf | None = None) -> History:
        """See ``Memory.history``."""
        return drive(self._verbs.history(memory_id, self._scope, as_of=as_of))

    def rollback(self, *, to: Time, dry_run: bool = False, progress: bool = False) -> RollbackResult:
        """See ``Admin.rollback``."""
        return drive(self._admin().rollback(self._scope, to=to, dry_run=dry_run, progress=progress))

    def usage(self) -> UsageReport:
        """What the scope's owner has cost so far, see ``Admin.usage``.

        Raises:
            UsageError: The scope has more than one id; costs are kept for whole owners.
        """
        return drive(self._admin().usage(self._scope))

    def _admin(self) -> AdminVerbs:
        return AdminVerbs(self._verbs.engine, self._verbs.runtime)

    def __repr__(self) -> str:
        return f"ScopedMemory({self._scope})"


class AsyncScopedMemory:
    """``ScopedMemory`` for async code. Get it as ``memory.scoped(user_id=…)`` of an ``AsyncMemory``."""

    def __init__(self, verbs: Verbs, scope: Scope) -> None:
        self._verbs = verbs
        self._scope = scope

    async def add(
        self,
        messages: object,
        *,
        actor_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        infer: bool = True,
        memory_type: str | None = None,
        prompt: str | None = None,
        observed_at: Time | None = None,
        expires_at: Time | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> AddResult:
        """See ``Memory.add``."""
        return await self._verbs.add(
            messages,
            self._scope,
            actor_id=actor_id,
            metadata=metadata,
            infer=infer,
            memory_type=memory_type,
            prompt=prompt,
            observed_at=observed_at,
            expires_at=expires_at,
            idempotency_key=idempotency_key,
            wait=wait,
        )

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        threshold: float | None = None,
        filters: Filters | None = None,
        actor_id: str | None = None,
        as_of: Time | AsOf | None = None,
        include: Collection[str] = ("memories",),
        explain: bool = False,
    ) -> SearchResult:
        """See ``Memory.search``."""
        return await self._verbs.search(
            query,
            self._scope,
            limit=limit,
            threshold=threshold,
            filters=filters,
            actor_id=actor_id,
            as_of=as_of,
            include=include,
            explain=explain,
        )

    async def context(
        self,
        query: str,
        *,
        token_budget: int = 1500,
        limit: int = 20,
        threshold: float | None = None,
        filters: Filters | None = None,
    ) -> ContextResult:
        """See ``Memory.context``."""
        return await self._verbs.context(
            query,
            self._scope,
            token_budget=token_budget,
            limit=limit,
            threshold=threshold,
            filters=filters,
        )

    async def get(self, memory_id: str) -> MemoryItem | None:
        """See ``Memory.get``."""
        return await self._verbs.get(memory_id, self._scope)

    async def get_all(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        filters: Filters | None = None,
        as_of: Time | AsOf | None = None,
    ) -> MemoryPage:
        """See ``Memory.get_all``."""
        return await self._verbs.get_all(
            self._scope, limit=limit, cursor=cursor, filters=filters, as_of=as_of
        )

    async def count(self, *, filters: Filters | None = None) -> int:
        """See ``Memory.count``."""
        return await self._verbs.count(self._scope, filters=filters)

    async def update(
        self,
        memory_id: str,
        text: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_at: Time | None = None,
        actor_id: str | None = None,
    ) -> MemoryChange:
        """See ``Memory.update``."""
        return await self._verbs.update(
            memory_id, text, self._scope, metadata=metadata, expires_at=expires_at, actor_id=actor_id
        )

    async def delete(self, memory_id: str) -> MemoryChange:
        """See ``Memory.delete``."""
        return await self._verbs.delete(memory_id, self._scope)

    async def delete_all(self, *, filters: Filters | None = None) -> DeleteAllResult:
        """See ``Memory.delete_all``."""
        return await self._verbs.delete_all(self._scope, filters=filters)

    async def history(self, memory_id: str, *, as_of: Time | AsOf | None = None) -> History:
        """See ``Memory.history``."""
        return await self._verbs.history(memory_id, self._scope, as_of=as_of)

    async def rollback(self, *, to: Time, dry_run: bool = False, progress: bool = False) -> RollbackResult:
        """See ``Admin.rollback``."""
        return await self._admin().rollback(self._scope, to=to, dry_run=dry_run, progress=progress)

    async def usage(self) -> UsageReport:
        """What the scope's owner has cost so far, see ``Admin.usage``.

        Raises:
            UsageError: The scope has more than one id; costs are kept for whole owners.
        """
        return await self._admin().usage(self._scope)

    def _admin(self) -> AdminVerbs:
        return AdminVerbs(self._verbs.engine, self._verbs.runtime)

    def __repr__(self) -> str:
        return f"AsyncScopedMemory({self._scope})"
