"""When something happened: what a model says of it, held against the message's own time. Pure.

A model works dates out; what is clear without one is worked out here, in English, Spanish, German and
Chinese: "yesterday", "vor drei Tagen", "la semana pasada", "上周五". The day on which an import runs is never
an anchor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from dateutil.relativedelta import relativedelta

from ..errors import UsageError
from ..types import Message, Micros, parse_time, to_datetime, to_micros

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Span:
    """Days that an expression may mean: ``start`` is the likeliest, ``first`` to ``last`` are possible."""

    start: date
    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class When:
    """An instant, and what is wrong with it. A day without an hour is its midnight in UTC, in any zone."""

    time: Micros | None = None
    problem: str | None = None


def event_time(said: str, text: str, cited: Sequence[Message], *, now: Micros) -> When:
    """When a fact happened.

    A relative expression in the fact's own text is worked out here and wins over the model. A day that is
    the day of processing, while what was said is older and does not name it, is not believed.

    Args:
        said: What the model says, an ISO date or time, or "".
        text: The fact.
        cited: The messages that it rests on, at least one.
        now: The instant of processing.
    """
    anchor = cited[-1]
    given = _read(said, anchor)
    own = _sole(text, local_day(anchor))
    if own is not None:
        if given is not None and given.date() in own:
            return When(_micros(given))
        return When(_micros(datetime(own.start.year, own.start.month, own.start.day, tzinfo=UTC)))
    if given is None:
        return When()
    today = _shifted(now, anchor.zone).date()
    if (
        abs(given.date() - today) <= _DAY  # it is another day elsewhere
        and today - local_day(anchor) > 3 * _DAY
        and not any(re.search(rf"(?<!\d)0?{given.day}(?!\d)", message.content) for message in cited)
    ):
        for message in cited:
            span = _sole(message.content, local_day(message))
            if span is not None:
                return When(_micros(datetime(span.start.year, span.start.month, span.start.day, tzinfo=UTC)))
        return When(problem="its date is that of processing, which no message names: kept without a date")
    return When(_micros(given))


def local_day(message: Message) -> date:
    """The day on which a message was said, by its speaker's clock."""
    return _shifted(message.observed_at, message.zone).date()


def _shifted(time: Micros, zone: int) -> datetime:
    moment = to_datetime(time)
    try:
        return moment + timedelta(minutes=zone)
    except OverflowError:  # in the first or last hours of the calendar
        return moment


def _micros(moment: datetime) -> Micros | None:
    try:
        return to_micros(moment)
    except UsageError:  # in UTC it lies outside the calendar
        return None


def _read(said: str, anchor: Message) -> datetime | None:
    """An ISO date or time, a year or a month; an hour without a zone is by the speaker's clock."""
    text = said.strip()
    if re.fullmatch(r"\d{4}-\d\d?-\d\d?\s*(?:/|to|\.\.).*", text):
        text = text[:10].rstrip("/ t.")  # a span of days: since when
    for suffix in ("", "-01", "-01-01"):
        try:
            parse_time(text + suffix, "when")
            moment = datetime.fromisoformat(text + suffix)
        except UsageError:
            continue
        if moment.tzinfo is not None:
            return moment
        if len(text) <= 10:
            return moment.replace(tzinfo=UTC)
        try:
            return moment.replace(tzinfo=UTC) - timedelta(minutes=anchor.zone)
        except OverflowError:
            return None
    return None


# Relative expressions

