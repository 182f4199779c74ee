"""What a user pays for the rows of all the others."""

from __future__ import annotations

import time
from typing import Any

from ..data import Texts
from ..measure import Values, folder_mb, repeat, resident_mb, timed, values
from ..subjects import Subject
from .base import Bench, Operation, TooSlowError, people

#: Memories of the user who is measured.
OWN, QUICK_OWN = 1_000, 20
#: Users whose searches take turns when warm ones are measured.
ACTIVE = 50


class Growth(Operation):
    """Raw adds and searches of one user beside more and more rows of others: all stores are open, in turn."""

    def __init__(self, bench: Bench, stages: tuple[int, ...], users: int) -> None:
        super().__init__(bench)
        self._stages, self._others = stages, users

    def prepare(self) -> None:
        self._texts, self._user = Texts(6), f"measured-{time.time_ns()}"
        self._open: dict[int, Subject] = {}
        self._missing = ""
        for stage in self._stages:
            try:
                self._open[stage] = self.bench.beside(stage, self._others)
            except TooSlowError as error:
                if not self._open:
                    raise
                self._missing = str(error)
                break
            own = QUICK_OWN if self.bench.quick else OWN
            self._open[stage].add_batch(self._texts.statements(own), self._user)

    def round(self) -> Values:
        taken, bench = values(), self.bench
        samples = max(2, bench.samples // 4)
        for _ in range(1 if bench.quick else 4):  # stages take turns too, in small portions
            for stage, subject in self._open.items():
                self._portion(taken, stage, subject, samples, bench.seconds / 4)
        return taken

    def finish(self) -> dict[str, Any]:
        return {"missing": self._missing}

    def _portion(self, taken: Values, stage: int, subject: Subject, samples: int, seconds: float) -> None:
        def add() -> None:
            text = self._texts.statement()
            with timed(taken, f"add beside {stage:,}"):
                subject.add_raw(text, self._user)

        def search() -> None:
            question = self._texts.question()
            with timed(taken, f"search beside {stage:,}"):
                subject.search(question, self._user)

        repeat(add, times=samples, seconds=seconds)
        subject.search(self._texts.question(), self._user)
        repeat(search, times=samples, seconds=seconds)


class Large(Operation):
    """One store with very many rows: opening, searches of everybody, searches of those who are active."""

    def __init__(self, bench: Bench, rows: int, users: int) -> None:
        super().__init__(bench)
        self._rows, self._users = rows, people(users)

    def prepare(self) -> None:
        self._texts = Texts(7)
        self._folder = self.bench.kept(self._rows, len(self._users))
        warmed = self.bench.subject()  # what a library loads on first use is no part of this
        warmed.add_batch(self._texts.statements(20), "u")
        warmed.search(self._texts.question(), "u")
        warmed.close()
        self._before = resident_mb()
        self._subject = self.bench.kind(self._folder)
        self._taken = values()
        with timed(self._taken, "open and first search"):
            self._subject.open()
            self._subject.search(self._texts.question(), self._users[0])
        for number, user in enumerate(self._users[1:], 2):
            self._search("cold search", user)
            self.bench.progress(number, len(self._users))

    def round(self) -> Values:
        for user in self._users[:ACTIVE]:
            self._subject.search(self._texts.question(), user)
        active, bench = self._users[:ACTIVE], self.bench
        repeat(
            lambda: self._search("warm search", self._texts.pick(active)),
            times=bench.samples,
            seconds=bench.seconds,
        )
        taken, self._taken = self._taken, values()
        return taken

    def _search(self, name: str, user: str) -> None:
        question = self._texts.question()
        with timed(self._taken, name):
            self._subject.search(question, user)

    def finish(self) -> dict[str, Any]:
        memory = resident_mb() - self._before
        self._subject.close()
        return {"values": {"memory, MB": [memory], "files, MB": [folder_mb(self._folder)]}}
