"""A long conversation, one turn per add that does not wait, then a flush: how often the model is asked."""

from __future__ import annotations

import random

from ..data import Texts
from ..measure import Values, timed, values
from ..subjects import Opening
from .base import Bench, Operation


class Batching(Operation):
    """Turns as long as LoCoMo's (about 130 characters); the model makes a fact of every third."""

    def __init__(self, bench: Bench, turns: int) -> None:
        super().__init__(bench)
        rng, texts = random.Random(1), Texts(3)
        self._turns = [
            f"{texts.statement()}, {texts.statement()}"[: rng.randint(60, 200)] for _ in range(turns)
        ]

    def prepare(self) -> None:
        self._subject, self._user = self.bench.subject(opening=Opening(every=3)), 0

    def round(self) -> Values:
        taken, user = values(), f"u{self._user}"
        self._user += 1
        for turn in self._turns:
            with timed(taken, "add"):
                self._subject.add_later(turn, user)
        with timed(taken, "flush"):
            self._subject.flush()
        calls, _ = self._subject.chat.taken()
        taken["calls per 1,000 turns"].append(1_000 * len(calls) / len(self._turns))
        return taken
