"""One order out of many signals, by a weighted sum over fixed ranges.

Every signal is scaled by a constant, never by the best of the pool: an unrelated question then scores low
instead of 1.0, and a unit's own evidence weighs the same whoever else was proposed. Boosts are soft: a
wrong guess about the person or the date costs a place, never the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, repeat
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..protocols import Candidates, Scored
from ..types import FLAG_ASKS, FLAG_QUESTION, Micros, Space, to_datetime
from .plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shares of the two kinds of evidence.
DENSE: Final = 0.7
KEYWORD: Final = 0.3
#: Without a vector, keywords speak for both; with the shares' full weight they would drown the boosts.
KEYWORD_ALONE: Final = 0.5
#: A unit with a third of the BM25 that the question's terms can reach is a full match.
KEYWORD_GAIN: Final = 3.0
#: k1 + 1: what one term's BM25 weight can grow to, in units of its idf.
BM25_CEILING: Final = 2.2
ACTOR: Final = 0.3
DATE: Final = 0.3
SESSION: Final = 0.2
QUESTION: Final = -0.05
#: Shares of a neighbour's lead that a turn inherits. Of the lead, not of the whole score: two strong turns
#: side by side would push each other up and crowd out the other places where a question is answered.
FROM_PREVIOUS: Final = 0.5
FROM_FOLLOWING: Final = 0.2
#: What a memory gains from the best message it cites.
CITED: Final = 0.3

_ASKING: Final = FLAG_QUESTION | FLAG_ASKS
_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class Ranked(NamedTuple):
    """One candidate in its place.

    Attributes:
        score: Orders the candidates of one space and one question; nothing else.
        relevance: 0 to 1 and absolute: the better of scaled cosine and share of the question's idf found.
        parts: What the score was added up from; empty unless asked for.
    """

    space: Space
    unit: int
    score: float
    relevance: float
    parts: Mapping[str, float] = _NOTHING


def fuse(
    candidates: Candidates,
    plan: Plan,
    *,
    scale: tuple[float, float],
    limit: int,
    explain: bool = True,
) -> dict[Space, list[Ranked]]:
    """The best candidates of each space, best first; of equals the newer unit comes first.

    Args:
        candidates: What the store found.
        plan: What the question asks for.
        scale: The embedding model's cosine of unrelated texts and of a full match; unused without vectors.
        limit: How many of each space at most.
        explain: Whether to fill in ``Ranked.parts``.
    """
    spaces: dict[Space, list[Scored]] = {}
    for space, scored in groupby(candidates.scored, key=itemgetter(0)):
        spaces.setdefault(space, []).extend(scored)
    turns = _Pool(spaces.pop("turn", []), candidates, scale)
    turns.propagate()
    turns.boost(plan)
    turns.add_session_prior(candidates.session_idf_mass)
    ranked: dict[Space, list[Ranked]] = {}
    for space, pool in spaces.items():
        memories = _Pool(pool, candidates, scale)
        memories.boost(plan)
        memories.lift(turns, candidates)
        ranked[space] = memories.best(limit, explain)
    if turns.units:
        ranked["turn"] = turns.best(limit, explain)
    return ranked


class _Pool:
    """The candidates of one space as columns, with the parts of their scores."""

    def __init__(self, scored: Sequence[Scored], candidates: Candidates, scale: tuple[float, float]) -> None:
        import numpy as np

        self.space: Space = scored[0].space if scored else "memory"
        self.units: Sequence[int] = ()
        self.parts: dict[str, NDArray[Any]] = {}
        self.score: NDArray[Any] = np.zeros(len(scored))
        self.relevance: NDArray[Any] = self.score
        if not scored:
            return
        # Transposed at once: going through the candidates for each column takes several times as long.
        columns: Any = zip(*scored, strict=True)
        (
            _,
            self.units,
            cosines,
            keywords,
            self._of_session,
            self._actors,
            self._times,
            flags,
            self._previous,
            self._following,
        ) = columns
        self._flags = np.array(flags)
        mass = candidates.idf_mass.get(self.space, 0.0)
        bm25 = np.array(keywords)
        keyword = bm25 * (KEYWORD_GAIN / (mass * BM25_CEILING)) if mass > 0 else np.zeros(len(scored))
        found = _clip(bm25 / mass) if mass > 0 else keyword
        cosine = np.array(cosines, dtype=np.float64)  # None becomes NaN
        embedded = ~np.isnan(cosine)
        if embedded.any():
            floor, top = scale
            cosine = np.where(embedded, cosine, 0.0)
            dense = _clip(cosine / top)
            self._add("cosine", DENSE * dense * embedded)
            self._add("keywords", np.where(embedded, KEYWORD, KEYWORD_ALONE) * keyword)
            near = _clip((cosine - floor) / (top - floor)) * embedded
            self.relevance = np.maximum(near, found)
        else:
            self._add("keywords", KEYWORD_ALONE * keyword)
            self.relevance = found

    def _add(self, name: str, part: NDArray[Any]) -> None:
        self.parts[name] = part
        self.score = self.score + part

    def boost(self, plan: Plan) -> None:
        """Add what the question says of the person and the date meant, and of the kind of utterance."""
        import numpy as np

        if not self.units:
            return
        if plan.named_actor is not None:
            name = plan.named_actor.casefold()
            boosts = {
                one: ACTOR if one is not None and one.casefold() == name else 0.0 for one in set(self._actors)
            }
            self._add("actor", np.array([boosts[one] for one in self._actors]))
        if plan.between or plan.months:
            self._add("date", np.array([_dated(time, plan) for time in self._times]))
        asking = (self._flags & _ASKING) != 0
        if asking.any():
            self._add("question", QUESTION * asking.astype(np.float64))

    def add_session_prior(self, mass: float) -> None:
        """A turn is likelier in a session that is about the question."""
        import numpy as np

        if self.units and mass > 0:
            bm25 = np.array(self._of_session)
            self._add("session", SESSION * _clip(bm25 * (KEYWORD_GAIN / (mass * BM25_CEILING))))

    def propagate(self) -> None:
        """An answer follows its question: a turn inherits from its neighbours, most from the one before."""
        import numpy as np

        if not self.units:
            return
        place: dict[int | None, int] = dict(zip(self.units, range(len(self.units)), strict=True))
        padded = np.append(self.score, 0.0)  # row -1: no neighbour
        before = padded[list(map(place.get, self._previous, repeat(-1)))]
        after = padded[list(map(place.get, self._following, repeat(-1)))]
        lead = FROM_PREVIOUS * (before - self.score).clip(0.0) + FROM_FOLLOWING * (after - self.score).clip(
            0.0
        )
        self._add("neighbours", lead)

    def lift(self, turns: _Pool, candidates: Candidates) -> None:
        """A memory inherits from the best of the turns it cites."""
        import numpy as np

        if not candidates.cited_by or not turns.units:
            return
        place = dict(zip(self.units, range(len(self.units)), strict=True))
        scores = dict(zip(turns.units, turns.score.tolist(), strict=True))
        lifted = np.zeros(len(self.units))
        for turn, memories in candidates.cited_by.items():
            gain = CITED * scores.get(turn, 0.0)
            for memory in memories:
                row = place.get(memory)
                if row is not None and gain > lifted[row]:
                    lifted[row] = gain
        self._add("cited", lifted)

    def best(self, limit: int, explain: bool) -> list[Ranked]:
        import numpy as np

        order = np.lexsort((-np.array(self.units), -self.score))[:limit]
        rows: list[int] = order.tolist()
        scores: list[float] = self.score[order].tolist()
        relevances: list[float] = self.relevance[order].tolist()
        parts: list[Mapping[str, float]] = [_NOTHING] * len(rows)
        if explain:
            columns: dict[str, list[float]] = {
                name: part[order].tolist() for name, part in self.parts.items()
            }
            parts = [{name: column[place] for name, column in columns.items()} for place in range(len(rows))]
        units = [self.units[row] for row in rows]
        ranked = zip(units, scores, relevances, parts, strict=True)
        return [Ranked(self.space, *one) for one in ranked]


def _clip(values: NDArray[Any]) -> NDArray[Any]:
    return values.clip(0.0, 1.0)


def _dated(time: Micros | None, plan: Plan) -> float:
    if time is None:
        return 0.0
    if any(start <= time < end for start, end in plan.between):
        return DATE
    return DATE if plan.months and to_datetime(time).month in plan.months else 0.0
