"""One fact held against its evidence: what in it the messages do not bear out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from ...types import Fact, Micros, to_datetime
from .dates import Partial, Span, agrees, day_from
from .evidence import Claim, Evidence, Reading
from .names import Mentions, initials
from .numbers import Number, numbers_in
from .words import Token, normal, stem, tokens

#: A fact with more in it that is not borne out is doubtful enough.
_MAX_DOUBTS: Final = 6
#: So many names and so many dates of one fact are looked up: the time a check takes stays linear.
_MAX_CLAIMS: Final = 64
_SHOWN: Final = 60
_DAY: Final = timedelta(days=1)


def doubts_about(fact: Fact, evidence: Evidence, claim: Claim | None = None) -> tuple[str, ...]:
    """What in a fact its evidence does not bear out, in a few words each; empty if it bears out everything.

    Args:
        claim: The fact's text, if it was taken apart before.
    """
    claim = claim or Claim(fact.text)
    doubts = [
        *_dates(claim, fact.event_time, evidence),
        *_numbers(claim, evidence),
        *_names(claim, evidence),
        *_negations(claim, evidence),
    ]
    return tuple(dict.fromkeys(doubts))[:_MAX_DOUBTS]


def foreign_to(text: str, known: Sequence[str], evidence: Evidence) -> tuple[str, ...]:
    """The names and numbers of a text that are neither in the known texts nor in the evidence."""
    claim = Claim(text)
    others = [tokens(normal(one)) for one in known]
    mentions = [Mentions(token.key for token in words if token.word) for words in others]
    amounts = {
        value
        for one, words in zip(known, others, strict=True)
        for number in numbers_in(normal(one), words)
        for value in (*number.values, *(part.lstrip("0") for part in re.findall(r"\d+", number.text)))
    }
    found = [
        _shown("number", number.text)
        for number in claim.numbers
        if number.text and not number.values & amounts and not _number_known(number, claim, evidence)
    ]
    found += [
        _shown("name", name.text)
        for run in claim.names
        for name in run[:_MAX_CLAIMS]
        if not any(one.has(name) for one in mentions) and not _name_known(name, run, claim, evidence)
    ]
    joined = "".join(known)
    found += [
        _shown("name", name) for name in claim.wide_names
        if name not in joined and not _wide_name_known(name, evidence)
    ]  # fmt: skip
    return tuple(dict.fromkeys(found))[:_MAX_DOUBTS]


@dataclass(frozen=True, slots=True)
class Unheard:
    """What of a fact its own evidence does not hold: it may come from elsewhere.

    Attributes:
        denied: Its evidence says the opposite.
        names: With the run of words that each is in.
    """

    claim: Claim
    denied: bool
    names: Sequence[tuple[Token, Sequence[Token]]]
    wide_names: Sequence[str]
    numbers: Sequence[Number]
    dates: Sequence[Partial]

    def __bool__(self) -> bool:
        return bool(self.denied or self.names or self.wide_names or self.numbers or self.dates)

    def told_by(self, other: Evidence) -> bool:
        """Whether any of it is in the other evidence, or only its own says the opposite."""
        claim = self.claim
        return (
            (self.denied and not _negations(claim, other))
            or any(_name_known(name, run, claim, other) for name, run in self.names)
            or any(_wide_name_known(name, other) for name in self.wide_names)
            or any(_number_known(number, claim, other) for number in self.numbers)
            or any(_date_known(date, other) for date in self.dates)
        )


def unheard(claim: Claim, cited: Evidence, own: Evidence) -> Unheard:
    """The denial, names, numbers and dates of a fact that its evidence does not bear out.

    The name that it begins with does not count: an assistant may call its user by name.

    Args:
        claim: The fact's text.
        cited: What it rests on.
        own: That, and what else may hold its names, numbers and dates.
    """
    begins = claim.tokens[0].start if claim.tokens else 0
    return Unheard(
        claim=claim,
        denied=bool(_negations(claim, cited)),
        names=[
            (name, run)
            for run in claim.names
            if run[0].start != begins
            for name in run[:_MAX_CLAIMS]
            if not _name_known(name, run, claim, own)
        ],
        wide_names=[
            name
            for name in claim.wide_names
            if not claim.text.startswith(name) and not _wide_name_known(name, own)
        ],
        numbers=[n for n in claim.numbers if n.text and not _number_known(n, claim, own)],
        dates=[
            date
            for readings in _dates_by_place(claim)
            if not any(_date_known(date, own) for date in readings)
            for date in readings
        ],
    )


def _shown(what: str, text: str) -> str:
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "\u2026"
    return f"{what} {text} is not in the cited messages"


# Dates


def _dates(claim: Claim, event_time: Micros | None, evidence: Evidence) -> list[str]:
    doubts = [
        _shown("date", readings[0].text)
        for readings in _dates_by_place(claim)
        if not any(_date_known(partial, evidence) for partial in readings)
    ]
    doubts += [
        _shown("date", _WEEKDAYS[weekday])
        for weekday in sorted(claim.dates.weekdays)
        if not any(_weekday_known(weekday, reading) for reading in evidence.cited)
    ]
    if event_time is not None and not _instant_known(event_time, evidence):
        doubts.append(f"date {to_datetime(event_time):%Y-%m-%d} does not follow from the cited messages")
    return doubts


def _dates_by_place(claim: Claim) -> list[list[Partial]]:
    """The dates of a fact; 05-03 may be read in two ways."""
    by_place: dict[int, list[Partial]] = {}
    for partial in claim.dates.partials:
        by_place.setdefault(partial.start, []).append(partial)
    return list(by_place.values())[:_MAX_CLAIMS]


_WEEKDAYS: Final = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def _date_named(claim: Partial, evidence: Evidence) -> bool:
    """Whether a date is said literally."""
    return any(
        agrees(claim, said, reading.day.year) for reading in evidence.cited for said in reading.days_named
    )


def _date_known(claim: Partial, evidence: Evidence) -> bool:
    if _date_named(claim, evidence):
        return True
    span = day_from(claim)
    for reading in evidence.cited:
        spoken = (*reading.spans, Span(reading.day, reading.day))
        if span is not None and any(one.first <= span.last and span.first <= one.last for one in spoken):
            return True
        if claim.year is None and any(_falls_in(claim, one) for one in spoken):
            return True
    if claim.month is None and claim.year is not None:  # a bare year may be a plain number
        return any(str(claim.year) in reading.amounts for reading in evidence.cited)
    return False


def _falls_in(claim: Partial, span: Span) -> bool:
    """Whether a month, or a day of one, is among some days, if those are few enough to tell."""
    if (span.last - span.first).days > (45 if claim.day is not None else 366):
        return False
    for year in {span.first.year, span.last.year}:
        days = day_from(Partial(year, claim.month, claim.day))
        if days is not None and days.first <= span.last and span.first <= days.last:
            return True
    return False


def _weekday_known(weekday: int, reading: Reading) -> bool:
    if weekday in reading.dates.weekdays or reading.day.weekday() == weekday:
        return True
    if any(
        (span.last - span.first).days >= 6 or any((span.first + n * _DAY).weekday() == weekday
                                                  for n in range((span.last - span.first).days + 1))
        for span in reading.spans
    ):  # fmt: skip
        return True
    days = [day_from(partial) for partial in reading.days_named if partial.day]
    return any(day is not None and day.first.weekday() == weekday for day in days)


def _instant_known(time: Micros, evidence: Evidence) -> bool:
    """Whether an instant is a day that somebody said or meant, or the day on which it was said.

    The first of a month, or of January, may stand for the whole of it.
    """
    moment = to_datetime(time)
    days = {moment.date()}
    for reading in evidence.cited:
        try:
            days.add((moment + timedelta(minutes=reading.message.zone)).date())
        except OverflowError:
            continue
        if abs((reading.day - moment.date()).days) <= 1:
            return True
    for day in days:
        claims = [Partial(day.year, day.month, day.day)]
        if day.day == 1:
            claims.append(Partial(day.year, day.month, None))
            if day.month == 1:
                claims.append(Partial(day.year, None, None))
        # What a text says literally is found sooner than what its other expressions mean.
        if any(_date_named(one, evidence) for one in claims):
            return True
        if any(_date_known(one, evidence) for one in claims):
            return True
        if any(
            _day_is(day, weekday, reading) for reading in evidence.cited for weekday in reading.dates.weekdays
        ):
            return True
    return False


def _day_is(day: date, weekday: int, reading: Reading) -> bool:
    return day.weekday() == weekday and abs((day - reading.day).days) <= 14


# Numbers


def _numbers(claim: Claim, evidence: Evidence) -> list[str]:
    doubts: list[str] = []
    for number in claim.numbers:
        if not number.text:
            continue
        if not _number_known(number, claim, evidence):
            doubts.append(_shown("number", number.text))
        elif (said := _other_unit(number, evidence)) is not None:
            doubts.append(
                f"number {number.text[:_SHOWN]} counts {said} in the cited messages, not {number.unit}"
            )
    return doubts


def _number_known(number: Number, claim: Claim, evidence: Evidence) -> bool:
    if any(value in reading.amounts for reading in evidence.cited for value in number.values):
        return True
    digits = re.sub(r"\D", "", number.text)
    for reading in evidence.cited:
        if len(digits) >= 4 and digits in reading.digits:
            return True
        if number.values & reading.day_parts:
            return True
        if number.unit == "year" and _age_known(number, reading):
            return True
    return _in_a_name(number, claim, evidence)


def _age_known(number: Number, reading: Reading) -> bool:
    """Whether somebody who was born in a year that is named is so old."""
    ages = {str(reading.day.year - year - late) for year in reading.years for late in (0, 1)}
    return bool(ages & number.values)


def _in_a_name(number: Number, claim: Claim, evidence: Evidence) -> bool:
    """Whether the number is part of a word with letters in it, such as B12, and that word occurs."""
    key = claim.codes.get(number.start)
    return key is not None and any(key in reading.mentions.keys for reading in evidence.cited)


def _other_unit(number: Number, evidence: Evidence) -> str | None:
    """The unit in which the number occurs, if it occurs in other units than the fact's alone."""
    if number.unit is None:
        return None
    units: set[str | None] = set()
    for reading in evidence.cited:
        for value in number.values:
            units |= reading.amounts.get(value, set())
    if not units or None in units or number.unit in units:
        return None
    return " and ".join(sorted(unit for unit in units if unit))


