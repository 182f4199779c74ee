"""What an operation is given and what it gives back."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import Texts
from ..measure import Values
from ..subjects import Opening, Subject


class TooSlowError(Exception):
    """A store could not be filled in the time that there is; what was reached is the message."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One subject at one operation.

    Attributes:
        folder: Empty, gone afterwards.
        stores: Filled stores that later operations, and later runs, find again.
        samples, seconds: What one round takes at most.
        fill_seconds: How long filling one store may take.
        progress: Is told how many rows of how many are in.
    """

    kind: type[Subject]
    folder: Path
    stores: Path
    quick: bool
    samples: int
    seconds: float
    fill_seconds: float
    progress: Callable[[int, int], None]

    def subject(
        self, part: str = "store", opening: Opening | None = None, *, at: Path | None = None
    ) -> Subject:
        """The subject, open in a folder of its own."""
        folder = at or self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        made = self.kind(folder, opening)
        made.open()
        return made

    def fill(self, subject: Subject, users: list[str], each: int, seed: int = 1) -> None:
        """Give every user so many statements.

        Raises:
            TooSlowError: It takes too long.
        """
        texts, done, total = Texts(seed), 0, len(users) * each
        started = time.monotonic()
        for user in users:
            for start in range(0, each, subject.fill_rows):
                count = min(subject.fill_rows, each - start)
                subject.add_batch(texts.statements(count), user)
                done += count
                self.progress(done, total)
                if done < total and time.monotonic() - started > self.fill_seconds:
                    raise TooSlowError(
                        f"only {done:,} of {total:,} rows were in after {self.fill_seconds:.0f} s"
                    )

    def beside(self, rows: int, users: int) -> Subject:
        """The subject, open, with that many rows of other people."""
        if "reopen" in self.kind.abilities:
            return self.subject(at=self.kept(rows, users))
        subject = self.subject(f"others-{rows}")
        self.fill(subject, people(users), rows // users, seed=rows)
        return subject

    def kept(self, rows: int, users: int) -> Path:
        """A store with that many rows of other people, filled if no earlier run left it there."""
        folder = self.stores / self.kind.name / f"others-{rows}-of-{users}"
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            subject = self.subject(at=unfinished)
            try:
                self.fill(subject, people(users), rows // users, seed=rows)
            finally:
                subject.close()
            unfinished.rename(folder)
        return folder


class Operation(ABC):
    """Prepared once; then rounds of all subjects take turns, so that a slower minute hits all alike."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @abstractmethod
    def prepare(self) -> None:
        """Everything that is not measured."""

    @abstractmethod
    def round(self) -> Values:
        """Some samples."""

    def finish(self) -> dict[str, Any]:
        """What is only to be had at the end: ``values``, ``prompts``, ``missing``."""
        return {}


def people(count: int) -> list[str]:
    return [f"person-{number}" for number in range(count)]
