"""Many tenants in one store: each sees its own rows, shared knowledge is asked beside them, and a threshold
keeps out what does not answer.

python examples/multi_tenant.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from memkit_core import Memory, NotFoundError, SearchHit

RELEVANT = 0.5  # relevance is absolute, 0 to 1: one threshold serves for all questions
QUESTIONS = ("When is my appointment?", "How long do I have to pay?", "How do I fix a bicycle chain?")


def fill(memory: Memory) -> None:
    """Two patients of one practice, and what the practice tells everybody."""
    memory.add("My appointment is on Tuesday at nine.", user_id="practice/ana")
    memory.add("My appointment is on Friday at noon.", user_id="practice/bob")
    memory.add("Invoices are to be paid within 30 days.", agent_id="practice")


def answers(memory: Memory, patient: str, question: str) -> list[SearchHit]:
    """The patient's own memories and the practice's, best first."""
    views = (memory.scoped(user_id=f"practice/{patient}"), memory.scoped(agent_id="practice"))
    hits = [hit for view in views for hit in view.search(question, threshold=RELEVANT).results]
    return sorted(hits, key=lambda hit: hit.relevance, reverse=True)


def try_to_cross(memory: Memory) -> str:
    """What happens if a request of Ana's names a memory of Bob's."""
    foreign = memory.get_all(user_id="practice/bob").results[0].id
    mine = memory.scoped(user_id="practice/ana")
    assert mine.get(foreign) is None
    assert len(mine.get_all(filters={"user_id": "practice/bob"})) == 0
    try:
        mine.delete(foreign)
    except NotFoundError:
        return "Bob's memory does not exist for Ana."
    raise AssertionError("a foreign memory was deleted")


def main() -> None:
    """Ask the same of two tenants."""
    with TemporaryDirectory() as folder, Memory(llm="verbatim", store=Path(folder, "tenants.db")) as memory:
        fill(memory)
        for question in QUESTIONS:
            print(question)
            for patient in ("ana", "bob"):
                texts = [hit.memory for hit in answers(memory, patient, question)]
                print(f"  {patient}: {' '.join(texts) or 'nothing relevant'}")
        print(try_to_cross(memory))


if __name__ == "__main__":
    main()
