"""Turns of a crew of CrewAI: without a memory, with one that does nothing, with memkit's.

Run by hand, in an environment with the extra ``crewai``, which is too much to install for every benchmark.

    python -m benchmarks.crew --turns 100
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

from .data import Texts, table

_AGENT = "research"


def main() -> None:
    """Print the median CPU of a turn, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="how many turns are measured")
    parser.add_argument("--rows", type=int, default=100, help="how many memories there are")
    asked = parser.parse_args()
    os.environ.update(
        CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false"
    )
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CREWAI_STORAGE_DIR"] = folder
        for name, milliseconds in measured(folder, asked.turns, asked.rows).items():
            print(f"{name:<28}{milliseconds:8.2f} ms")


def measured(folder: str, turns: int, rows: int) -> dict[str, float]:
    """Medians by name; each way follows each of the others as often."""
    from memkit_core import Memory
    from memkit_crewai import MemkitMemory

    texts = Texts(9)
    with Memory(llm="verbatim", embedder=table(), store=f"{folder}/crew.db") as memory:
        memory.add([texts.statement() for _ in range(rows)], agent_id=_AGENT, infer=False)
        ways: dict[str, Any] = {
            "without": None,
            "with one that does nothing": _idle(),
            "with memkit's": MemkitMemory(memory, agent_id=_AGENT),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        turn = _turn(texts)
        for number in range(turns + 3):
            names = list(ways)[number % 3 :] + list(ways)[: number % 3]
            for name in names if number // 3 % 2 else names[::-1]:
                spent = turn(ways[name])
                if number >= 3:  # the first ones load what is loaded on use
                    taken[name].append(spent * 1e3)
    found = {name: statistics.median(spent) for name, spent in taken.items()}
    for name in ("without", "with one that does nothing"):
        more = [one - other for one, other in zip(taken["with memkit's"], taken[name], strict=True)]
        found[f"more than {name.removeprefix('with ')}"] = statistics.median(more)
    return found


def _turn(texts: Texts) -> Callable[[Any], float]:
    from crewai import Agent, BaseLLM, Crew, Task

    class Script(BaseLLM):
        def call(self, *_: Any, **__: Any) -> str:
            return f"Final Answer: {texts.statement()}"

    def turn(memory: Any) -> float:
        agent = Agent(role="Researcher", goal="Find out.", backstory="Curious.", llm=Script(model="script"))
        task = Task(description=f"{texts.question()}", expected_output="A sentence.", agent=agent)
        crew = Crew(agents=[agent], tasks=[task], **({} if memory is None else {"memory": memory}))
        began = time.process_time()
        crew.kickoff()
        return time.process_time() - began

    return turn


def _idle() -> Any:
    """A memory that finds and keeps nothing, but says so to CrewAI's listeners, as every memory does."""
    from crewai.memory.unified_memory import Memory as CrewMemory

    from memkit_crewai.events import asking, saving
    from memkit_crewai.memory import _NoModel

    class Idle(CrewMemory):
        def extract_memories(self, content: str) -> list[str]:
            return [content]

        def recall(self, query: str, *_: Any, limit: int = 10, **__: Any) -> list[Any]:
            with asking(self, query, limit) as found:
                return found

        def remember_many(self, contents: list[str], *_: Any, **__: Any) -> list[Any]:
            with saving(self, f"{len(contents)} texts", None, None):
                return []

        def drain_writes(self) -> None:
            pass

    none = _NoModel()
    return Idle(storage="unused", llm=none, embedder=none)


if __name__ == "__main__":
    main()
