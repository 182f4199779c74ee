"""Whether a memory says a fact already, as far as words tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .. import analysis
from ..protocols import UpdateMemory
from ..types import Fact, MemoryRecord, Message, Micros, Scope
from .grounding.check import unheard
from .grounding.evidence import Claim, Readings
from .grounding.words import Token, stem
from .likeness import apart, end_alike, one_day, only_names_differ, same_person, shares_content

_PEOPLE = frozenset(("user", "speaker"))


def said_again(
    target: MemoryRecord, metadata: Mapping[str, object], expires_at: Micros | None
) -> UpdateMemory | None:
    """What a memory that is said again lacks: keys of metadata, and the time it is told to last for.

    None if it lacks nothing. No value of its metadata is replaced, and it does not expire sooner.
    """
    new = {key: value for key, value in metadata.items() if key not in target.metadata}
    longer = not lasts(target, expires_at)
    if not new and not longer:
        return None
    told = [f"with new metadata: {', '.join(new)}"] if new else []
    told += ["for longer"] if longer else []
    return UpdateMemory(
        memory_id=target.memory_id,
        expected_revision=target.revision,
        metadata={**target.metadata, **new} if new else None,
        valid_from=target.valid_from,
        expires_at=expires_at if longer else None,
        lasting=longer and expires_at is None,
        reason=f"said again, {', '.join(told)}",
    )


def lasts(memory: MemoryRecord, expires_at: Micros | None) -> bool:
    """Whether a memory is found as long as what is added now will be."""
    return not outlasts(expires_at, memory.expires_at)


def outlasts(one: Micros | None, other: Micros | None) -> bool:
    """Whether what expires at one time (None: never) is found for longer than what does at the other."""
    return other is not None and (one is None or one > other)


def is_narrower(memory: MemoryRecord, scope: Scope) -> bool:
    """Whether a memory is of an agent or a run that a scope does not name, though it sees it."""
    return (scope.agent_id, scope.run_id) != (memory.agent_id, memory.run_id)


def says(memory: MemoryRecord, fact: Fact, *, similar: bool = False) -> bool:
    """Whether a memory can be taken for saying a fact, if a model says so.

    It holds at least half of the fact's words beside the name that it begins with, and what one of the two
    ends with is in the other; or what they say is alike as a whole. It holds all its other names, its
    numbers and dates, and nothing keeps the two apart (``likeness``). Somebody else's words without any name
    are about somebody else.

    Args:
        similar: The embeddings of the two are as close as those of two wordings of one thing.
    """
    if analysis.text_key(memory.text) == analysis.text_key(fact.text):
        return True
    claim, other = Claim(fact.text), Claim(memory.text)
    if memory.actor_id != fact.actor_id and not (claim.names or claim.wide_names):
        return False
    beginning = [token.key for token in _beginning(claim)]
    similar = similar and "zh" not in (claim.language, other.language)
    # Two Chinese characters at a time, the terms of the keywords, hold more of a name than of what is said.
    shares = claim.language != "zh" and _shares_words(memory, fact, claim)
    shares = shares or shares_content(claim, other, frozenset(map(stem, beginning)))
    if not (similar or (shares and end_alike(claim, other)) or one_day(claim, other)):
        return False
    if apart(claim, other, similar=similar):
        return False
    time = memory.valid_from if memory.event_time is None else memory.event_time
    told = Readings((Message(role="user", content=memory.text, observed_at=time),)).evidence((0,))
    # Whom a fact begins with need not be named: the memory may call its speaker something else.
    return not unheard(claim, told, told) and same_person(beginning, other)


def competes(memory: MemoryRecord, fact: Fact) -> bool:
    """Whether a memory and a fact cannot both hold, if a model says so: they are about one thing.

    That is one slot, or at least half of the fact's words beside the name that it begins with.
    """
    if None not in (fact.slot, memory.slot):
        return fact.slot == memory.slot
    return _shares_words(memory, fact, Claim(fact.text))


def _shares_words(memory: MemoryRecord, fact: Fact, claim: Claim) -> bool:
    """Whether a memory holds half of a fact's words, and may be of the same person.

    Somebody else's words without any name are about somebody else.
    """
    words = set(analysis.query_terms(fact.text)) - beginning_terms(claim)
    if 2 * len(words & set(analysis.query_terms(memory.text))) < len(words):
        return False
    return memory.actor_id == fact.actor_id or bool(claim.names or claim.wide_names)


def beginning_terms(claim: Claim) -> frozenset[str]:
    """The terms of whom a claim begins with, and of whoever speaks."""
    return _PEOPLE.union(*(analysis.query_terms(token.text) for token in _beginning(claim)))


def _beginning(claim: Claim) -> list[Token]:
    """The name that a claim begins with, none if it begins otherwise."""
    return [token for run in claim.names if run[0].start == claim.tokens[0].start for token in run]


def completes(text: str, memory: str) -> bool:
    """Whether a text says all that a memory says, and maybe more."""
    return frozenset(analysis.query_terms(memory)) <= frozenset(analysis.query_terms(text))


def slot_left(memory: MemoryRecord, text: str) -> str | None:
    """The slot of a memory that is to say a text: its own, if that says all of it, maybe with other names."""
    if memory.slot is None or completes(text, memory.text):
        return memory.slot
    return memory.slot if only_names_differ(Claim(text), Claim(memory.text)) else None
