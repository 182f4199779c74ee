"""Operations that no model takes part in."""

from __future__ import annotations

from ..data import Texts
from ..measure import Values, repeat, timed, values
from .base import Bench, Operation, people


class RawAdd(Operation):
    """One statement per call, for one user."""

    def prepare(self) -> None:
        self._subject, self._texts = self.bench.subject(), Texts(2)
        self._subject.add_raw(self._texts.statement(), "u")

    def round(self) -> Values:
        taken = values()

        def add() -> None:
            text = self._texts.statement()
            with timed(taken, "add"):
                self._subject.add_raw(text, "u")

        repeat(add, times=self.bench.samples, seconds=self.bench.seconds)
        return taken


class BatchAdd(Operation):
    """Many statements in one call, for a new user each time; per row."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        self._subject, self._texts, self._round = self.bench.subject(), Texts(3), 0
        self._subject.add_batch(self._texts.statements(2), "first")

    def round(self) -> Values:
        taken = values()
        self._round += 1
        texts = self._texts.statements(self._rows)
        with timed(taken, "row", per=self._rows):
            self._subject.add_batch(texts, f"u{self._round}")
        return taken


class Search(Operation):
    """Ten best of one user. Cold: the first search since opening, and a user's first; warm: any later one."""

    def __init__(self, bench: Bench, users: int, each: int) -> None:
        super().__init__(bench)
        self._users, self._each = people(users), each

    def prepare(self) -> None:
        self._subject, self._texts = self.bench.subject(), Texts(4)
        self.bench.fill(self._subject, self._users, self._each)
        for user in self._users:
            self._subject.search(self._texts.question(), user)

    def round(self) -> Values:
        taken, bench = values(), self.bench
        if "reopen" in bench.kind.abilities:
            self._subject.close()
            with timed(taken, "open and first search"):
                self._subject.open()
                self._subject.search(self._texts.question(), self._users[0])
            for user in self._users[1:]:
                self._search(taken, "cold search", user)

        def search() -> None:
            self._search(taken, "warm search", self._texts.pick(self._users))

        repeat(search, times=bench.samples, seconds=bench.seconds)
        return taken

    def _search(self, taken: Values, name: str, user: str) -> None:
        question = self._texts.question()
        with timed(taken, name):
            found = self._subject.search(question, user)
        taken["hits"].append(found)


class InTurn(Operation):
    """A raw add, then a search, over and over, for one user who has so many memories."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        self._subject, self._texts = self.bench.subject(), Texts(5)
        self.bench.fill(self._subject, ["u"], self._rows)
        self._subject.search(self._texts.question(), "u")

    def round(self) -> Values:
        taken = values()

        def both() -> None:
            text, question = self._texts.statement(), self._texts.question()
            with timed(taken, "add"):
                self._subject.add_raw(text, "u")
            with timed(taken, "search"):
                self._subject.search(question, "u")

        repeat(both, times=self.bench.samples, seconds=self.bench.seconds)
        return taken
