"""Whose word a fact is, of the messages that a model was shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

from .. import analysis
from ..types import FLAG_ASKS, FLAG_QUESTION, Message
from .assent import Said
from .grounding.check import Unheard, unheard
from .grounding.evidence import Evidence, Reader, Reading, Readings
from .grounding.lazy import lazy
from .grounding.names import Mentions
from .grounding.replies import affirms, refuses
from .grounding.words import stem
from .known import beginning_terms
from .trust import least_trusted

#: How many times as many of a fact's words a text must hold that the fact does not cite, to be taken for its
#: source. An assistant repeats what its user said.
_MARGIN: Final = {"document": 1, "tool": 1, "assistant": 2}
#: So many words of a fact that only such a text has are its own, however many are the user's. An assistant
#: says in other words what its user said, and more of them.
_NEW_WORDS: Final = {"document": 2, "tool": 2, "assistant": 4}
#: What a fact calls its speaker says nothing about where it comes from.
_SPEAKER: Final = frozenset(("user", "speaker", "assistant", "agent"))
#: Origins that are the owner's own side, whatever a fact cites.
_OWN: Final = frozenset(("user", "image"))
_NOTHING: Final = Evidence((), {}, (), Mentions(()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A fact whose source is looked for.

    Attributes:
        new: Its words that no message of the user's has, in whatever inflection.
        unheard: What else of it the user did not say.
    """

    new: frozenset[str]
    unheard: Unheard


