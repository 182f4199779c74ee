"""What concerns the whole store: every admin verb once, for both faces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from .admin_results import ResetResult, RollbackItem, RollbackResult
from .engine import Engine, resolve_embedder
from .errors import ConfigError, NotFoundError, UsageError
from .maintenance.doctor import doctor
from .maintenance.progress import Progress
from .maintenance.reindex import adopt, reindex
from .maintenance.state import health, stats, usage
from .maintenance.transfer import export, import_
from .pipeline.account import Account
from .pipeline.index import rebuild_index
from .pipeline.review import approve, reject
from .pipeline.rollback import Step, rollback
from .protocols import MaintainableStore, Runtime
from .types import Scope, check_id, check_text, parse_time, to_datetime
from .verbs import scope_or_none

if TYPE_CHECKING:
    from datetime import datetime

    from .admin_results import (
        DoctorReport,
        ExportResult,
        HealthReport,
        ImportResult,
        ReindexResult,
        StoreStats,
        UsageReport,
    )
    from .results import MemoryChange
    from .types import MemoryRecord


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

    async def doctor(self, *, repair: bool, accept_loss: bool, progress: bool) -> DoctorReport:
        """See ``Admin.doctor``."""
        store = self._store("doctor")
        _check_bool(repair, "repair")
        _check_bool(accept_loss, "accept_loss")
        if accept_loss and not repair:
            raise UsageError("accept_loss removes what is lost: it needs repair=True")
        _check_bool(progress, "progress")
        account = Account(self._rt, self.engine.services, None, "doctor", at_once=True)
        async with self._rt.exclusive(_UPKEEP), account:
            with Progress(show=progress) as bars:
                return await doctor(
                    account, self.engine.services, store, bars, repair=repair, accept_loss=accept_loss
                )

    async def export(
        self,
        path: object,
        *,
        user_id: str | None,
        agent_id: str | None,
        run_id: str | None,
        skip_damaged: bool,
        progress: bool,
    ) -> ExportResult:
        """See ``Admin.export``."""
        store, file = self._store("export"), _check_path(path)
        _check_bool(skip_damaged, "skip_damaged")
        _check_bool(progress, "progress")
        scope = scope_or_none(user_id, agent_id, run_id)
        if scope is not None and scope.narrowing:
            raise UsageError("an export holds whole owners: give one of user_id, agent_id and run_id")
        owners = None if scope is None else [scope.owner]
        with Progress(show=progress) as bars:
            return await export(self._rt, store, file, bars, owners=owners, skip_damaged=skip_damaged)

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

    async def approve(self, memory_id: str, scope: Scope | None, *, reason: str) -> MemoryChange:
        """See ``Admin.approve``."""
        record = await self._memory(memory_id, scope)
        return await approve(self._rt, self.engine.services, record, reason=check_text(reason, "reason"))

    async def reject(self, memory_id: str, scope: Scope | None, *, reason: str) -> MemoryChange:
        """See ``Admin.reject``."""
        record = await self._memory(memory_id, scope)
        return await reject(self._rt, self.engine.services, record, reason=check_text(reason, "reason"))

    async def _memory(self, memory_id: str, scope: Scope | None) -> MemoryRecord:
        self.engine.check_open()
        check_id(memory_id, "memory_id")
        record = await self._rt.call(lambda: self.engine.services.store.get(memory_id, scope))
        if record is None:
            where = "" if scope is None else f" in the scope {scope}"
            raise NotFoundError(f"no memory {memory_id!r}{where}")
        return record

    async def rollback(
        self, scope: Scope, *, to: datetime | str, dry_run: bool, progress: bool
    ) -> RollbackResult:
        """See ``Admin.rollback``."""
        self.engine.check_open()
        _check_bool(dry_run, "dry_run")
        _check_bool(progress, "progress")
        services = self.engine.services
        time = parse_time(to, "to")
        if time > services.clock():
            raise UsageError(f"to lies in the future: {to!s:.80}")
        with Progress(show=progress) as bars:
            done = await rollback(
                self._rt,
                services,
                scope,
                to=time,
                dry_run=dry_run,
                begin=lambda count: bars.stage("rollback", count),
                step=bars.step,
            )
        waiting = await self._rt.call(lambda: services.store.pending_batches(scope.owner))
        return RollbackResult(
            to=to_datetime(time),
            dry_run=dry_run,
            items=[_rolled_back(one) for one in done.steps],
            waiting=waiting,
            failed=list(done.failed),
        )

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


def _rolled_back(step: Step) -> RollbackItem:
    return RollbackItem(
        id=step.memory_id,
        action=step.action,
        memory=None if step.then is None else step.then.text,
        previous_memory=None if step.now is None else step.now.text,
    )


def _check_bool(value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{what} is True or False, not {type(value).__name__}")


def _check_path(path: object) -> Path:
    name: object = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if isinstance(name, str) and name and "\0" not in name:
        return Path(name)
    raise UsageError(f"path is the name of a file, not {path!r:.80}")
