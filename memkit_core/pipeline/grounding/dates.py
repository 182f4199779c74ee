"""Days that a text names, literally or counted from when it was said: English, Spanish, German, Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from .numbers import UNIT_OF, numbers_in
from .words import Token, fold, folded_text, tokens

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Partial:
    """A date as far as it is said; ``text`` is how."""

    year: int | None
    month: int | None
    day: int | None
    text: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Days that an expression may mean."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Dates:
    """What a text says of dates.

    Attributes:
        partials: Literal ones. ``weekdays``: as they are named, Monday 0.
    """

    partials: tuple[Partial, ...] = ()
    weekdays: frozenset[int] = frozenset()


_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "january jan enero januar janner", "february feb febrero februar", "march mar marzo marz",
            "april apr abril", "may mayo mai", "june jun junio juni", "july jul julio juli",
            "august aug agosto", "september sept sep septiembre", "october oct octubre oktober okt",
            "november nov noviembre", "december dec diciembre dezember dez",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_WEEKDAYS: Final = {
    name: number
    for number, names in enumerate(
        (
            "monday mon lunes montag", "tuesday tue tues martes dienstag", "wednesday wed miercoles mittwoch",
            "thursday thu thurs jueves donnerstag", "friday fri viernes freitag",
            "saturday sat sabado samstag sonnabend", "sunday sun domingo sonntag",
        )
    )
    for name in names.split()
}  # fmt: skip
#: Written so they are other words more often: they count as dates beside a number or with a capital only.
_AMBIGUOUS: Final = frozenset("may mar mon sat sun wed sep dec jan".split())
CALENDAR: Final = frozenset(_MONTHS) | frozenset(_WEEKDAYS)

_ISO: Final = re.compile(
    r"(?<![\d.])(\d{4})[-/.年] ?(\d{1,2})(?:[-/.月] ?(\d{1,2})(?!\d)|(?=月)|(?![\d.,-]))"
)
_NUMERIC: Final = re.compile(r"(?<![\d.,])(\d{1,2})([./-])(\d{1,2})(?:\2(\d{4}|\d{2})(?!\d)|(?<=\d)\.(?!\d))")
_WIDE: Final = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(?:(\d{1,2})[日号])?|(\d{4})年")
_WORD: Final = r"[^\W\d_]{3,12}"
_DAY_MONTH: Final = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|\.)? ?(?:of |de )?({_WORD})\.?(?:,? (?:of |de |del )?(\d{{4}}))?"
)
_MONTH_DAY: Final = re.compile(
    rf"(?<![^\W\d_])({_WORD})\.? (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,? (\d{{4}}))?"
)
_MONTH_YEAR: Final = re.compile(rf"(?<![^\W\d_])({_WORD})\.?,? (?:of |de |del )?(\d{{4}})(?!\d)")
_WIDE_WEEKDAY: Final = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])")
_DIGIT: Final = re.compile(r"\d")
_YEAR: Final = re.compile(r"(?<![\d.,:/-])((?:19|20)\d\d)(?![\d:%€$]|[.,]\d)")


def _partials(text: str, words: list[Token]) -> list[Partial]:
    found: list[Partial] = []
    taken: list[tuple[int, int]] = []

    def add(match: re.Match[str], year: str | None, month: int | str | None, day: str | None) -> None:
        y, m, d = (None if part is None else int(part) for part in (year, month, day))
        if (m is not None and not 1 <= m <= 12) or (d is not None and not 1 <= d <= 31):
            return
        if y is not None and y < 100:
            y += 2000 if y < 70 else 1900
        found.append(Partial(y, m, d, match[0].strip(" ,."), match.start(), match.end()))
        taken.append((match.start(), match.end()))

    if _DIGIT.search(text) is None:  # a month can be named without one, and nothing else
        return _months(words, _Covered(()))
    for match in _ISO.finditer(text):
        add(match, match[1], match[2], match[3])
    for match in _NUMERIC.finditer(text):
        add(match, match[4], match[3], match[1])
        if match[2] != "." and match[1] != match[3]:
            add(match, match[4], match[1], match[3])
    for match in _WIDE.finditer(text):
        add(match, match[1] or match[4], match[2], match[3])
    for match in _DAY_MONTH.finditer(text):
        if (month := _month(match[2], beside=True)) is not None:
            add(match, match[3], month, match[1])
    for match in _MONTH_DAY.finditer(text):
        if (month := _month(match[1], beside=True)) is not None:
            add(match, match[3], month, match[2])
    for match in _MONTH_YEAR.finditer(text):
        if (month := _month(match[1], beside=True)) is not None:
            add(match, match[2], month, None)
    covered = _Covered(taken)
    for match in _YEAR.finditer(text):
        if not covered.holds(match.start()):
            add(match, match[1], None, None)
    return found + _months(words, covered)


def _months(words: list[Token], covered: _Covered) -> list[Partial]:
    """The months that are named by themselves."""
    found: list[Partial] = []
    for token in words:
        if token.key in _MONTHS:
            month = _month(token.text, beside=False)
            if month is not None and not covered.holds(token.start):
                found.append(Partial(None, month, None, token.text, token.start, token.end))
    return found


class _Covered:
    """Which places are part of something already, asked in rising order."""

    def __init__(self, taken: Iterable[tuple[int, int]]) -> None:
        self._starts = set[int]()
        for start, end in taken:
            self._starts.update(range(start, end))

    def holds(self, place: int) -> bool:
        return place in self._starts


def _month(word: str, *, beside: bool) -> int | None:
    key = fold(word)
    if key in _AMBIGUOUS and not beside and key != "may":
        return None
    if key == "may" and word != "May":
        return None
    return _MONTHS.get(key)


# Relative expressions

_COUNT: Final = r"(?P<n>[^\W_]{1,24})"
_LATIN_UNIT: Final = "|".join(
    sorted(
        (w for w, unit in UNIT_OF.items() if unit in ("day", "week", "month", "year") and w[0] < "\u2e80"),
        key=len, reverse=True,
    )
)  # fmt: skip
_WEEKDAY: Final = "|".join(sorted((w for w in _WEEKDAYS if len(w) > 4), key=len, reverse=True))
_PAST: Final = r"last|past|previous|letzte[nmrs]?|vorige[nmrs]?|vergangene[nmrs]?|ultim[oa]s?"
_NEXT: Final = r"next|coming|upcoming|nachste[nmrs]?|kommende[nmrs]?|proxim[oa]s?"
_THIS: Final = r"this|diese[nmrs]?|est[ea]"
_WIDE_N: Final = r"(?P<n>\d{1,4}|[一二两三四五六七八九十百]{1,6})"
_WIDE_UNIT: Final = r"(?P<unit>天|个?星期|周|个?月|年)"
_WIDE_UNITS: Final = {"天": "day", "星期": "week", "周": "week", "月": "month", "年": "year"}

_ABOUT: Final = "about |unos |etwa |over |almost |fast "
_AGED: Final = r"turn(?:ed|ing)?|cumpl\w{1,6}|age|aged|i am|i'm|he's|she's|ich bin"
_SEASON: Final = r"spring|summer|fall|autumn|winter|fruhling|sommer|herbst"
_ESTACION: Final = r"primavera|verano|otono|invierno"

#: Pattern (over the folded text), what it means, in which direction.
_TABLE: Final[tuple[tuple[str, str, int], ...]] = (
    (r"\b(?:the )?day before yesterday\b|\banteayer\b|\bantier\b|\bvorgestern\b|前天", "day", -2),
    (r"\b(?:the )?day after tomorrow\b|\bpasado manana\b|\bubermorgen\b|后天", "day", 2),
    (r"\byesterday\b|\blast night\b|\bayer\b|\banoche\b|\bgestern\b|昨天|昨晚|昨日", "day", -1),
    (r"\btomorrow\b|\bmanana\b|\bmorgen\b|明天|明晚|明早", "day", 1),
    (r"\btoday\b|\btonight\b|\bthis (?:morning|afternoon|evening)\b|\bjust now\b", "day", 0),
    (r"今天|今晚|今早|刚才|刚刚", "day", 0),
    (r"\bhoy\b|\besta (?:manana|tarde|noche)\b|\bheute\b", "day", 0),
    (rf"\b{_COUNT} (?P<unit>{_LATIN_UNIT}) (?:ago|back|earlier)\b", "count", -1),
    (rf"\b(?:hace|vor|seit|for|since) (?:{_ABOUT})?{_COUNT} (?P<unit>{_LATIN_UNIT})\b", "count", -1),
    (rf"\b(?:in|en|dentro de) {_COUNT} (?P<unit>{_LATIN_UNIT})\b", "count", 1),
    (rf"\b{_COUNT}[- ](?P<unit>{_LATIN_UNIT})\b", "count", 0),
    (rf"{_WIDE_N}{_WIDE_UNIT}(?:以)?前", "count", -1),
    (rf"{_WIDE_N}{_WIDE_UNIT}(?:以|之)?后", "count", 1),
    (rf"{_WIDE_N}(?:{_WIDE_UNIT}|(?P<age>岁))", "count", 0),
    (rf"\b(?:{_AGED}) (?P<n>\d{{1,3}})\b(?!\.?[\d:%]|\. ?\w)", "age", 0),
    (rf"\b(?:{_PAST}) (?P<unit>{_LATIN_UNIT}|weekend|wochenende)\b", "period", -1),
    (r"\b(?P<unit>semana|mes|ano|fin de semana|finde) pasad[ao]\b", "period", -1),
    (rf"\b(?:{_NEXT}) (?P<unit>{_LATIN_UNIT}|weekend|wochenende)\b", "period", 1),
    (r"\b(?P<unit>semana|mes|ano|fin de semana|finde) (?:que viene|proxim[ao]|entrante)\b", "period", 1),
    (rf"\b(?:{_THIS}) (?P<unit>{_LATIN_UNIT}|weekend|wochenende|fin de semana)\b", "period", 0),
    (rf"\b(?:{_PAST}) (?P<day>{_WEEKDAY})\b|\b(?P<day2>{_WEEKDAY}) pasado\b", "weekday", -1),
    (rf"\b(?:{_NEXT}) (?P<day>{_WEEKDAY})\b|\b(?P<day2>{_WEEKDAY}) que viene\b", "weekday", 1),
    (rf"\b(?P<day>{_WEEKDAY})s?\b", "weekday", 0),
    (r"上个?(?:周|星期|礼拜)(?P<wide>[一二三四五六日天])", "wideday", -1),
    (r"下个?(?:周|星期|礼拜)(?P<wide>[一二三四五六日天])", "wideday", 1),
    (r"(?<![上下个])(?:这?周|这?个?星期|礼拜)(?P<wide>[一二三四五六日天])", "wideday", 0),
    (r"上个?(?P<unit>周末|周|星期|月)|(?P<year>去年)", "period", -1),
    (r"下个?(?P<unit>周末|周|星期|月)|(?P<year>明年)", "period", 1),
    (r"[这本]个?(?P<unit>周末|周|星期|月)|(?P<year>今年)", "period", 0),
    (rf"\b(?:{_PAST}) (?:{_SEASON})\b|\b(?:{_ESTACION}) pasad[ao]\b|去年[春夏秋冬]天", "season", -1),
    (rf"\b(?:{_NEXT}|{_THIS}) (?:{_SEASON})\b|[今明]年[春夏秋冬]天", "season", 1),
    (rf"\b(?:proxim[oa]|este) (?:{_ESTACION})\b", "season", 1),
    (r"\bchristmas\b|\bxmas\b|\bnavidad(?:es)?\b|\bweihnachten\b|圣诞", "feast", 1224),
    (r"\bnew year'?s?\b|\bano nuevo\b|\bnochevieja\b|\bneujahr\b|\bsilvester\b|元旦|跨年", "feast", 1231),
    (r"\bhalloween\b", "feast", 1031),
    (r"\bvalentine'?s?\b|\bsan valentin\b|\bvalentinstag\b|情人节", "feast", 213),
    (r"\beaster\b|\bsemana santa\b|\bpascua\b|\bostern\b|春节|中秋|端午|清明|\bthanksgiving\b", "season", 0),
)  # fmt: skip


#: What a text must have in it for whole groups of expressions to be looked for; most have none of these.
_NEEDS: Final = {
    "unit": re.compile(rf"\b(?:{_LATIN_UNIT}|weekend|wochenende|finde)\b"),
    "day": re.compile(rf"\b(?:{_WEEKDAY})"),
    "wide": re.compile("[\u2e80-\u9fff]"),
}
_ASCII_WORD: Final = re.compile(r"\\[bd]|\(\?P<\w+>|\{[\d,]+\}")


def _need(pattern: str) -> str:
    """The group of an expression, ``""`` if it is always looked for."""
    if ("(?P<unit>" in pattern and _LATIN_UNIT in pattern) or "(?P<unit>semana" in pattern:
        return "unit"
    if _WEEKDAY in pattern:
        return "day"
    return "" if re.search("[a-z]", _ASCII_WORD.sub("", pattern)) else "wide"


@lru_cache(maxsize=1)
def _expressions() -> tuple[tuple[re.Pattern[str], str, int, str], ...]:
    return tuple((re.compile(pattern), what, sign, _need(pattern)) for pattern, what, sign in _TABLE)


@lru_cache(maxsize=1_024)
def _amount(word: str) -> int | None:
    if word.isdigit():
        return int(word) if len(word) <= 4 else None
    if word in ("few", "several", "some", "unos", "unas", "algunos", "einigen", "ein", "paar", "几"):
        return 3
    found = numbers_in(word, tokens(word))
    values = [v for number in found for v in number.values if v.isdigit() and len(v) <= 4]
    return int(values[0]) if len(values) == 1 else None


def dates_in(text: str, found: list[Token]) -> Dates:
    """The dates and weekdays that a text in normal form names."""
    weekdays = {_WEEKDAYS[t.key] for t in found if t.key in _WEEKDAYS and (len(t.key) > 4 or t.capital)}
    if not text.isascii():
        weekdays |= {_wide_day(day) for day in _WIDE_WEEKDAY.findall(text)}
    return Dates(tuple(_partials(text, found)), frozenset(weekdays))


def spans_in(text: str, day: date) -> list[Span]:
    """What the expressions of a text in normal form mean that count from when it was said.

    Args:
        day: The day on which it was said, by the speaker's clock.
    """
    folded = folded_text(text)
    found: list[Span] = []
    covered = set[int]()
    there = {"": True, **{need: pattern.search(folded) is not None for need, pattern in _NEEDS.items()}}
    for pattern, what, sign, need in _expressions():
        for match in pattern.finditer(folded) if there[need] else ():
            if match.start() in covered:
                continue
            span = _meaning(what, sign, match, day)
            if span is not None:
                covered.update(range(match.start(), match.end()))
                found.append(span)
    return found


def _wide_day(char: str) -> int:
    return "一二三四五六日".find(char.replace("天", "日"))


def _meaning(what: str, sign: int, match: re.Match[str], day: date) -> Span | None:
    groups = match.groupdict()
    try:
        if what == "day":
            return Span(day + sign * _DAY, day + sign * _DAY)
        if what == "weekday":
            return _near_weekday(_WEEKDAYS[groups["day"] or groups["day2"]] if "day2" in groups
                                 else _WEEKDAYS[groups["day"]], sign, day)  # fmt: skip
        if what == "wideday":
            monday = day - day.weekday() * _DAY + 7 * sign * _DAY
            there = monday + _wide_day(groups["wide"]) * _DAY
            return Span(there, there)
        if what == "period":
            return _period(groups.get("unit") or "年", sign, day)
        if what == "season":
            return Span(day - (0 if sign > 0 else 550) * _DAY, day + (0 if sign < 0 else 550) * _DAY)
        if what == "feast":
            month, first = divmod(sign, 100)
            near = [date(year, month, first) for year in (day.year - 1, day.year, day.year + 1)]
            there = min(near, key=lambda one: abs((one - day).days))
            return Span(there, there + 2 * _DAY)
        return _counted(groups, sign, day)
    except (OverflowError, ValueError):  # it lies outside the calendar
        return None


def _near_weekday(weekday: int, sign: int, day: date) -> Span:
    """The nearest such days: speakers differ on which of them "last Friday" is."""
    ahead = (weekday - day.weekday()) % 7 or 7
    if sign > 0:
        return Span(day + ahead * _DAY, day + (ahead + 7) * _DAY)
    behind = 7 - ahead or 7
    if sign < 0:
        return Span(day - (behind + 7) * _DAY, day - behind * _DAY)
    return Span(day - 7 * _DAY, day + 7 * _DAY)


def _unit(word: str) -> str:
    if word in ("weekend", "wochenende", "fin de semana", "finde", "周末"):
        return "weekend"
    return UNIT_OF.get(word) or _WIDE_UNITS[word.removeprefix("个")]


def _period(word: str, sign: int, day: date) -> Span:
    unit = _unit(word)
    if unit == "week":
        monday = day - day.weekday() * _DAY + 7 * sign * _DAY
        return Span(monday - _DAY, monday + 7 * _DAY)
    if unit == "weekend":
        saturday = day + (5 - day.weekday() + 7 * sign) * _DAY
        return Span(saturday - _DAY - (7 * _DAY if sign else 0 * _DAY), saturday + 2 * _DAY)
    if unit == "month":
        return Span(_month_start(day, sign), _month_start(day, sign + 1) - _DAY)
    if unit == "year":
        return Span(date(day.year + sign, 1, 1), date(day.year + sign, 12, 31))
    return Span(day + sign * _DAY, day + sign * _DAY)


def _month_start(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _counted(groups: dict[str, str | None], sign: int, day: date) -> Span | None:
    """So many units away, back where no direction is said ("for 5 years"); the longer, the less exact."""
    amount = _amount(groups["n"] or "")
    if amount is None:
        return None
    unit = _unit(groups["unit"] or "年") if groups.get("unit") else "year"
    length = {"day": 1, "week": 7, "month": 30.44, "year": 365.25}[unit]
    slack = {"day": 0, "week": 3, "month": 16, "year": 366}[unit]
    there = day + (1 if sign > 0 else -1) * timedelta(days=round(amount * length))
    return Span(there - slack * _DAY, there + slack * _DAY)


def day_from(partial: Partial) -> Span | None:
    """The days of a literal date that names its year; None if there is no such day."""
    if partial.year is None:
        return None
    try:
        if partial.month is None:
            return Span(date(partial.year, 1, 1), date(partial.year, 12, 31))
        start = date(partial.year, partial.month, partial.day or 1)
        return Span(start, start if partial.day else _month_start(start, 1) - _DAY)
    except (OverflowError, ValueError):
        return None


def agrees(claim: Partial, said: Partial, year: int) -> bool:
    """Whether a date that was said bears out one that is claimed.

    What is said may be less than the claim in the year alone: that is one about ``year``, when it was said.
    """
    if claim.day is not None and claim.day != said.day:
        return False
    if claim.month is not None and claim.month != said.month:
        return False
    if claim.year is None:
        return True
    return claim.year == said.year if said.year is not None else abs(claim.year - year) <= 1
