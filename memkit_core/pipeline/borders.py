"""Where a text may be cut: after a sentence, else between words, never in one that fits. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

# A point in "3.14" or "example.com" ends no sentence: white space follows an end, except of wide text. The
# look behind keeps a long row of points from being tried from each of them.
_END: Final = re.compile(
    r"(?:(?<![.!?])[.!?]++[\"')\]\u00bb\u201d\u2019]*+(?=\s)"
    r"|[\n\u3002\uff01\uff1f]++[\"')\]\u300d\u300f\u201d\u2019]*+)\s*+"
)
#: How far a word's beginning is looked for, in characters.
_NEAR: Final = 80
#: Spaces that hold together what they stand between.
_NO_BREAK: Final = "\u00a0\u202f\u2007\ufeff\u2060"
_JOINER: Final = "\u200d"
#: Scripts without spaces between words: kana, Han, and their wide punctuation.
_WIDE: Final = re.compile(
    r"[\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_STOPS: Final = frozenset("、。，！？；：…」』）》】")
_IN_NUMBERS: Final = frozenset(".,:/-．，：")
_WIDE_DIGITS: Final = frozenset("〇零一二三四五六七八九十百千万萬亿億两兩")


def sentences(text: str) -> Iterator[str]:
    """A text's sentences and lines with the white space behind them; joined they are the text."""
    position = 0
    for match in _END.finditer(text):
        yield text[position : match.end()]
        position = match.end()
    if position < len(text):
        yield text[position:]


def pieces(text: str, limit: int) -> Iterator[str]:
    """A text in pieces of at most ``limit`` characters, at least 1; joined they are the text.

    They end between words; in scripts without spaces behind punctuation, else between characters that are
    no number. Only a word that is longer by itself is cut, and then no sequence that makes one character.
    """
    position = 0
    while len(text) - position > limit:
        end = _border(text, position, position + limit)
        yield text[position:end]
        position = end
    if position < len(text):
        yield text[position:]


def word_start(text: str, at: int) -> int:
    """Where the first word from ``at`` on begins, else the word that ``at`` is in; ``at`` if that is long."""
    if at <= 0:
        return 0
    later, earlier = range(at, min(len(text), at + _NEAR)), range(at - 1, max(0, at - _NEAR), -1)
    for places in (later, earlier):
        for place in places:
            if _between_words_or_wide(text, place):
                return place
    return 0 if at < _NEAR else at


def _border(text: str, start: int, end: int) -> int:
    """Where to cut at ``end`` or before it."""
    middle = (start + end) // 2
    ways: tuple[tuple[int, Callable[[str, int], bool]], ...] = (
        (middle, _between_clauses),
        (start, _between_words_or_wide),
        (start, _between_characters),
    )
    for first, fits in ways:
        for at in range(end, first, -1):
            if fits(text, at):
                return at
    return end


def _between_clauses(text: str, at: int) -> bool:
    """Whether white space, or a wide script's punctuation, ends here."""
    behind_stop = text[at - 1] in _STOPS and text[at] not in _STOPS and not _is_space(text[at])
    return behind_stop or _between_words(text, at)


def _between_words_or_wide(text: str, at: int) -> bool:
    return _between_words(text, at) or _between_wide(text, at)


def _is_space(char: str) -> bool:
    return char.isspace() and char not in _NO_BREAK


def _between_words(text: str, at: int) -> bool:
    return _is_space(text[at - 1]) and not _is_space(text[at])


def _is_digit(char: str) -> bool:
    return char.isdigit() or char in _WIDE_DIGITS


def _between_wide(text: str, at: int) -> bool:
    """Whether two characters stand here of which one is a word by itself."""
    before, after = text[at - 1], text[at]
    if not (_WIDE.match(before) or _WIDE.match(after)) or after in _STOPS:
        return False
    return _between_characters(text, at)


def _between_characters(text: str, at: int) -> bool:
    """Whether one character ends here, as a reader sees it, and no number goes on."""
    before, after = text[at - 1], text[at]
    return not (
        (_is_digit(before) and (_is_digit(after) or after in _IN_NUMBERS))
        or (before in _IN_NUMBERS and _is_digit(after))
        or before in _JOINER + _NO_BREAK
        or after in _JOINER + _NO_BREAK
        or unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # a tone of skin
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")  # a flag
    )
