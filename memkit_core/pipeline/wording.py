"""What a text says of its own place beside what is known: a second value, one that holds still, a correction.

Pure. Words of English, German, Spanish and Chinese.
"""

from __future__ import annotations

import re
from typing import Final

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


def says_more(text: str) -> bool:
    """Whether a text puts a second value beside the first."""
    return _BESIDE.search(text) is not None


def holds_still(text: str) -> bool:
    """Whether a text says that what began in the past holds still."""
    return _STILL.search(text) is not None


def amends(text: str) -> bool:
    """Whether a text takes back what was said before."""
    return _AMENDS.search(text) is not None
