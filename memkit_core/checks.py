"""Texts, ids and times that callers give: checked once, before anything is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from .errors import UsageError

#: Longest text memkit takes in one message, memory or query, in characters.
MAX_TEXT_CHARS: Final = 262_144
#: Longest scope or actor id, in characters.
MAX_ID_CHARS: Final = 1_024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The first and the last instant that memkit takes, in microseconds since 1970 UTC.
FIRST_MICROS: Final = -62_135_596_800_000_000  # 0001-01-01
LAST_MICROS: Final = 253_402_300_799_999_999  # 9999-12-31


def to_micros(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970 UTC.

    Raises:
        UsageError: In UTC it lies outside the years 1 to 9999.
    """
    delta = moment - _EPOCH
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if not FIRST_MICROS <= micros <= LAST_MICROS:
        raise UsageError(f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC")
    return micros


def parse_time(value: object, what: str) -> int:
    """A caller's time: a datetime (UTC if it names no zone), a date, or an ISO 8601 string.

    Raises:
        UsageError: It is none of these, or out of range.
    """
    moment: object = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise UsageError(f"{what}: {value[:80]!r} is no ISO 8601 time") from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(moment, datetime):
        raise UsageError(f"{what} is a datetime or an ISO 8601 string, not {type(value).__name__}")
    return to_micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def zone_of(value: object) -> int:
    """The zone that a time names, in minutes east of UTC; 0 if it names none. ``parse_time`` has read it."""
    moment: object = datetime.fromisoformat(value) if isinstance(value, str) else value
    offset = moment.utcoffset() if isinstance(moment, datetime) else None
    return 0 if offset is None else offset // timedelta(minutes=1)


def to_datetime(micros: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def clean_text(text: str) -> str:
    """Text with what no store can hold taken out: NUL characters and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def check_text(text: object, what: str, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """The text itself, if every store can hold it.

    Raises:
        UsageError: It is not a string, too long, or holds NUL or lone surrogates.
    """
    if not isinstance(text, str):
        raise UsageError(f"{what} must be a string, not {type(text).__name__}")
    if len(text) > max_chars:
        raise UsageError(f"{what} has {len(text):,} characters; the limit is {max_chars:,}: split it first")
    if "\0" in text:
        raise UsageError(f"{what} holds a NUL character: pass memkit_core.clean_text(text)")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(
                f"{what} holds a lone surrogate, which is not text: pass memkit_core.clean_text(text)"
            ) from None
    return text


def check_id(value: object, what: str) -> str:
    """The id itself, if it is one.

    Raises:
        UsageError: It is not a non-empty string of at most 1,024 characters of proper Unicode.
    """
    if not isinstance(value, str):
        raise UsageError(f"{what} must be a non-empty string, not {type(value).__name__}")
    if not value:
        raise UsageError(f"{what} must not be empty")
    return check_text(value, what, max_chars=MAX_ID_CHARS)
