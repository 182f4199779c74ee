"""Texts as the checks read them: one normal form, tokens with their places, words without inflection."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN: Final = re.compile(rf"[^\W{CJK}_]+(?:['\u2019\u02bc][^\W\d{CJK}_]+)*|[{CJK}]|[^\w\s]|_|\n")
_CJK_CHAR: Final = re.compile(rf"[{CJK}]")
_FOREIGN_DIGIT: Final = re.compile(r"[^\D0-9]")


class Token(NamedTuple):
    """A word, a single CJK character, or a punctuation mark.

    Attributes:
        key: The word in its folded form.
        wide: It is a CJK character.
        word: It is a word or number in letters and digits.
        capital: It is written with a capital, as names are.
    """

    text: str
    key: str
    start: int
    end: int
    wide: bool
    word: bool
    capital: bool


def normal(text: str) -> str:
    """The text in NFKC, with plain digits and apostrophes."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u02bc", "'")
    return _FOREIGN_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0], 0)), text)


def folded_text(text: str) -> str:
    """A text without case and diacritics."""
    text = text.casefold()
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in parts if not unicodedata.combining(char))
        text = unicodedata.normalize("NFC", text)
    return text.replace("\u2019", "'")


@lru_cache(maxsize=16_384)
def fold(word: str) -> str:
    """A word without case and diacritics."""
    return folded_text(word)


def tokens(text: str) -> list[Token]:
    """The tokens of a text in normal form, in order."""
    found: list[Token] = []
    make, end = Token._make, 0  # faster than ``Token(...)``, here where nearly all tokens are made
    for said in _TOKEN.findall(text):
        start = text.index(said, end)
        end = start + len(said)
        first = said[0]
        is_wide = first > "\u3000" and _CJK_CHAR.match(said) is not None
        word = not is_wide and first.isalnum()
        capital = word and first.isupper()
        found.append(make((said, fold(said[:64]), start, end, is_wide, word, capital)))
    return found


def keys_in(text: str) -> list[str]:
    """The folded words of a text in normal form, in order, CJK characters left out.

    The keys of ``tokens``, for whoever needs nothing else of them: they are a third of the work, and a token
    is an object more for the garbage collector.
    """
    found = _TOKEN.findall(text)
    if text.isascii():
        return [fold(said[:64]) for said in found if said[0].isalnum()]
    return [
        fold(said[:64])
        for said in found
        if said[0].isalnum() and not (said[0] > "\u3000" and _CJK_CHAR.match(said))
    ]


def wide(text: str) -> bool:
    """Whether a text is mostly written in CJK characters."""
    count = 0 if text.isascii() else sum(1 for _ in _CJK_CHAR.finditer(text))
    return count > 0 and 3 * count > sum(1 for char in text if char.isalpha())


_IRREGULAR: Final = {
    "isst": "ess", "iss": "ess", "spricht": "sprech", "sprichst": "sprech", "mochte": "mag", "mogen": "mag",
    "ate": "eat", "eaten": "eat", "drank": "drink", "drunk": "drink", "went": "go", "goes": "go",
    "gone": "go", "drove": "driv", "spoke": "speak", "bought": "buy", "wore": "wear", "ran": "run",
    "running": "run", "liest": "les", "nimmt": "nehm", "nehme": "nehm", "schlaft": "schlaf", "weiss": "wiss",
    "wissen": "wiss",
}  # fmt: skip


@lru_cache(maxsize=16_384)
def stem(key: str) -> str:
    """A folded word without what inflection commonly adds; of a long one, its beginning."""
    key = key.removesuffix("'s").replace("'", "")
    if key in _IRREGULAR:
        return _IRREGULAR[key]
    for ending in (
        "ings",
        "ing",
        "ied",
        "ies",
        "ed",
        "es",
        "as",
        "os",
        "an",
        "en",
        "er",
        "e",
        "s",
        "y",
        "t",
        "o",
        "a",
        "n",
    ):
        if key.endswith(ending) and len(key) - len(ending) >= 3:
            key = key[: -len(ending)]
            break
    if len(key) > 3 and key[-1] == key[-2]:
        key = key[:-1]
    return key[:6]


_GERMAN: Final = frozenset(
    "der die das den dem ein eine einen einem einer und ist hat wohnt lebt arbeitet mag ich nicht kein keine "
    "mit bei aus nach seit zu im am auf fur von sie er ihr ihre sein seine heisst trinkt isst spielt".split()
)
_SPANISH: Final = frozenset(
    "el la los las un una y es son tiene vive trabaja en de del que con no su sus le gusta se al por para "
    "me mi yo soy tengo vivo trabajo come bebe toca hace".split()
)
_ENGLISH: Final = frozenset(
    "the a an and is are was has have lives works likes i my in of to with at for on not does do s her his "
    "from had will wants plans moved since that this".split()
)


def language(found: list[Token]) -> str:
    """``de``, ``es`` or ``en``, by the small words of a text."""
    keys = [token.key for token in found if token.word]
    scores = {
        name: len([key for key in keys if key in small])
        for name, small in (("en", _ENGLISH), ("es", _SPANISH), ("de", _GERMAN))
    }
    return max(scores, key=lambda name: scores[name])
