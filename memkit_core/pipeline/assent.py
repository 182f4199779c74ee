"""What a yes says: whether a question asks what a fact says, of its reader or of somebody else. Pure.

"You live in Oslo now, in the old town?" asks its reader; "Lena moved to Oslo, shall I book a flight?" tells
of Lena and asks about a flight. A yes to the latter must change nothing that the user has told of Lena.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from .. import analysis
from .asking import (
    AHEAD,
    AND,
    BEFORE_NAMES,
    CLAUSE,
    CLEFT,
    FIRST,
    HAS,
    IS,
    KIN,
    LIGHT,
    MAY_I,
    NAME,
    OTHERS,
    OWNED,
    PARTS,
    PREPOSITIONS,
    PRONOUN,
    SENTENCE,
    TAG,
    TAKES_UP,
    THINKS,
    TOPIC,
    TOPICAL,
    USER,
    VERBS_ZH,
    WISH,
    WORD,
    YOUR,
)
from .grounding.evidence import Claim
from .grounding.replies import asks_to_confirm, in_second_person, is_second_person, offers
from .grounding.words import keys_in, stem, wide
from .likeness import content as content_of

#: Words of a part that does no more than call somebody.
_CALL: Final = 4
_HEAD: Final = 5
#: Characters of a stem at least, and of an ending at most.
_STEM: Final = 3
_NEW_ZH: Final = 2
_ENDING: Final = 4


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a question up to its marks.

    Attributes:
        ends: It is what the question mark, or a tag, is behind.
    """

    text: str
    stems: frozenset[str]
    ends: bool


