"""What a text says of its own place beside what is known: a second value, one that holds still, a correction.

Pure. Words of English, German, Spanish and Chinese.
"""

from __future__ import annotations

import re
from typing import Final

from ..analysis import query_terms

#: "He also works at …": a second value stands beside the first, so this is a question for the model.
_BESIDE: Final = re.compile(
    r"\b(also|too|as well|second|another|additional(?:ly)?|auch|außerdem|zweite[rsn]?|zusätzlich"
    r"|también|además|segund[oa]|otr[oa])\b|也|还|另",
    re.IGNORECASE,
)

#: "In Rome since 2019": it began then, and holds still.
_STILL: Final = re.compile(r"\b(since|ever since|seit|seitdem|desde)\b|自从|以来", re.IGNORECASE)

#: "I was wrong, never in Paris": what was said before is taken back.
_AMENDS: Final = re.compile(
    r"\b(never|wrong|mistaken(?:ly)?|mistake|correction|nie|niemals|falsch|irrtum|irrtümlich|korrektur"
    r"|nunca|jamás|equivoqu\w+|equivocad[oa]|error|corrección)\b|从未|从没|从来没|弄错|说错|搞错|更正|纠正",
    re.IGNORECASE,
)

#: "I live there now", "I live there since 2019", "wohne seit 2019 dort": what a speaker says holds now,
#: whatever the date. What was so until some time, or is told in the past tense, does not; nor does "Ana lives
#: there since 2019", which is how dates are told of somebody.
_NOW: Final = re.compile(
    r"\b(now|nowadays|currently|these days|at present|still|jetzt|nun|derzeit|zurzeit|momentan|inzwischen"
    r"|noch|seit|seitdem|ahora|actualmente|todavía|sigo|seguimos|hoy en día)\b"
    r"|\bdesde\b(?!.{0,80}\bhasta\b)|(?:\bhave|\bhas|['\u2019]ve)\b[^,;]{0,80}\bsince\b"
    r"|\b(?:vivo|vivimos|resido|trabajo|trabajamos|estudio|estoy|estamos|soy|llevo|llevamos)\b.{0,80}\bhace\b"
    r"|\b(?:llevo|llevamos)\b.{0,80}\b(?:años?|meses|mes|semanas?|días?)\b"
    r"|现在|目前|如今|仍然|还在|自从|以来|[自从].{1,12}[起开]|就.{1,20}了",
    re.IGNORECASE,
)
_MINE: Final = re.compile(r"\b(?:I|we|my|our|home)\b", re.IGNORECASE)
_SINCE: Final = re.compile(r"\bsince\b(?!.{0,80}\b(?:until|till)\b)", re.IGNORECASE)
_WAS: Final = re.compile(r"\b(?:was|were|had|lived|worked|studied|stayed|used to)\b", re.IGNORECASE)
_SENTENCE: Final = re.compile(r"[.!?;\n。！？；]+(?:\s|$)|[\n。！？；]")


def says_more(text: str) -> bool:
    """Whether a text puts a second value beside the first."""
    return _BESIDE.search(text) is not None


def holds_still(text: str) -> bool:
    """Whether a text says that what began in the past holds still."""
    return _STILL.search(text) is not None


def amends(text: str) -> bool:
    """Whether a text takes back what was said before."""
    return _AMENDS.search(text) is not None


def holds_now(text: str, value: frozenset[str]) -> bool:
    """Whether a speaker says of a value that it holds now.

    Args:
        text: What was said.
        value: The terms that name the value; sentences that hold none of them count only if none does.
    """
    sentences = [sentence for sentence in _SENTENCE.split(text) if sentence]
    about = [sentence for sentence in sentences if not value.isdisjoint(query_terms(sentence))]
    return any(_says_now(sentence) for sentence in about or sentences)


def _says_now(sentence: str) -> bool:
    if _NOW.search(sentence) is not None:
        return True
    since = _SINCE.search(sentence) is not None and _MINE.search(sentence) is not None
    return since and _WAS.search(sentence) is None