class Voices:
    """The messages of one prompt, asked whose word a fact is; what is worked out of them is kept.

    Args:
        messages: What the model was shown, in order, each with its number; parts of a long one share it.
        reader: Has taken some of them apart already, and does so for others later.
    """

    def __init__(self, messages: Sequence[tuple[int, Message]], reader: Reader | None = None) -> None:
        self._messages = messages
        self._reader = reader or Reader()
        self._others: dict[int, Evidence] = {}

    def read(self) -> None:
        """Work out ahead of time what every fact is held against."""
        self._reader.read(message for _, message in self._messages)
        needed = (self._stems, self._own_words, self._own_stems, self._readings)
        del needed  # each is kept where it belongs

    def origin(self, text: str, cites: Collection[int]) -> str:
        """Where a fact comes from: it is the user's word only if nothing less trusted can be behind it.

        Of the messages it cites the least trusted decides; without citations, of all that were shown. An
        assistant's question just before a cited message of the user does not count if the fact follows from
        that answer, else like what is not cited. Citations are the model's word, and a text may have asked it
        for false ones: where the fact's words are rather those of a less trusted message than of those it
        cites, or where a name, a number, a date, a denial or several words of it stand in such a message
        alone, it is that one's.

        Args:
            text: The fact.
            cites: Numbers of messages.
        """
        cited = [place for place, (number, _) in enumerate(self._messages) if number in cites]
        if not cited:
            return least_trusted(message.origin for _, message in self._messages)
        words = frozenset(analysis.query_terms(text)) - _SPEAKER
        questions = self._questions(text, words, cites)
        cited = [place for place in cited if place not in questions]
        asked = {place for place in questions if self._follows(text, words, place)}
        said = least_trusted(self._messages[place][1].origin for place in cited)
        own = words & self._said([*cited, *asked])
        fact = cache(lambda: self._fact(text, words, cited, asked))
        suspects = [
            message.origin
            for place, (_, message) in enumerate(self._messages)
            if place not in cited
            and place not in asked
            and message.origin in _MARGIN
            and least_trusted([said, message.origin]) != said
            and self._behind(place, words, len(own), fact)
        ]
        return least_trusted([said, *suspects])

    def assented(self, text: str, cites: Collection[int]) -> bool:
        """Whether the user's cited messages say no more of a fact than yes, to a question about others.

        "Lena moved to Oslo, so shall I book a hotel?" asks about a hotel. Such a yes must change nothing that
        the user has said in so many words, whatever is said beside it of Lena or Oslo: one message must hold
        whom the fact is about and half of what it says, or a name of it that the question lacks.

        Args:
            text: The fact.
            cites: Numbers of messages.
        """
        words = frozenset(analysis.query_terms(text)) - _SPEAKER
        own = [n for n in self._own if self._messages[n][0] in cites]
        places = self._questions(text, words, cites)
        asked = [self._reader.reading(self._messages[n][1]) for n in places]
        replies = [self._reader.reading(self._messages[n + 1][1]) for n in places]
        if not any(affirms(said.text, one.text) for said, one in zip(replies, asked, strict=True)):
            return False
        answers = [self._reader.reading(self._messages[n][1]) for n in own]
        speakers = {one.message.actor_id for one in answers if one.message.actor_id is not None}
        others = {m.actor_id for _, m in self._messages if m.role == "user" and m.actor_id is not None}
        questions = [question.text for question in asked]
        fact = Said(self._reader.claim(text), questions, speakers, others - speakers)
        if fact.confirmed() or any(fact.tells(one.text, frozenset(map(stem, one.keys))) for one in answers):
            return False
        told = frozenset[str]().union(*(question.terms for question in asked))
        return fact.of_others or not fact.brings(words & self._said(own) - told)

    def _behind(self, place: int, words: frozenset[str], own: int, fact: Callable[[], _Fact]) -> bool:
        """Whether a message that is not cited is what a fact comes from, in whole or in part."""
        origin, theirs = self._messages[place][1].origin, words & self._words[place]
        if len(theirs) > _MARGIN[origin] * own:
            return True
        if not theirs:
            return False
        stated = fact()
        new = stated.new & self._stems[place] if stated.new else ()
        if len(new) >= _NEW_WORDS[origin]:
            return True
        return bool(stated.unheard) and stated.unheard.told_by(self._alone(place))

    def _fact(self, text: str, words: frozenset[str], cited: Sequence[int], asked: set[int]) -> _Fact:
        """A fact that cites these messages; what was said before by tools is no part of its evidence.

        Nor is a question that its user did not answer, unless the answer refers to it.
        """
        found = self._readings.evidence(cited)
        known = {self._messages[place][1] for place in (*cited, *asked)}
        taken = [
            (place, reading)
            for place, reading in enumerate(found.cited)
            if reading.message in known or reading.message.origin in _OWN
        ]
        heard = [reading for _, reading in taken]
        answers = {n: found.answers[place] for n, (place, _) in enumerate(taken) if place in found.answers}
        claim = self._reader.claim(text)
        back = claim.language in ("es", "zh") or any(reading.points_back for reading in heard)
        before = [
            one
            for one in found.before
            if one.message.origin not in ("tool", "document")
            and (back or one.message in known or not one.flags & FLAG_QUESTION)
        ]
        evidence = Evidence(heard, answers, before, found.speakers)
        own = Evidence([*heard, *self._own_readings], answers, before, found.speakers)
        new = words - self._own_words
        return _Fact(
            new=_stems_of(new) - self._own_stems if new else new,
            unheard=unheard(claim, evidence, own),
        )

    def _alone(self, place: int) -> Evidence:
        """A message as the only evidence."""
        found = self._others.get(place)
        if found is None:
            whole = self._readings.evidence([place])
            found = self._others[place] = Evidence(whole.cited[-1:], {}, (), whole.speakers)
        return found

    @lazy
    def _own(self) -> list[int]:
        return [n for n, (_, message) in enumerate(self._messages) if message.origin in _OWN]

    @lazy
    def _own_words(self) -> frozenset[str]:
        return self._said(self._own)

    @lazy
    def _own_readings(self) -> list[Reading]:
        return [self._reader.reading(self._messages[place][1]) for place in self._own]

    @lazy
    def _words(self) -> list[frozenset[str]]:
        return [self._reader.reading(message).terms for _, message in self._messages]

    @lazy
    def _stems(self) -> list[frozenset[str]]:
        return [_stems_of(words) for words in self._words]

    @lazy
    def _own_stems(self) -> frozenset[str]:
        return frozenset(word for place in self._own for word in self._stems[place])

    @lazy
    def _readings(self) -> Readings:
        return Readings([message for _, message in self._messages], reader=self._reader)

    def _questions(self, text: str, words: frozenset[str], cites: Collection[int]) -> set[int]:
        """Places of the assistant's questions just before a cited message of the user that state nothing of
        these words: "Hi Ana! Do you live in Oslo?" states nothing of Ana.
        """
        words = words - beginning_terms(self._reader.claim(text)) or words
        return {
            place
            for place, ((_, message), (following, answer)) in enumerate(pairwise(self._messages))
            if message.origin == "assistant"
            and answer.origin == "user"
            and following in cites
            and self._asks(self._reader.reading(message), words)
        }

    def _asks(self, reading: Reading, words: frozenset[str]) -> bool:
        return bool(
            reading.flags & FLAG_QUESTION or (reading.flags & FLAG_ASKS and words.isdisjoint(reading.beside))
        )

    def _follows(self, text: str, words: frozenset[str], place: int) -> bool:
        """Whether a fact may follow from the answer to a question: a yes, a no to what the fact denies, or
        what was asked for.
        """
        question, answer = (self._reader.reading(message) for _, message in self._messages[place : place + 2])
        if affirms(answer.text, question.text):
            theirs = words & question.terms
            return not theirs or not theirs <= question.granted
        claim = self._reader.claim(text)
        if claim.may_deny and refuses(answer.text):
            return not question.may_deny  # "No." to "You don't smoke?" may mean either
        if not question.seeks:
            return False
        if words & (answer.terms - question.terms):
            return True
        return unheard(claim, _NOTHING, _NOTHING).told_by(Evidence([answer], {}, (), _NOTHING.speakers))

    def _said(self, places: Iterable[int]) -> frozenset[str]:
        return frozenset[str]().union(*(self._words[place] for place in places))


def _stems_of(terms: Iterable[str]) -> frozenset[str]:
    return frozenset(
        stem(term) if term.isascii() else term for term in terms if len(term) > 1 or term.isascii()
    )
