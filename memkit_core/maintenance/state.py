"""How a store is and what it cost: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..admin_results import HealthCheck, HealthReport, OwnerUsage, StoreStats, UsageReport
from ..models.calling import models_of
from ..pipeline.services import Services
from ..policies import Prices
from ..protocols import ClaimableIndex, InspectableIndex, MaintainableStore, Runtime
from ..types import OwnerKey, Usage

_MAX_ROWS: Final = 1_000


async def usage(
    rt: Runtime, services: Services, store: MaintainableStore, owner: OwnerKey | None
) -> UsageReport:
    """What operations cost: what the store has, and what this process still owes it.

    Raises:
        StorageError: The store cannot be read.
    """

    def read() -> dict[tuple[OwnerKey | None, str], Usage]:
        with services.ledger.steady() as owed:
            found = dict(store.usage(owner))
            for key, spent in list(owed.items()):
                if owner is None or key[0] == owner:
                    found[key] = found.get(key, Usage()) + spent
            return found

    rows = await rt.call(read)
    operations: dict[str, Usage] = {}
    for (_, operation), spent in rows.items():
        operations[operation] = operations.get(operation, Usage()) + spent
    costliest = sorted(rows.items(), key=lambda row: (-row[1].total_tokens, -row[1].milliseconds))
    prices, total = services.policies.costs.prices, sum(operations.values(), Usage())
    return UsageReport(
        total=total,
        cost=None if prices is None else prices.cost(total),
        costs={} if prices is None else {name: prices.cost(u) for name, u in sorted(operations.items())},
        operations=dict(sorted(operations.items())),
        owners=[_of_owner(*key, spent, prices) for key, spent in costliest[:_MAX_ROWS]],
        omitted=max(0, len(rows) - _MAX_ROWS),
    )


def _of_owner(key: OwnerKey | None, operation: str, spent: Usage, prices: Prices | None) -> OwnerUsage:
    ids = {} if key is None else {f"{key.kind}_id": key.value}
    cost = None if prices is None else prices.cost(spent)
    return OwnerUsage(operation=operation, usage=spent, cost=cost, **ids)


async def stats(rt: Runtime, store: MaintainableStore) -> StoreStats:
    """How much a store holds.

    Raises:
        StorageError: The store cannot be read.
    """
    counts = await rt.call(store.counts)
    return StoreStats(
        location=store.location,
        owners=counts["owners"],
        memories=counts["current"],
        versions=counts["memories"],
        messages=counts["messages"],
        vectors=counts["vectors"],
        bytes=await rt.call(store.size_bytes),
        tables={name: count for name, count in counts.items() if name != "current"},
    )


async def health(rt: Runtime, services: Services, store: MaintainableStore) -> HealthReport:
    """Whether the parts work. A sick part is told, never raised."""
    checks: list[HealthCheck] = []

    async def check(name: str, look: Callable[[], Awaitable[str]]) -> None:
        try:
            checks.append(HealthCheck(name=name, ok=True, detail=await look()))
        except Exception as error:  # noqa: BLE001 - whatever a sick part raises is what is asked for
            checks.append(HealthCheck(name=name, ok=False, detail=f"{type(error).__name__}: {error}"))

    async def readable() -> str:
        await rt.call(store.is_empty)
        return store.location

    async def writable() -> str:
        await rt.call(store.probe)
        return ""

    async def batches() -> str:
        return f"{await rt.call(store.pending_batches)} wait for extraction"

    async def vectors() -> str:
        held = await rt.call(store.embedding_identity)
        bare = [] if services.embedder is None else await rt.call(lambda: store.missing_vectors(limit=1))
        model = "none yet" if held is None else f"{held.model!r}, {held.dimension} dimensions"
        return model + (", some texts have none yet" if bare else "")

    def breaker(model: object) -> Callable[[], Awaitable[str]]:
        async def look() -> str:
            found = services.caller.breaker(model)
            if found.state != "closed":
                raise RuntimeError(found.detail)
            return found.detail

        return look

    async def index() -> str:
        return await _index(rt, services, store)

    await check("store readable", readable)
    await check("store writable", writable)
    await check("pending batches", batches)
    await check("vectors", vectors)
    models = () if services.chat is None else models_of(services.chat)
    for model in models if services.embedder is None else (*models, services.embedder):
        await check(f"calls of {services.caller.breaker(model).name}", breaker(model))
    if services.index is not None:
        await check(f"index {services.index.name}", index)
    return HealthReport(checks=checks)


async def index_differences(
    rt: Runtime, name: str, index: InspectableIndex, store: MaintainableStore
) -> list[str]:
    """In words, how what an index holds differs from what it should hold; what is on its way does not count.

    Raises:
        Exception: Whatever the index raises if it cannot be read.
    """
    keys = index.keys
    before = await rt.call(lambda: store.index_refs(name))
    held = await rt.call(lambda: set(keys()))
    wanted = await rt.call(lambda: store.index_refs(name))  # others may have written meanwhile
    missing = sum(certain and before.get(key, False) and key not in held for key, certain in wanted.items())
    extra = len(held - wanted.keys() - before.keys())
    counts = {"refs are missing": missing, "refs are of no text": extra}
    return [f"{count} {what}" for what, count in counts.items() if count]


async def _index(rt: Runtime, services: Services, store: MaintainableStore) -> str:
    """What is known of the derived index.

    Raises:
        Exception: Whatever the index raises if it cannot be reached.
        RuntimeError: It does not hold what it should, was cleared and not filled again, or takes no work.
    """
    index = services.index
    assert index is not None  # the caller saw to it
    if index.name in await rt.call(store.index_rebuilds):
        raise RuntimeError(
            "it lacks entries until it is rebuilt: flush(), the next opening or reindex() does it"
        )
    held = await rt.call(store.embedding_identity)
    if isinstance(index, InspectableIndex):
        if differences := await index_differences(rt, index.name, index, store):
            raise RuntimeError(f"{', '.join(differences)}: reindex() rebuilds it")
    elif held is not None:
        probe = [1.0] + [0.0] * (held.dimension - 1)
        nobody = OwnerKey("run", "memkit health")
        await rt.call(lambda: index.propose(nobody, probe, space="memory", limit=1))
    pending = (await rt.call(store.pending_index_work)).get(index.name, 0)
    first = await rt.call(lambda: store.index_work(index.name, limit=1))
    if first and first[0].attempts:
        raise RuntimeError(
            f"{pending} changes still to come, tried {first[0].attempts} times and failed "
            f"({first[0].last_error}): flush() tries again, reindex() begins anew"
        )
    detail = f"{pending} changes still to come" if pending else "up to date"
    foreign = index.foreign if isinstance(index, ClaimableIndex) else 0
    return detail + (f", {foreign} entries of others left out" if foreign else "")
