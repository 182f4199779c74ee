"""Which earlier truth a verb answers from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .checks import LAST_MICROS, parse_time
from .errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """Which earlier truth a verb answers from. Times as everywhere: datetimes, dates or ISO 8601 strings.

    Attributes:
        valid: What held at this time; None: what holds now.
        known: As far as memkit knew it at this time; None: as known now.

    Raises:
        UsageError: Neither is given, or one is no time.
    """

    valid: datetime | str | None = None
    known: datetime | str | None = None

    def __post_init__(self) -> None:
        if self.points == (None, None):
            raise UsageError("AsOf needs valid=, known= or both")

    @property
    def points(self) -> tuple[int | None, int | None]:
        """Both times in microseconds since 1970 UTC."""
        valid = None if self.valid is None else parse_time(self.valid, "as_of.valid")
        return valid, None if self.known is None else parse_time(self.known, "as_of.known")


def points_of(as_of: datetime | str | AsOf | None) -> tuple[int | None, int | None]:
    """The validity time and the knowledge time that are meant, in microseconds since 1970 UTC.

    Raises:
        UsageError: It is no time.
    """
    if isinstance(as_of, AsOf):
        return as_of.points
    return (None if as_of is None else parse_time(as_of, "as_of")), None


def known_point(as_of: datetime | str | AsOf | None) -> int:
    """The knowledge time that is meant where only that one counts.

    Raises:
        UsageError: It is no time, or names a validity time.
    """
    if not isinstance(as_of, AsOf):
        return LAST_MICROS if as_of is None else parse_time(as_of, "as_of")
    valid, known = as_of.points
    if known is None or valid is not None:
        raise UsageError("a history is told as it was known at a time: pass that time, or AsOf(known=...)")
    return known
