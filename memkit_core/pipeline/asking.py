"""Words and marks by which questions are read, and whom a fact is about: en, de, es, zh."""

from __future__ import annotations

import re
from typing import Final

from .. import analysis
from .grounding.words import stem

SENTENCE: Final = re.compile(rf"(?:[^.!?。！？\n]|{analysis.DOT_INSIDE})+[.!?。！？]*")
#: Whatever stands between the parts of a sentence, pictures and dashes among it.
PARTS: Final = re.compile(r"(?:\s[-–—]+\s|[^\w\s'’@/&%+$€.?¿-])+|(?=¿)")
#: A part that begins so tells something beside, and what follows such a word is not what is asked.
CLAUSE: Final = re.compile(
    r"\b(?:that|who|which|where|because|since|when|whether|if|as|now that"
    r"|dass|ob|weil|wo|wenn|que|quien|quienes|donde|porque|si)\b",
    re.IGNORECASE,
)
#: "Is it true that Lena moved?" and "Shall I forget that Lena moved?" ask what they take up.
TAKES_UP: Final = re.compile(
    r"^\W*(?:so |and |also |und |y )?"
    r"(?:is it (?:true|right|correct) that|stimmt es,? dass|¿?es (?:cierto|verdad) que"
    r"|(?:(?:shall|should|can|may) i|(?:do|would) you (?:want|like) me to|soll ich(?: mir)?"
    r"|¿?(?:quieres que)?)"
    r" ?(?:note|remember|keep in mind|bear in mind|make a note|write down|save|store|forget|delete|remove"
    r"|merken|notieren|speichern|vergessen|l[öo]schen"
    r"|guarde|guardo|anote|anoto|recuerde|olvide|olvido|borre|borro)"
    r",? ?(?:down )?(?:that|where|what|dass|wo|que|donde))\b",
    re.IGNORECASE,
)
#: "Is Lena the one who moved?" asks whether she moved.
CLEFT: Final = re.compile(r"\b(?:is|was) (?:the one|the person|the) (?:who|that) ")
TAG: Final = re.compile(
    r"\W*(?:(?:is (?:that|this|it)|am i) )?(?:(?:still )?(?:right|correct|true|the case))"
    r"|\W*(?:are|do|did|have|were|was|is|does|has|will|can)(?:n't)? (?:you|he|she|they|it|that)(?: not)?"
    r"|\W*(?:no|yes|or|oder|ja|nicht|nicht wahr|richtig|korrekt|stimmt(?:'s| das)?|gell|verdad|cierto"
    r"|correcto|habe ich das richtig verstanden|no es (?:así|cierto|verdad)|对吗|是吗|对吧|是吧|对不对|是不是"
    r"|没错吧)",
    re.IGNORECASE,
)
OTHERS: Final = frozenset(
    "she he they her his their er ella él ellos ellas su ihre ihr sein seine 他 她 他们 她们".split()
)
#: "Sie" in the middle of a German sentence is whoever is spoken to.
PRONOUN: Final = re.compile(
    r"\b(?:[Ss]he|[Hh]e|[Tt]hey|sie|[Ee]r|[Ee]lla|[Éé]l|[Ee]llos|[Ee]llas)\b|(?:^|[.!?] )Sie\b|[他她]"
)
USER: Final = frozenset(
    "user users speaker i ich yo benutzer benutzerin nutzer nutzerin usuario usuaria".split()
)
#: Who belongs to somebody.
KIN: Final = re.compile(
    r"\b(?:(?:grand|step)?(?:mother|father|son|daughter)s?|mom|mum|mama|mam[aá]|dad|papa|pap[aá]|parents?"
    r"|sisters?|brothers?|siblings?|wife|husband|spouse|partner|fianc[eé]e?|girlfriend|boyfriend|friends?"
    r"|uncle|aunt|cousins?|nephew|niece|child|children|kids?|boss|colleagues?|coworkers?|neighbou?rs?"
    r"|roommates?|mutter|vater|eltern|schwester|bruder|geschwister|(?:ehe)?frau|(?:ehe)?mann|sohn|tochter"
    r"|oma|opa|onkel|tante|freund(?:in)?|chef(?:in)?|kolleg(?:e|in)|nachbar(?:in)?|madre|padre|padres"
    r"|herman[oa]s?|espos[oa]|marido|mujer|hij[oa]s?|abuel[oa]|t[ií][oa]|prim[oa]|amig[oa]s?|novi[oa]"
    r"|jef[ea]|vecin[oa])\b|[妈爸母父姐妹哥弟妻夫儿]|女儿|朋友|老板|同事|邻居",
    re.IGNORECASE,
)
#: With one of these as its verb a fact is what "Do you want …?" asks, which is an offer otherwise.
WISH: Final = frozenset(
    stem(word) for word in ("want", "wants", "like", "likes", "love", "möchte", "will", "quiere")
)
#: "User's landlord Karl …": what somebody has.
OWNED: Final = re.compile(
    r"(?:the )?(?:user|speaker)'s \w|(?:der|die|das) \w+ (?:des|der) (?:be)?nutzer"
    r"|(?:el|la) \w+ (?:del|de la) usuari|用户的",
    re.IGNORECASE,
)
#: Who asks speaks of what they do themselves ("Shall I tell Tom …?"), unless it is to think so.
FIRST: Final = re.compile(r"\b(?:i|me|we|us|ich|mir|mich|wir|puedo|yo)\b|我", re.IGNORECASE)
THINKS: Final = re.compile(
    r"\b(?:i (?:think|believe|guess|suppose|remember|recall|understand|see|hear|heard)|am i)\b", re.IGNORECASE
)
#: A sentence that begins so asks for leave, whatever it says of others.
MAY_I: Final = re.compile(
    r"\W*(?:(?:can|may|could|shall|should) (?:i|we)|(?:kann|darf|soll) ich|puedo)\b", re.IGNORECASE
)
#: "And your husband, is he …?", "What about Lena - is she …?"
TOPIC: Final = re.compile(
    r"(?:(?:so|and|but|what about|how about|as for|und|was ist mit|y|qué hay de) )?"
    r"(?:(?:your|dein|deine|ihr|ihre|tu|su) )?[^\W\d]+",
    re.IGNORECASE,
)
#: German articles that stand for whom the part before names.
TOPICAL: Final = re.compile(r"\b(?:der|die)\b")
#: What a fact calls being somewhere: "Is Tom still at SAP?" asks whether he works there.
LIGHT: Final = frozenset(
    stem(word) for word in "work works live lives based arbeitet wohnt lebt trabaja vive".split()
)
IS: Final = re.compile(r"\b(?:is|are|'re|'s|ist|sind|bist|está|estás|sigue|sigues)\b", re.IGNORECASE)
#: Where another question may begin.
AND: Final = re.compile(r" (?:and|but|und|y) ")
#: Whom a question is about has so many words before it at most.
AHEAD: Final = 4
HAS: Final = frozenset("has have had is was are were hat hatte ist war tiene tenia es era".split())
#: A name behind one of these is where something is, not who it is about.
PREPOSITIONS: Final = frozenset(
    (
        "in at to from near on of with for by since as after before until about into seit nach von aus bei "
        "mit im am ab zu für en a de desde con para por hacia"
    ).split()
)
#: "Is your home in Oslo?" asks where its reader lives.
YOUR: Final = re.compile(
    r"\b(?:your|dein\w{0,2}|ihr\w{0,2}|tu|su)\s+(?:new |current |neue\w* |nuev[oa] )?(?:home|hometown"
    r"|residence|city|town|country|address|employer|company|job|school|phone|number|birthday|name|wohnort|adresse"
    r"|arbeitgeber|stadt|firma|casa|ciudad|direcci[oó]n|empresa|trabajo)\b",
    re.IGNORECASE,
)
VERBS_ZH: Final = re.compile(r"[住在搬去到来是有喜爱吃喝工做学养说会]")
NAME: Final = re.compile(r"[A-Z][^\W\d_]+(?: [A-Z][^\W\d_]+)*")
WORD: Final = re.compile(r"@?\w[\w'’-]*")
#: No names, though a fact may begin with them.
BEFORE_NAMES: Final = frozenset(
    "the der die das el la los las dr mr mrs ms prof frau herr señor señora sr sra don doña".split()
)
