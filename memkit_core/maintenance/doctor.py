"""A store against its own hashes, everything derived against the record, and the repair of the latter."""

from __future__ import annotations

import logging
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
}


async def doctor(
    rt: Runtime, services: Services, store: MaintainableStore, progress: Progress, *, repair: bool
) -> DoctorReport:
    """What is wrong, and what is right again.

    Raises:
        StorageError: The store cannot be opened, read or, for a repair, written.
    """
    units = await _count(rt, store)
    progress.stage("check", 2 * units)
    before = await rt.call(lambda: store.inspect(progress.step))
    index, held = await _inspect_index(rt, services, store)
    first = [*before.found, *index]
    after, left = before, index
    if repair and (first or held):
        if any(damage.kind != "truth" for damage in before.found):
            progress.stage("repair", 2 * units)
            await rt.call(lambda: store.repair(progress.step))
            await _refill(rt, services)
        if index or any(damage.table == "index_work" for damage in before.found):
            # Pending work that was damaged is gone, and what it was about is not known.
            await rebuild_index(rt, services, progress)
        progress.stage("check again", 2 * units)
        after = await rt.call(lambda: store.inspect(progress.step))
        left, held = await _inspect_index(rt, services, store)
    try:
        notes = await _notes(rt, services, store, held)
    except StorageError as error:  # what is damaged may also be in the way of a plain look
        notes = [f"what is still to be done cannot be told: {type(error).__name__}"]
    return _report(units, before, after, first, [*after.found, *left], notes)


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
    before: Inspected,
    after: Inspected,
    first: list[Damage],
    last: list[Damage],
    notes: list[str],
) -> DoctorReport:
    still = set(last)
    new = [damage for damage in last if damage not in set(first)]
    findings = [
        Finding(
            kind=damage.kind,
            table=damage.table,
            key=damage.key,
            problem=damage.problem,
            remedy=_REMEDIES[damage.kind],
            repaired=damage not in still,
        )
        for damage in (*first, *new)
    ]
    return DoctorReport(
        findings=findings,
        total=before.total - len(before.found) + len(findings),
        remaining=after.total - len(after.found) + len(last),
        notes=notes,
        checked=units,
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
    problems: list[str] = []
    if index.name in await rt.call(store.index_rebuilds):
        problems.append("it was cleared and not filled again")
    try:
        problems += await index_differences(rt, index.name, index, store)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
        problems.append(f"it cannot be read, and was not checked: {type(error).__name__}")
    return [Damage(kind="index", table=index.name, key="", problem=problem) for problem in problems], None


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
