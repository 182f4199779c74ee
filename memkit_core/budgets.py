"""What may still be spent, looked up before every call of a chat model."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from .errors import BudgetExceededError, ConfigError
from .ledger import Bill, Ledger
from .policies import Budget, CostPolicy
from .protocols import MaintainableStore, RecordStore, Runtime
from .types import Micros, OwnerKey, Usage, period_of

#: What a model that names no limit of its own may answer at most, in tokens.
_ANSWER_TOKENS: Final = 100_000
#: Room for the schema of the answer and whatever else a provider adds to a prompt, in tokens.
_EXTRA_TOKENS: Final = 8_000
_LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")


def most(model: object, prompt_bytes: int) -> Usage:
    """More than one call can cost: a token for each byte of the prompt, and the longest answer."""
    declared = [getattr(model, name, None) for name in _LIMIT_NAMES]
    profile: object = getattr(model, "profile", None)
    if isinstance(profile, Mapping):
        declared.append(profile.get("max_output_tokens"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    known = [value for value in declared if isinstance(value, int) and value > 0]
    return Usage(
        chat_calls=1,
        input_tokens=prompt_bytes + _EXTRA_TOKENS,
        output_tokens=min(known) if known else _ANSWER_TOKENS,
    )


@dataclass(slots=True)
class _Purse:
    """One budget of one owner (or of all) while calls are made on it."""

    spent: Usage = field(default_factory=Usage)
    period: str = ""
    calls: dict[int, Usage] = field(default_factory=dict[int, Usage])
    users: int = 0


class Budgets:
    """The budget of an engine. Safe from any thread and event loop.

    Calls run side by side as long as all of them together cannot pass the limit, and one after the other near
    it: the last one may pass it, no further one is made.

    Raises:
        ConfigError: ``max_cost`` is set without prices, or the store cannot tell what was spent.
    """

    def __init__(
        self, policy: CostPolicy, ledger: Ledger, store: RecordStore, clock: Callable[[], Micros]
    ) -> None:
        self._budget = policy.budget
        self._prices = policy.prices
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._purses: dict[OwnerKey | None, _Purse] = {}
        self._numbers = count()
        self._store = store if isinstance(store, MaintainableStore) else None
        if self._budget is not None and self._budget.max_cost is not None and self._prices is None:
            raise ConfigError("costs.budget.max_cost needs costs.prices")
        if self._budget is not None and self._store is None:
            raise ConfigError("a budget needs a store that is a memkit_core.protocols.MaintainableStore")

    def spend(self, bill: Bill, usage: Usage) -> None:
        """Put on a bill what a call cost, and take it off the budget."""
        if self._budget is None:
            bill.spend(usage)
            return
        with self._lock:
            purse = self._purses.get(self._key(self._budget, bill.owner))
            if purse is not None:
                purse.spent += usage
            bill.spend(usage)

    @asynccontextmanager
    async def turn(
        self, rt: Runtime, owner: OwnerKey | None, most: Callable[[], Usage]
    ) -> AsyncGenerator[None]:
        """Around one call that costs at most so much; near the limit it waits for those on their way.

        Raises:
            BudgetExceededError: The budget is spent; nothing is to be called.
        """
        budget = self._budget
        if budget is None or (budget.per == "owner" and owner is None):
            yield
            return
        key, number, ceiling = self._key(budget, owner), next(self._numbers), most()
        with self._lock:
            purse = self._purses.setdefault(key, _Purse())
            purse.users += 1
        try:
            while True:
                await rt.call(lambda: self._look(budget, key, purse))
                other = self._admit(budget, purse, number, ceiling)
                if other is None:
                    break
                async with rt.exclusive(("memkit budget", id(self), other)):
                    pass  # it is over: look again
            async with rt.exclusive(("memkit budget", id(self), number)):
                try:
                    yield
                finally:
                    self._done(purse, number)
        finally:
            self._done(purse, number)
            with self._lock:
                purse.users -= 1
                if not purse.users:
                    self._purses.pop(key, None)

    def _key(self, budget: Budget, owner: OwnerKey | None) -> OwnerKey | None:
        return owner if budget.per == "owner" else None

    def _look(self, budget: Budget, key: OwnerKey | None, purse: _Purse) -> None:
        """Bring the purse up to date: what is durable, whoever wrote it, and what is not yet."""
        assert self._store is not None
        with self._ledger.still():
            period = period_of(budget.period, self._clock())
            durable = self._store.spending(key, budget.period, period)
            with self._lock:
                purse.spent, purse.period = durable + self._ledger.unwritten(key), period

    def _admit(self, budget: Budget, purse: _Purse, number: int, ceiling: Usage) -> int | None:
        """None if the call may be made now, else the number of one to wait for."""
        with self._lock:
            spent, held = purse.spent, sum(purse.calls.values(), Usage())
            room = True
            for name, limit in self._limits(budget):
                used = self._measure(name, spent)
                if used >= limit:
                    raise self._exceeded(budget, name, used, limit)
                room = room and used + self._measure(name, held + ceiling) <= limit
            if purse.calls and not room:
                return next(iter(purse.calls))
            purse.calls[number] = ceiling
            return None

    def _done(self, purse: _Purse, number: int) -> None:
        with self._lock:
            purse.calls.pop(number, None)

    def _limits(self, budget: Budget) -> list[tuple[str, float]]:
        named = [(name, getattr(budget, name)) for name in ("max_calls", "max_tokens", "max_cost")]
        return [(name, limit) for name, limit in named if limit is not None]

    def _measure(self, name: str, usage: Usage) -> float:
        if name == "max_calls":
            return usage.chat_calls
        if name == "max_tokens":
            return usage.total_tokens
        assert self._prices is not None  # the constructor saw to it
        return self._prices.cost(usage)

    def _exceeded(self, budget: Budget, name: str, used: float, limit: float) -> BudgetExceededError:
        resets = next_period(budget.period, self._clock())
        whose = "this owner's" if budget.per == "owner" else "the store's"
        span = {"day": " of this day (UTC)", "month": " of this month (UTC)", "ever": ""}[budget.period]
        until = "" if resets is None else f"; it is whole again at {resets.isoformat()}"
        shown = f"{used:g}" if math.isfinite(used) else str(used)
        return BudgetExceededError(
            f"{whose} budget{span} is spent: {name} is {limit:g}, and {shown} were spent{until}",
            budget=name,
            spent=used,
            limit=limit,
            resets_at=resets,
        )


def next_period(period: str, now: Micros) -> datetime | None:
    """When the next day or month (UTC) begins, None for ``ever``."""
    if period == "ever":
        return None
    moment = datetime.fromtimestamp(now / 1_000_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return moment + timedelta(days=1)
    return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
