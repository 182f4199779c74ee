"""Names in a statement, and whether a text mentions them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from .dates import CALENDAR
from .lazy import lazy
from .words import CJK, Token

#: Capitalised without being anybody's name, or referring to the speaker.
_NO_NAMES: Final = frozenset(
    (
        "i i'm i've i'd i'll user users speaker he she it they we you the a an this that these those "
        "there here "
        "his her its their our my your who what when where why how and but or so if as at by for from in "
        "of on "
        "to with no not yes mr mrs ms dr prof sir madam god mom dad mum mama papa ok "
        "usuario usuaria el la los las un una ella ellos su sus mi mis yo se le lo me y o pero si no que "
        "en de "
        "con por para del al sr sra don dona "
        "benutzer benutzerin nutzer nutzerin er sie es wir ihr ich der die das ein eine mein meine sein "
        "seine "
        "ihre herr frau am im um und oder aber wenn bei mit"
    ).split()
)
#: A dot behind one of these ends no sentence.
_TITLES: Final = frozenset("dr mr mrs ms prof st sr sra jr hr fr dra".split())
#: What only a person, or something treated like one, does: a word before it is taken for a name.
_ACTS: Final = frozenset(
    (
        "is was has had lives lived works worked likes liked loves loved hates hated wants wanted moved "
        "plays played prefers "
        "enjoys met married studies studied speaks drinks eats bought owns adopted "
        "es fue tiene tuvo cumplio nacio "
        "vive vivia trabaja trabajo ama odia quiere prefiere juega estudia habla bebe come compro adopto "
        "ist war hat hatte heisst "
        "wohnt lebt arbeitet mag liebt hasst mochte trinkt isst spielt studiert spricht kauft heiratet zog"
    ).split()
)
#: Nouns that do so without being names.
_KIN: Final = frozenset(
    (
        "wife husband mother father sister brother son daughter friend boss partner girlfriend boyfriend "
        "dog cat "
        "cousin aunt uncle grandmother grandfather neighbor neighbour colleague roommate family child "
        "children "
        "kids team company everyone everybody nobody someone client customer patient team "
        "mujer marido esposa esposo madre padre hermana hermano hijo hija amigo amiga jefe novia novio "
        "perro gato "
        "sohn tochter mutter vater schwester bruder mann freund freundin chef hund katze oma opa kind "
        "familie "
        "name age birthday job work hobby hobbies pet pets favorite favourite email phone number address "
        "home house "
        "car hometown salary rent income height weight blood nombre edad cumpleanos trabajo casa coche "
        "telefono "
        "correo direccion alter geburtstag arbeit wohnung auto hobby haustier lieblingsessen telefonnummer "
        "currently still usually also now recently formerly previously actualmente tambien derzeit aktuell"
    ).split()
)
#: German nouns that follow a preposition without being names.
_GERMAN_NOUNS: Final = frozenset(
    (
        "rente urlaub arbeit zucker milch schule beruf hause haus stadt nahe familie freunden kindern "
        "frau mann "
        "beziehung ordnung zukunft zeit bett kaffee tee wasser sport musik freude angst hilfe geld kind "
        "regen sonne wetter land dorf berge bergen meer see wald garten buro homeoffice teilzeit vollzeit "
        "rad "
        "fahrrad auto zug bus bahn flugzeug fuss montag hund katze holz kollegen eltern mutter vater bruder "
        "schwester sohn tochter partner partnerin freund freundin essen abendessen fruhstuck mittag abend "
        "morgen woche jahr jahren monat tagen"
    ).split()
)
_GERMAN_ENDINGS: Final = (
    "ung",
    "heit",
    "keit",
    "schaft",
    "tion",
    "tat",
    "ment",
    "chen",
    "ismus",
    "ium",
    "nis",
)
_BEFORE_GERMAN_NAMES: Final = frozenset("in aus nach bei von mit heisst namens genannt heissen".split())
_INFLECTION: Final = frozenset(("s", "es", "er", "ers", "in", "ns"))
#: Endings of words for people and languages of a place.
_OF_A_PLACE: Final = re.compile(r"(?:an|ian|ish|ese|isch\w{0,2}|nol|nola|esa|ense|ano|i|er|erin)$")


def names_in(found: Sequence[Token], language: str) -> list[list[Token]]:
    """The names of a statement: runs of capitalised words that are likely nobody's common noun."""
    names: list[list[Token]] = []
    run: list[Token] = []
    for place, token in enumerate(found):
        if _may_be_name(found, place, language):
            run.append(token)
        elif run:
            names.append(run)
            run = []
    return [*names, run] if run else names


