"""Pending work of the derived index: at least once, and never in anybody's way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from ..protocols import IndexEntry, IndexWork, Runtime, VectorIndex
from ..results import StageFailure
from ..types import OwnerKey, Ref
from .services import Services

_PORTION = 256


async def index_committed(rt: Runtime, services: Services) -> list[StageFailure]:
    """Bring the derived index up to date after a commit, without waiting for anybody else.

    If another call is at it, that call takes this one's work along. What is not done after
    ``Settings.index_seconds`` stays pending and is reported.
    """
    index, in_flight = services.index, services.in_flight
    if index is None:
        return []
    until = time.monotonic() + services.settings.index_seconds
    failed: list[StageFailure] = []
    while not failed and in_flight.begin_indexing(index.name):
        try:
            failed = await update_index(rt, services, go_on=lambda: time.monotonic() < until)
        finally:
            in_flight.end_indexing(index.name)
        # Who committed before this point and saw that somebody was at it relies on a last look.
        if failed or not await rt.call(lambda: services.store.index_work(index.name, limit=1)):
            break
        if time.monotonic() >= until:
            behind = TimeoutError(f"the index {index.name!r} is behind; what is left stays pending")
            return [StageFailure.of("index", behind)]
    return failed


async def update_index(
    rt: Runtime,
    services: Services,
    *,
    done: Callable[[int], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[StageFailure]:
    """Bring the derived index up to date. A failure is reported, and its work stays pending.

    Args:
        done: Told of each portion, with its size.
        go_on: Asked before each portion; if it says no, what is left stays pending.
    """
    index = services.index
    if index is None:
        return []
    while go_on():
        work = await rt.call(lambda: services.store.index_work(index.name, limit=_PORTION))
        if not work:
            return []
        try:
            await rt.call(partial(_apply, index, work))
        except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
            failed = {item.sequence: type(error).__name__ for item in work}
            await rt.call(partial(services.store.finish_index_work, index.name, (), failed))
            return [StageFailure.of("index", error)]
        finished = [item.sequence for item in work]
        await rt.call(partial(services.store.finish_index_work, index.name, finished, {}))
        done(len(work))
    return []


def _apply(index: VectorIndex, work: Sequence[IndexWork]) -> None:
    """The net effect of a portion: for each ref, what came last."""
    last = {(item.owner, item.ref): item for item in work}
    index.add(
        [IndexEntry(owner=i.owner, ref=i.ref, vector=i.vector) for i in last.values() if i.vector is not None]
    )
    gone: dict[OwnerKey, list[Ref]] = {}
    for item in last.values():
        if item.vector is None:
            gone.setdefault(item.owner, []).append(item.ref)
    for owner, refs in gone.items():
        index.delete(owner, refs)
