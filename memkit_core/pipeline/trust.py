"""Whose word a fact is, how far it is believed, and what it may therefore do. Pure.

Trust goes by where a text comes from and whose memory it is for, never by what the text says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..filters import Comparison, Exists, Filter, walk
from ..policies import TrustPolicy
from ..results import Rejection
from ..types import Fact, MemoryRecord, Scope

TRUSTED: Final = "trusted"
UNTRUSTED: Final = "untrusted"

#: Origins, the least trusted first.
_ORDER: Final = ("document", "tool", "assistant", "system", "image", "user")
#: The owner's own side. An assistant's word, and its operator's, count where no user is concerned.
_OWN: Final = frozenset(("user", "image"))
_OWN_WITHOUT_USER: Final = _OWN | {"assistant", "system"}


def trust_of(origin: str, *, user_id: str | None) -> str:
    """How far text of this origin is believed, in a memory of this user or (None) of an agent or a run."""
    return TRUSTED if origin in (_OWN if user_id is not None else _OWN_WITHOUT_USER) else UNTRUSTED


def least_trusted(origins: Iterable[str]) -> str:
    """The origin that is believed least; an unknown one is believed less than any other."""
    return min(origins, key=lambda origin: _ORDER.index(origin) if origin in _ORDER else -1)


def screen(
    facts: Sequence[Fact], scope: Scope, policy: TrustPolicy
) -> tuple[tuple[Fact, ...], tuple[Rejection, ...]]:
    """The facts that may be stored, and the rest with the reason."""
    if policy.untrusted != "reject":
        return tuple(facts), ()
    kept: list[Fact] = []
    rejected: list[Rejection] = []
    for fact in facts:
        if trust_of(fact.origin, user_id=scope.user_id) == TRUSTED:
            kept.append(fact)
        else:
            reason = f"it comes from text of origin {fact.origin!r}, which is not trusted"
            rejected.append(Rejection(item=fact.text, reason=reason))
    return tuple(kept), tuple(rejected)


def forbidden(fact: Fact, memory: MemoryRecord) -> str | None:
    """Why a fact may not update or delete a memory, None if it may."""
    if fact.origin != "user" and memory.origin == "user":
        return f"text of origin {fact.origin!r} cannot change what a user said"
    if fact.assented and memory.origin == "user":
        return "a yes to what somebody else says of others cannot change what a user said"
    if memory.trust == TRUSTED != trust_of(fact.origin, user_id=memory.user_id):
        return f"untrusted text of origin {fact.origin!r} cannot change a trusted memory"
    return None


def stands_for(memory: MemoryRecord, fact: Fact) -> bool:
    """Whether a memory is believed enough that a fact which says the same need not be stored."""
    return memory.trust == TRUSTED or trust_of(fact.origin, user_id=memory.user_id) != TRUSTED


def hides_untrusted(policy: TrustPolicy, where: Filter | None, *, asked: bool = False) -> bool:
    """Whether a reader is to be spared what is untrusted: not if they ask for it, or filter by trust.

    Args:
        policy: Under ``flag`` nothing is in quarantine.
        where: The reader's filter.
        asked: Whether they asked for it otherwise.
    """
    if policy.untrusted == "flag" or asked:
        return False
    return where is None or not any(
        isinstance(node, Comparison | Exists) and node.field == "trust" for node in walk(where)
    )
