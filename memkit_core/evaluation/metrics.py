"""Evidence recall: how much of what answers a question is among the first k hits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

CUTS: Final = (5, 10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one question brought.

    Attributes:
        category: LoCoMo's, 1 to 5.
        gold: Ids of the turns that hold the answer, at least one.
        gold_sessions: Their sessions.
        ranked: Ids of the turns found, best first; None for a hit that is no turn of the conversation.
        ranked_sessions: The session of each.
        milliseconds: Wall time of the search.
    """

    category: int
    gold: tuple[str, ...]
    gold_sessions: frozenset[str]
    ranked: tuple[str | None, ...]
    ranked_sessions: tuple[str | None, ...]
    milliseconds: float


def fractional(gold: Collection[str], ranked: Sequence[str | None], k: int) -> float:
    """The share of the gold ids among the first k, 0 to 1."""
    return len(set(gold) & set(ranked[:k])) / len(set(gold))


def at_least_one(gold: Collection[str], ranked: Sequence[str | None], k: int) -> float:
    """1 if any gold id is among the first k, else 0."""
    return float(not set(gold).isdisjoint(ranked[:k]))


def recalls(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Mean recall in percent: of turns by share and by "at least one", of sessions by the latter.

    A session counts as found if any of its turns is among the first k. Without outcomes all are None.
    """
    return {
        "turn": {
            "fractional": _at_cuts(outcomes, lambda one, k: fractional(one.gold, one.ranked, k)),
            "any": _at_cuts(outcomes, lambda one, k: at_least_one(one.gold, one.ranked, k)),
        },
        "session": {
            "any": _at_cuts(outcomes, lambda one, k: at_least_one(one.gold_sessions, one.ranked_sessions, k))
        },
    }


def _at_cuts(outcomes: Sequence[Outcome], score: Callable[[Outcome, int], float]) -> dict[str, float | None]:
    return {
        f"R@{k}": round(100 * sum(score(one, k) for one in outcomes) / len(outcomes), 2) if outcomes else None
        for k in CUTS
    }


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least ``percent`` of the values do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]
