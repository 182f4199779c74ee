"""Whether two texts say the opposite of each other about the same thing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .words import Token, fold, stem

#: After one of these what follows in the clause is denied.
_DENIES: Final = frozenset(
    (
        "not never neither nor cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt "
        "shouldnt "
        "havent hasnt hadnt nobody no without none aint "
        "nunca jamas ni ningun ninguna ninguno tampoco sin nadie nada "
        "kein keine keinen keinem keiner keines nie niemals weder ohne niemand"
    ).split()
)
#: After one of these the very next word is denied, whatever the rest of the clause says.
_DENIES_NOUN: Final = frozenset(
    "no without sin ohne kein keine keinen keinem keiner keines ningun ninguna".split()
)
#: German: the verb that is denied stands before.
_DENIES_ALL: Final = frozenset(("nicht", "nie", "niemals"))
#: With one of these in it, a clause says neither the one nor the other for sure.
_SOFT: Final = frozenset(
    (
        "avoid avoids avoiding avoided dislike dislikes disliked hate hates hated quit stop stopped stops "
        "gave give "
        "gives refuse refuses refused lack lacks unable former formerly anymore rarely seldom hardly "
        "barely unless "
        "until only just almost instead rather cancel cancelled canceled left leave lost free nothing "
        "sure know "
        "think used longer except fail failed fails deny denied unlikely intolerant if skip skips "
        "evita evito evitar odia odio detesta detesto dejo deje deja dejar antes solo hasta apenas casi "
        "cancelo "
        "todavia "
        "vermeidet vermeide hasst hasse fruher ehemalig ehemalige ehemaliger statt ungern kaum nur bis erst "
        "aufgehort noch fast wenn ausser"
    ).split()
)
_SURELY: Final = frozenset("longer anymore noch todavia used".split())
#: Whatever denies, in any of these ways.
_DENYING: Final = _DENIES | _DENIES_ALL
_HARMLESS: Final = re.compile(
    r"\bnot only\b|\bno doubt\b|\bwhy not\b|\bno problem\b|\bcan'?t wait\b|\bcannot wait\b|\bcan'?t help\b|"
    r"\bcouldn'?t (?:be|agree)\b|\bdo(?:es)?n'?t mind\b|\bnot just\b|\bif not\b|\bor not\b|\bno wonder\b|"
    r"\bnever (?:been )?(?:better|happier|more)\b|\bnot to mention\b|\bdon'?t forget\b|\bdon'?t worry\b|"
    r"\bno solo\b|\bsin duda\b|\bsin embargo\b|\bno obstante\b|\bnada mas\b|\bpor que no\b|\bno olvides\b|"
    r"\bnicht nur\b|\bnicht wahr\b|\bohne zweifel\b|\bnicht zuletzt\b|\bwarum nicht\b|\bnicht vergessen\b|"
    r"不错|不但|不仅|不只|不好意思|没关系|没问题|不同|差不多|不久|不过(?!敏)|不管|不少|不断|不得不|不如|了不起|对不起|是不是|有没有|要不要|"
    r"能不能|会不会|好不好|不一样|不论|不客气|离不开"
)
_USED_TO: Final = re.compile(
    r"\bused to\b|\bno longer\b|\bany ?more\b|\bya no\b|\bnicht mehr\b|\bkein\w* mehr\b|不再"
)
_WIDE_DENIES: Final = re.compile(r"没有|不再|从不|从未|从没|并非|不是|不能|不会|不要|没|不|未|无|别")
#: What all of those begin with; whatever is harmless has one of these, or a word that denies, in it.
_WIDE_BEGINNINGS: Final = frozenset("没不从并未无别")
_WIDE_SOFT: Final = re.compile(r"讨厌|避免|戒|以前|曾|停|才|只|如果|除了|几乎|取消|放弃|辞")
_WIDE_EMPTY: Final = frozenset(
    "我你您他她它们的了是在有和与很也都用户着过会能就还吗呢吧啊这那个说来到对再不没"
)
_EMPTY: Final = frozenset(
    (
        "a an the i you he she it we they me him her us them my your his its our their mine am is are was "
        "were be "
        "been being do does did have has had will would shall should can could may might must to of in on "
        "at by "
        "for from with about as and or if that this these those there here so very really too also any some "
        "user users who which what im ive id ill hes shes theyre youre weve dont doesnt didnt at all ever "
        "still "
        "el la los las un una unos unas y o que de en con por para a al del es son era fue ser estar esta "
        "estoy "
        "soy eres somos tiene tengo tienes tienen hay he ha han me te se le lo les nos su sus mi mis tu "
        "tus yo muy "
        "mas ya usuario usuaria ella ellos como si "
        "der die das den dem des ein eine einen einem einer eines und oder ich du er sie es wir ihr mir "
        "mich dir "
        "dich ihm ihn uns ist sind war waren bin bist hat habe hast haben hatte zu im am an auf mit bei "
        "von nach fur "
        "mein meine meinen sein seine seinen ihre ihren dass auch sehr so gar mehr benutzer benutzerin "
        "nutzer mal "
        "nicht kein keine keinen no not never nie"
    ).split()
)
_CLAUSES: Final = frozenset(".!?;:,\u3001\uff0c\u3002\uff01\uff1f\uff1b\uff1a()\u2014\u2013\n\u2026")
_TURNS: Final = frozenset(
    (
        "but although though however because since while whereas pero aunque porque mientras sino "
        "aber obwohl weil sondern doch"
    ).split()
)
_CARRIES: Final = frozenset("or nor ni o oder noch y e und and 或 和".split())
_JOINS: Final = frozenset("and y e und".split())
#: What begins with one of these has a verb of its own.
_PREDICATES: Final = frozenset(
    (
        "i we he she they it you there ich wir er sie es yo nosotros nosotras ella ellos ellas me nos "
        "am is are was were have has had do did will would can could "
        "bin ist sind war waren habe hat haben hatte hatten werde wird kann "
        "soy somos era estoy esta tengo tiene he ha voy va"
    ).split()
)
#: What begins with one of these goes on with what the verb before is about.
_PHRASES: Final = frozenset(
    (
        "a an the any some to in at on with for of from about by as "
        "ein eine einen einem einer der die das den dem des mit zu nach von fur auf bei "
        "un una unos unas el la los las de en con por para al del"
    ).split()
)
#: A plain no before one of these answers what was said before, and denies nothing of what follows.
_PLAIN_NO: Final = frozenset(("no", "nope", "nah"))
_SPEAKERS: Final = frozenset(("i", "we", "i'm", "i've", "we're", "we've", "my", "our"))
#: "a car and a bike of my own"
_PHRASE_WORDS: Final = 3


@dataclass(frozen=True, slots=True)
class Clause:
    """Words with whether they are denied.

    Attributes:
        words: Stems (CJK: characters) of what has a meaning of its own; True: denied.
        firm: Words right after a denial that is about nothing else: "without milk", "not Bergen", "不抽烟".
        soft: What it says of them is neither a plain yes nor a plain no.
        heads: The words that its denials are about for sure.
        loose: Words behind an "and" that share a denial only with one of its ``heads``: of "not married and
            live in Oslo" the last two are denied in "married in Oslo", and said in "lives in Oslo".
    """

    words: dict[str, bool]
    firm: tuple[frozenset[str], ...]
    soft: bool
    asks: bool
    heads: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()


def may_deny(text: str, keys: Iterable[str]) -> bool:
    """Whether there is a word in a text that can deny something; where there is none, nothing is denied.

    Args:
        text: In normal form.
        keys: What ``keys_in`` finds in it.
    """
    return (not text.isascii() and not _WIDE_BEGINNINGS.isdisjoint(text)) or any(
        key in _DENYING or ("'" in key and (key.endswith("n't") or key.replace("'", "") in _DENYING))
        for key in keys
    )


def clauses_of(text: str, found: Sequence[Token]) -> list[Clause]:
    """The clauses of a text in normal form."""
    harmless: set[int] = set()
    if may_deny(text, [token.key for token in found]):
        harmless.update(
            place for m in _HARMLESS.finditer(_same_length(text)) for place in range(m.start(), m.end())
        )
    clauses: list[Clause] = []
    begin, last_mark = 0, ""
    carried: frozenset[str] = frozenset()
    for place in range(len(found) + 1):
        token = found[place] if place < len(found) else None
        if token is not None and token.text not in _CLAUSES and token.key not in _TURNS:
            continue
        part = found[begin:place]
        if part:
            asks = token is not None and token.text in "?\uff1f"
            short = part[0].key in _CARRIES or all(
                sum(token.key not in _CARRIES for token in member) <= 2 for member in _members(part)
            )
            if not short or last_mark not in (",", "\u3001", "\uff0c"):
                carried = frozenset()
            clause, carried = _clause(part, harmless, carried, asks)
            clauses.append(clause)
        last_mark = token.text if token is not None else ""
        begin = place + 1 if token is not None and token.text in _CLAUSES else place
        if token is not None and token.key in _TURNS:
            begin = place + 1
    return clauses


def _same_length(text: str) -> str:
    """The text in lower case and without accents, each character in its place."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := fold(char)) == 1 else char for char in text)


