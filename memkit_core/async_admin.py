"""``memory.admin`` of an ``AsyncMemory``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .types import Scope
from .verbs import scope_or_none

if TYPE_CHECKING:
    from datetime import datetime

    from langchain_core.embeddings import Embeddings

    from .admin_results import (
        DoctorReport,
        ExportResult,
        HealthReport,
        ImportResult,
        ReindexResult,
        ResetResult,
        RollbackResult,
        StoreStats,
        UsageReport,
    )
    from .admin_verbs import AdminVerbs
    from .results import MemoryChange


class AsyncAdmin:
    """``Admin`` for async code. Get it as ``memory.admin``."""

    def __init__(self, verbs: AdminVerbs) -> None:
        self._verbs = verbs

    async def reset(self, *, confirm: bool = False) -> ResetResult:
        """See ``Admin.reset``."""
        return await self._verbs.reset(confirm=confirm)

    async def reindex(
        self, *, embedder: str | Embeddings | None = None, progress: bool = False
    ) -> ReindexResult:
        """See ``Admin.reindex``."""
        return await self._verbs.reindex(embedder=embedder, progress=progress)

    async def doctor(
        self, *, repair: bool = False, accept_loss: bool = False, progress: bool = False
    ) -> DoctorReport:
        """See ``Admin.doctor``."""
        return await self._verbs.doctor(repair=repair, accept_loss=accept_loss, progress=progress)

    async def export(
        self,
        path: str | os.PathLike[str],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        skip_damaged: bool = False,
        progress: bool = False,
    ) -> ExportResult:
        """See ``Admin.export``."""
        return await self._verbs.export(
            path,
            user_id=user_id,
            agent_id=agent_id,
            run_id=run_id,
            skip_damaged=skip_damaged,
            progress=progress,
        )

    async def import_(self, path: str | os.PathLike[str], *, progress: bool = False) -> ImportResult:
        """See ``Admin.import_``."""
        return await self._verbs.import_(path, progress=progress)

    async def usage(
        self, *, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> UsageReport:
        """See ``Admin.usage``."""
        return await self._verbs.usage(scope_or_none(user_id, agent_id, run_id))

    async def health(self) -> HealthReport:
        """See ``Admin.health``."""
        return await self._verbs.health()

    async def stats(self) -> StoreStats:
        """See ``Admin.stats``."""
        return await self._verbs.stats()

    async def approve(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        reason: str = "approved by the caller",
    ) -> MemoryChange:
        """See ``Admin.approve``."""
        scope = scope_or_none(user_id, agent_id, run_id)
        return await self._verbs.approve(memory_id, scope, reason=reason)

    async def reject(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        reason: str = "rejected by the caller",
    ) -> MemoryChange:
        """See ``Admin.reject``."""
        scope = scope_or_none(user_id, agent_id, run_id)
        return await self._verbs.reject(memory_id, scope, reason=reason)

    async def rollback(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        to: datetime | str,
        dry_run: bool = False,
        progress: bool = False,
    ) -> RollbackResult:
        """See ``Admin.rollback``."""
        scope = Scope(user_id=user_id, agent_id=agent_id, run_id=run_id)
        return await self._verbs.rollback(scope, to=to, dry_run=dry_run, progress=progress)