# Names


def _names(claim: Claim, evidence: Evidence) -> list[str]:
    doubts = [
        _shown("name", name.text)
        for run in claim.names
        for name in run[:_MAX_CLAIMS]
        if not _name_known(name, run, claim, evidence)
    ]
    doubts += [_shown("name", name) for name in claim.wide_names if not _wide_name_known(name, evidence)]
    return doubts


def _name_known(name: Token, run: Sequence[Token], claim: Claim, evidence: Evidence) -> bool:
    for reading in evidence.cited:
        if reading.mentions.has(name):
            return True
    if evidence.speakers.has(name):
        return True
    if len(run) > 1:
        short = initials(run[:8])
        if any(short in reading.mentions.keys for reading in evidence.cited):
            return True
    omits = claim.language in ("es", "zh")  # such a verb needs no pronoun
    back = omits or any(reading.points_back for reading in evidence.cited)
    cited = evidence.cited[-1].message if evidence.cited else None
    for reading in evidence.before:
        if back and reading.mentions.has(name):
            return True
        same = cited is not None and (reading.message.role, reading.message.actor_id) == (
            cited.role,
            cited.actor_id,
        )
        # Who is called by a name, or gives one, is who says "I" afterwards.
        if (reading.introduced if same else reading.mentions).has(name):
            return True
        if back and reading.message.actor_id and name.key in normal(reading.message.actor_id).casefold():
            return True
    return False


def _wide_name_known(name: str, evidence: Evidence) -> bool:
    texts = [reading.text for reading in (*evidence.cited, *evidence.before)]
    texts += [reading.message.actor_id or "" for reading in evidence.cited]
    return any(name in text or name[:2] in text for text in texts)


# Negations


def _negations(claim: Claim, evidence: Evidence) -> list[str]:
    if not claim.may_deny and not evidence.may_deny():
        return []
    names = {
        stem(token.key) for run in claim.names[:1] for token in run if run[0].start == claim.tokens[0].start
    }
    for name in claim.wide_names:
        if claim.text.startswith(name):
            names |= set(name)
    names |= {stem(key) for key in evidence.speakers.keys}
    denied = evidence.polarity().contradicts(claim.clauses, frozenset(names))
    if denied is None:
        return []
    return [f"the cited messages say the opposite of it ({denied[:_SHOWN]})"]
