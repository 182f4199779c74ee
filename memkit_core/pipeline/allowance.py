"""How many memories each of the adds that are settled together may still change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from ..types import Fact, Message
from .moments import positions


class Allowance:
    """Updates and deletions counted against the adds whose messages the facts behind them rest on.

    What rests on the messages of several adds counts against each of them: nobody's allowance is spent
    through somebody else's messages.
    """

    def __init__(
        self, most: int, facts: Sequence[Fact], messages: Sequence[Message], sizes: Sequence[int]
    ) -> None:
        """Full allowances.

        Args:
            most: Of each add.
            facts: What the changes will be about, by number.
            sizes: How many of the messages each add brought, in their order.
        """
        self._left = [most] * len(sizes)
        ends = list(accumulate(sizes))
        add_of = [next(n for n, end in enumerate(ends) if place < end) for place in range(len(messages))]
        everybody = frozenset(add_of)
        self._adds = [
            frozenset(add_of[place] for place in positions(fact, messages)) or everybody for fact in facts
        ]

    def covers(self, facts: Iterable[int], count: int = 1) -> bool:
        """Whether so many changes on account of these facts are still free."""
        return all(self._left[add] >= count for add in self._of(facts))

    def spend(self, facts: Iterable[int], count: int = 1) -> None:
        """They are made."""
        for add in self._of(facts):
            self._left[add] -= count

    def _of(self, facts: Iterable[int]) -> frozenset[int]:
        return frozenset[int]().union(*(self._adds[fact] for fact in facts))
