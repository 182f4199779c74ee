"""How the versions of one memory, their ends, amendments and events hang together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ...errors import IntegrityError
from ...types import MemoryRecord, Micros
from .driver import Connection
from .rows import digest


class Amendment(NamedTuple):
    """Until this knowledge time a closed version was believed to end like that."""

    until: Micros
    valid_to: Micros
    superseded_by: str | None


class Version(NamedTuple):
    """What of a version hangs together with others; ``amendments`` in the order of their times."""

    memory_id: str
    revision: int
    valid_from: Micros
    recorded_at: Micros
    valid_to: Micros | None
    retired_at: Micros | None
    deleted_at: Micros | None
    superseded_by: str | None
    amendments: tuple[Amendment, ...] = ()

    @property
    def ended(self) -> tuple[Micros | None, str | None]:
        """Until when it held and by whom it was replaced, as it was said when it was closed."""
        if self.amendments:
            return self.amendments[0].valid_to, self.amendments[0].superseded_by
        return self.valid_to, self.superseded_by

    @property
    def replaced(self) -> bool:
        """Whether it was closed to open the next version."""
        return self.deleted_at is None and self.retired_at is not None and self.ended[1] == self.memory_id

    @property
    def born_closed(self) -> bool:
        """Whether it was never current."""
        return (
            self.revision == 1
            and self.deleted_at is None
            and self.retired_at == self.recorded_at
            and self.ended[1] != self.memory_id
        )


class Happened(NamedTuple):
    """An event: what, to which version, when."""

    operation: str
    revision: int
    at: Micros


def version_of(record: MemoryRecord, amendments: tuple[Amendment, ...]) -> Version:
    """A record as what hangs together with others."""
    return Version(
        record.memory_id,
        record.revision,
        record.valid_from,
        record.recorded_at,
        record.valid_to,
        record.retired_at,
        record.deleted_at,
        record.superseded_by,
        amendments,
    )


def as_known(record: MemoryRecord, amendments: Sequence[Amendment], known_at: Micros) -> MemoryRecord:
    """A version as it stood at a knowledge time."""
    if record.retired_at is None or record.retired_at > known_at:
        return replace(record, valid_to=None, retired_at=None, deleted_at=None, superseded_by=None)
    for amendment in amendments:
        if amendment.until > known_at:
            return replace(record, valid_to=amendment.valid_to, superseded_by=amendment.superseded_by)
    return record


def amendment_seal(unit: int, until: Micros, valid_to: Micros, superseded_by: str | None) -> bytes:
    """The hash of a row of ``amendments``."""
    return digest([unit, until, valid_to, superseded_by])


def amendments_of(connection: Connection, units: str) -> Mapping[int, tuple[Amendment, ...]]:
    """The amendments of versions, given as JSON list of units, in the order of their times.

    Raises:
        IntegrityError: One does not match its hash.
    """
    found: dict[int, tuple[Amendment, ...]] = {}
    for unit, until, valid_to, superseded_by, seal in connection.execute(
        "SELECT a.unit, a.until, a.valid_to, a.superseded_by, a.content_hash FROM json_each(?) u"
        " CROSS JOIN amendments a ON a.unit = u.value ORDER BY a.unit, a.until",
        (units,),
    ):
        if amendment_seal(unit, until, valid_to, superseded_by) != seal:
            raise IntegrityError(
                "what was believed of a memory before is damaged: see memory.admin.doctor(), and restore the"
                " file from a backup"
            )
        found[unit] = (*found.get(unit, ()), Amendment(until, valid_to, superseded_by))
    return found


def fault_of_versions(versions: Sequence[Version]) -> str | None:
    """What is wrong with the versions of a memory, in the order of their revisions."""
    if [one.revision for one in versions] != list(range(1, len(versions) + 1)):
        return "its revisions are not 1, 2, 3 and so on"
    for old, new in itertools.pairwise(versions):
        if old.replaced:
            if (old.ended[0], old.retired_at) != (new.valid_from, new.recorded_at):
                return f"revision {old.revision} does not end where the next one begins"
        elif not _is_over(old):
            return f"revision {old.revision} does not end where the next one begins"
    last = versions[-1]
    closing = (last.valid_to, last.retired_at, last.deleted_at, last.superseded_by)
    if closing != (None,) * 4 and not _is_over(last):
        return "its last revision is neither current nor deleted"
    for one in versions:
        ends = [*(amendment.valid_to for amendment in one.amendments), one.valid_to]
        if one.amendments and (
            one.retired_at is None
            or any(end is None or end < one.valid_from for end in ends)
            or ends != sorted(ends, key=lambda end: -(end or 0))
        ):
            return f"revision {one.revision} was amended to hold longer, or not at all"
    return None


def _is_over(one: Version) -> bool:
    """Whether it ended without a next version."""
    if one.valid_to is None or one.retired_at is None:
        return False
    if one.deleted_at is not None:
        return one.deleted_at == one.retired_at and one.ended[1] != one.memory_id
    return one.born_closed


def events_agree(versions: Sequence[Version], events: Sequence[Happened]) -> bool:
    """Whether the events, in order, are those that the versions must have had."""
    wanted: list[tuple[tuple[str, ...], int, Micros]] = []
    for number, one in enumerate(versions):
        if not number:
            opened: tuple[str, ...] = ("ADD",)
        else:
            opened = ("UPDATE", "RESTORE") if versions[number - 1].replaced else ("RESTORE",)
        wanted.append((opened, one.revision, one.recorded_at))
        if one.deleted_at is not None:
            wanted.append((("DELETE",), one.revision, one.deleted_at))
    plain = [event for event in events if event.operation != "AMEND"]
    if len(plain) != len(wanted) or any(
        event.operation not in operations or (event.revision, event.at) != (revision, at)
        for event, (operations, revision, at) in zip(plain, wanted, strict=True)
    ):
        return False
    return _amendments_agree(versions, events)


def _amendments_agree(versions: Sequence[Version], events: Sequence[Happened]) -> bool:
    amended: dict[int, list[Micros]] = {}
    opened = 0
    deleted = False
    for event in events:
        if event.operation != "AMEND":
            opened, deleted = event.revision, event.operation == "DELETE"
            continue
        closed = event.revision < opened or deleted or (event.revision == 1 and versions[0].born_closed)
        if not 1 <= event.revision <= opened or not closed:
            return False
        amended.setdefault(event.revision, []).append(event.at)
    for one in versions:
        times = amended.get(one.revision, [])
        noted = [amendment.until for amendment in one.amendments]
        # Where the clock went back, the earlier belief was noted under a later time already.
        if not set(noted) <= set(times) or (times and (not noted or max(times) > max(noted))):
            return False
    return True