def _may_be_name(found: Sequence[Token], place: int, language: str) -> bool:
    token = found[place]
    if not token.capital or token.key in _NO_NAMES or token.key in CALENDAR:
        return False
    key = token.key.removesuffix("'s")
    following = found[place + 1] if place + 1 < len(found) else None
    begins = place == 0 or found[place - 1].text in '.!?:;\u2022-"\n\u00ab\u201c\u201e\u00bf\u00a1'
    if place > 1 and found[place - 1].text == "." and found[place - 2].key in _TITLES:
        return True
    if begins:
        if key in _KIN or key in _GERMAN_NOUNS or following is None:
            return False
        return "'s" in token.text or following.key in _ACTS or (following.capital and language != "de")
    if language != "de" or (len(token.text) > 1 and token.text.isupper()):
        return True
    if key in _GERMAN_NOUNS or key.endswith(_GERMAN_ENDINGS):
        return False
    before = found[place - 1].key
    return before in _BEFORE_GERMAN_NAMES and not (following is not None and following.text == "-")


class Mentions:
    """The words of a text, as ``keys_in`` gives them, asked for names."""

    def __init__(self, found: Iterable[str]) -> None:
        self._words = list(found)
        self.keys = frozenset([key.removesuffix("'s") for key in self._words])
        self._asked: dict[str, bool] = {}  # the facts of a batch are about few names

    def has(self, name: Token) -> bool:
        """Whether one word of a name occurs, in whatever inflection."""
        if not self.keys:
            return False
        found = self._asked.get(name.text)
        if found is None:
            found = self._asked[name.text] = self._has(name)
        return found

    def _has(self, name: Token) -> bool:
        key = name.key.removesuffix("'s").rstrip("'")
        if key in self.keys:
            return True
        plain = key.replace("'", "").replace(".", "")
        if plain in self.keys:
            return True
        for ending in _INFLECTION:
            if (
                key.endswith(ending) and len(key) - len(ending) >= 3 and key[: -len(ending)] in self.keys
            ) or (len(key) >= 3 and key + ending in self.keys):
                return True
        if name.text.isupper() and 2 <= len(name.text) <= 6 and plain in self._initials:
            return True
        return self._of_the_place(key) or self._spelled_apart(plain)

    @lazy
    def _initials(self) -> str:
        return "".join([key[0] for key in self._words])

    @lazy
    def _joined(self) -> str:
        return "".join(self._words).replace("'", "")

    @lazy
    def _beginnings(self) -> str:
        """All words, each behind a mark, so that one look tells whether any begins in some way."""
        return "\0" + "\0".join(self.keys)

    def _of_the_place(self, key: str) -> bool:
        """Italian and Italy, Spaniard and Spain: what is left without their endings is the same."""
        if len(key) < 5:
            return False
        root = key[: max(4, len(key) - 3)]
        if "\0" + root not in self._beginnings:
            return False
        mine = _OF_A_PLACE.search(key) is not None
        return any(
            len(other) - len(root) <= 4
            and other.startswith(root)
            and (mine or _OF_A_PLACE.search(other) is not None)
            for other in self.keys
        )

    def _spelled_apart(self, plain: str) -> bool:
        """Git Hub for GitHub, also inside of addresses and handles."""
        if len(plain) < 5:
            return False
        return plain in self._joined


def initials(run: Sequence[Token]) -> str:
    """The first letters of a name's words."""
    return "".join(token.key[0] for token in run)


_SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文小老阿"
)
_WIDE_PATTERNS: Final = (
    re.compile(rf"^([{_SURNAMES}][{CJK}]{{1,2}}?)(?:住|喜欢|是|有|在|叫|养|会|想|不|对|搬|去|的|来自|每|爱|今)"),
    re.compile(
        rf"(?:住在|来自|搬到了?|搬去了?|搬家到|出生在|出生于|名叫|叫做|叫|飞往|前往|在)([{CJK}]{{2,4}}?)"
        r"(?=的|了|工作|上班|上学|读|任职|出生|长大|旅|度|买|开|住|[，。,.；;！!、 ]|$)"
    ),
)  # fmt: skip
_NO_WIDE_NAMES: Final = re.compile(
    r"家|公司|医院|学校|大学|这里|那里|用户|我们|他们|小时|附近|外面|一起|自己|一家|一个|银行|老师|老板|小孩|孩子|老婆|老公|常常|"
    r"现在|目前|周末|晚上|早上|国外|当地|城市"
)


def wide_names(text: str) -> list[str]:
    """Names in a Chinese statement: who it begins with, and where somebody lives, works, or comes from."""
    found: list[str] = []
    for pattern in _WIDE_PATTERNS:
        found += [match[1] for match in pattern.finditer(text) if not _NO_WIDE_NAMES.search(match[1])]
    return found
