"""What messages say, read once each: the numbers, dates, names and denials that facts are held against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from ... import analysis
from ...types import Message, to_datetime
from .dates import Dates, Partial, Span, dates_in, spans_in
from .introductions import introductions
from .lazy import lazy
from .names import Mentions, names_in, wide_names
from .negation import Clause, Polarity, clauses_of, may_deny
from .numbers import Number, clock_hours, converted, numbers_in
from .replies import asks_to_confirm, reply_polarity
from .words import Token, keys_in, language, normal, tokens, wide

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
#: What a question begins with, or has as its second word, that is not answered by yes or no.
_SEEKS: Final = frozenset(
    (
        "what what's where where's when when's who who's whom whose which how how's why "
        "que quien quienes cual cuales cuando cuanto cuanta cuantos cuantas donde como "
        "wo woher wohin wann wer wen wem wessen was welche welcher welches welchen wie warum womit wofur"
    ).split()
)
_SENTENCE: Final = re.compile(rf"(?:[^.!?\n\u3002]|{analysis.DOT_INSIDE})+[.!?\n\u3002]*")
#: What a question takes for granted: "As you live in Rome, shall I book?".
_GRANTED: Final = re.compile(
    r"(?:^\W?|, ?)(?:(?:as|since|because|now that|given that|weil|ya que|como)\b ?|既然|因为)([^,?]{1,200})",
    re.IGNORECASE,
)
_WIDE_SEEKS: Final = re.compile("什么|哪|谁|几|多少|怎么|多大|多久|何时")


_NOBODY: Final = Mentions(())
#: So many names of one fact are looked up: the time a check takes stays linear.
_MAX_CLAIMS: Final = 64


class Claim:
    """A fact's text, taken apart."""

    def __init__(self, text: str) -> None:
        self.text = normal(text)
        self.tokens = tokens(self.text)
        self.language = "zh" if wide(self.text) else language(self.tokens)
        self.dates: Dates = dates_in(self.text, self.tokens)
        self.codes = {
            place: token.key
            for token in self.tokens
            if token.word and not token.text.isdigit() and any(map(str.isdigit, token.text))
            for place in range(token.start, token.end)
        }
        covered = {place for p in self.dates.partials for place in range(p.start, p.end)}
        self.numbers = [n for n in numbers_in(self.text, self.tokens) if n.start not in covered]
        self.names: list[list[Token]] = names_in(self.tokens, self.language)[:_MAX_CLAIMS]
        self.wide_names = wide_names(self.text)[:_MAX_CLAIMS]

    @lazy
    def may_deny(self) -> bool:
        """Whether it denies anything."""
        return may_deny(self.text, [token.key for token in self.tokens])

    @lazy
    def clauses(self) -> list[Clause]:
        """Its clauses, with what they deny."""
        return clauses_of(self.text, self.tokens)


