"""Text to keyword terms, the same for every backend.

NFKC, case folding, words stemmed by Snowball (English; words with other letters stay whole), stop words
dropped, runs of Chinese, Japanese and Korean script cut into characters and overlapping bigrams. The
version is recorded in every store: terms of two versions are never mixed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .types import FLAG_ASKS, FLAG_QUESTION, FLAG_SMALLTALK, Micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANALYZER: Final = "1"
MAX_QUERY_TERMS: Final = 64
#: Longer words are cut: nobody searches for them, and an index row must stay small.
MAX_TERM_CHARS: Final = 64

_CJK = (
    "\u2e80-\u2fdf\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_WIDE: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]")
_TOKEN: Final = re.compile(rf"([{_CJK}]+)|([^\W_{_CJK}]+(?:['\u2019][^\W_{_CJK}]+)?)")
_STOP: Final = frozenset(
    "a about after again all also am an and any are as at be because been before being but by can could "
    "did do does doing don down during each for from further had has have having he her here hers him his "
    "how i if in into is it its itself just let ll me more most my myself no nor not now of off on once "
    "only or other our ours out over own re s same she should so some such t than that the their theirs "
    "them then there these they this those through to too under until up us ve very was we were what when "
    "where which while who whom why will with would you your yours d m".split()
)
_MONTHS: Final = (
    "january february march april may june july august september october november december".split()
)
_SUFFIX: Final = re.compile(r"(?:n't|'(?:s|re|ve|ll|d|m|t))$")
_QUESTION_END: Final = re.compile(r"[?\uff1f\u061f][\s\"'\u201d\u2019)\]]*$")
#: A question without its mark: begins like one and ends without any.
_BARE_QUESTION: Final = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how)\b(?!ever)[^.!\u3002\uff01\n]{3,200}"
    r"|(?:can|could|would|will|do|does|did|is|are|was|were|have|has|should|shall|may)"
    r" (?:i|you|he|she|it|we|they|there|my|your|his|her|our|their|the|this|that)\b[^.!\u3002\uff01\n]{3,200}",
    re.IGNORECASE,
)
#: A dot that ends no sentence: "example.com", "72.5", "z.B. so", "1. Mai", "Dr. Lee".
DOT_INSIDE: Final = (
    r"\.(?=[a-z\d])|(?<=\.\w)\.(?= [a-z])"
    r"|(?<=\d)\. ?(?=Jan|Feb|M[äa]r|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)"
    r"|(?:(?<=\bDr)|(?<=\bMr)|(?<=\bMrs)|(?<=\bMs)|(?<=\bSt)|(?<=\bSr)|(?<=\bSra)|(?<=\bProf)|(?<=\bNo)"
    r"|(?<=\bNr))\.(?= ?[A-Z\d])"
)
_SENTENCE: Final = re.compile(rf"(?:[^.!?\u3002\uff01\uff1f\n]|{DOT_INSIDE})+[.!?\u3002\uff01\uff1f]*")
_SMALLTALK: Final = re.compile(
    r"(?:(?:(?:hi|hello|hey|hiya|hallo|hola)"
    # "Hi there", "Hello Sam!": whoever is greeted ends the sentence.
    r"(?: (?:there|again|all|everyone|everybody|zusammen|a todos"
    r"|(?-i:(?!H(?:i|ello|ey|ola|allo)\b)[A-ZÀ-Þ][^\W\d_]{1,19})))?"
    r"(?=\s*(?:[,.!\u3002\uff0c\uff01]|$))"
    r"|hi|hello|hey|hiya|good (?:morning|afternoon|evening|night)"
    r"|thanks?(?: you)?(?: (?:so|very) much| a lot)?"
    r"|bye|goodbye|(?:see|talk to) you(?: later| soon| then| tomorrow| around)?"
    r"|(?:nice|good|great|lovely|pleased) to (?:meet|see) you|you're welcome|sounds (?:good|great)|no problem"
    r"|merry christmas|happy (?:new year|holidays|easter)"
    r"|ok(?:ay)?|sure|great|cool|nice|yes|no|yep|nope|wow|lol|please"
    r"|hallo|gute[nr]? (?:tag|morgen|abend|nacht)|danke(?: sch\u00f6n)?|tsch\u00fcss|bis (?:bald|morgen|dann)"
    r"|hola|(?:muchas )?gracias|adi\u00f3s|buen[oa]s (?:d\u00edas|tardes|noches)|hasta (?:luego|ma\u00f1ana)"
    r"|bonjour|merci(?: beaucoup| bien)?|salut|ciao|grazie|what'?s up|how are you(?: doing)?"
    r"|\u304a\u306f\u3088\u3046(?:\u3054\u3056\u3044\u307e\u3059)?|\u3053\u3093\u306b\u3061\u306f|\u3042\u308a\u304c\u3068\u3046"
    r"|\u4f60\u597d|\u5927\u5bb6\u597d|\u65e9\u4e0a\u597d|\u665a\u4e0a\u597d|\u65e9\u5b89|\u665a\u5b89|\u8c22\u8c22\u4f60?|\u518d\u89c1|\u60a8\u597d"
    r"|\u6ca1\u5173\u7cfb)[\s,.!\u3002\uff0c\uff01]*)+",
    re.IGNORECASE,
)


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return _stemmer()(word)


@lru_cache(maxsize=1)
def _stemmer() -> Callable[[str], str]:
    import snowballstemmer

    stem: Callable[[str], str] = snowballstemmer.stemmer("english").stemWord
    return stem


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Terms in order, each with whether it is a bigram or word (True) or a lone CJK character (False)."""
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    for cjk, word in _TOKEN.findall(folded):
        if cjk:
            for char in cjk:
                yield char, len(cjk) == 1
            for start in range(len(cjk) - 1):
                yield cjk[start : start + 2], True
        else:
            if "'" in word or "\u2019" in word:  # few words have one, and this is the innermost loop
                word = _SUFFIX.sub("", word.replace("\u2019", "'"))
            if word not in _STOP:
                word = word[:MAX_TERM_CHARS]
                yield (_stem(word) if word.isascii() and word.isalpha() else word), True


