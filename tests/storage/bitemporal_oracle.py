"""What was known when of what held when, in plain rows: every statement overwrites what follows its time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

FOREVER = 10**9


@dataclass(frozen=True)
class Row:
    """A text held in [valid_from, valid_to), as known in [known_from, known_to)."""

    memory: str
    revision: int
    text: str
    valid_from: int
    valid_to: int
    known_from: int
    known_to: int = FOREVER


@dataclass
class Version:
    """A revision as it was stated: its end is None while it is current."""

    text: str
    valid_from: int
    valid_to: int | None = None


@dataclass
class Oracle:
    """All memories of one owner. Times are small integers; knowledge times only grow."""

    rows: list[Row] = field(default_factory=list)
    versions: dict[str, list[Version]] = field(default_factory=dict)

    def held(self, valid: int, known: int) -> list[tuple[str, str]]:
        """What held at ``valid`` as known at ``known``."""
        return sorted(
            (row.memory, row.text)
            for row in self.rows
            if row.known_from <= known < row.known_to and row.valid_from <= valid < row.valid_to
        )

    def current(self, memory: str) -> bool:
        """Whether the memory has a current version."""
        return self.versions[memory][-1].valid_to is None

    def add(self, memory: str, text: str, start: int, end: int | None, now: int) -> None:
        """A new memory, closed from the start if it has an end."""
        self.versions[memory] = [Version(text, start, end)]
        self._state(memory, start, FOREVER if end is None else end, now)

    def update(self, memory: str, text: str, start: int, now: int) -> None:
        """From ``start`` on it says something else."""
        self.versions[memory][-1].valid_to = start
        self.versions[memory].append(Version(text, start))
        self._end(memory, start, now)
        self._state(memory, start, FOREVER, now)

    def retire(self, memory: str, end: int, now: int) -> None:
        """From ``end`` on it does not hold."""
        self.versions[memory][-1].valid_to = end
        self._end(memory, end, now)

    def restore(self, memory: str, revision: int, start: int | None, now: int) -> None:
        """From ``start`` on (that of the earlier version, if none) it says again what it said."""
        earlier = self.versions[memory][revision - 1]
        begin = earlier.valid_from if start is None else start
        if self.current(memory):
            self.versions[memory][-1].valid_to = begin
        self.versions[memory].append(Version(earlier.text, begin))
        self._end(memory, begin, now)
        self._state(memory, begin, FOREVER, now)

    def amend(self, memory: str, revision: int, end: int, now: int) -> None:
        """One revision held no longer than until ``end``."""
        self.versions[memory][revision - 1].valid_to = end
        self._end(memory, end, now, revision)

    def _state(self, memory: str, start: int, end: int, now: int) -> None:
        versions = self.versions[memory]
        self.rows.append(Row(memory, len(versions), versions[-1].text, start, end, now))

    def _end(self, memory: str, end: int, now: int, revision: int | None = None) -> None:
        """Whatever is known to hold at ``end`` or later does so until ``end`` only, as known from now on."""
        for number, row in enumerate(list(self.rows)):
            affected = row.memory == memory and revision in (None, row.revision)
            if affected and row.known_to == FOREVER and row.valid_to > end:
                self.rows[number] = replace(row, known_to=now)
                if row.valid_from < end:
                    self.rows.append(replace(row, valid_to=end, known_from=now))
