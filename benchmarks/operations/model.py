"""Adds in which a scripted model is asked: its prompts, what is paid beside its time, many at once."""

from __future__ import annotations

import asyncio
from typing import Any

from ..data import case
from ..measure import Ticker, Values, repeat, timed, values
from ..subjects import Opening
from .base import Bench, Operation

#: Seconds that a call of the model takes.
LATENCY, QUICK_LATENCY = 0.2, 0.02


class ModelAdd(Operation):
    """The fixed conversation, for a user with ten memories; ``overhead`` is wall time minus the model's."""

    def prepare(self) -> None:
        latency = QUICK_LATENCY if self.bench.quick else LATENCY
        self._subject, self._user = self.bench.subject(opening=Opening(latency=latency)), 0
        self._case = case()
        self._add(values())

    def round(self) -> Values:
        taken, bench = values(), self.bench
        repeat(lambda: self._add(taken), times=min(bench.samples, 20), seconds=2 * bench.seconds)
        return taken

    def _add(self, taken: Values) -> None:
        self._user += 1
        user = f"u{self._user}"
        self._subject.add_batch(self._case.memories, user)
        self._subject.chat.taken()
        with timed(taken, "add"):
            self._subject.add(self._case.messages, user)
        calls, slept = self._subject.chat.taken()
        taken["calls"].append(len(calls))
        taken["overhead.wall"].append(taken["add.wall"][-1] - slept * 1_000)

    def finish(self) -> dict[str, Any]:
        """The prompts themselves, for every way of asking; they are counted where the tokenizer is."""
        prompts: dict[str, Any] = {}
        for way in self.bench.kind.ways:
            subject = self.bench.subject(f"prompts-{way}", Opening(way=way))
            subject.add_batch(self._case.memories, "u")
            subject.add(self._case.messages, "u")
            prompts[way], _ = subject.chat.taken()
            subject.close()
        return {"prompts": prompts}


class ConcurrentAdds(Operation):
    """That add for many users at once on one event loop; how long all take, and how long the loop is deaf."""

    def __init__(self, bench: Bench, users: int) -> None:
        super().__init__(bench)
        self._users = users

    def prepare(self) -> None:
        latency = QUICK_LATENCY if self.bench.quick else LATENCY
        self._subject = self.bench.subject(opening=Opening(latency=latency, asynchronous=True))
        self._case, self._round = case(), 0
        asyncio.run(self._all(values(), self._new_users(2)))

    def round(self) -> Values:
        taken = values()
        asyncio.run(self._all(taken, self._new_users(self._users)))
        return taken

    def _new_users(self, count: int) -> list[str]:
        self._round += 1
        return [f"u{self._round}-{number}" for number in range(count)]

    async def _all(self, taken: Values, users: list[str]) -> None:
        for user in users:
            await self._subject.afill(self._case.memories, user)
        self._subject.chat.taken()
        async with Ticker() as ticker:
            with timed(taken, "all"):
                kept = await asyncio.gather(
                    *(self._subject.aadd(self._case.messages, user) for user in users)
                )
        calls, _ = self._subject.chat.taken()
        taken["calls"].append(len(calls))
        taken["longest gap, ms"].append(ticker.longest)
        taken["facts lost"].append(len(users) * len(self._case.facts) - sum(kept))