class Said:
    """A fact whose speaker may have said no more than yes.

    Args:
        claim: The fact, taken apart.
        questions: What was asked, in normal form.
        speakers: Who answers, as far as they are named. ``others``: who else takes part.
    """

    def __init__(
        self, claim: Claim, questions: Sequence[str], speakers: Collection[str], others: Collection[str]
    ) -> None:
        named = [token for name in claim.names for token in name] + claim.tokens[:1]
        names = {stem(key) for token in named for key in keys_in(token.text)}
        names |= {stem(term) for token in named for term in analysis.query_terms(token.text)}
        self._claim = claim
        self._chinese = claim.language == "zh" or any(token.wide for token in claim.tokens)
        self._kin = _kin_of(claim.text, chinese=self._chinese)
        self._owned = bool(OWNED.match(claim.text)) and not self._kin
        self._subjects = _subjects_of(claim.text, _names_in(speakers), chinese=self._chinese)
        subjects = {stem(key) for one in self._subjects for key in keys_in(one)}
        self._content = content_of(claim) - names - self._kin
        if self._chinese:
            self._content = frozenset(word for word in self._content if wide(word)) - set("".join(self._kin))
        self._names = names - subjects - USER
        own = _names_in(speakers)
        self._others = _names_in(others) - own
        #: Whoever answers is known by a name, not by an id: who is called by another one is somebody else.
        self._named = any(NAME.fullmatch(speaker) for speaker in speakers)
        self._sentences = [_sentences_of(question, self._subjects) for question in questions]
        self._questions = questions

    def confirmed(self) -> bool:
        """Whether a question asks just what the fact says, so that a yes is enough."""
        return any(self._asks(number) for number in range(len(self._questions)))

    def tells(self, text: str, stems: Collection[str]) -> bool:
        """Whether a text says itself what the fact says: half of it, and of whom.

        Args:
            text: In normal form.
            stems: Of its words.
        """
        if self._adds(text, stems):
            return True
        if self._kin:
            whom = not self._kin.isdisjoint(text if self._chinese else stems)
        else:
            whom = not self._subjects or any(_names(text, one) for one in self._subjects)
        if not whom and PRONOUN.search(text) is None:
            return False
        if self._chinese:
            return 2 * len(set(self._claim.text) & set(text)) > len(set(self._claim.text))
        if not self._content:
            return not self._names.isdisjoint(stems)
        return 2 * len(self._content & set(stems)) >= len(self._content)

    def _adds(self, text: str, stems: Collection[str]) -> bool:
        """Whether a text holds a name of the fact's that no question holds."""
        asked = " ".join(self._questions)
        if self._chinese:
            new = {char for char in self._content if char in text and char not in asked}
            return len(new) >= _NEW_ZH
        return not self._names.isdisjoint(frozenset(stems) - _stems_of(asked))

    def brings(self, words: Collection[str]) -> bool:
        """Whether these terms are more than whom the fact is about."""
        return not set(words).issubset(term for one in self._subjects for term in analysis.query_terms(one))

    @property
    def of_others(self) -> bool:
        """Whether the fact is about somebody whom no question speaks to."""
        return any(self._is_of_others(question) for question in self._questions)

    def _is_of_others(self, question: str) -> bool:
        if self._kin or any(one.casefold() in OTHERS for one in self._subjects):
            return True
        if any(one.casefold() in self._others for one in self._subjects):
            return True
        spoken = [one for one in self._subjects if _names(question, one)]
        return bool(spoken) and (self._named or not any(_calls(question, one) for one in spoken))

    def _is_present(self, question: str, subject: str) -> bool:
        return subject.casefold() in self._others or (self._named and _calls(question, subject))

    def _asks(self, number: int) -> bool:
        sentences, question = self._sentences[number], self._questions[number]
        if any(TAKES_UP.match(part.text) and self._holds(part) for parts in sentences for part in parts):
            return True
        if self._is_of_others(question):
            if any(self._is_present(question, one) for one in self._subjects):
                return False  # nobody answers for somebody else who is there
            return any(
                self._asks_of_others(part, parts[place - 1] if place else None)
                for parts in sentences
                if not any(MAY_I.match(one.text) and not TAKES_UP.match(one.text) for one in parts)
                for place, part in enumerate(parts)
            )
        if any(self._asks_reader(parts) for parts in sentences):
            return True
        if any(self._holds(part) for parts in sentences for part in parts) and self._content:
            return False
        return any(
            YOUR.search(part.text) is not None and self._holds_names(part)
            for parts in sentences
            for part in parts
        )

    def _asks_reader(self, parts: Sequence[_Part]) -> bool:
        """Whether a sentence speaks of its reader where it holds what the fact says."""
        goes_on = False  # "You live in Oslo, work at SAP": the later parts are about the same
        for place, part in enumerate(parts):
            clause = CLAUSE.match(part.text.lstrip(" ¿")) is not None
            kin = KIN.search(part.text)
            before = part.text if kin is None or self._chinese else part.text[: kin.start()]
            person = is_second_person(before)
            tag = parts[place + 1].text if place + 1 < len(parts) else ""
            second = person or (kin is None and in_second_person(part.text))
            second = second or (TAG.fullmatch(tag) is not None and in_second_person(tag))
            on = goes_on and kin is None and not clause and PRONOUN.search(part.text) is None
            wishes = not WISH.isdisjoint(self._content)
            if (
                (second or on)
                and self._ends(part)
                and self._holds(part)
                and (wishes or not offers(part.text))
            ):
                return True
            goes_on = goes_on or (person and not clause)
        return False

    def _asks_of_others(self, part: _Part, before: _Part | None) -> bool:
        """Whether a part asks what the fact says of somebody else, and nothing beside it."""
        if not part.ends or offers(part.text):
            return False
        asked = CLEFT.sub(" ", TAKES_UP.sub("", part.text))
        if before is not None and TOPIC.fullmatch(before.text) and PRONOUN.search(TOPICAL.sub("er", asked)):
            asked = f"{before.text} {asked}"
        clause = CLAUSE.search(asked)
        asked = asked if clause is None else asked[: clause.start()]
        if is_second_person(asked) or (FIRST.search(asked) and not THINKS.search(asked)):
            return False
        if asked == part.text and not self._chinese and not self._early(asked):
            return False
        if self._chinese and re.match("可以|能|要|需要", asked):
            return False
        whom = not self._kin.isdisjoint(asked if self._chinese else _stems_of(asked))
        whom = whom or any(_names(asked, one) for one in self._subjects)
        return whom and self._holds(_Part(asked, _stems_of(asked), ends=True))

    def _early(self, asked: str) -> bool:
        """Whether whom the fact is about stands where a question has whom it is about."""
        return any(self._heads(one) for one in AND.split(asked))

    def _heads(self, text: str) -> bool:
        words = text.split()[: AHEAD + 1]
        for place, word in enumerate(words):
            if not self._kin.isdisjoint(_stems_of(word)) or any(_names(word, one) for one in self._subjects):
                return "to" not in words[:place]
        return False

    def _ends(self, part: _Part) -> bool:
        return part.ends or not self._owned

    def _holds(self, part: _Part) -> bool:
        """Whether a part says something of what the fact says."""
        if self._chinese:
            return 2 * len(self._content & set(part.text)) >= len(self._content)
        if not self._content or (self._content <= LIGHT and self._names and IS.search(part.text)):
            return self._holds_names(part)
        return any(_akin(one, other) for one in self._content for other in part.stems)

    def _holds_names(self, part: _Part) -> bool:
        return not self._names or not self._names.isdisjoint(part.stems)


