"""The same texts and the same vectors for every subject. Standard library and numpy only."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION = 384
_DISTINCT = 4_096
_CASE = Path(__file__).parent / "cases" / "prompt.json"
_PARTS = "ba ken dri sol mur pas ti lo var nel qui zo".split()
_WORDS = [a + b + c for a in _PARTS for b in _PARTS for c in _PARTS]
#: A few words are in many texts and most are in few, as in any language.
_WEIGHTS = [1 / (rank + 10) for rank in range(len(_WORDS))]


class Table:
    """Embeddings that cost nothing: random unit vectors, made once, chosen by the text's checksum.

    Answers are lists of floats, as LangChain's interface has it. They are kept as tuples, which the garbage
    collector stops looking at: as lists, the 1.6 million numbers would lengthen every full collection of the
    measured process by some 50 ms, and with it the longest gap of an event loop.
    """

    model = "table"
    dimension = DIMENSION

    def __init__(self) -> None:
        table = np.random.default_rng(0).standard_normal((_DISTINCT, DIMENSION))
        unit = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
        self._rows: list[tuple[float, ...]] = [tuple(row) for row in unit.tolist()]

    def embed_query(self, text: str) -> list[float]:
        # ``hash`` differs from process to process
        return list(self._rows[zlib.crc32(text.encode()) % _DISTINCT])

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)


@cache
def table() -> Table:
    return Table()


class Texts:
    """An endless supply of invented statements and questions, equal for equal seeds."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    def statement(self) -> str:
        return " ".join(self._rng.choices(_WORDS, _WEIGHTS, k=12))

    def statements(self, count: int) -> list[str]:
        return [self.statement() for _ in range(count)]

    def question(self) -> str:
        return " ".join(self._rng.choices(_WORDS, _WEIGHTS, k=5))

    def pick(self, names: list[str]) -> str:
        return self._rng.choice(names)


@dataclass(frozen=True, slots=True)
class Case:
    """The fixed conversation whose prompts are counted, and what the scripted model says to it.

    Attributes:
        memories: What is remembered beforehand.
        facts: The model's findings: ``text``, ``kind``, ``cites``, ``when``.
        updates: For some facts, by number: the place of the memory that they correct.
    """

    memories: list[str]
    messages: list[dict[str, str]]
    facts: list[dict[str, Any]]
    updates: dict[int, int]


@cache
def case() -> Case:
    held = json.loads(_CASE.read_text(encoding="utf-8"))
    updates = {int(fact): place for fact, place in held["updates"].items()}
    return Case(held["memories"], held["messages"], held["facts"], updates)
