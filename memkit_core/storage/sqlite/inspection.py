"""What is wrong with a file: the findings, and how rows are read that may hold anything."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ...errors import UsageError
from ...protocols import Damage, DamageKind, Inspected
from .driver import Connection
from .rows import digest
from .tallies import Tally

#: Findings that are kept word for word; further ones are only counted.
MAX_FINDINGS: Final = 1_000


@dataclass(slots=True)
class Inspection:
    """Everything that was found, and what a repair needs to know of it.

    Attributes:
        owners: Numbers of sound owners by (kind, value). ``unsound``: numbers of damaged ones.
        misplaced: The right owner of (table, row) under a wrong owner number.
        stale: Owners whose keywords, lengths or statistics are not what their texts give.
        bad_vectors: (owner, space, unit) of vectors that are damaged or belong to nothing.
        sessions: Owners with a session that is not what its messages give.
        actors, metadata_keys: What the rows name.
        damaged: Tables and keys of all damage to the record: a number names a row, a text what it is called.
        counted: The rows of the record by the owner they belong to, which damage may have put elsewhere.
    """

    step: Callable[[int], None]
    found: list[Damage] = field(default_factory=list[Damage])
    total: int = 0
    owners: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    unsound: set[int] = field(default_factory=set[int])
    misplaced: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    stale: set[int] = field(default_factory=set[int])
    bad_vectors: set[tuple[int, int, int]] = field(default_factory=set[tuple[int, int, int]])
    sessions: set[int] = field(default_factory=set[int])
    actors: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    metadata_keys: set[str] = field(default_factory=set[str])
    counted: dict[int, Tally] = field(default_factory=dict[int, Tally])
    damaged: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])

    def add(self, kind: DamageKind, table: str, key: object, problem: str) -> None:
        """One more finding."""
        self.total += 1
        if len(self.found) < MAX_FINDINGS:
            self.found.append(Damage(kind=kind, table=table, key=str(key), problem=problem))

    def told(self) -> Inspected:
        """What callers are told."""
        return Inspected(found=tuple(self.found), total=self.total)

    def truth(self, table: str, key: object, problem: str) -> None:
        """Damage to what only the row itself says."""
        self.damaged.append((table, key))
        self.add("truth", table, key, problem)

    def derived(self, table: str, key: object, problem: str) -> None:
        """Damage to what other rows say as well."""
        self.add("derived", table, key, problem)

    def count(self, kind: str, owner: int, number: int) -> None:
        """One more row of the record, with its number."""
        if owner not in self.counted:
            self.counted[owner] = Tally()
        self.counted[owner].count(kind, 1, number)

    def check_owner(self, table: str, row: int, owner: int, ids: tuple[Any, Any, Any]) -> int:
        """Compare the owner number of a row whose ids are sound with these ids; returns the right one."""
        kind, value = next(
            ((kind, value) for kind, value in zip(("user", "agent", "run"), ids, strict=True) if value),
            ("", ""),
        )
        right = self.owners.get((kind, value))
        if owner in self.unsound or right == owner:
            return owner
        if right is None:
            self.truth(table, row, "its owner is not there")
            return owner
        self.derived(table, row, "it is kept under the number of another owner")
        self.misplaced[table, row] = right
        return right


def _readable(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


@contextmanager
def lenient(connection: Connection) -> Generator[None, None, None]:
    """Read texts that are no proper UTF-8 any more, with a mark in the place of what cannot be read."""
    connection.text_factory = _readable
    try:
        yield
    finally:
        connection.text_factory = str


def matches(seal: object, values: list[Any], expected: Callable[[bytes], bytes] = lambda h: h) -> bool:
    """Whether a stored hash is that of the values; ``expected`` makes the stored one from the plain one."""
    try:
        return bool(expected(digest(values)) == seal)
    except (UsageError, TypeError, ValueError, OverflowError):
        return False  # what cannot be hashed was never stored like this
