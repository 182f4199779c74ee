"""Short answers and the questions before them: whether a reply says yes or no, and whom a question asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .negation import may_deny
from .words import Token, wide

_DENYING_REPLY: Final = frozenset("no nope nah never nein nee nunca 不 没 未".split())
_ASSENTING_REPLY: Final = frozenset("yes yeah yep sure si ja klar right exactly correct 是 对 嗯 有".split())


def reply_polarity(found: Sequence[Token]) -> bool | None:
    """Whether a short answer says yes or no; None if neither."""
    for token in found[:3]:
        if token.key in _DENYING_REPLY:
            return False
        if token.key in _ASSENTING_REPLY:
            return True
    return None


_FILLERS: Final = (
    r"(?:(?:(?:oh|ah|(?:ha){2,}|lol|well|um|uh|hm+|mhm|hi|hello|hey|ok(?:ay)?|thank you"
    r"|thanks(?: for asking)?|pues|bueno|vale"
    r"|hola|ach|na|hallo|danke)(?![\w'-])|哦|啊|嗯|谢谢)[ ,.!，。！]*){0,3}"
)
#: A word that may begin any sentence answers only if it stands by itself: "Right.", not "right now".
_ENDS: Final = r"(?=\s*(?:$|[,.;:!)\n、。]))"
_AFFIRMS: Final = re.compile(
    rf"{_FILLERS}(?:(?:yes|yeah|yep|yup|sí|ja|jawohl|jep)\b|是的|对的|没错|当然|是啊|对啊|确实"
    r"|(?:y|👍|totally|right|correct|exactly|indeed|true|si claro"
    r"|(?:sure|of course|absolutely|definitely|certainly)"
    r"(?: (?:i|we) (?:do|am|are|did|have|was|were|will|can))?"
    r"|(?:that's|that is|you're|you are) (?:right|correct|true)"
    r"|(?:i|we|you|s?he|it|they) (?:do(?:es)?|am|is|are|did|have|has|was|were|will|can)"
    r"|si|claro(?: que s[ií])?|exacto|correcto|cierto|por supuesto|así es|eso es|es verdad"
    r"|(?:that |it )?sounds (?:good|great|right|fine|perfect)|no problem|perfect|fine (?:by|with) me"
    r"|uh-huh|aha|ok(?:ay)?|go ahead|please(?: do)?|you got it|that's me|i (?:guess|think|believe) so"
    r"|vale|aj[aá]|efectivamente|dale|adelante|por favor|jo|bitte(?: ja)?|mach das|gern(?:e)?|einverstanden"
    rf"|klar|genau|(?:das )?stimmt|richtig|natürlich|doch|是|对|有|嗯+|好的?|好啊|行|可以|是的呀){_ENDS})"
    rf"(?!\s*\?|[ ,]*(?:no|nah|nope|not|nein|nicht|不是|不|没有)(?:{_ENDS}| i\b))"
)
_REFUSES: Final = re.compile(
    rf"{_FILLERS}(?:(?:no|nope|nah|never|not (?:really|at all)|nein|nee|nö|nie|niemals|nunca|jam[aá]s"
    r"|para nada|qu[eé] va|不|没有|不是|不对|从来?不\w?)"
    rf"(?:{_ENDS}|(?= (?:i|ich|yo|not|we)\b))|(?:i|we) (?:do|am|did|have|was|are|were)(?: not|n't)\b)"
)
#: "You", as who does something.
_SUBJECT: Final = (
    r"\b(?i:you|du|t[úu](?= \w+[aeiáé]s\b)|tú|usted|eres|vos)\b|(?<=\w )Sie\b|^\W*Sie(?= (?:\w+en|sind)\b)"
    # Spanish verbs need no pronoun: "vives", "mudaste", "tenés".
    r"|¿(?i:(?:y|no|ya|todav[ií]a|a[úu]n|ahora|entonces|pero|tambi[eé]n|actualmente|as[ií] que"
    r"|es cierto que|te|se) ){0,3}(?i:\w{2,}(?:[aeiáéí]s|[ai]ste)|vas|has|das)\b"
    r"|[你您](?![的妈爸母父姐妹哥弟妻夫儿女朋老同邻])"
)
_SECOND_PERSON: Final = re.compile(
    rf"{_SUBJECT}|\b(?i:your|yours|dein\w{{0,2}}|dir|dich|tu|tus|te|ti)\b"
    r"|(?<=\w )(?:Ihnen|Ihre?[mnrs]?)\b|[你您]"
)
_YOU: Final = re.compile(_SUBJECT)
#: "Would you like …" offers something, and "did you know …" tells it; to note something is what may be asked.
_OFFERS: Final = re.compile(
    r"\b(?:(?:would|do) you (?:like|want)|m[öo]chtest du|quieres que|did you know|sab[ií]as que"
    r"|wusstest du|(?:shall|should) (?:i|we)|soll(?:en)? (?:ich|wir))\b|你知道|要(?:不要)?我|要[订帮]",
    re.IGNORECASE,
)
_NOTES: Final = re.compile(
    r"\b(?:note|remember|keep in mind|bear in mind|make a note|write down|save|store|forget|delete|remove"
    r"|merken?|speicher[en]|vergessen|l[öo]schen"
    r"|guarde|anote|recuerde|olvide|borre)\b|记|忘|¿(?:guardo|anoto|olvido|borro)",
    re.IGNORECASE,
)
#: Characters of such a word.
_AGAIN: Final = 4


#: "Still there, yes.": a yes at the end of a short answer.
_LATE: Final = re.compile(r"[^,.?!;\n]{1,40}, (?:yes|yeah|yep|yup|ja|sí)[ .!]*$")


def affirms(reply: str, question: str) -> bool:
    """Whether a text in normal form begins with a plain yes; "Find the right film" does not.

    In Chinese, a yes is also a word of the question that is said again: "吃" to "你吃肉吗?".
    """
    if _AFFIRMS.match(reply.casefold()) is not None or _LATE.match(reply.casefold()) is not None:
        return True
    said = re.split("[,，。!！;；]", reply, maxsplit=1)[0].strip(" .!~。的了啊呀")
    again = 0 < len(said) <= _AGAIN and wide(said) and said in question and "还是" not in question
    return again and not may_deny(said, ())


_CONFIRM: Final = re.compile(
    r"\W*(?:did i (?:get|understand) (?:that|this|it|you) (?:right|correctly)"
    r"|(?:(?:is(?:n't)?|was) (?:that|this|it|all that)(?: information)? )?(?:still |all )?"
    r"(?:so|right|correct|true|accurate|the case)(?: now)?|am i (?:right|correct|wrong)"
    r"|(?:shall|should) i (?:remember|note|save|store|keep) (?:that|this|it)|right|correct"
    r"|stimmt (?:das|es)(?: so| noch)?|ist das (?:so )?(?:richtig|korrekt)"
    r"|soll ich (?:mir )?das (?:merken|notieren|speichern)"
    r"|es correcto|es as[ií]|lo (?:guardo|anoto|recuerdo)|对吗|是吗|对吧|要我记住吗)\W*",
    re.IGNORECASE,
)


def asks_to_confirm(sentence: str) -> bool:
    """Whether a sentence asks no more than whether the one before it is right, or to be kept."""
    return _CONFIRM.fullmatch(sentence) is not None


def offers(text: str) -> bool:
    """Whether a part of a question in normal form offers or tells something, unless it is to note it."""
    return _OFFERS.search(text) is not None and _NOTES.search(text) is None


def in_second_person(part: str) -> bool:
    """Whether a part of a text speaks of its reader, or of what is theirs."""
    return _SECOND_PERSON.search(part) is not None


def is_second_person(part: str) -> bool:
    """Whether a part of a text says what its reader is or does."""
    return _YOU.search(part) is not None


def refuses(reply: str) -> bool:
    """Whether a text in normal form begins with a plain no; "No idea" does not."""
    return _REFUSES.match(reply.casefold()) is not None
