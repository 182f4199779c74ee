"""What keeps two statements apart whose words are much the same. Pure.

Words of English, German, Spanish and Chinese. It only ever tells statements apart: where it finds nothing,
they may still say different things.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .grounding.evidence import Claim
from .grounding.words import stem

#: What somebody wants, plans or will do is not done.
_PLANS: Final = re.compile(
    r"\b(?:plans?|planned|planning|intends?|wants?|would like|hopes?|wishes|will|going to|about to|might"
    r"|considers|considering|thinks of|thinking (?:of|about)|dreams of"
    r"|plant|möchten?|wird|werden|vorhat|hat vor|hofft|überlegt|wünscht"
    r"|planea|planean|piensa|quiere|quisiera|va a|van a|espera)\b|打算|计划|想要|想去|准备|希望|将要",
    re.IGNORECASE,
)
#: What somebody hates, has given up or lost is not liked, done or had.
_AGAINST: Final = re.compile(
    r"\b(?:hates?|hated|dislikes?|disliked|avoids?|detests?|refuses?|refused|lacks?|former|formerly|used to"
    r"|any ?more|no longer|stop(?:s|ped)?|quit|gave up|given up|cancel(?:s|l?ed)?|sold|lost|failed|ended|died"
    r"|dead|divorced|separated|broke up|resigned|fired"
    r"|left(?!-| (?:hand|side|arm|leg|knee|foot|eye|ear)))\b"
    r"|\b(?:hasst|vermeidet|verabscheut|früher|ehemalige?r?|aufgehört|abgesagt|gekündigt|verkauft|verkaufte|verlor"
    r"|verloren|geschieden|getrennt|gestorben|odia|detesta|evita|dejó|canceló|vendió|perdió|murió|divorciad[oa]"
    r"|ya no)\b|讨厌|避免|戒|停|取消|放弃|辞|不再|卖|离婚|死|去世",
    re.IGNORECASE,
)
_PAST: Final = frozenset("was were had war waren hatte hatten era eran fue tenia tuvo".split())
_PRESENT: Final = frozenset("is are has have ist sind hat haben es son tiene tienen".split())
#: What either side does to the other.
_MUTUAL: Final = frozenset(
    "with and mit und con y like married engaged related friends siblings cousins neighbours neighbors "
    "verheiratet verlobt befreundet verwandt casado casada amigos amigas 和 与 跟 同".split()
)
_BY: Final = frozenset("by von por 被".split())
_WHERE: Final = frozenset("where who whom what which wo wer was donde quien".split())
#: What is somebody's so that its name says where they live or work, what they drive or speak.
_NAMED_FOR: Final = frozenset(
    "home hometown residence town city country birthplace birthday birthdate employer company workplace "
    "school university bank car tongue language".split()
)
#: What tells little more than the words beside it.
_PALE: Final = frozenset(map(stem, "als gern gerne named called namens heisst currently".split()))


def apart(one: Claim, other: Claim, *, similar: bool) -> bool:
    """Whether two statements differ in who does what to whom, in whose it is, or in whether it is so yet.

    Args:
        similar: Their embeddings are as close as those of two wordings of one thing.
    """
    if one.may_deny != other.may_deny or _over(one, other):
        return True
    if one.dates.weekdays and other.dates.weekdays and one.dates.weekdays.isdisjoint(other.dates.weekdays):
        return True
    if any(bool(words.search(one.text)) != bool(words.search(other.text)) for words in (_PLANS, _AGAINST)):
        return True
    return _swapped(one, other) or _of_another(one, other, similar=similar)


def content(claim: Claim) -> frozenset[str]:
    """The stems of a statement's words, of Chinese its characters, without those that any statement has."""
    return frozenset(word for clause in claim.clauses for word in clause.words)


def shares_content(one: Claim, other: Claim, whom: frozenset[str]) -> bool:
    """Whether the other statement holds half of what one says.

    Of Chinese it is two thirds of the characters behind those that both begin with.

    Args:
        whom: Stems that do not count.
    """
    said, told = content(one), content(other)
    if one.language == "zh":
        begins = next((n for n, (a, b) in enumerate(zip(one.text, other.text, strict=False)) if a != b), 0)
        said -= frozenset(one.text[:begins])
        return bool(said) and 3 * len(said & told) >= 2 * len(said)
    said -= whom | _PALE
    return bool(said) and 2 * len(said & told) >= len(said)


def end_alike(one: Claim, other: Claim) -> bool:
    """Whether the last word of either is in the other, or a number in both.

    What somebody likes, plays or is comes last: "likes tea" and "likes coffee" share what tells least.
    """
    counted, beside = ({v for number in claim.numbers for v in number.values} for claim in (one, other))
    if counted & beside:
        return True
    return _last_in(one, other) or _last_in(other, one)


