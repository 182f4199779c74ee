"""Pending work of the derived index: at least once, and never in anybody's way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..protocols import IndexEntry, IndexWork, Runtime, VectorIndex
from ..results import StageFailure
from ..types import OwnerKey, Ref
from .services import Services

_PORTION = 256


async def update_index(rt: Runtime, services: Services) -> list[StageFailure]:
    """Bring the derived index up to date. A failure is reported, and its work stays pending."""
    index = services.index
    if index is None:
        return []
    while True:
        work = await rt.call(lambda: services.store.index_work(index.name, limit=_PORTION))
        if not work:
            return []
        try:
            await rt.call(partial(_apply, index, work))
        except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
            failed = {item.sequence: type(error).__name__ for item in work}
            await rt.call(partial(services.store.finish_index_work, index.name, (), failed))
            return [StageFailure.of("index", error)]
        done = [item.sequence for item in work]
        await rt.call(partial(services.store.finish_index_work, index.name, done, {}))


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