_NUMBERS: Final = {
    name: number
    for number, names in enumerate(
        (
            "a an one un una uno ein eine einem einer eins 一",
            "two dos zwei 两 二", "three tres drei 三", "four cuatro vier 四", "five cinco fünf 五",
            "six seis sechs 六", "seven siete sieben 七", "eight ocho acht 八", "nine nueve neun 九",
            "ten diez zehn 十", "eleven once elf 十一", "twelve doce zwölf 十二",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_UNITS: Final = {
    "day": "day days día días dia dias tag tage tagen 天",
    "week": "week weeks semana semanas woche wochen 周 星期 个星期",
    "month": "month months mes meses monat monate monaten 月 个月",
    "year": "year years año años jahr jahre jahren 年",
}
_UNIT_OF: Final = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_WEEKDAYS: Final = {
    word: number
    for number, words in enumerate(
        (
            "monday lunes montag 一", "tuesday martes dienstag 二",
            "wednesday miércoles miercoles mittwoch 三", "thursday jueves donnerstag 四",
            "friday viernes freitag 五",
            "saturday sábado sabado samstag 六", "sunday domingo sonntag 日 天",
        )
    )
    for word in words.split()
}  # fmt: skip


def _words(names: Iterator[str] | Sequence[str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


_LATIN_NUMBER: Final = r"\d{1,3}|" + _words([n for n in _NUMBERS if n[0] < "\u2e80"])
_LATIN_UNIT: Final = _words([w for w in _UNIT_OF if w[0] < "\u2e80"])
_LATIN_DAY: Final = _words([w for w in _WEEKDAYS if w[0] < "\u2e80"])
_WIDE_NUMBER: Final = (
    r"(?<![\d一二两三四五六七八九十百千万几数])(?:\d{1,3}|十[一二]|[一二两三四五六七八九十])"
)
#: The end of a larger number, of which the rest must not be taken for the whole.
_NOT_IN_NUMBER: Final = r"(?<!\d[.,])(?<!ty )(?<!ty-)(?<!hundred )"
#: "Learned it in three weeks" says how long something took, "runs 50 km in a week" how much: what tells them
#: from "leaves in three weeks". Where in doubt the model's word stands.
_TOOK: Final = re.compile(
    r"\b(?:\w{2,}ed|was|were|had|did|took|lost|made|read|wrote|built|ran|got|went|came|gave|found|won|sold|bought"
    r"|spent|learnt|grew|drove|saw|began|became|taught|paid|ate|flew|done|can|could|able|usually|always|often|every"
    r"|each|per|once|twice|times|within|(?:days?|hours?|minutes?) in)\b"
    r"|\b(?:kann|können|konnten?|jede[nrms]?|immer|oft|verlor|schrieb|las|lief|nahm|fand|wurden?|war|waren)\b"
    r"|\b(?-i:(?:ge|ver|be|er|ent|zer)\w{2,}(?:t|en)|\w{2,}(?:iert|te|ge\w{2,}(?:t|en)))\b"
    r"|[了过]",
    re.IGNORECASE,
)

Match = re.Match[str]
_Reading = Callable[[date, Match], Span]


def _days(offset: int) -> _Reading:
    def read(day: date, _: Match) -> Span:
        return _one(day + offset * _DAY)

    return read


def _one(day: date) -> Span:
    return Span(day, day, day)


def _count(day: date, match: Match, sign: int) -> Span:
    """So many units ago, or from now; the longer ago, the less exact."""
    word = match["n"].lower()
    unit, count = _UNIT_OF[match["unit"].lower()], sign * (_NUMBERS.get(word) or int(word))
    moved = {
        "day": relativedelta(days=count),
        "week": relativedelta(weeks=count),
        "month": relativedelta(months=count),
        "year": relativedelta(years=count),
    }[unit]
    slack = {"day": 0, "week": 6, "month": 31, "year": 366}[unit] * _DAY
    there = day + moved
    return Span(there, there - slack, there + slack)


def _period(day: date, match: Match, sign: int) -> Span:
    """The week, month or year before or after."""
    unit = _UNIT_OF[(match.group("unit") or "年").lower()]
    if unit == "week":
        start = day - day.weekday() * _DAY + sign * _WEEK
        return Span(start, start - _DAY, start + _WEEK)
    if unit == "month":
        start = day.replace(day=1) + relativedelta(months=sign)
        return Span(start, start, start + relativedelta(months=1) - _DAY)
    if unit == "year":
        start = date(day.year + sign, 1, 1)
        return Span(start, start, date(day.year + sign, 12, 31))
    return _one(day + sign * _DAY)


def _weekday(day: date, match: Match, sign: int) -> Span:
    """The nearest such weekday; speakers differ on whether it is the one after that."""
    away = (sign * (_WEEKDAYS[match["day"].lower()] - day.weekday())) % 7 or 7
    near = day + sign * away * _DAY
    far = near + sign * _WEEK
    return Span(near, min(near, far), max(near, far))


def _week_and_day(day: date, match: Match, sign: int) -> Span:
    """Chinese counts whole weeks: 上周五 is the Friday of the week before."""
    return _one(day + (_WEEKDAYS[match["day"]] - day.weekday()) * _DAY + sign * _WEEK)


def _ahead(day: date, match: Match) -> Span:
    """So many units from now, if nothing else in the text says that they passed.

    Raises:
        ValueError: It may be how long something took.
    """
    outside = match.string[: match.start()] + " " + match.string[match.end() :]
    vague = match["n"].lower() in _ARTICLES and any(char.isdigit() for char in outside)
    if vague or _TOOK.search(outside):
        raise ValueError("it may be how long something took")
    return _count(day, match, 1)


def _signed(reading: Callable[[date, Match, int], Span], sign: int) -> _Reading:
    def read(day: date, match: Match) -> Span:
        return reading(day, match, sign)

    return read


_ARTICLES: Final = frozenset(("a", "an", "ein", "eine", "einem", "einer"))

#: In this order: what matches first takes its words away from what follows.
_EXPRESSIONS: Final[tuple[tuple[re.Pattern[str], _Reading], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), reading)
    for pattern, reading in (
        (
            rf"\b{_NOT_IN_NUMBER}(?P<n>{_LATIN_NUMBER}) (?P<unit>{_LATIN_UNIT}) from (?:now|today)\b",
            _signed(_count, 1),
        ),
        (r"\b(?:the )?day before yesterday\b|\banteayer\b|\bantier\b|\bvorgestern\b|(?<!大)前天", _days(-2)),
        (r"\b(?:the )?day after tomorrow\b|\bpasado mañana\b|\bübermorgen\b|(?<!大)后天", _days(2)),
        (r"\byesterday\b|\blast night\b|\bayer\b|\banoche\b|\bgestern\b|昨天|昨晚", _days(-1)),
        (
            r"\btomorrow\b|(?<!la )(?<!esta )(?<!una )\bmañana\b|(?<!guten )(?<!am )\b(?-i:morgen)\b|明天",
            _days(1),
        ),
        (r"\btoday\b|\btonight\b|\bthis morning\b|\bhoy\b|\bheute\b|今天", _days(0)),
        (
            rf"\b{_NOT_IN_NUMBER}(?P<n>{_LATIN_NUMBER}) (?P<unit>{_LATIN_UNIT}) ago\b",
            _signed(_count, -1),
        ),
        (rf"\bdentro de (?P<n>{_LATIN_NUMBER}) (?P<unit>{_LATIN_UNIT})\b", _signed(_count, 1)),
        (rf"\bin (?P<n>{_LATIN_NUMBER}) (?P<unit>{_LATIN_UNIT})\b(?! of\b)", _ahead),
        (rf"(?P<n>{_WIDE_NUMBER})(?P<unit>天|周|个?星期|个月|年)(?:以|之)?[后後]", _ahead),
        (rf"\b(?:hace|vor) (?P<n>{_LATIN_NUMBER}) (?P<unit>{_LATIN_UNIT})\b", _signed(_count, -1)),
        (rf"(?P<n>{_WIDE_NUMBER})(?P<unit>天|周|个?星期|个月|年)(?:以|之)?前", _signed(_count, -1)),
        (rf"\b(?:last|letzte[nmrs]?) (?P<unit>{_LATIN_UNIT})\b", _signed(_period, -1)),
        (r"\b(?P<unit>semana|mes|año) pasad[ao]\b", _signed(_period, -1)),
        (rf"\b(?:next|nächste[nmrs]?|próxim[ao]) (?P<unit>{_LATIN_UNIT})\b", _signed(_period, 1)),
        (r"\b(?P<unit>semana|mes|año) que viene\b", _signed(_period, 1)),
        (rf"\b(?:last|letzten) (?P<day>{_LATIN_DAY})\b", _signed(_weekday, -1)),
        (rf"\b(?P<day>{_LATIN_DAY}) pasado\b", _signed(_weekday, -1)),
        (rf"\b(?:next|nächsten|próximo) (?P<day>{_LATIN_DAY})\b", _signed(_weekday, 1)),
        (r"上(?:个)?(?:周|星期)(?P<day>[一二三四五六日天])", _signed(_week_and_day, -1)),
        (r"下(?:个)?(?:周|星期)(?P<day>[一二三四五六日天])", _signed(_week_and_day, 1)),
        (r"上(?:个)?(?P<unit>周|星期|月)|去(?P<year>年)", _signed(_period, -1)),
        (r"下(?:个)?(?P<unit>周|星期|月)|明(?P<year>年)", _signed(_period, 1)),
    )
)

_LATIN_WORD: Final = re.compile(r"[^\W\d_]+")
_WIDE: Final = re.compile("[\u2e80-\u9fff]")
_DAY_WORDS: Final = frozenset(
    "yesterday night ayer anoche gestern anteayer antier vorgestern tomorrow mañana übermorgen morgen today "
    "tonight morning hoy heute".split()
)


def _words_of(pattern: str) -> frozenset[str]:
    """Words of which an expression in Latin script needs one; none for an expression in Chinese alone."""
    units = frozenset(_UNIT_OF) if _LATIN_UNIT in pattern or "semana" in pattern else frozenset[str]()
    days = frozenset(_WEEKDAYS) if _LATIN_DAY in pattern else frozenset[str]()
    return units | days or (_DAY_WORDS if "\\b" in pattern else frozenset())


_NEEDED: Final = tuple(_words_of(pattern.pattern) for pattern, _ in _EXPRESSIONS)
_ANY_NEEDED: Final = frozenset[str]().union(*_NEEDED)


def _sole(text: str, day: date) -> Span | None:
    """What the only relative expression of a text means on a day; None if there are none or several."""
    found: list[tuple[Match, _Reading]] = []
    wide, words = _WIDE.search(text) is not None, frozenset(_LATIN_WORD.findall(text.lower()))
    if not wide and _ANY_NEEDED.isdisjoint(words):
        return None
    for (pattern, reading), needed in zip(_EXPRESSIONS, _NEEDED, strict=True):
        if not wide and needed.isdisjoint(words):
            continue  # most texts have none of these words
        for match in pattern.finditer(text):
            if all(match.end() <= other.start() or match.start() >= other.end() for other, _ in found):
                found.append((match, reading))
        if len(found) > 1:
            return None
    if not found:
        return None
    match, reading = found[0]
    try:
        return reading(day, match)
    except (OverflowError, ValueError):  # it lies outside the calendar
        return None
