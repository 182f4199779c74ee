"""A crew that remembers what its agents found out: assistant-only adds, kept for the crew by its agent_id.

Needs the extra `crewai`. The model is scripted; pass `llm="openai/gpt-5-mini"` to the agents for a real one.

    python examples/crew.py
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# CrewAI reads these when it is imported: nothing is sent anywhere.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import Agent, BaseLLM, Crew, Task

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel
from memkit_crewai import MemkitMemory

CREW = "market-watch"
#: What memkit's model draws from the answers of the two runs; the second replaces what the first told.
EXTRACTED = [
    {"facts": [{"text": "Acme leads the market with 40 %.", "cites": [1]}]},
    {"facts": [{"text": "Acme leads the market with 35 %.", "cites": [1]}]},
    {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": "Acme leads the market with 35 %."}]},
]


class Scripted(BaseLLM):
    """Gives one answer, and shows what it was told to remember."""

    answer: str

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:  # noqa: ARG002 - CrewAI's
        """The answer, as an agent without native tools ends."""
        for line in str(messages[-1]["content"]).splitlines():
            if "<memories>" in line:
                print(f"  in the prompt: {line[2:]}")
        return f"Final Answer: {self.answer}"


def run(memory: Memory, answer: str) -> None:
    """One run of a crew of one; every run is a new crew, only the memory stays."""
    analyst = Agent(
        role="Analyst",
        goal="Know the market.",
        backstory="Reads every report.",
        llm=Scripted(model="scripted", answer=answer),
    )
    task = Task(
        description="Who leads the market, with which share?", expected_output="A sentence.", agent=analyst
    )
    crew = Crew(agents=[analyst], tasks=[task], memory=MemkitMemory(memory, agent_id=CREW))
    print(f"answer: {crew.kickoff().raw}")
    memory.flush()


def main() -> None:
    """Two runs with a quarter between them, and what the crew knows afterwards."""
    with (
        TemporaryDirectory() as folder,
        Memory(llm=ScriptedChatModel(EXTRACTED), store=Path(folder, "crew.db")) as memory,
    ):
        run(memory, "Acme leads the market with 40 %, says the spring report.")
        run(memory, "Acme leads the market with 35 %, says the summer report.")
        (known,) = memory.get_all(agent_id=CREW)
        print(f"known: {known.memory} (said by {known.actor_id}, {known.origin})")
        print([event.new_memory for event in memory.history(known.id, agent_id=CREW)])
        print(f"of any user: {memory.count(user_id=CREW)}")


if __name__ == "__main__":
    main()