class Reading:
    """One message as evidence; everything in it is worked out once, when it is first needed."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.text = normal(message.content)

    @lazy
    def tokens(self) -> list[Token]:
        """Its words and marks."""
        return tokens(self.text)

    @lazy
    def keys(self) -> list[str]:
        """Its words, folded."""
        return keys_in(self.text)

    @lazy
    def terms(self) -> frozenset[str]:
        """The terms under which it is found."""
        return frozenset(analysis.unit_terms(self.message.content))

    @lazy
    def flags(self) -> int:
        """What kind of utterance it is; see ``analysis.text_flags``."""
        return analysis.text_flags(self.message.content)

    def read(self) -> None:
        """Work out now what is needed about nearly every message, and of most that facts rest on."""
        needed: list[object] = [self.mentions, self.may_deny, self.terms, self.flags]
        if self.message.role == "user":
            needed += [self.amounts, self.days_named, self.own_names, self.points_back]
        del needed  # each is kept where it belongs

    @lazy
    def day(self) -> date:
        """The day on which it was said, by the speaker's clock."""
        moment = to_datetime(self.message.observed_at)
        try:
            return (moment + timedelta(minutes=self.message.zone)).date()
        except OverflowError:  # in the first or last hours of the calendar
            return moment.date()

    @lazy
    def numbers(self) -> list[Number]:
        """Its numbers."""
        return numbers_in(self.text, self.tokens)

    @lazy
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

    @lazy
    def digits(self) -> str:
        """Runs of digits without what parts them, such as phone numbers."""
        return " ".join(re.sub(r"\D", "", match[0]) for match in _RUN.finditer(self.text))

    @lazy
    def dates(self) -> Dates:
        """What it says of dates."""
        return dates_in(self.text, self.tokens)

    @lazy
    def days_named(self) -> tuple[Partial, ...]:
        """The different dates that it names."""
        return tuple({Partial(one.year, one.month, one.day) for one in self.dates.partials})

    @lazy
    def years(self) -> frozenset[int]:
        """The years that it names."""
        return frozenset(one.year for one in self.days_named if one.year is not None)

    @lazy
    def spans(self) -> tuple[Span, ...]:
        """What its relative expressions mean, each once."""
        return tuple(dict.fromkeys(spans_in(self.text, self.day)))

    @lazy
    def day_parts(self) -> frozenset[str]:
        """Year, month and day of the single days that relative expressions mean."""
        days = [span.first for span in self.spans if span.first == span.last]
        return frozenset(str(part) for day in days for part in (day.year, day.month, day.day))

    @lazy
    def mentions(self) -> Mentions:
        """Its words, to be asked for names."""
        return Mentions(self.keys)

    @lazy
    def clauses(self) -> list[Clause]:
        """Its clauses, with what they deny."""
        return clauses_of(self.text, self.tokens)

    @lazy
    def may_deny(self) -> bool:
        """Whether it denies anything."""
        return may_deny(self.text, self.keys)

    @lazy
    def asks(self) -> bool:
        """Whether there is a question in it."""
        return "?" in self.text

    @lazy
    def seeks(self) -> bool:
        """Whether it asks for a missing piece and nothing else: "Where do you live?"."""
        begins = [token.key for token in self.tokens if token.word][:2]
        seeks = not _SEEKS.isdisjoint(begins) or bool(_WIDE_SEEKS.search(self.text))
        return seeks and len(self.clauses) == 1

    @lazy
    def beside(self) -> frozenset[str]:
        """The terms of what it states beside what it asks."""
        sentences = [found[0] for found in _SENTENCE.finditer(self.text)]
        stated = [
            one
            for one, following in zip(sentences, [*sentences[1:], ""], strict=True)
            if "?" not in one and not asks_to_confirm(following)
        ]
        asked = " ".join(one for one in sentences if "?" in one)
        return frozenset(analysis.unit_terms(" ".join(stated))).difference(analysis.unit_terms(asked))

    @lazy
    def granted(self) -> frozenset[str]:
        """The terms of what its question takes for granted and does not ask."""
        granted = " ".join(found[1] for found in _GRANTED.finditer(self.text))
        asked = analysis.unit_terms(_GRANTED.sub(" ", self.text)) if granted else ()
        return frozenset(analysis.unit_terms(granted)).difference(asked)

    @lazy
    def points_back(self) -> bool:
        """Whether it refers to somebody or something said before, by a pronoun or a verb's ending alone."""
        return not _PRONOUNS.isdisjoint(self.keys) or bool(_WIDE_PRONOUNS.search(self.text))

    @lazy
    def introduced(self) -> Mentions:
        """Who the speaker says to be."""
        return Mentions(keys_in(" ".join(self.own_names))) if self.own_names else _NOBODY

    @lazy
    def own_names(self) -> tuple[str, ...]:
        """The names by which the speaker introduces themselves."""
        return tuple(introductions(self.text))


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

    def may_deny(self) -> bool:
        """Whether anything is denied."""
        return False in self.answers.values() or any(reading.may_deny for reading in self.cited)

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


class Reader:
    """Takes messages and facts apart, each once however often it is asked about."""

    def __init__(self) -> None:
        self._readings: dict[Message, Reading] = {}
        self._claims: dict[str, Claim] = {}

    def reading(self, message: Message) -> Reading:
        """A message as evidence."""
        found = self._readings.get(message)
        if found is None:
            found = self._readings[message] = Reading(message)
        return found

    def read(self, messages: Iterable[Message]) -> None:
        """Take messages apart ahead of time."""
        for message in messages:
            self.reading(message).read()

    def claim(self, text: str) -> Claim:
        """A fact's text."""
        found = self._claims.get(text)
        if found is None:
            found = self._claims[text] = Claim(text)
        return found


class Readings:
    """The messages of a batch as evidence for its facts."""

    def __init__(
        self, messages: Sequence[Message], earlier: Sequence[Message] = (), *, reader: Reader | None = None
    ) -> None:
        reader = reader or Reader()
        self._earlier = [reader.reading(message) for message in earlier]
        self._own = [reader.reading(message) for message in messages]

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
        end = max(cites, default=0) + 1
        before = self._own[max(0, end - _REACH) : end]
        if len(before) < _REACH:
            before = [*self._earlier[len(before) - _REACH :], *before]
        speakers = " ".join(
            normal(actor) for position in cites if (actor := self._own[position].message.actor_id)
        )
        named = Mentions(keys_in(speakers)) if speakers else _NOBODY
        return Evidence(cited, answers, before[::-1], named)

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
