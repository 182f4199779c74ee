"""What concerns the whole store: every admin verb once, and its two faces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from .admin_results import ResetResult
from .engine import Engine, resolve_embedder
from .errors import ConfigError, UsageError
from .maintenance.doctor import doctor
from .maintenance.progress import Progress
from .maintenance.reindex import adopt, reindex
from .maintenance.state import health, stats, usage
from .maintenance.transfer import export, import_
from .pipeline.account import Account
from .pipeline.index import rebuild_index
from .protocols import MaintainableStore, Runtime
from .runtime import drive
from .verbs import scope_or_none

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from .admin_results import (
        DoctorReport,
        ExportResult,
        HealthReport,
        ImportResult,
        ReindexResult,
        StoreStats,
        UsageReport,
    )
    from .types import Scope


#: One at a time, in this process: two would clear each other's index.
_UPKEEP: Final = "memkit upkeep"


class AdminVerbs:
    """Every admin verb as a coroutine over one engine and one runtime."""

    def __init__(self, engine: Engine, rt: Runtime) -> None:
        self.engine = engine
        self._rt = rt

    async def reset(self, *, confirm: bool) -> ResetResult:
        """See ``Admin.reset``."""
        self.engine.check_open()
        if confirm is not True:
            raise UsageError(
                "reset removes everything of everybody, for good: pass confirm=True if you mean it"
            )
        services = self.engine.services
        store, index = services.store, services.index
        if index is not None and isinstance(store, MaintainableStore):
            # Whatever happens on the way: the index is to be emptied.
            await self._rt.call(lambda: store.request_index_rebuild(index.name))

        def empty() -> None:
            with services.ledger.steady():
                store.reset()
                services.ledger.forget()

        await self._rt.call(empty)
        services.known.identity = None
        services.known.metadata_keys = frozenset()
        return ResetResult(failed=(await rebuild_index(self._rt, services))[1])

    async def reindex(self, *, embedder: object, progress: bool) -> ReindexResult:
        """See ``Admin.reindex``."""
        store = self._store("reindex")
        _check_bool(progress, "progress")
        engine = self.engine
        account = Account(self._rt, engine.services, None, "reindex", at_once=True)
        async with self._rt.exclusive(_UPKEEP), account:
            if embedder is not None:
                wanted = resolve_embedder(embedder)
                if wanted is None:
                    raise UsageError("reindex needs an embedding model; name none to keep the present one")
                await adopt(account, store, wanted)
                engine.services = replace(engine.services, embedder=wanted)
                engine.services.known.identity = None
            with Progress(show=progress) as bars:
                return await reindex(account, engine.services, store, bars)

    async def doctor(self, *, repair: bool, progress: bool) -> DoctorReport:
        """See ``Admin.doctor``."""
        store = self._store("doctor")
        _check_bool(repair, "repair")
        _check_bool(progress, "progress")
        account = Account(self._rt, self.engine.services, None, "doctor", at_once=True)
        async with self._rt.exclusive(_UPKEEP), account:
            with Progress(show=progress) as bars:
                return await doctor(account, self.engine.services, store, bars, repair=repair)

    async def export(
        self, path: object, *, user_id: str | None, agent_id: str | None, run_id: str | None, progress: bool
    ) -> ExportResult:
        """See ``Admin.export``."""
        store, file = self._store("export"), _check_path(path)
        _check_bool(progress, "progress")
        scope = scope_or_none(user_id, agent_id, run_id)
        if scope is not None and scope.narrowing:
            raise UsageError("an export holds whole owners: give one of user_id, agent_id and run_id")
        owners = None if scope is None else [scope.owner]
        with Progress(show=progress) as bars:
            return await export(self._rt, store, file, bars, owners=owners)

    async def import_(self, path: object, *, progress: bool) -> ImportResult:
        """See ``Admin.import_``."""
        store, file = self._store("import_"), _check_path(path)
        _check_bool(progress, "progress")
        async with Account(self._rt, self.engine.services, None, "import") as account:
            with Progress(show=progress) as bars:
                result = await import_(account, self.engine.services, store, file, bars)
            account.bill.finish()
            return result

    async def usage(self, scope: Scope | None) -> UsageReport:
        """See ``Admin.usage``."""
        store = self._store("usage")
        if scope is not None and scope.narrowing:
            raise UsageError("costs are kept for whole owners: give one of user_id, agent_id and run_id")
        return await usage(self._rt, self.engine.services, store, None if scope is None else scope.owner)

    async def health(self) -> HealthReport:
        """See ``Admin.health``."""
        return await health(self._rt, self.engine.services, self._store("health"))

    async def stats(self) -> StoreStats:
        """See ``Admin.stats``."""
        return await stats(self._rt, self._store("stats"))

    def _store(self, verb: str) -> MaintainableStore:
        self.engine.check_open()
        store = self.engine.services.store
        if not isinstance(store, MaintainableStore):
            raise ConfigError(f"{verb} needs a store that is a memkit_core.protocols.MaintainableStore")
        return store


def _check_bool(value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{what} is True or False, not {type(value).__name__}")


def _check_path(path: object) -> Path:
    name: object = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if isinstance(name, str) and name and "\0" not in name:
        return Path(name)
    raise UsageError(f"path is the name of a file, not {path!r:.80}")


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

    def doctor(self, *, repair: bool = False, progress: bool = False) -> DoctorReport:
        """Look for damage: every row against its hash, everything derived against the rows.

        Also how rows join: revisions and when they hold, history, messages and their sessions, statistics,
        vectors, the derived index if it can say what it holds, and the database's own structure.

        Args:
            repair: Make anew what is derived and damaged. A damaged text is reported and left as it is:
                nothing is invented, and nothing of the record is deleted.
            progress: Show progress bars.

        Returns:
            What was found, each finding with what to do about it. ``report.ok`` if no damage remains.

        Raises:
            StorageError: The store cannot be read, or for a repair written. Nothing was changed.
        """
        return drive(self._verbs.doctor(repair=repair, progress=progress))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        progress: bool = False,
    ) -> ExportResult:
        """Write everything into one file: memories in all versions, history, messages, vectors, pending work.

        The file is JSON lines, the same bytes for the same content. Others go on reading and writing; it
        holds the store as of one moment.

        Args:
            path: The file; packed with gzip if the name ends in ``.gz``. One that is there is replaced when
                the new one is whole; a link stays and leads to the new one.
            user_id, agent_id, run_id: Only this owner; one of them.
            progress: Show progress bars.

        Raises:
            IntegrityError: The store is damaged. No file was written.
            TransferError: The file cannot be written. What was there under its name still is.
            UsageError: An argument is wrong, or what is there under that name is no regular file.
        """
        return drive(
            self._verbs.export(path, user_id=user_id, agent_id=agent_id, run_id=run_id, progress=progress)
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

    def health(self) -> HealthReport:
        """Whether the parts work: store, vectors, models, pending work, index. A sick part raises nothing."""
        return drive(self._verbs.health())

    def stats(self) -> StoreStats:
        """How much the store holds: owners, memories, versions, messages, vectors, bytes.

        Raises:
            StorageError: The store cannot be read.
        """
        return drive(self._verbs.stats())


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

    async def doctor(self, *, repair: bool = False, progress: bool = False) -> DoctorReport:
        """See ``Admin.doctor``."""
        return await self._verbs.doctor(repair=repair, progress=progress)

    async def export(
        self,
        path: str | os.PathLike[str],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        progress: bool = False,
    ) -> ExportResult:
        """See ``Admin.export``."""
        return await self._verbs.export(
            path, user_id=user_id, agent_id=agent_id, run_id=run_id, progress=progress
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
