"""What a search hands to the record store, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..filters import Filter
from ..types import EmbeddingIdentity, MemoryRecord, Micros, OwnerKey, Ref, Scope, Space, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which memories of a scope a verb means. Conditions are applied before any limit.

    Attributes:
        now: Expired memories (``expires_at <= now``) are left out.
        valid_at, known_at: Read an earlier truth instead of the current one. With ``known_at`` records are as
            they were known then: a version that was current has no end yet.
        trusted_only: Leave out memories whose ``trust`` is ``untrusted``; a search also leaves out turns
            whose origin is ``tool`` or ``document``.
    """

    scope: Scope
    where: Filter | None = None
    now: Micros
    valid_at: Micros | None = None
    known_at: Micros | None = None
    trusted_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search over the exact indexes of the record store.

    Attributes:
        spaces: ``memory`` and, or ``turn``. The filter of ``query`` concerns memories only; turns are
            narrowed by the scope.
        terms: Distinct analysed terms of the question (``analysis.query_terms``), at most 64.
        vector: Unit-length embedding of the question, None for keywords only.
        embedding: Which model made it; ``EmbeddingMismatchError`` if the store has moved to another one
            meanwhile. None: not checked.
        pool: How many candidates each arm proposes per space.
        proposed: Further candidates, from derived indexes.
        dense: Whether the store compares the question with all of the owner's vectors. If not, ``proposed``
            stands for that arm; every candidate gets its exact cosine all the same.
        between: Also propose turns and memories of these time ranges (start inclusive, end exclusive).
    """

    query: Query
    spaces: tuple[Space, ...] = ("memory",)
    terms: tuple[str, ...] = ()
    vector: Vector | None = None
    embedding: EmbeddingIdentity | None = None
    pool: int = 100
    proposed: tuple[Ref, ...] = ()
    dense: bool = True
    between: tuple[tuple[Micros, Micros], ...] = ()


class Scored(NamedTuple):
    """A unit with its exact scores; what fusion needs, nothing else. A search makes some hundreds of them.

    Attributes:
        cosine: -1 to 1; None if there is no query vector or the unit has none yet.
        bm25: Okapi BM25 (k1 = 1.2, b = 0.75) over the owner's units of the same space; 0 if no term matches.
        session_bm25: The same over whole sessions, for turns; 0 for memories.
        previous, following: The neighbouring turns' unit numbers in the session, None at its ends.
        time: When it was said or happened.
        flags: As in ``memkit_core.types``, ``FLAG_UNTRUSTED`` among them.
    """

    space: Space
    unit: int
    cosine: float | None
    bm25: float
    session_bm25: float = 0.0
    actor_id: str | None = None
    time: Micros | None = None
    flags: int = 0
    previous: int | None = None
    following: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a search found, unordered.

    Attributes:
        scored: Every candidate once. For turns the neighbours of candidates are scored too.
        idf_mass: Per space, the sum of the idf of the request's terms (0 if no unit is there).
        session_idf_mass: The same with sessions as documents, for turns.
        cited_by: For turn units that live memories of the query cite: those memories' unit numbers.
        short: Searched spaces in which the proposals cannot be the nearest units: they are fewer than there
            must be, or many clearly nearer units came up otherwise.
        revision: The owner's revision that was read, 0 if the owner is unknown.
        without_vector: How many units of the searched spaces have no vector yet, if the request has one.
    """

    scored: tuple[Scored, ...] = ()
    idf_mass: Mapping[Space, float] = field(default_factory=dict[Space, float])
    session_idf_mass: float = 0.0
    cited_by: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    short: frozenset[Space] = frozenset()
    revision: int = 0
    without_vector: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A memory that changed after a time.

    Attributes:
        before: The version that was current then, as it was known then; None if there was none.
        current: The version that is current now; None if there is none.
        then, now: All its versions, as they were known then and as they are known now, by revision.
    """

    memory_id: str
    before: MemoryRecord | None
    current: MemoryRecord | None
    then: tuple[MemoryRecord, ...] = ()
    now: tuple[MemoryRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """A unit without a vector, and the text it is made from."""

    space: Space
    unit: int
    owner: OwnerKey
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerState:
    """What is known of an owner: its revision (0: never seen), its actors, how much a search looks at."""

    revision: int = 0
    live_memories: int = 0
    turns: int = 0
    actors: tuple[str, ...] = ()
