"""What concerns the whole store, and what only its owner may decide: ``memory.admin``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .runtime import drive
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


class Admin:
    """What concerns the whole store, all owners. Get it as ``memory.admin``."""

    def __init__(self, verbs: AdminVerbs) -> None:
        self._verbs = verbs

    def reset(self, *, confirm: bool = False) -> ResetResult:
        """Remove everything of everybody, for good.

        Args:
            confirm: Must be True.

        Returns:
            Whether the derived index is empty as well, and if not, why.

        Raises:
            UsageError: It is not. Nothing was changed.
        """
        return drive(self._verbs.reset(confirm=confirm))

    def reindex(self, *, embedder: str | Embeddings | None = None, progress: bool = False) -> ReindexResult:
        """Make everything that is derived anew from the records: keywords, vectors, the derived index.

        Texts that have a vector of the present model keep it, nothing is embedded twice. A run that was cut
        short is finished by the next one. Searches go on meanwhile: an owner's keywords are replaced in one
        step, and a search that cannot use vectors yet says so in ``degraded``.

        Args:
            embedder: Move the store to this embedding model, and go on with it. To open a store whose model
                is gone, use ``Memory(embedder="none", ...)``.
            progress: Show progress bars.

        Returns:
            What was done. A model or index that failed is in ``failed``; another run does the rest.

        Raises:
            ModelError: The new embedding model does not work. Nothing was changed.
            StorageError: The store failed; what was done by then stays.
        """
        return drive(self._verbs.reindex(embedder=embedder, progress=progress))

    def doctor(
        self, *, repair: bool = False, accept_loss: bool = False, progress: bool = False
    ) -> DoctorReport:
        """Look for damage: every row against its hash, everything derived against the rows.

        Also how rows join: revisions and when they hold, history, messages and their sessions, statistics,
        vectors, the derived index if it can say what it holds, and the database's own structure.

        Args:
            repair: Make anew what is derived and damaged. A damaged text is reported and left as it is:
                nothing is invented, and nothing of the record is deleted.
            accept_loss: With ``repair``: give up what of the record is damaged or lost, for good, so that
                the store is whole again. A memory goes with all its versions, a message leaves a hidden
                mark; every row that was removed or replaced is a finding with ``given_up``.
            progress: Show progress bars.

        Returns:
            What was found, each finding with what to do about it. ``report.ok`` if no damage remains. A
            repair that failed is a finding too, and has changed nothing.

        Raises:
            StorageError: The store cannot be read. Nothing was changed.
            UsageError: ``accept_loss`` without ``repair``.
        """
        return drive(self._verbs.doctor(repair=repair, accept_loss=accept_loss, progress=progress))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        skip_damaged: bool = False,
        progress: bool = False,
    ) -> ExportResult:
        """Write everything into one file: memories in all versions, history, messages, vectors, pending work.

        The file is JSON lines, the same bytes for the same content. Others go on reading and writing; it
        holds the store as of one moment.

        Args:
            path: The file; packed with gzip if the name ends in ``.gz``. One that is there is replaced when
                the new one is whole; a link stays and leads to the new one.
            user_id, agent_id, run_id: Only this owner; one of them.
            skip_damaged: Leave out what is damaged, as ``doctor(repair=True, accept_loss=True)`` would, and
                name it in ``left_out``. The store stays as it is. It takes a copy of the store's file in
                the system's folder for such files.
            progress: Show progress bars.

        Raises:
            IntegrityError: The store is damaged, and ``skip_damaged`` is False. No file was written.
            TransferError: The file cannot be written. What was there under its name still is.
            UsageError: An argument is wrong, or what is there under that name is no regular file.
        """
        return drive(
            self._verbs.export(
                path,
                user_id=user_id,
                agent_id=agent_id,
                run_id=run_id,
                skip_damaged=skip_damaged,
                progress=progress,
            )
        )

    def import_(self, path: str | os.PathLike[str], *, progress: bool = False) -> ImportResult:
        """Store what ``export`` wrote: all of it, or nothing.

        The store may hold other owners' memories, but none of the owners in the file: two histories of one
        owner cannot be joined. Nothing is embedded.

        Args:
            path: The file, packed or not.
            progress: Show progress bars.

        Raises:
            ConflictError: The store has memories of one of the owners. Nothing was changed.
            EmbeddingMismatchError: The vectors are of another model than the store's. Nothing was changed.
            SchemaVersionError: A newer memkit wrote the file. Nothing was changed.
            TransferError: The file is damaged, cut short, or no export. Nothing was changed.
        """
        return drive(self._verbs.import_(path, progress=progress))

    def usage(
        self, *, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> UsageReport:
        """What operations cost so far: the sum of what their results reported.

        Failed attempts included, replayed results once. What adds, updates, ``flush`` and upkeep spent on
        models is in the store before the verb returns; searches, and the last milliseconds of a write, a
        second later or at ``close``. What this ``Memory`` did it counts at once. With ``costs.prices`` it
        tells the money too: what is kept is tokens, so other prices count for the past as well.

        Args:
            user_id, agent_id, run_id: Only this owner; one of them.

        Raises:
            StorageError: The store cannot be read.
            UsageError: More than one id is given.
        """
        return drive(self._verbs.usage(scope_or_none(user_id, agent_id, run_id)))

    def approve(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        reason: str = "approved by the caller",
    ) -> MemoryChange:
        """Let a memory out of quarantine: it counts as trusted from now on, and keeps its origin.

        Args:
            memory_id: The memory.
            user_id, agent_id, run_id: Only if it is inside this scope.
            reason: What the history says of it.

        Raises:
            ConflictError: Somebody changed it meanwhile: look at it again. Nothing was changed.
            NotFoundError: There is no such memory in the scope. Nothing was changed.
        """
        scope = scope_or_none(user_id, agent_id, run_id)
        return drive(self._verbs.approve(memory_id, scope, reason=reason))

    def reject(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        reason: str = "rejected by the caller",
    ) -> MemoryChange:
        """Delete a memory that is in quarantine, and take messages that only it rests on out of search.

        Args:
            memory_id: The memory.
            user_id, agent_id, run_id: Only if it is inside this scope.
            reason: What the history says of it.

        Raises:
            ConflictError: Somebody changed it meanwhile: look at it again. Nothing was changed.
            NotFoundError: There is no such memory in the scope. Nothing was changed.
            UsageError: It is trusted. Nothing was changed.
        """
        scope = scope_or_none(user_id, agent_id, run_id)
        return drive(self._verbs.reject(memory_id, scope, reason=reason))

    def rollback(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        to: datetime | str,
        dry_run: bool = False,
        progress: bool = False,
    ) -> RollbackResult:
        """Bring a scope's memories back to what was known at an earlier time, of the present and of the past.

        What was added later is retired, what was changed or deleted later is restored, and ``as_of`` any time
        finds what it would have found then. Nothing is destroyed:
        the rollback is history like any other change, and another one to a time before it takes it back.
        Messages stay as they are, and so do batches that still wait for extraction.

        Up to 5,000 memories change in one transaction, all or none. Of more, each 5,000 do; if one such
        portion fails, the same call again does the rest.

        Args:
            user_id, agent_id, run_id: Whose memories; at least one.
            to: The time; UTC if it names no zone.
            dry_run: Change nothing, only tell what would be done.
            progress: Show a progress bar.

        Raises:
            ConflictError: Others wrote to the same owner all the time. Portions that were done stay done.
            StorageError: The store failed. Portions that were done stay done.
            UsageError: No id is given, or the time is wrong or in the future. Nothing was changed.
        """
        scope = Scope(user_id=user_id, agent_id=agent_id, run_id=run_id)
        return drive(self._verbs.rollback(scope, to=to, dry_run=dry_run, progress=progress))

    def health(self) -> HealthReport:
        """Whether the parts work: store, vectors, models, pending work, index. A sick part raises nothing."""
        return drive(self._verbs.health())

    def stats(self) -> StoreStats:
        """How much the store holds: owners, memories, versions, messages, vectors, bytes.

        Raises:
            StorageError: The store cannot be read.
        """
        return drive(self._verbs.stats())
