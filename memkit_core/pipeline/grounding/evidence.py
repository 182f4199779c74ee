"""What messages say, read once each: the numbers, dates, names and denials that facts are held against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

from ...types import Message, to_datetime
from .dates import Dates, Partial, Span, dates_in
from .names import Mentions
from .negation import Clause, Polarity, clauses_of, reply_polarity
from .numbers import Number, clock_hours, converted, numbers_in
from .words import Token, normal, tokens

#: A longer message says itself what it is about, whatever was asked before.
_SHORT_REPLY: Final = 120
_RUN: Final = re.compile(r"\d[\d ()./+-]*\d")
_PRONOUNS: Final = frozenset(
    (
        "he she it they him her his hers its them their theirs there that this these those one who which "
        "you your "
        "el ella ellos ellas su sus le les lo la ese esa eso este esta alli ahi tu usted "
        "er sie ihm ihn ihr ihre ihren sein seine seinen es dort da dieser diese dieses das den der du "
        "dein deine"
    ).split()
)
_WIDE_PRONOUNS: Final = re.compile(r"[他她它您你]|那里|这里|那儿|这儿")
_INTRODUCES: Final = re.compile(
    r"(?:\bi am|\bi'm|\bmy name is|\bcall me|\bthis is|\bme llamo|\bsoy|\bmi nombre es|\bich bin|"
    r"\bich hei(?:ss|ß)e|"
    r"\bmein name ist|我叫|我是|名字是) ?([^\s,.!?，。！？]{1,40})",
    re.IGNORECASE,
)


class Reading:
    """One message as evidence; everything in it is worked out once, when it is first needed."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.text = normal(message.content)

    @cached_property
    def tokens(self) -> list[Token]:
        """Its words and marks."""
        return tokens(self.text)

    @cached_property
    def day(self) -> date:
        """The day on which it was said, by the speaker's clock."""
        moment = to_datetime(self.message.observed_at)
        try:
            return (moment + timedelta(minutes=self.message.zone)).date()
        except OverflowError:  # in the first or last hours of the calendar
            return moment.date()

    @cached_property
    def numbers(self) -> list[Number]:
        """Its numbers."""
        return numbers_in(self.text, self.tokens)

    @cached_property
    def amounts(self) -> dict[str, set[str | None]]:
        """The units in which each number occurs, also converted and by the other clock."""
        found: dict[str, set[str | None]] = {}
        for number in self.numbers:
            for value in number.values:
                found.setdefault(value, set()).add(number.unit)
            for value, unit in converted(number):
                found.setdefault(value, set()).add(unit)
            for part in re.findall(r"\d+", number.text):
                found.setdefault(part.lstrip("0") or "0", set()).add(number.unit)
        for hour in clock_hours(self.text):
            found.setdefault(hour, set()).add(None)
        return found

    @cached_property
    def digits(self) -> str:
        """Runs of digits without what parts them, such as phone numbers."""
        return " ".join(re.sub(r"\D", "", match[0]) for match in _RUN.finditer(self.text))

    @cached_property
    def dates(self) -> Dates:
        """What it says of dates."""
        return dates_in(self.text, self.tokens, self.day)

    @cached_property
    def days_named(self) -> tuple[Partial, ...]:
        """The different dates that it names."""
        return tuple({Partial(one.year, one.month, one.day) for one in self.dates.partials})

    @cached_property
    def years(self) -> frozenset[int]:
        """The years that it names."""
        return frozenset(one.year for one in self.days_named if one.year is not None)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """What its relative expressions mean, each once."""
        return tuple({span for _, span in self.dates.relative})

    @cached_property
    def day_parts(self) -> frozenset[str]:
        """Year, month and day of the single days that relative expressions mean."""
        days = [span.first for span in self.spans if span.first == span.last]
        return frozenset(str(part) for day in days for part in (day.year, day.month, day.day))

    @cached_property
    def mentions(self) -> Mentions:
        """Its words, to be asked for names."""
        return Mentions(self.text, self.tokens)

    @cached_property
    def clauses(self) -> list[Clause]:
        """Its clauses, with what they deny."""
        return clauses_of(self.text, self.tokens)

    @cached_property
    def asks(self) -> bool:
        """Whether there is a question in it."""
        return "?" in self.text

    @cached_property
    def points_back(self) -> bool:
        """Whether it refers to somebody or something said before, by a pronoun or a verb's ending alone."""
        return any(token.key in _PRONOUNS for token in self.tokens) or bool(_WIDE_PRONOUNS.search(self.text))

    @cached_property
    def introduced(self) -> Mentions:
        """Who the speaker says to be."""
        text = " ".join(match[1] for match in _INTRODUCES.finditer(self.text))
        return Mentions(text, tokens(text))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a fact may rest on.

    Attributes:
        cited: The messages it cites, with the question that a short one answers.
        answers: What was answered, yes or no, to those questions; by their place in ``cited``.
        before: Messages before the last one cited, latest first: what pronouns may refer to.
        speakers: The names of who speaks in the cited messages.
    """

    cited: Sequence[Reading]
    answers: dict[int, bool | None]
    before: Sequence[Reading]
    speakers: Mentions

    def polarity(self) -> Polarity:
        """What is said and denied."""
        found = Polarity()
        for place, reading in enumerate(self.cited):
            if place in self.answers:
                found.take([c for c in reading.clauses if c.asks], question=self.answers[place])
            else:
                found.take(reading.clauses)
        return found


#: How many messages before a cited one may hold the name that a pronoun stands for.
_REACH: Final = 40


class Readings:
    """The messages of a batch as evidence for its facts."""

    def __init__(self, messages: Sequence[Message], earlier: Sequence[Message] = ()) -> None:
        self._earlier = [Reading(message) for message in earlier]
        self._own = [Reading(message) for message in messages]

    def evidence(self, cites: Sequence[int]) -> Evidence:
        """What a fact rests on that cites these positions."""
        cited: list[Reading] = []
        answers: dict[int, bool | None] = {}
        for position in cites:
            reading = self._own[position]
            question = self._question(position)
            if question is not None and position - 1 not in cites:
                answers[len(cited)] = reply_polarity(reading.tokens)
                cited.append(question)
            cited.append(reading)
        last = max(cites, default=0)
        everything = [*self._earlier, *self._own[: last + 1]]
        speakers = " ".join(normal(self._own[position].message.actor_id or "") for position in cites)
        return Evidence(cited, answers, everything[: -_REACH - 1 : -1], Mentions(speakers, tokens(speakers)))

    def _question(self, position: int) -> Reading | None:
        """What a short message answers: the question that somebody else has asked just before."""
        reading = self._own[position]
        before = self._own[position - 1] if position else (self._earlier[-1] if self._earlier else None)
        if before is None or len(reading.text) > _SHORT_REPLY or not before.asks:
            return None
        same = (before.message.role, before.message.actor_id) == (
            reading.message.role,
            reading.message.actor_id,
        )
        return None if same else before
