"""Of whom a slot is: the speaker, whatever a model calls them, or somebody the speaker tells of. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .. import analysis
from ..prompts import extract as prompts
from ..types import Message
from .grounding.evidence import Reading
from .grounding.words import folded_text, wide

#: How a model may call the speaker when it is asked whom a fact is about.
_SPEAKER: Final = frozenset(
    (
        *("", "user", "the user", "me", "i", "my", "myself", "self", "speaker", "the speaker"),
        *("usuario", "usuaria", "el usuario", "la usuaria", "yo", "ich", "selbst", "用户", "我", "本人"),
        *("benutzer", "der benutzer", "benutzerin", "die benutzerin"),
        *("nutzer", "der nutzer", "nutzerin", "die nutzerin"),
    )
)
_POSSESSIVE: Final = re.compile(r"['\u2019\u02bc](?:s\b)?\s*$")
_BRACKETS: Final = re.compile(r"^([^()]*?)\s*\(([^()]*)\)$")


def slot_key(
    slot: str,
    about: str,
    actor_id: str | None,
    *,
    cited: Sequence[Message] = (),
    shown: Sequence[Message] = (),
) -> str | None:
    """What can have one value at a time, and of whom; None if that is not clear, or no such thing.

    Who speaks has one key, by whatever name; of two people with one name, of whom one speaks and the other is
    spoken of, or of whom different people speak, each has an own one.

    Args:
        slot: One of ``prompts.extract.SLOTS``, else it is none.
        about: Whom a model says the fact is about; a fact about nobody by name is about its speaker.
        actor_id: Who speaks, None for the user.
        cited: What the fact rests on.
        shown: What else was said before or beside it.
    """
    attribute = analysis.normalise(slot).casefold().replace(" ", "_")
    if attribute not in prompts.SLOTS:
        return None
    subjects = _names(about)
    speakers = {message.actor_id for message in cited}
    if len(speakers) > 1:
        # One of several who speak may be meant by a name, never by "user".
        named = [one for one in speakers if one and _folded(one) in subjects]
        if len(named) != 1:
            return None
        return f"{attribute}\x1f{_folded(named[0])}"
    speaker = _folded(actor_id or "") or "user"
    if _is_speaker(subjects, speaker, actor_id, cited, shown):
        return f"{attribute}\x1f{speaker}"
    teller = "" if actor_id is None else f"{speaker}\x1f"
    return f"{attribute}\x1f{teller}{subjects[0]}"


def _folded(name: str) -> str:
    return _POSSESSIVE.sub("", analysis.normalise(name).casefold()).strip()


def _names(about: str) -> list[str]:
    """What somebody is called, in one form: "Ana's" is Ana, and "Ana (user)" is both."""
    parts = _BRACKETS.match(analysis.normalise(about))
    return [_folded(part) for part in (parts.groups() if parts else (about,))]


def _is_speaker(
    subjects: Sequence[str],
    speaker: str,
    actor_id: str | None,
    cited: Sequence[Message],
    shown: Sequence[Message],
) -> bool:
    if any(name in _SPEAKER for name in subjects):
        return True
    if actor_id is None:
        return False
    name = subjects[0]
    own = [one for one in (*shown, *cited) if one.actor_id == actor_id]
    if any(
        _short_for(folded_text(name), folded_text(given)) for one in own for given in Reading(one).own_names
    ):
        return True
    called = name == speaker or name in speaker.split()
    # Who says their own name speaks of somebody else who has it: "my son Tom".
    return called and not any(_mentions(one.content, name) for one in cited)


def _short_for(name: str, full: str) -> bool:
    """Whether a name is another, or its first word with any of the others."""
    parts, words = name.split(), full.split()
    return words[:1] == parts[:1] and set(parts) <= set(words)


def _mentions(text: str, name: str) -> bool:
    text = analysis.normalise(text).casefold()
    if wide(name):
        return name in text
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
