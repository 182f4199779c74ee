"""By what names speakers introduce themselves: "I'm Ana", not "I'm Ana's brother". Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .words import CJK, fold

#: What stands in quotation marks, or in lines that a mail program quotes, are mostly another's words.
_QUOTED: Final = re.compile(
    r"\"[^\"\n]*\"|\u201c[^\u201c\u201d\n]*\u201d|\u201e[^\u201c-\u201e\n]*[\u201c\u201d]"
    r"|\u00ab[^\u00ab\u00bb\n]*\u00bb|\u300c[^\u300c\u300d\n]*\u300d|^>[^\n]*",
    re.MULTILINE,
)
#: Lines of a pasted conversation: "Ana: hi".
_LABELLED: Final = re.compile(r"^[^\W\d_][\w .]{0,30}: [^\n]*", re.MULTILINE)
#: What a name follows.
_OPENS: Final = re.compile(
    r"\b(?:(?:i'm|i am)(?: called| named)?|my (?:full |first |real )?name(?:'s| is)|(?:the )?name's"
    r"|calls? me|i go by|soy|me (?:llamo|llaman|dicen)|mi nombre es|ll[aá]m[ae](?:n)?me"
    r"|(?:te|le|les|os) habla|ich (?:bin|hei(?:ß|ss)e)|ich bin(?:'s| es),|it's me,|soy yo,"
    r"|mein name (?:ist|lautet)|nennt? mich|nennen sie mich|(?P<weak>this is|hier (?:ist|spricht)|aqu[ií])) ",
    re.IGNORECASE,
)
_WORD: Final = re.compile(rf"[^\W\d_{CJK}][^\W_{CJK}]*(?:['-][^\W_{CJK}]+)*'?")
#: The other way round: "Robert here".
_NAMED_FIRST: Final = re.compile(
    r"(?:^|[.!?\n]|\b(?:hi|hello|hey|hola|hallo|morning|afternoon|evening|all|everyone|zusammen|todos)\b)"
    r"[ ,!]{0,3}"
    rf"(?P<name>[^\W\d_{CJK}][^\W\d_{CJK}]{{0,39}}(?: [^\W\d_{CJK}]{{1,40}})?) "
    r"(?:here|speaking|hier|am apparat|por aqu[ií])(?= *(?:$|[.,!:;)\n]|-|(?:and|from|y|und|aus|vom) ))",
    re.IGNORECASE | re.MULTILINE,
)
_ENDS: Final = r"(?=$|[\s,.!;:、。~)]|今年|来自|住|在|是|吧|就|好了|啊|呀)"
_LATIN: Final = r"[A-Za-z\u00c0-\u024f'-]{0,39}"
_WIDE: Final = re.compile(
    rf"(?:我(?:名)?叫|我的名字(?:是|叫)|叫我|我是|这里是) ?"
    rf"([A-Za-z\u00c0-\u024f]{_LATIN}(?: [A-Z]{_LATIN}){{0,2}}|[{CJK}]{{1,4}}?){_ENDS}"
)
#: Before it, it is denied, supposed, or what somebody else says.
_NOT_SO: Final = re.compile(
    r"(?:\b(?:not|never|don't|dont|doesn't|didn't|can't|stop|no|nunca|nicht|nie|if|wenn|as if|thinks?|thought"
    r"|believes?|said|says|wrote|sagte?|schrieb|schreibt|dijo|dice|dicen|escribió|who|he|she|they all)"
    r"|别|不要|不|说|问|写|以为|如果|是不是)[ :,]*$",
    re.IGNORECASE,
)
_BEGINS: Final = re.compile(
    r"(?:^|[.!?,;:\n]\s*|\b(?:hi|hello|hey|hola|hallo|and|so|ok|y|und|also|but)\s+)$", re.IGNORECASE
)
#: After it, it is somebody else who is shown: "This is Ana, my sister".
_SHOWS: Final = re.compile(
    r"\s*[,:(-]?\s*(?:my|our|his|her|he|she|who|they|mi|mis|nuestr[oa]|ella|él|que|meine?|unsere?|sie|er|die|der)\b",
    re.IGNORECASE,
)
_DONE: Final = re.compile(
    r"\s*(?:$|[.,!;:)\n-]|\b(?:speaking|here|from|again|and|y|und|aus|vom|de|del)\b)", re.IGNORECASE
)
#: Whose: "Ana brother", "Anas Bruder", "Ana and Bob's mother".
_OWNS: Final = re.compile(
    rf"\s*(?:(?:&|and|und|y)\s*)?[^\W\d_{CJK}]{{1,40}}(?:'s|s')(?=\s)(?! (?:here|name))", re.IGNORECASE
)
_KIN: Final = frozenset(
    (
        "brother sister mother father mom mum dad wife husband son daughter friend boss partner girlfriend "
        "boyfriend roommate flatmate colleague neighbour neighbor cousin aunt uncle niece nephew grandma "
        "grandpa grandmother grandfather fiance fiancee assistant manager teacher doctor fan bro sis "
        "bruder schwester mutter vater mama papa mann frau ehemann ehefrau sohn tochter freund freundin "
        "chef chefin kollege kollegin nachbar nachbarin oma opa onkel tante nichte neffe cousin cousine "
        "partner partnerin verlobte verlobter mitbewohner mitbewohnerin enkel enkelin arzt lehrer lehrerin"
    ).split()
)
_JOINS: Final = frozenset("and y und from de del von van da di la el los las aus vom & i ich yo".split())
_MOST_WORDS: Final = 4


def introductions(text: str) -> Iterator[str]:
    """The names by which the speaker of a text in normal form introduces themselves, as they are written."""
    text = _QUOTED.sub(lambda m: m[0] if " " not in m[0] and "我" not in m[0] else "\n", text)
    if ": " in text and len(_LABELLED.findall(text)) > 1:
        text = _LABELLED.sub("", text)
    for opened in _OPENS.finditer(text):
        before, after = (
            text[max(0, opened.start() - 24) : opened.start()],
            text[opened.end() : opened.end() + 200],
        )
        if _NOT_SO.search(before):
            continue
        run, end = _run(after)
        rest = after[end:]
        if not run or rest.lstrip().startswith("?") or _OWNS.match(rest):
            continue
        if opened["weak"] and not (_BEGINS.search(before) and _DONE.match(rest) and not _SHOWS.match(rest)):
            continue
        yield run
    for named in _NAMED_FIRST.finditer(text):
        name = named["name"]
        if name[0].isupper() and not _SHOWS.match(text[named.end() : named.end() + 40]):
            yield name
    if not text.isascii():
        for named in _WIDE.finditer(text):
            if not _NOT_SO.search(text[max(0, named.start() - 8) : named.start()]):
                yield named[1]


def _run(text: str) -> tuple[str, int]:
    """The name a text begins with, "" if it is followed by what makes it somebody's, and where it ends."""
    words: list[str] = []
    end = place = 1 if text[:1] == '"' else 0
    while len(words) < _MOST_WORDS and (found := _WORD.match(text, place)) is not None:
        word = found[0]
        if fold(word) in _KIN and words:
            return "", end
        if words and (not word[0].isupper() or not words[0][0].isupper() or fold(word) in _JOINS):
            break
        if word.casefold().endswith(("'s", "'")):
            return "", end
        words.append(word)
        end = found.end()
        if text[end : end + 1] != " ":
            break
        place = end + 1
    return " ".join(words), end