def _last_in(claim: Claim, other: Claim) -> bool:
    keys = _keys(claim)
    if not keys or keys[-1] in _keys(other):
        return bool(keys)
    words = [word for clause in claim.clauses for word in clause.words]
    return bool(words) and any(word.startswith(words[-1]) for word in content(other))


def one_day(one: Claim, other: Claim) -> bool:
    """Whether both name one and the same day, with its year."""
    first, second = (
        {
            (date.year, date.month, date.day)
            for date in claim.dates.partials
            if None not in (date.year, date.day)
        }
        for claim in (one, other)
    )
    return bool(first & second)


def only_names_differ(one: Claim, other: Claim) -> bool:
    """Whether one says of the same person all that the other says, maybe with other names in it.

    "Kai lives in Oslo with Eva", "Kai lives in Rome with Eva".
    """
    if not (one.tokens and other.tokens) or _bare(one.tokens[0].key) != _bare(other.tokens[0].key):
        return False
    names = {stem(token.key) for run in other.names for token in run}
    return content(other) - names <= content(one) and not apart(one, other, similar=False)


def _over(one: Claim, other: Claim) -> bool:
    """Whether the same words are said of the past and of the present."""
    first, second = _keys(one), _keys(other)
    if content(one) != content(other):
        return False
    return any(
        not _PAST.isdisjoint(past) and not _PRESENT.isdisjoint(now) and _PAST.isdisjoint(now)
        for past, now in ((first, second), (second, first))
    )


def _keys(claim: Claim) -> list[str]:
    return [token.key for token in claim.tokens if token.word or token.wide]


def _bare(key: str) -> str:
    return key.removesuffix("'s")


def _swapped(one: Claim, other: Claim) -> bool:
    """Whether two names have changed places: "Kai likes Eva", "Eva likes Kai"."""
    first, second = _keys(one), _keys(other)
    if sorted(first) == sorted(second) and "zh" in (one.language, other.language):
        return first != second and _MUTUAL.isdisjoint(first) and _names_moved(one, other)
    names = {_bare(token.key) for claim in (one, other) for run in claim.names for token in run}
    order = [[_bare(key) for key in keys if _bare(key) in names] for keys in (first, second)]
    both = set(order[0]) & set(order[1])
    order = [list(dict.fromkeys(name for name in row if name in both)) for row in order]
    if len(both) < 2 or order[0] == order[1]:
        return False
    owners = [
        {_bare(key) for key in keys if key.endswith("'s") and _bare(key) in both} for keys in (first, second)
    ]
    if owners[0] or owners[1]:
        return bool(owners[0] and owners[1]) and owners[0] != owners[1]
    if _bare(first[0]) not in both or _bare(second[0]) not in both:
        return False  # "In Bern lives Kai": no name that stands before tells who it is about
    if not (_MUTUAL.isdisjoint(first) and _MUTUAL.isdisjoint(second)):
        return False
    if _BY.isdisjoint(first) != _BY.isdisjoint(second) or _WHERE & {*first[1:3], *second[1:3]}:
        return False
    stems = frozenset(map(stem, both))
    said, told = content(one) - stems, content(other) - stems
    return bool(said) and 2 * len(said & told) >= len(said)


def _names_moved(one: Claim, other: Claim) -> bool:
    """Whether two Chinese names stand in another order."""
    names = {name for name in (*one.wide_names, *other.wide_names) if name in one.text and name in other.text}
    return len(names) > 1 and sorted(names, key=one.text.index) != sorted(names, key=other.text.index)


def _of_another(one: Claim, other: Claim, *, similar: bool) -> bool:
    """Whether one is about what belongs to somebody, and the other about something else of theirs.

    "Kai's home is Bern" says where Kai lives; "Kai's mother is German" says nothing of Kai.
    """
    first, second = _owned(one), _owned(other)
    if first is None and second is None:
        return False
    if first is not None and second is not None:
        return stem(first) != stem(second) and not similar
    claim, beside, owned = (one, other, first) if first is not None else (other, one, second)
    assert owned is not None
    if stem(owned) in content(beside):
        return False
    follows = _keys(claim)[2:3]
    if not follows or follows[0] not in ("is", "was", "are", "were"):
        return True
    return not (similar or owned in _NAMED_FOR)


def _owned(claim: Claim) -> str | None:
    """What the name that it begins with has: "home" of "Kai's home is Bern"."""
    keys = _keys(claim)
    begins = claim.names and claim.tokens[0].start == claim.names[0][0].start
    return keys[1] if begins and len(keys) > 1 and keys[0].endswith("'s") else None


def same_person(beginning: Sequence[str], other: Claim) -> bool:
    """Whether a statement may be about the one whom another begins with: it names them, or nobody."""
    told = {_bare(key) for key in _keys(other)}
    return not other.names or all(_bare(key) in told for key in beginning)
