"""Every operation, with the sizes of a full and of a quick run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..subjects.base import Ability
from .agent import AgentTurns
from .background import Batching
from .base import Bench, Operation, TooSlowError
from .graph import Checkpoints, Items, Turns
from .growth import Growth, Large
from .llama import LlamaTurns
from .model import ConcurrentAdds, ModelAdd
from .plain import BatchAdd, InTurn, RawAdd, Search
from .startup import FirstOpen, Import

__all__ = ["OPERATIONS", "Bench", "Operation", "Spec", "TooSlowError"]

Make = Callable[[Bench], Operation]


@dataclass(frozen=True, slots=True)
class Spec:
    """An operation by name.

    Attributes:
        needs: What a subject must be able to do to take part; None: nothing.
        optional: Only run when asked for by name.
        fill_seconds: How long filling one store may take.
        bars: memkit's limits, by figure.
    """

    title: str
    full: Make
    quick: Make
    needs: Ability | None
    bars: dict[str, float]
    optional: bool = False
    fill_seconds: float = 180.0


def _spec(
    title: str,
    make: Callable[..., Operation],
    full: tuple[object, ...] = (),
    quick: tuple[object, ...] = (),
    *,
    needs: Ability | None = "store",
    optional: bool = False,
    fill_seconds: float = 180.0,
    bars: dict[str, float] | None = None,
) -> Spec:
    def with_sizes(sizes: tuple[object, ...]) -> Make:
        return lambda bench: make(bench, *sizes)

    return Spec(title, with_sizes(full), with_sizes(quick), needs, bars or {}, optional, fill_seconds)


_STAGES = (1_000, 10_000, 100_000, 1_000_000)
_SIZES = (("10", 10, 5), ("1k", 1_000, 12), ("100k", 100_000, 15))
_large = partial(_spec, optional=True, fill_seconds=3_600.0)

OPERATIONS: dict[str, Spec] = {
    "import": _spec("Import", Import, needs=None),
    "first-memory": _spec(
        "A new process up to an open, empty memory", FirstOpen, needs=None, bars={"open.cpu": 500}
    ),
    "raw-add": _spec("Raw add: one statement, kept as it is", RawAdd),
    "batch-add": _spec("Batch add: 10,000 statements in one call", BatchAdd, (10_000,), (20,)),
    "search-100x100": _spec("Search, 100 users with 100 memories each", Search, (100, 100), (3, 10)),
    "search-100x1000": _spec("Search, 100 users with 1,000 memories each", Search, (100, 1_000), (3, 20)),
    "search-1x100k": _spec("Search, one user with 100,000 memories", Search, (1, 100_000), (1, 50)),
    "turn-1k": _spec("Add and search in turn, one user with 1,000 memories", InTurn, (1_000,), (20,)),
    "turn-10k": _spec("Add and search in turn, one user with 10,000 memories", InTurn, (10_000,), (40,)),
    "model-add": _spec("Add with a model of 0.2 s", ModelAdd, needs="model", bars={"prompt tokens": 1_500}),
    "concurrent-adds": _spec(
        "50 such adds of 50 users at once", ConcurrentAdds, (50,), (4,), needs="async",
        bars={"all.wall": 600, "longest gap, ms": 50},
    ),
    "batching": _spec(
        "1,000 turns of one user, one per add that does not wait, then a flush", Batching, (1_000,), (30,),
        needs="background", optional=True, bars={"calls per 1,000 turns": 60},
    ),
    **{
        f"graph-items-{name}": _spec(
            f"LangGraph's store: one item, beside {rows:,}", Items, (rows,), (few,),
            needs="graph", optional=True, fill_seconds=1_200.0,
        )
        for name, rows, few in _SIZES
    },
    **{
        f"graph-checkpoints-{name}": _spec(
            f"LangGraph's checkpoints: one of a thread, beside {rows:,}", Checkpoints, (rows,), (few,),
            needs="graph", optional=True, fill_seconds=1_200.0,
        )
        for name, rows, few in _SIZES
    },
    "graph-turns": _spec(
        "A thread of 150 turns of 1 kB in LangGraph", Turns, (150,), (10,), needs="graph", optional=True,
        bars={"bytes kept for each byte said": 3},
    ),
    **{
        f"agent-turns-{name}": _spec(
            f"A turn of an agent, user with {rows:,} memories, with and without the middleware", AgentTurns,
            (rows,), (few,), needs="agent", optional=True, bars={"middleware.cpu": 5},
        )
        for name, rows, few in (("100", 100, 5), ("1k", 1_000, 12))
    },
    **{
        f"llama-turns-{name}": _spec(
            f"A turn of an agent of LlamaIndex, user with {rows:,} memories, after {rows:,} turns",
            LlamaTurns, (rows,), (few,), needs="llama", optional=True, bars={"more than its own.cpu": 5},
        )
        for name, rows, few in (("10", 10, 4), ("100", 100, 5), ("1k", 1_000, 12))
    },
    "growth": _large(
        "Add and search of one user with 1,000 memories beside the rows of 1,000 others",
        Growth, (_STAGES, 1_000), ((10, 100), 10),
        bars={"add, most against fewest others": 1.2, "search, most against fewest others": 1.2},
    ),
    "large": _large(
        "1,000,000 rows of 1,000 users in one store", Large, (_STAGES[-1], 1_000), (100, 10), needs="reopen",
        bars={"warm search.cpu": 5},
    ),
}  # fmt: skip
