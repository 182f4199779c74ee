"""Which facts of one batch may be about the same. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import analysis
from ..types import Fact, Message
from .grounding.evidence import Claim
from .known import beginning_terms
from .likeness import apart
from .moments import positions


class Kin:
    """Facts by what they may have to do with others that were said before them."""

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        vectors: Sequence[Any] | None,
        *,
        most: int,
        same: float | None,
    ) -> None:
        """Nothing is compared yet.

        Args:
            vectors: One unit-length vector per fact, None without an embedding model.
            most: How many others a fact is held against, the latest ones.
            same: From which cosine on two texts are wordings of one thing; None without an embedding model.
        """
        self._facts = facts
        self._vectors = vectors
        self._most = most
        self._same = same
        self._claims: dict[int, Claim] = {}
        self.said = [max(positions(fact, messages), default=0) for fact in facts]

    def of(self, asking: Sequence[int], added: Sequence[int]) -> dict[int, list[int]]:
        """For each fact that has any: the others of an earlier message that it may change.

        Args:
            asking: The facts in question.
            added: Those that it may have to do with.
        """
        if len({self.said[number] for number in (*asking, *added)}) < 2:
            return {}
        words = {number: self._words(number) for number in {*asking, *added}}
        holding: dict[str, list[int]] = {}
        for number in added:
            for word in words[number]:
                holding.setdefault(word, []).append(number)
        close = self._close(added)
        kin: dict[int, list[int]] = {}
        for number in asking:
            shared = Counter(other for word in words[number] for other in holding.get(word, ()))
            close_by = close(number)
            latest: dict[bytes, int] = {}  # of those that say the same the last one stands for all
            for other in sorted(close_by.union(shared), key=lambda one: (self.said[one], one)):
                if self.said[other] >= self.said[number]:
                    break
                alike = other in close_by or self._alike(number, other, shared[other], words)
                if alike and self._comparable(number, other):
                    key = analysis.text_key(self._facts[other].text)
                    latest.pop(key, None)
                    latest[key] = other
            if latest:  # each is a candidate in the call
                kin[number] = sorted([*latest.values()][-self._most :])
        return kin

    def _close(self, added: Sequence[int]) -> Callable[[int], frozenset[int]]:
        """What finds the facts that have all their meaning in common with one, as far as embeddings tell."""
        vectors, same = self._vectors, self._same
        if vectors is None or same is None or not added:
            return lambda _: frozenset()
        import numpy as np

        matrix = np.stack([vectors[number] for number in added])
        return lambda number: frozenset(
            added[int(n)] for n in np.flatnonzero(matrix @ vectors[number] >= same)
        )

    def says_the_same(self, number: int, other: int) -> bool:
        """Whether two facts are one in all that a memory is known by."""
        one, two = self._facts[number], self._facts[other]
        if (one.actor_id, one.origin, one.slot) != (two.actor_id, two.origin, two.slot):
            return False
        return analysis.text_key(one.text) == analysis.text_key(two.text)

    def _comparable(self, number: int, other: int) -> bool:
        one, two = self._facts[number], self._facts[other]
        slots = None in (one.slot, two.slot) or one.slot == two.slot
        return slots and (one.actor_id, one.origin) == (two.actor_id, two.origin) and one.text != two.text

    def _alike(self, number: int, other: int, shared: int, words: Mapping[int, frozenset[str]]) -> bool:
        """Whether they share most of their words, or half of them while one denies or ends something."""
        fewest = min(len(words[number]), len(words[other]))
        if 3 * shared >= 2 * fewest:
            return True
        return 2 * shared >= fewest and apart(self._claim(number), self._claim(other), similar=False)

    def _words(self, number: int) -> frozenset[str]:
        fact = self._facts[number]
        return frozenset(analysis.query_terms(fact.text)) - beginning_terms(self._claim(number))

    def _claim(self, number: int) -> Claim:
        if number not in self._claims:
            self._claims[number] = Claim(self._facts[number].text)
        return self._claims[number]