def _clause(
    part: Sequence[Token], harmless: set[int], carried: frozenset[str], asks: bool
) -> tuple[Clause, frozenset[str]]:
    """A clause, and what a denial that goes on into the next one is about.

    Args:
        carried: What a denial is about that goes on from the clause before.
    """
    spoken = " ".join(token.key for token in part)
    over = _USED_TO.search(spoken) is not None
    soft = any(t.key in _SOFT and not (over and t.key in _SURELY) for t in part)
    soft = soft or ("used to" in spoken)
    joined = "".join(token.text for token in part if token.wide)
    soft = soft or _WIDE_SOFT.search(joined) is not None
    members = _members(part)
    # "Fleisch und Fisch nicht" denies both, "in Bonn und bin nicht verheiratet" the last alone.
    back = len(members) > 1 and _denies_all(members[-1], harmless) and not _predicate(members[-1])
    words: dict[str, bool] = {}
    firm: list[list[str]] = []
    heads, loose = set(carried), set[str]()
    denied, free = bool(carried), False
    for place, member in enumerate(members):
        free = denied and (place > 0 or part[0].key in _JOINS) and _predicate(member)
        whole = back or _denies_all(member, harmless)
        told, own = _told(member, harmless, over, firm)
        for word, denies in told:
            words[word] = denied or denies or whole
            if denies or whole or (denied and not free):
                heads.add(word)
            elif free:
                loose.add(word)
        denied, free = denied or own or whole, free and not (own or whole)
    sure = tuple(frozenset(words_after) for words_after in firm if words_after)
    clause = Clause(words, sure, soft, asks, frozenset(heads), frozenset(loose))
    return clause, clause.heads if denied and not free else frozenset()


