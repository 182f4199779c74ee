"""What a yes says: whether a question asks its reader about themselves, and whom a fact is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from .. import analysis
from .grounding.evidence import Claim
from .grounding.replies import asks_user, in_second_person
from .grounding.words import keys_in, stem, wide
from .likeness import content as content_of

#: "Do you know that Lena moved?" asks about what its reader knows, not about what it tells of Lena.
_PARTS: Final = re.compile(
    r"([,;:.!?，；：。！？—–]+)|(?=¿)|\b(?:that|who|which|where|because|since|when|whether|if|as|now that"
    r"|dass|ob|weil|wo|wenn|que|quien|quienes|donde|porque|si)\b",
    re.IGNORECASE,
)
#: "You live in Oslo, right?" asks; "You live in Oslo, are you free?" tells.
_TAG: Final = re.compile(
    r"(?:(?:is (?:that|this|it)|am i) )?(?:right|correct|true)"
    r"|(?:are|do|did|have|were|was|is|does|has|will|can)(?:n't)? (?:you|it|that)(?: not)?"
    r"|no|yes|or|oder|nicht wahr|richtig|stimmt(?: das)?|gell|verdad|cierto|no es (?:así|cierto|verdad)"
    r"|对吗|是吗|对吧|是吧|对不对",
    re.IGNORECASE,
)
_BEGINS: Final = re.compile(
    r"(?:(?:so|and|then|but|also|und|dann|aber|y|entonces|pero) )*(?:(?:do|does|did|are|is|was|were|have|has"
    r"|had|will|would|can|could|should|may|what|where|who|when|how|which|why)\b|\w+(?:st|t) (?:du|ihr)\b"
    r"|\w+ Sie\b|\w+ usted\b|¿)",
    re.IGNORECASE,
)
_ADDRESS: Final = (
    r"(?:^|[,.!?;:—]\s*)(?:(?i:hi|hello|hey|thanks|thank you|ok(?:ay)?|dear|so|well|great|sure|got it"
    r"|hallo|danke|liebe[rs]?|gut|also|hola|gracias|querid[oa]|claro|perfecto)[, ]+){{0,2}}{name}"
    r"(?:\s*[!?.:]|\s*$|,\s+(?!(?:your|dein\w*|tu|who|which|die|der|que|you know)\b)"
    r"(?=(?:\w+\s+){{0,4}}(?i:you|your|du|dein\w*|dir|dich|Sie|Ihnen|Ihre?|te|tu|tú|usted|\w+[aeiá]s)\b|¿))"
)
_OTHERS: Final = frozenset(
    ("she", "he", "they", "er", "ella", "él", "ellos", "ellas", "他", "她", "他们", "她们")
)
_PRONOUN: Final = re.compile(r"\b(?:she|he|they|sie|er|ella|él|ellos|ellas)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"\w[\w-]*")
_OWN: Final = ("用户", "我", "你", "您")


class Said:
    """A fact whose speaker may have said no more than yes.

    Args:
        claim: The fact, taken apart.
        questions: What was asked, in normal form.
        speakers: Who answers, as far as they are named.
    """

    def __init__(self, claim: Claim, questions: Sequence[str], speakers: Collection[str]) -> None:
        named = [token for name in claim.names for token in name] + claim.tokens[:1]
        names = {stem(key) for token in named for key in keys_in(token.text)}
        names |= {stem(term) for token in named for term in analysis.query_terms(token.text)}
        self._claim = claim
        self._questions = questions
        self._content = content_of(claim) - names
        self._names = names
        self._subject = _subject_of(claim)
        self._speakers = {speaker.casefold() for speaker in speakers}

    def of_others(self, answers: Sequence[str]) -> bool:
        """Whether the fact is about somebody whom its question or its answer speaks of, and not to."""
        subject = self._subject
        if subject.casefold() in _OTHERS:
            return True
        if not subject or subject.casefold() in self._speakers:
            return False
        if any(_addresses(question, subject) for question in self._questions):
            return False
        return any(_names(text, subject) for text in (*self._questions, *answers))

    def tells(self, text: str, stems: Collection[str]) -> bool:
        """Whether a text says itself what the fact says: half of it, and of whom.

        Args:
            text: In normal form.
            stems: Of its words.
        """
        subject, chinese = self._subject, self._claim.language == "zh"
        pronoun = any(one in text for one in "他她") if chinese else _PRONOUN.search(text) is not None
        if subject and not pronoun and not _names(text, subject):
            return False
        if chinese:
            return 2 * len(set(self._claim.text) & set(text)) > len(set(self._claim.text))
        if not self._content:
            others = self._names - {stem(key) for key in keys_in(subject)}
            return bool(others) and not others.isdisjoint(stems)
        return 2 * len(self._content & set(stems)) >= len(self._content)

    def holds_half(self, stems: Collection[str]) -> bool:
        """Whether a text of these words says half of the fact, names aside."""
        return bool(self._content) and 2 * len(self._content & set(stems)) >= len(self._content)

    def asked_of_reader(self) -> bool:
        """Whether a question asks its reader about themselves where it holds what the fact says."""
        return any(_about_reader(question, self._content) for question in self._questions)


def _subject_of(claim: Claim) -> str:
    """What a fact begins with, if that may be a name; of Chinese two characters."""
    if claim.language == "zh" and not claim.text[:1].isascii():
        return "" if claim.text.startswith(_OWN) else claim.text[: 1 if claim.text[:1] in _OTHERS else 2]
    found = _WORD.search(claim.text)
    word = "" if found is None else found[0]
    if word.casefold() in _OTHERS:
        return word
    return word if word[:1].isupper() and analysis.query_terms(word) else ""


def _names(text: str, name: str) -> bool:
    if wide(name):
        return name in text
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _addresses(question: str, name: str) -> bool:
    return re.search(_ADDRESS.format(name=re.escape(name)), question) is not None


def _about_reader(question: str, content: frozenset[str]) -> bool:
    if not asks_user(question):
        return False
    parts = _asked_parts(question)
    holding = [(part, asked) for part, asked in parts if content & set(map(stem, keys_in(part)))]
    return not holding or any(asked and in_second_person(part) for part, asked in holding)


def _asked_parts(question: str) -> list[tuple[str, bool]]:
    """The parts of a text up to its marks, each with whether it is asked; a tag is of what is before it."""
    parts: list[tuple[str, bool]] = []
    pieces = _PARTS.split(question)
    tags = ""
    marks = [mark or "" for mark in pieces[1::2]] + [""]
    ends = False
    for piece, mark in reversed(list(zip(pieces[::2], marks, strict=True))):
        text = piece.strip()
        if "?" in mark or "？" in mark:
            ends, tags = True, ""
        if not text:
            continue
        if ends and _TAG.fullmatch(text):
            tags = f"{text} {tags}"
            continue
        asked = ends or _BEGINS.match(text) is not None or text.endswith(("吗", "呢"))
        parts.append((f"{piece} {tags}" if ends else piece, asked))
        ends, tags = False, ""
    return parts[::-1]