def unit_terms(text: str, *, actor_id: str | None = None, time: Micros | None = None) -> Counter[str]:
    """Term frequencies under which a text is found, its speaker and date included.

    Deterministic in its arguments, so that a store can take a unit's terms out again.
    """
    if actor_id is not None:
        text = f"{actor_id}: {text}"
    counts = Counter(term for term, _ in _tokens(text))
    if time is not None:
        day = datetime.fromtimestamp(time // 1_000_000, UTC)
        counts.update((_stem(_MONTHS[day.month - 1]), str(day.day), str(day.year)))
    return counts


def query_terms(text: str) -> tuple[str, ...]:
    """Distinct terms of a question in order of appearance, at most 64."""
    seen: dict[str, None] = {}
    for term, whole in _tokens(text):
        if whole:
            seen.setdefault(term)
            if len(seen) == MAX_QUERY_TERMS:
                break
    return tuple(seen)


def normalise(text: str) -> str:
    """What two texts share if they say the same, word for word: NFKC, spaces, final stops.

    Case counts: it may be all that tells two names or passwords apart.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split()).rstrip(".!\u3002\uff01 ")


def text_key(text: str) -> bytes:
    """16 bytes that are equal for texts which ``normalise`` makes equal."""
    return hashlib.blake2b(normalise(text).encode("utf-8"), digest_size=16).digest()


def text_flags(text: str) -> int:
    """What kind of utterance it is, 0 for a plain statement.

    ``FLAG_QUESTION`` if it only asks, ``FLAG_ASKS`` if it states something and then asks,
    ``FLAG_SMALLTALK`` for greetings.
    """
    stripped = text.strip()
    if len(stripped) <= 80 and _SMALLTALK.fullmatch(stripped):
        return FLAG_SMALLTALK
    if _QUESTION_END.search(stripped):
        sentences = [s for s in _SENTENCE.findall(stripped) if s.strip()]
        if all(_QUESTION_END.search(s) or _SMALLTALK.fullmatch(s.strip()) for s in sentences):
            return FLAG_QUESTION
        return FLAG_ASKS
    return FLAG_QUESTION if _BARE_QUESTION.fullmatch(stripped) else 0


def estimate_tokens(text: str) -> int:
    """Tokens of a text, roughly: one per four characters, one per Chinese, Japanese or Korean one."""
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide + (len(text) - wide + 3) // 4