def _members(part: Sequence[Token]) -> list[Sequence[Token]]:
    """What "and" joins in a clause."""
    members: list[Sequence[Token]] = []
    begin = 0
    for place, token in enumerate(part):
        after = part[place + 1].key if place + 1 < len(part) else ""
        if token.key in _JOINS or (token.key == "so" and after in _PREDICATES):
            members.append(part[begin:place])
            begin = place + 1
    members.append(part[begin:])
    return [member for member in members if member]


def _predicate(member: Sequence[Token]) -> bool:
    """Whether what follows an "and" may be a sentence but for its subject: "live in Oslo", not "milk"."""
    keys = [token.key for token in member if token.word]
    own = sum(key not in _EMPTY for key in keys)
    if not keys or any(token.wide for token in member):
        return False
    if keys[0] in _PREDICATES:
        return own > 0
    if keys[0] in _PHRASES and own <= _PHRASE_WORDS and _PREDICATES.isdisjoint(keys):
        return False
    # "high blood pressure" has no verb; what has one goes on with "in", "a" or the like.
    return own > 1 and not _PHRASES.isdisjoint(keys[1:])


def _denies_all(member: Sequence[Token], harmless: set[int]) -> bool:
    return any(token.key in _DENIES_ALL and token.start not in harmless for token in member)


