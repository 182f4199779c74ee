"""Pending work of the derived index: at least once, and never in anybody's way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import IndexMismatchError, IntegrityError
from ..protocols import (
    ClaimableIndex,
    IndexEntry,
    IndexWork,
    MaintainableStore,
    RecordStore,
    Runtime,
    VectorIndex,
)
from ..results import StageFailure
from ..types import OwnerKey, Ref
from .services import Services

_log = logging.getLogger(__name__)

_PORTION = 256


def claim_index(services: Services) -> None:
    """Tell the index whose it is. One that cannot be reached now looks with its next call.

    Raises:
        IndexMismatchError: It belongs to another record store. Nothing was changed.
        StorageError: The record store cannot be read or written.
    """
    index, store = services.index, services.store
    if not isinstance(index, ClaimableIndex) or not isinstance(store, MaintainableStore):
        return
    mine, dimension = store.store_id(), _dimension(store)
    try:
        whole = index.claim(mine, dimension=dimension)
    except IndexMismatchError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
        _log.warning("the index %r cannot be reached now: %s", index.name, type(error).__name__)
        return
    # A new place in front of an empty record store lacks nothing.
    if not whole and (store.count_units() or not _emptied(index)):
        store.request_index_rebuild(index.name)


def _emptied(index: VectorIndex) -> bool:
    try:
        index.clear()
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("the index %r cannot be emptied now: %s", index.name, type(error).__name__)
        return False
    return True


def _dimension(store: RecordStore) -> int | None:
    try:
        held = store.embedding_identity()
    except IntegrityError:  # which model it was cannot be told, and is told elsewhere
        return None
    return None if held is None else held.dimension


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
            failed = await _drain(rt, services, go_on=lambda: time.monotonic() < until)
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

    One that lacks entries, or whose rebuilding was cut short, is rebuilt.

    Args:
        done: Told of each portion, with its size.
        go_on: Asked before each portion; if it says no, what is left stays pending.
    """
    index, store = services.index, services.store
    if index is not None and isinstance(store, MaintainableStore):
        async with rt.exclusive(_rebuilding(index)):
            if index.name in await rt.call(store.index_rebuilds):
                return (await _rebuild(rt, services, index, store, done=done, go_on=go_on))[1]
            services.known.index_lost = False  # somebody else has rebuilt it
    return await _drain(rt, services, done=done, go_on=go_on)


async def rebuild_index(
    rt: Runtime,
    services: Services,
    *,
    begun: Callable[[int], None] = lambda _: None,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[int, list[StageFailure]]:
    """Clear the derived index and fill it from the stored vectors.

    Args:
        begun: Told how much there is to do when it is cleared.
        done: Told of each portion, with its size.

    Returns:
        How much there was to do, and what failed; that is done by the next ``update_index``.
    """
    index, store = services.index, services.store
    if index is None:
        return 0, []
    if not isinstance(store, MaintainableStore):  # it cannot say what belongs into an index
        return 0, await _clear(rt, index)
    async with rt.exclusive(_rebuilding(index)):
        return await _rebuild(rt, services, index, store, begun=begun, done=done)


def _rebuilding(index: VectorIndex) -> tuple[str, str]:
    return ("memkit index", index.name)  # two would clear each other's


async def _clear(rt: Runtime, index: VectorIndex) -> list[StageFailure]:
    try:
        await rt.call(index.clear)
    except Exception as error:  # noqa: BLE001 - whatever a foreign index raises, the record store has the truth
        return [StageFailure.of("index", error)]
    return []


async def _rebuild(
    rt: Runtime,
    services: Services,
    index: VectorIndex,
    store: MaintainableStore,
    *,
    begun: Callable[[int], None] = lambda _: None,
    done: Callable[[int], None],
    go_on: Callable[[], bool] = lambda: True,
) -> tuple[int, list[StageFailure]]:
    """See ``rebuild_index``.

    The note comes first: between clearing and the new work nothing else would say that the index is empty.
    """
    services.known.index_lost = True  # searches say so
    await rt.call(lambda: store.request_index_rebuild(index.name))
    if failed := await _clear(rt, index):
        return 0, failed
    wanted = await rt.call(lambda: store.enqueue_index(index.name))
    begun(wanted)
    failed = await _drain(rt, services, done=done, go_on=go_on)
    services.known.index_lost = False
    return wanted, failed


async def _drain(
    rt: Runtime,
    services: Services,
    *,
    done: Callable[[int], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[StageFailure]:
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
