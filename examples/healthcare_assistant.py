"""A clinic's assistant over several visits: it knows each patient, never mixes two of them, and says "not on
file" rather than guess. A threshold on relevance decides.

Both models are scripted, so that it runs anywhere. It remembers what patients say and is no medical advice.

    python examples/healthcare_assistant.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memkit_core import Memory, NotFoundError, ScopedMemory
from memkit_core.testing import ScriptedChatModel

THRESHOLD = 0.5  # relevance is absolute, 0 to 1: what answers a question lies above, what does not, below

#: Day, patient, what was said.
VISITS = (
    ("2026-01-12", "ana", "I get a rash from penicillin, and I take 5 mg of lisinopril every morning."),
    ("2026-01-12", "ben", "I have had asthma since I was a child."),
    ("2026-04-20", "ana", "Since my last check-up on 2 April I take 10 mg of lisinopril every morning."),
)
QUESTIONS = (
    "Can penicillin be prescribed?",
    "Which dose of lisinopril?",
    "Does asthma have to be considered?",
    "Which blood group?",
)


def extractor() -> ScriptedChatModel:
    """What a real chat model would answer to memkit's calls for the three visits."""

    def facts(*texts: str, when: str | None = None) -> dict[str, Any]:
        return {
            "facts": [{"text": text, "kind": "health", "cites": [0], "when": when} for text in texts],
        }

    return ScriptedChatModel(
        [
            facts(
                "Allergic to penicillin: it gives a rash.",
                "Takes 5 mg of lisinopril every morning.",
            ),
            facts("Has had asthma since childhood."),
            facts("Takes 10 mg of lisinopril every morning.", when="2026-04-02"),
            {"decisions": [{"fact": 0, "op": "UPDATE", "target": 1, "reason": "the dose was raised"}]},
        ]
    )


class Assistant:
    """What one signed-in patient talks to. Who that is comes from the session, never from a model."""

    def __init__(self, memory: Memory, patient: str) -> None:
        self._mine: ScopedMemory = memory.scoped(user_id=f"patient/{patient}", agent_id="clinic")

    def listen(self, text: str, day: str) -> Sequence[str]:
        """Remember what the patient says; tells what was learnt."""
        result = self._mine.add(text, observed_at=day, metadata={"source": "visit"})
        return [f"{change.event}: {change.memory}" for change in result.raise_for_failures()]

    def on_file(self, question: str, *, as_of: str | None = None) -> str:
        """What is remembered that answers the question, and nothing that does not."""
        found = self._mine.search(question, limit=1, threshold=THRESHOLD, as_of=as_of)
        return found.results[0].memory if found.results else "not on file"

    def reads(self, memory_id: str) -> bool:
        """Whether a memory can be read or changed from this session."""
        try:
            self._mine.update(memory_id, "overwritten")
        except NotFoundError:
            return self._mine.get(memory_id) is not None or bool(self._mine.history(memory_id))
        return True


def main() -> None:
    """Three visits, the same questions for both patients, and an attempt to look into another's file."""
    with TemporaryDirectory() as folder:
        store = Path(folder, "clinic.db")
        with Memory(llm=extractor(), store=store) as memory:
            for day, patient, text in VISITS:
                print(f"{day} {patient}: {text}")
                for line in Assistant(memory, patient).listen(text, day):
                    print(f"    {line}")
        # Weeks later, another process: what was remembered is in the file.
        with Memory(llm="verbatim", store=store) as memory:
            ana, ben = Assistant(memory, "ana"), Assistant(memory, "ben")
            for question in QUESTIONS:
                print(question)
                print(f"    ana: {ana.on_file(question)}")
                print(f"    ben: {ben.on_file(question)}")
            print(f"ana's dose in March: {ana.on_file(QUESTIONS[1], as_of='2026-03-01')}")
            foreign = memory.get_all(user_id="patient/ana").results[0].id
            print(f"ben can read or change ana's file: {ben.reads(foreign)}")


if __name__ == "__main__":
    main()