def _told(
    member: Sequence[Token], harmless: set[int], over: bool, firm: list[list[str]]
) -> tuple[list[tuple[str, bool]], bool]:
    """The words of a member with whether something in it denies them, and whether anything in it denies."""
    told: list[tuple[str, bool]] = []
    denied = False
    waits = 0  # how many more words the latest denial is about for sure
    for place, token in enumerate(member):
        if token.start in harmless:
            continue
        key = token.key.replace("'", "")
        if token.wide:
            if _WIDE_DENIES.match(joined_from(member, place)):
                denied, waits = True, 2
                firm.append([])
            if token.text in _WIDE_EMPTY:
                continue
            word = token.text
        elif token.word:
            if key in _DENIES or key in _DENIES_ALL or token.key.endswith("n't"):
                if place == 0 and key in _PLAIN_NO and len(member) > 1 and member[1].key in _SPEAKERS:
                    continue  # "No I live in Oslo"
                denied = True
                if (place == 0 or key in _DENIES_NOUN) and not over:
                    waits = 1
                    firm.append([])
                continue
            if key in _EMPTY:
                continue
            word = stem(token.key)
        else:
            continue
        told.append((word, denied))
        if waits:
            firm[-1].append(word)
            waits -= 1
    return told, denied


def joined_from(part: Sequence[Token], place: int) -> str:
    """The characters of the next two tokens, as one text."""
    return "".join(token.text for token in part[place : place + 2])


class Polarity:
    """What a set of texts says and denies, asked about a statement."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.denied: set[str] = set()
        self._together: list[Clause] = []
        self._loose: list[Clause] = []

    def take(self, clauses: Sequence[Clause], *, question: bool | None = None) -> None:
        """Add a text's clauses.

        Args:
            question: For a text that was asked: whether the answer was yes. None: what it asks says nothing.
        """
        for clause in clauses:
            if clause.asks or question is not None:
                if question is None:
                    continue
                # "You no longer live in Oslo?" – "Yes." says the one, "Don't you live in Oslo?" the other.
                soft = clause.soft or any(clause.words.values())
                clause = Clause(dict.fromkeys(clause.words, not question), (), soft, False)
            for word, denied in clause.words.items():
                if clause.soft or not denied:
                    self.said.add(word)
                if clause.soft or (denied and (word in clause.heads or word not in clause.loose)):
                    self.denied.add(word)
            self._together.append(clause)
            if clause.loose and not clause.soft:
                self._loose.append(clause)

    def contradicts(self, statement: Sequence[Clause], names: frozenset[str]) -> str | None:
        """What the texts deny while the statement says it, or the other way round; None if nothing."""
        for clause in statement:
            if clause.soft or clause.asks:
                continue
            found = self._opposed(clause.words, names)
            if found and clause.loose:
                # It may as well mean: the ones not, but the others.
                surely = {word: True for word in clause.words if word in clause.heads}
                rather = dict.fromkeys(clause.loose, False)
                found = self._opposed(surely, names) or self._opposed(rather, names)
            if found:
                return " ".join(found[:4])
        return None

    def _opposed(self, told: dict[str, bool], names: frozenset[str]) -> list[str]:
        """The words that make a statement the opposite of what is said; empty if it is not."""
        words = {word: denied for word, denied in told.items() if word not in names}
        said, denies = self._shared(words)
        opposed = [
            word
            for word, denied in words.items()
            if (word in said if denied else word in denies) and word not in (denies if denied else said)
        ]
        agreed = [word for word, denied in words.items() if word in (denies if denied else said)]
        if not opposed or not self._in_one(opposed):
            return []
        wide = any(word > "\u2e80" for word in opposed)
        most = len(opposed) >= 0.75 * len(words) if wide else len(opposed) >= min(2, len(words))
        return opposed if (most and len(opposed) > len(agreed)) or self._firmly(opposed) else []

    def _shared(self, words: Collection[str]) -> tuple[set[str], set[str]]:
        """What is said and what is denied, to somebody who speaks of these words."""
        said, denied = self.said, self.denied
        for clause in self._loose:
            if (clause.heads - clause.loose).isdisjoint(words):
                said = said | clause.loose
            else:
                denied = denied | clause.loose
        return said, denied

    def _firmly(self, opposed: Sequence[str]) -> bool:
        """Whether what is opposed was denied by itself."""
        return any(
            firm <= set(opposed) for clause in self._together if not clause.soft for firm in clause.firm
        )

    def _in_one(self, opposed: Sequence[str]) -> bool:
        """Whether at least two of the words, or the only one, share a clause, or its denial."""
        need = min(2, len(opposed))
        return any(
            sum(word in clause.words or word in clause.heads for word in opposed) >= need
            for clause in self._together
        )
