"""A store against its own hashes, everything derived against the record, and the repair of the latter."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from ..admin_results import DoctorReport, Finding
from ..errors import StorageError
from ..pipeline.flush import fill_vectors
from ..pipeline.index import update_index
from ..pipeline.services import Services
from ..protocols import Damage, DamageKind, InspectableIndex, Inspected, MaintainableStore, Runtime
from .progress import Progress
from .reindex import rebuild_index
from .state import index_differences

_log = logging.getLogger(__name__)

_REMEDIES: Final[dict[DamageKind, str]] = {
    "truth": "restore it from a backup or an export",
    "derived": "doctor(repair=True) makes it anew",
    "file": "doctor(repair=True) rebuilds the database's indexes; if that is not enough, restore a backup",
    "index": "doctor(repair=True) or reindex() rebuilds it",
    "unreachable": "start its server, or see to it that it can be reached, and look again",
}
_NOT_REPAIRED: Final = "see to what is in the way (disk, permissions, other processes) and repair again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is wrong at one moment. ``held``: why the derived index was not looked at."""

    store: Inspected
    index: tuple[Damage, ...]
    held: str | None

    @property
    def found(self) -> list[Damage]:
        """All of it that is told word for word."""
        return [*self.store.found, *self.index]


async def doctor(
    rt: Runtime,
    services: Services,
    store: MaintainableStore,
    progress: Progress,
    *,
    repair: bool,
    accept_loss: bool = False,
) -> DoctorReport:
    """What is wrong, and what is right again.

    A repair that fails is a finding of its own: what was found is told all the same.

    Raises:
        StorageError: The store cannot be opened or read.
    """
    units = await _count(rt, store)
    before = await _look(rt, services, store, progress, "check", units)
    after, given_up, failure = before, Inspected(found=(), total=0), None
    if repair and (before.found or before.held):
        try:
            given_up = await _repair(rt, services, store, progress, before, units, accept_loss=accept_loss)
        except StorageError as error:
            failure = Finding(
                kind="file",
                table="",
                key="",
                problem=f"it could not be repaired: {error}",
                remedy=_NOT_REPAIRED,
            )
        after = await _look(rt, services, store, progress, "check again", units)
    try:
        notes = await _notes(rt, services, store, after.held)
    except StorageError as error:  # what is damaged may also be in the way of a plain look
        notes = [f"what is still to be done cannot be told: {type(error).__name__}"]
    return _report(units, before, after, given_up, failure, notes)


async def _look(
    rt: Runtime, services: Services, store: MaintainableStore, progress: Progress, stage: str, units: int
) -> _State:
    progress.stage(stage, 2 * units)
    found = await rt.call(lambda: store.inspect(progress.step))
    index, held = await _inspect_index(rt, services, store)
    return _State(store=found, index=tuple(index), held=held)


async def _repair(
    rt: Runtime,
    services: Services,
    store: MaintainableStore,
    progress: Progress,
    before: _State,
    units: int,
    *,
    accept_loss: bool,
) -> Inspected:
    """Make anew what is derived; returns what of the record was given up."""
    found, given_up = before.store.found, Inspected(found=(), total=0)
    truth = any(damage.kind == "truth" for damage in found)
    if accept_loss and truth:
        progress.stage("accept losses")
        given_up = await rt.call(lambda: store.accept_losses(progress.step))
    elif found:
        progress.stage("repair", 2 * units)
        await rt.call(lambda: store.repair(progress.step))
    if found:
        await _refill(rt, services)
    # Pending work that was damaged is gone, and what it was about is not known.
    work = any(damage.table == "index_work" for damage in found)
    if work or any(damage.kind == "index" for damage in before.index):
        await rebuild_index(rt, services, progress)
    elif given_up.total and (await _inspect_index(rt, services, store))[0]:
        await rebuild_index(rt, services, progress)  # it held what is given up
    return given_up


async def _count(rt: Runtime, store: MaintainableStore) -> int:
    try:
        return await rt.call(store.count_units)
    except StorageError:
        return 0  # only for the bar; the inspection tells what is in the way, or raises


async def _refill(rt: Runtime, services: Services) -> None:
    """New vectors for the texts that lost theirs, as far as the record can be read."""
    try:
        for retired in (False, True):
            await fill_vectors(rt, services, retired=retired)
        await update_index(rt, services)
    except StorageError as error:
        _log.warning("vectors were not made anew: %s", type(error).__name__)


def _report(
    units: int,
    before: _State,
    after: _State,
    given_up: Inspected,
    failure: Finding | None,
    notes: list[str],
) -> DoctorReport:
    first, last = before.found, after.found
    still = set(last)
    new = [damage for damage in last if damage not in set(first)]
    findings = [_finding(damage, repaired=damage not in still) for damage in (*first, *new)]
    findings += [_finding(damage, repaired=True, given_up=True) for damage in given_up.found]
    if failure is not None:
        findings.append(failure)
    unnamed = before.store.total - len(before.store.found) + given_up.total - len(given_up.found)
    return DoctorReport(
        findings=findings,
        total=unnamed + len(findings),
        remaining=after.store.total - len(after.store.found) + len(last) + (failure is not None),
        notes=notes,
        checked=units,
    )


def _finding(damage: Damage, *, repaired: bool, given_up: bool = False) -> Finding:
    return Finding(
        kind=damage.kind,
        table=damage.table,
        key=damage.key,
        problem=damage.problem,
        remedy=_REMEDIES[damage.kind],
        repaired=repaired,
        given_up=given_up,
    )


async def _inspect_index(
    rt: Runtime, services: Services, store: MaintainableStore
) -> tuple[list[Damage], str | None]:
    """How the derived index differs from the record, and why that could not be told."""
    index = services.index
    if index is None:
        return [], None
    if not isinstance(index, InspectableIndex):
        return [], f"the index {index.name!r} cannot say what it holds, and was not checked"
    name, found = index.name, list[Damage]()
    try:
        if name in await rt.call(store.index_rebuilds):
            problem = "it was cleared and not filled again"
            found.append(Damage(kind="index", table=name, key="", problem=problem))
        await rt.call(lambda: store.index_refs(name))
    except StorageError as error:  # the inspection of the store has told why
        return found, f"the index {name!r} was not checked: {type(error).__name__}"
    try:
        problems = await index_differences(rt, name, index, store)
        found += [Damage(kind="index", table=name, key="", problem=problem) for problem in problems]
    except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
        problem = f"it cannot be reached, and was not checked: {type(error).__name__}: {error}"
        found.append(Damage(kind="unreachable", table=name, key="", problem=problem[:500]))
    return found, None


async def _notes(rt: Runtime, services: Services, store: MaintainableStore, held: str | None) -> list[str]:
    notes = [] if held is None else [held]
    if batches := await rt.call(store.pending_batches):
        notes.append(f"{batches} batches wait for extraction: flush() takes them up")
    bare = [] if services.embedder is None else await rt.call(lambda: store.missing_vectors(limit=1))
    if bare:
        notes.append("some texts have no vector yet: flush() adds them")
    told = isinstance(services.index, InspectableIndex)
    for name in await rt.call(store.index_rebuilds):
        if told and services.indexes == (name,):
            continue
        notes.append(f"the index {name!r} was cleared and not filled again: reindex() does it")
    for name, count in (await rt.call(store.pending_index_work)).items():
        notes.append(f"the index {name!r} has {count} changes still to come: flush() brings them")
    return notes