def _akin(one: str, other: str) -> bool:
    """Whether two stems may be of one word: "wohn", "wohnst"."""
    if one == other:
        return True
    shorter = min(len(one), len(other))
    return shorter >= _STEM and one[:shorter] == other[:shorter] and abs(len(one) - len(other)) <= _ENDING


def _stems_of(text: str) -> frozenset[str]:
    return frozenset(map(stem, keys_in(text)))


def _names_in(speakers: Collection[str]) -> frozenset[str]:
    """The words of names, without what numbers them."""
    found = (word.strip("0123456789_") for name in speakers for word in re.split(r"\W+", name.casefold()))
    return frozenset(word for word in found if word)


def _kin_of(text: str, *, chinese: bool) -> frozenset[str]:
    """Who of somebody's a fact is about, as stems; of Chinese characters."""
    if chinese:
        verb = VERBS_ZH.search(text)
        found = KIN.findall(text[: verb.start()] if verb is not None else text[:_HEAD])
        return frozenset("".join(found))
    head = [word.casefold() for word in re.findall(r"\w+", text)[: _HEAD + 1]]
    for place, word in enumerate(head):
        if word in HAS:
            return frozenset()
        if KIN.fullmatch(word):
            return frozenset({stem(word), *map(stem, keys_in(word))})
        if place >= _HEAD:
            break
    return frozenset()


def _subjects_of(text: str, speakers: Collection[str], *, chinese: bool) -> tuple[str, ...]:
    """What a fact may begin with that is a name; empty if it is about its speaker."""
    if chinese:
        return _subjects_zh(text)
    before = ""
    for place, found in enumerate(WORD.finditer(text)):
        word = re.sub(r"['’]s$", "", found[0])
        key = word.casefold()
        if key in OTHERS and not place:
            return (word,)
        if key in USER or key in speakers or (key[-1:] == "s" and key[:-1] in speakers):
            return ()
        name = word[:1].isupper() and key not in PREPOSITIONS and before not in PREPOSITIONS
        if key in BEFORE_NAMES:
            continue
        if name and (analysis.query_terms(word) or not place):
            return (word,) if analysis.query_terms(word) else ()
        before = key
    return ()


def _subjects_zh(text: str) -> tuple[str, ...]:
    """Whatever two characters stand before the verb, and names in letters."""
    verb = VERBS_ZH.search(text)
    head = text[: verb.start()] if verb is not None else text[:_HEAD]
    if text[:1] in OTHERS:
        return (text[:1],)
    if head.startswith(("用户", "我", "你", "您")) or not head:
        return ()
    letters = tuple(re.findall(r"[A-Za-z][\w'-]*", head))
    return letters or tuple(head[place : place + 2] for place in range(max(len(head) - 1, 1)))


def _names(text: str, name: str) -> bool:
    if wide(name):
        return name in text
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _calls(question: str, name: str) -> bool:
    """Whether a question is put to somebody of this name."""
    for sentence in SENTENCE.finditer(question):
        for part in PARTS.split(sentence[0]):
            text = part.strip(" .?!。？！¿")
            if f"@{name}" in text or (wide(name) and text.endswith(name)):
                return True
            found = re.search(rf"(?:^|(?P<before>\w+)\s+|\W){re.escape(name)}(?: [A-Z]\w+)?$", text)
            if wide(name) or found is None or (found["before"] or "").casefold() in PREPOSITIONS:
                continue
            if len(text.split()) <= _CALL or is_second_person(text):
                return True
    return False


def _sentences_of(question: str, subjects: Sequence[str]) -> list[list[_Part]]:
    texts = [found[0] for found in SENTENCE.finditer(question)]
    after = [*texts[1:], ""]
    return [_parts_of(one, subjects, asks_to_confirm(then)) for one, then in zip(texts, after, strict=True)]


def _parts_of(sentence: str, subjects: Sequence[str], confirmed: bool) -> list[_Part]:
    """The parts of a sentence up to its marks; a tag asks what is before it."""
    texts = [part for part in PARTS.split(sentence) if part and part.strip(" .?!。？！")]
    asks = confirmed or "?" in sentence or "？" in sentence or sentence.rstrip().endswith(("吗", "呢"))
    if "¿" in sentence:  # a Spanish verb tells the person, and needs no mark before it
        texts = [text if "¿" in text else f"¿{text.strip()}" for text in texts]
    parts: list[_Part] = []
    ends = asks
    for text in reversed(texts):
        parts.append(_Part(text.strip(" .!?。！？"), _stems_of(text), ends))
        called = any(text.strip(" .?!。？！").endswith(one) for one in subjects) and len(text.split()) <= 2
        ends = ends and (called or TAG.fullmatch(text.strip(" .?!。？！¿")) is not None)
    return parts[::-1]
