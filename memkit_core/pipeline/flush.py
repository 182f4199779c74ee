"""What was left undone: pending batches, missing vectors, index work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..protocols import Runtime
from ..results import FlushResult, StageFailure
from ..types import Micros
from .account import Account
from .batching import Worked, always, work_off
from .embed import embed
from .index import update_index
from .services import Services

_VECTORS: Final = 512


async def flush(
    rt: Runtime,
    services: Services,
    *,
    recorded_before: Micros | None = None,
    except_ids: Sequence[str] = (),
    early: bool = False,
    go_on: Callable[[], bool] = always,
) -> FlushResult:
    """Take up what is pending, once. What fails stays pending and is reported.

    Args:
        recorded_before, except_ids, early, go_on: As in ``work_off``.
    """
    worked = Worked()
    if services.chat is not None:
        worked = await work_off(
            rt,
            services,
            recorded_before=recorded_before,
            except_ids=except_ids,
            early=early,
            go_on=go_on,
        )
    failed = worked.failed
    # Texts of several owners go into one call: what it costs is nobody's in particular.
    async with Account(rt, services, None, "flush", at_once=True) as account:
        failed += (await fill_vectors(account, services)).failed
    failed += await update_index(rt, services)
    left = await rt.call(services.store.pending_batches)
    return FlushResult(completed=worked.completed, pending=left, failed=failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How many texts were given vectors, in how many calls, and what went wrong."""

    count: int = 0
    calls: int = 0
    failed: tuple[StageFailure, ...] = ()


async def fill_vectors(
    rt: Runtime,
    services: Services,
    *,
    retired: bool = False,
    enqueue: bool = True,
    done: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Embed what an unreachable embedding model, or none at all, left without vectors.

    Args:
        retired: Closed versions instead of what is current.
        enqueue: Whether derived indexes get them as pending work.
        done: Told of each portion, with its size.
    """
    if services.embedder is None:
        return Filled()
    count, calls = 0, 0
    seen: set[tuple[str, int]] = set()
    while True:
        listed = await rt.call(lambda: services.store.missing_vectors(limit=_VECTORS, retired=retired))
        missing = [unit for unit in listed if (unit.space, unit.unit) not in seen]
        if not missing:
            return Filled(count=count, calls=calls)
        seen = {(unit.space, unit.unit) for unit in missing}  # what is not taken is not tried again
        embedded = await embed(rt, services, [unit.text for unit in missing])
        calls += embedded.usage.embedding_calls
        if embedded.failed:
            return Filled(count=count, calls=calls, failed=embedded.failed)
        pairs = [(unit, embedded.vectors[unit.text]) for unit in missing]
        indexes = services.indexes if enqueue else ()
        await rt.call(
            lambda: services.store.put_vectors(pairs, indexes=indexes, embedding=services.identity)  # noqa: B023
        )
        count += len(pairs)
        done(len(pairs))
