"""Whether two texts say the opposite of each other about the same thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True, slots=True)
class Clause:
    """Words with whether they are denied.

    Attributes:
        words: Stems (CJK: characters) of what has a meaning of its own; True: denied.
        firm: Words right after a denial that is about nothing else: "without milk", "not Bergen", "不抽烟".
        soft: What it says of them is neither a plain yes nor a plain no.
    """

    words: dict[str, bool]
    firm: tuple[frozenset[str], ...]
    soft: bool
    asks: bool


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
    begin, carried, last_mark = 0, False, ""
    for place in range(len(found) + 1):
        token = found[place] if place < len(found) else None
        if token is not None and token.text not in _CLAUSES and token.key not in _TURNS:
            continue
        part = found[begin:place]
        if part:
            asks = token is not None and token.text in "?\uff1f"
            short = len(part) <= 2 or part[0].key in _CARRIES
            carry = carried and short and last_mark in (",", "\u3001", "\uff0c")
            clause, denied = _clause(part, harmless, carry, asks)
            carried = denied
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


def _clause(part: Sequence[Token], harmless: set[int], carried: bool, asks: bool) -> tuple[Clause, bool]:
    words: dict[str, bool] = {}
    spoken = " ".join(token.key for token in part)
    over = _USED_TO.search(spoken) is not None
    soft = any(t.key in _SOFT and not (over and t.key in _SURELY) for t in part)
    soft = soft or ("used to" in spoken)
    joined = "".join(token.text for token in part if token.wide)
    soft = soft or _WIDE_SOFT.search(joined) is not None
    whole = any(t.key in _DENIES_ALL and t.start not in harmless for t in part)
    denied, firm = carried, list[list[str]]()
    waits = 0  # how many more words the latest denial is about for sure
    for place, token in enumerate(part):
        if token.start in harmless:
            continue
        key = token.key.replace("'", "")
        if token.wide:
            if _WIDE_DENIES.match(joined_from(part, place)):
                denied, waits = True, 2
                firm.append([])
            if token.text in _WIDE_EMPTY:
                continue
            word, told = token.text, denied
        elif token.word:
            if key in _DENIES or key in _DENIES_ALL or token.key.endswith("n't"):
                denied = True
                if (place == 0 or key in _DENIES_NOUN) and not over:
                    waits = 1
                    firm.append([])
                continue
            if key in _EMPTY:
                continue
            word, told = stem(token.key), denied or whole
        else:
            continue
        words[word] = told
        if waits:
            firm[-1].append(word)
            waits -= 1
    sure = tuple(frozenset(words_after) for words_after in firm if words_after)
    return Clause(words, sure, soft, asks), denied or whole


def joined_from(part: Sequence[Token], place: int) -> str:
    """The characters of the next two tokens, as one text."""
    return "".join(token.text for token in part[place : place + 2])


class Polarity:
    """What a set of texts says and denies, asked about a statement."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.denied: set[str] = set()
        self._together: list[Clause] = []

    def take(self, clauses: Sequence[Clause], *, question: bool | None = None) -> None:
        """Add a text's clauses.

        Args:
            question: For a text that was asked: whether the answer was yes. None: what it asks says nothing.
        """
        for clause in clauses:
            if clause.asks or question is not None:
                if question is None:
                    continue
                clause = Clause(dict.fromkeys(clause.words, not question), (), clause.soft, False)
            for word, denied in clause.words.items():
                if clause.soft or not denied:
                    self.said.add(word)
                if clause.soft or denied:
                    self.denied.add(word)
            self._together.append(clause)

    def contradicts(self, statement: Sequence[Clause], names: frozenset[str]) -> str | None:
        """What the texts deny while the statement says it, or the other way round; None if nothing."""
        for clause in statement:
            if clause.soft or clause.asks:
                continue
            words = {word: denied for word, denied in clause.words.items() if word not in names}
            opposed = [
                word
                for word, denied in words.items()
                if (word in self.said if denied else word in self.denied)
                and word not in (self.denied if denied else self.said)
            ]
            agreed = [
                word for word, denied in words.items() if word in (self.denied if denied else self.said)
            ]
            if not opposed or not self._in_one(opposed):
                continue
            wide = any(word > "\u2e80" for word in opposed)
            most = len(opposed) >= 0.75 * len(words) if wide else len(opposed) >= min(2, len(words))
            if (most and len(opposed) > len(agreed)) or self._firmly(opposed):
                return " ".join(opposed[:4])
        return None

    def _firmly(self, opposed: Sequence[str]) -> bool:
        """Whether what is opposed was denied by itself."""
        return any(
            firm <= set(opposed) for clause in self._together if not clause.soft for firm in clause.firm
        )

    def _in_one(self, opposed: Sequence[str]) -> bool:
        """Whether at least two of the words, or the only one, stand in one clause."""
        need = min(2, len(opposed))
        return any(sum(word in clause.words for word in opposed) >= need for clause in self._together)
