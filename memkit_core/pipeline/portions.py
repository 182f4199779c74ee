"""Which facts one call decides on, together with the memories that they may concern. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..types import Fact
from .joint import tokens_of
from .recall import Recalled
from .trust import trust_of


@dataclass(slots=True, kw_only=True)
class Portion:
    """Facts for one call, and the memories that they may concern, by their numbers in the batch.

    Attributes:
        trust: How far its facts are believed.
        tokens: Estimated tokens of all their texts.
    """

    trust: str
    facts: list[int] = field(default_factory=list[int])
    memories: list[int] = field(default_factory=list[int])
    tokens: int = 0


def portions(
    numbers: Sequence[int], facts: Sequence[Fact], recalled: Recalled, *, most: int, most_tokens: int
) -> list[Portion]:
    """Few calls, none with too much in it; facts that may concern the same memories are in the same one.

    No fact loses a candidate. What is untrusted is never in one call with the user's own: its text could
    sway what becomes of that.

    Args:
        numbers: The facts to be decided on.
        most: Memories in one call, ``most_tokens``: estimated tokens of all its texts; one fact with its
            candidates goes into a call in any case.
    """
    user_id = recalled.memories[0].user_id if recalled.memories else None
    found: list[Portion] = []
    costs = [tokens_of([memory.text]) for memory in recalled.memories]
    for number in numbers:
        trust = trust_of(facts[number].origin, user_id=user_id)
        own = tokens_of([facts[number].text])
        best, fewest, added = None, most + 1, 0
        for portion in reversed(found):
            new = [place for place in recalled.offered[number] if place not in portion.memories]
            more = own + sum(costs[place] for place in new)
            if portion.trust != trust or len(portion.memories) + len(new) > most:
                continue
            if portion.tokens + more <= most_tokens and len(new) < fewest:
                best, fewest, added = portion, len(new), more
        if best is None:
            added = own + sum(costs[place] for place in recalled.offered[number])
            found.append(best := Portion(trust=trust))
        best.facts.append(number)
        best.memories.extend(place for place in recalled.offered[number] if place not in best.memories)
        best.tokens += added
    return found


def halves(recalled: Recalled, portion: Portion) -> tuple[Portion, Portion] | None:
    """A call in two, each with the memories that its own facts may concern; None for a single fact."""
    middle = len(portion.facts) // 2
    if not middle:
        return None
    first, second = (
        Portion(
            trust=portion.trust,
            facts=numbers,
            memories=list(dict.fromkeys(place for n in numbers for place in recalled.offered[n])),
        )
        for numbers in (portion.facts[:middle], portion.facts[middle:])
    )
    return first, second
