"""The scores of a search in plain Python, straight from their definitions, to check stores against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

K1 = 1.2
B = 0.75


def idf(documents: int, containing: int) -> float:
    """How much a term says that ``containing`` of ``documents`` contain."""
    return math.log(1 + (documents - containing + 0.5) / (containing + 0.5))


def bm25(documents: Mapping[int, Counter[str]], terms: Sequence[str]) -> dict[int, float]:
    """Okapi BM25 of every document, by its number."""
    if not documents:
        return {}
    mean = sum(counts.total() for counts in documents.values()) / len(documents)
    scores: dict[int, float] = {}
    for number, counts in documents.items():
        norm = K1 * (1 - B + B * (counts.total() / mean if mean else 0.0))
        scores[number] = sum(
            weight(documents, term) * counts[term] * (K1 + 1) / (counts[term] + norm)
            for term in terms
            if counts[term]
        )
    return scores


def weight(documents: Mapping[int, Counter[str]], term: str) -> float:
    """The idf of one term over the documents."""
    return idf(len(documents), sum(1 for counts in documents.values() if counts[term]))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
