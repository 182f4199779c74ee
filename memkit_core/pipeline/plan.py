"""What a question asks for, read from its words alone: terms, the person meant, dates named.

Pure and linear in the question's length; it never raises for a string.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ..analysis import query_terms
from ..types import Micros, to_datetime, to_micros

#: Names and dates are looked for in the opening only: what is longer is a document, not a question.
_OPENING: Final = 2_000
_MAX_DATES: Final = 8
_MAX_NAME_CHARS: Final = 64
#: A day without a year may be any of these years, counted from the present one.
_NEAR_YEARS: Final = (1, 0, -1, -2, -3, -4)

_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
_WIDE_NAME: Final = re.compile(f"[{_WIDE}]+")
_WORD: Final = re.compile(rf"[^\W\d_{_WIDE}]+")
_ROLES: Final = frozenset(
    "user assistant system tool human ai bot agent model developer function admin customer client support "
    "guest someone everyone nobody may march mark".split()
)

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        "january/jan february/feb march/mar april/apr may june/jun july/jul august/aug "
        "september/sept/sep october/oct november/nov december/dec".split(),
        start=1,
    )
    for name in names.split("/")
}
_MONTH = "|".join(_MONTHS)
_DAY = r"(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?:19|20)\d\d"
_GAP = r"\s{1,3}"
_DATE: Final = re.compile(
    rf"""
    (?<![\w.,$€£/-])(?P<y1>{_YEAR})-(?P<m1>\d\d?)(?:-(?P<d1>\d\d?))?(?![\d-])
  | (?<![\w./-])(?P<left>\d\d?)(?P<mark>[./])(?P<right>\d\d?)[./](?P<y2>{_YEAR})(?!\d)
  | (?<![\w.])(?P<d3>{_DAY}){_GAP}(?:of{_GAP})?(?P<m3>{_MONTH})\b\.?
      (?:,?{_GAP}(?:of{_GAP})?(?P<y3>{_YEAR})\b)?
  | \b(?P<m4>{_MONTH})\b\.?{_GAP}(?:the{_GAP})?(?P<d4>{_DAY})(?![\w:])(?:,?{_GAP}(?P<y4>{_YEAR})\b)?
  | \b(?P<m5>{_MONTH})\b\.?,?{_GAP}(?:of{_GAP})?(?P<y5>{_YEAR})\b
  | (?P<y6>{_YEAR})\s?年(?:\s?(?P<m6>\d\d?)\s?月(?:\s?(?P<d6>\d\d?)\s?[日号])?)?
  | (?<!\d)(?P<m7>\d\d?)\s?月(?:\s?(?P<d7>\d\d?)\s?[日号])?
  | \b(?:in|of|on|during|since|until|by|early|late|mid|last|this|next|before|after|around|every)[\s-]{{1,3}}
      (?P<m8>{_MONTH})\b(?!['’]\w|\.?,?{_GAP}(?:(?:the|of){_GAP})?\d)
  | \b(?P<m9>january|february|april|june|july|august|september|october|november|december)\b
  | \b(?P<near>today|yesterday|(?:this|last){_GAP}(?:week|month|year))\b
  | (?<![\w.,$€£%-])(?P<y9>{_YEAR})(?![\w%]|[.,]\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: Whatever ``_DATE`` matches has one of these: most questions have none, and this is ten times cheaper.
_DATE_GATE: Final = re.compile(
    r"\d|\b(?:jan|feb|mar|apr|may|ju[nl]|aug|sep|oct|nov|dec|today|yest|this|last)", re.IGNORECASE
)
#: A letter of another script: "I" would be a foreign word in such a question.
_NOT_LATIN: Final = re.compile("[^\\W\\d_\u0000-\u024f\u1e00-\u1eff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to look for.

    Attributes:
        terms: Distinct keyword terms, at most 64.
        embed_text: The question as it is embedded. Messages are said in the first person, and a name in
            them addresses somebody else: names of known actors become I or my.
        named_actor: The only known actor whom the question names, None if it names nobody or several.
        between: UTC ranges of the dates named, start inclusive, end exclusive. A day without a year stands
            for that day in the years around the present, a month without one for its latest occurrence.
        months: Months (1-12) named without a year: any year's may be meant.
    """

    terms: tuple[str, ...]
    embed_text: str
    named_actor: str | None = None
    between: tuple[tuple[Micros, Micros], ...] = ()
    months: frozenset[int] = frozenset()


def plan(query: str, *, actors: Sequence[str], now: Micros) -> Plan:
    """The plan for a question.

    Args:
        query: The question as asked.
        actors: Everybody who ever spoke in the owner's messages; ids that are no names are passed over.
        now: The present, for dates such as "yesterday" or "in May".
    """
    opening = query[:_OPENING]
    named, embed_text = _person(query, opening, tuple(actors))
    between, months = _dates(opening, now)
    return Plan(
        terms=query_terms(query), embed_text=embed_text, named_actor=named, between=between, months=months
    )


# People


@dataclass(frozen=True, slots=True)
class _Names:
    """Names by their first word, and names in scripts without spaces."""

    spelled: dict[str, tuple[str, ...]]
    wide: tuple[str, ...]
    actor: dict[str, str]


def _is_name(actor: str) -> bool:
    if not 2 <= len(actor) <= _MAX_NAME_CHARS or actor.casefold() in _ROLES:
        return False
    if not all(char in " .'’-" or unicodedata.category(char)[0] in "LM" for char in actor):
        return False
    return bool(_WIDE_NAME.fullmatch(actor)) or bool(_WORD.match(actor) and query_terms(actor))


@lru_cache(maxsize=256)
def _names(actors: tuple[str, ...]) -> _Names:
    actor: dict[str, str] = {}
    for one in actors:
        if _is_name(one):
            actor.setdefault(one.casefold(), one)
    given: dict[str, list[str]] = {}
    for folded, one in actor.items():
        first, _, rest = folded.partition(" ")
        if rest and _is_name(first):
            given.setdefault(first, []).append(one)
    for first, ones in given.items():
        if len(ones) == 1 and first not in actor:
            actor[first] = ones[0]
    spelled: dict[str, list[str]] = {}
    wide: list[str] = []
    for folded in actor:
        match = _WORD.match(folded)
        if match:
            spelled.setdefault(match.group(), []).append(folded)
        else:
            wide.append(folded)
    return _Names({word: tuple(names) for word, names in spelled.items()}, tuple(wide), actor)


@lru_cache(maxsize=1_024)
def _mention(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the names, the longest first, each with its possessive ending."""
    parts: list[str] = []
    for name in sorted(names, key=len, reverse=True):
        if _WIDE_NAME.fullmatch(name):
            parts.append(f"({re.escape(name)})()")
        else:
            ending = "['’]s?" if name.endswith("s") else "['’]s"
            parts.append(rf"(?<![^\W{_WIDE}])({re.escape(name)})({ending})?(?![^\W{_WIDE}]|-\w)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _person(query: str, opening: str, actors: tuple[str, ...]) -> tuple[str | None, str]:
    """The only actor named, and the question with all names in the first person."""
    if not actors:
        return None, query
    names = _names(actors)
    found = [name for name in names.wide if name in opening]
    for word in dict.fromkeys(_WORD.findall(opening.casefold())):
        found.extend(names.spelled.get(word, ()))
    if not found:
        return None, query
    mentions = list(_mention(tuple(sorted(found))).finditer(opening))
    named = {_actor_of(match, names.actor) for match in mentions} - {None}
    only = named.pop() if len(named) == 1 else None
    if not query.isascii() and _NOT_LATIN.search(query):
        return only, query
    pieces: list[str] = []
    end = 0
    for match in mentions:
        if _actor_of(match, names.actor) is not None:
            pieces += [query[end : match.start()], "my" if _owns(match) else "I"]
            end = match.end()
    return only, "".join(pieces) + query[end:]


def _owns(match: re.Match[str]) -> bool:
    return any(group[0] in "'’" for group in match.groups() if group)


def _actor_of(match: re.Match[str], actors: dict[str, str]) -> str | None:
    """Whose name was found. A given name alone counts only if it is written as a name."""
    name = next(group for group in match.groups() if group)
    actor = actors.get(name.casefold())
    if actor is not None and actor.casefold() != name.casefold() and not name[0].isupper():
        return None
    return actor


# Dates


def _dates(opening: str, now: Micros) -> tuple[tuple[tuple[Micros, Micros], ...], frozenset[int]]:
    between: dict[tuple[Micros, Micros], None] = {}
    months: set[int] = set()
    if not _DATE_GATE.search(opening):
        return (), frozenset()
    for count, match in enumerate(_DATE.finditer(opening)):
        if count == _MAX_DATES:
            break
        parts = {name.rstrip("0123456789"): value for name, value in match.groupdict().items() if value}
        if "near" in parts:
            between[_near(" ".join(parts["near"].casefold().split()), now)] = None
            continue
        for year, month, day in _readings(parts):
            if month is not None and not 1 <= month <= 12:
                continue
            if year is None and day is None and month is not None:
                months.add(month)
            for span in _spans(year, month, day, now):
                between[span] = None
    return tuple(between), frozenset(months)


def _readings(parts: dict[str, str]) -> Iterator[tuple[int | None, int | None, int | None]]:
    """Year, month and day of one date; two readings where 3/4/2024 may be in March or April."""
    year = int(parts["y"]) if "y" in parts else None
    if "mark" in parts:
        first, second = int(parts["left"]), int(parts["right"])
        yield year, second, first
        if parts["mark"] == "/" and first != second:
            yield year, first, second
        return
    word = parts.get("m")
    month = None if word is None else _MONTHS.get(word.casefold()) or int(word)
    day = int(re.sub(r"\D", "", parts["d"])) if "d" in parts else None
    yield year, month, day


def _spans(
    year: int | None, month: int | None, day: int | None, now: Micros
) -> Iterator[tuple[Micros, Micros]]:
    """The ranges a date stands for; none if there is no such day."""
    today = to_datetime(now)
    if year is not None:
        years: Sequence[int] = (year,)
    elif day is not None:
        years = [today.year + offset for offset in _NEAR_YEARS]
    else:
        years = (today.year if month is not None and month <= today.month else today.year - 1,)
    for one in years:
        span = _span(one, month, day)
        if span is not None:
            yield span


def _span(year: int, month: int | None, day: int | None) -> tuple[Micros, Micros] | None:
    from dateutil.relativedelta import relativedelta

    try:
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    except ValueError:
        return None  # 31 June, or no day at all
    if day is not None:
        length = relativedelta(days=1)
    else:
        length = relativedelta(months=1) if month is not None else relativedelta(years=1)
    return to_micros(start), to_micros(start + length)


def _near(words: str, now: Micros) -> tuple[Micros, Micros]:
    from dateutil.relativedelta import relativedelta

    today = to_datetime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if words in ("today", "yesterday"):
        start = today if words == "today" else today - timedelta(days=1)
        return to_micros(start), to_micros(start + timedelta(days=1))
    which, unit = words.split()
    if unit == "week":
        start, length = today - timedelta(days=today.weekday()), relativedelta(weeks=1)
    elif unit == "month":
        start, length = today.replace(day=1), relativedelta(months=1)
    else:
        start, length = today.replace(month=1, day=1), relativedelta(years=1)
    if which == "last":
        start -= length
    return to_micros(start), to_micros(start + length)
