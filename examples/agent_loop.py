"""An agent that recalls before it answers and learns afterwards; a move updates what it knows.

Both models are scripted, so that it runs anywhere. To use real ones, replace ``extractor()`` and ``agent()``
by ``"openai:gpt-5-mini"`` and by your agent.

    python examples/agent_loop.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel

TURNS = (
    ("2026-03-02T09:00:00", "Hi, I'm Mara. I live in Berlin and I cannot eat peanuts."),
    ("2026-05-04T20:30:00", "I moved to Madrid last week. Any idea for dinner?"),
)


def extractor() -> ScriptedChatModel:
    """What a real chat model would answer to memkit's three calls."""
    return ScriptedChatModel(
        [
            {
                "facts": [
                    {"text": "Mara lives in Berlin.", "kind": "personal", "cites": [0]},
                    {"text": "Mara cannot eat peanuts.", "kind": "health", "cites": [0]},
                ]
            },
            {
                "facts": [
                    {"text": "Mara lives in Madrid.", "kind": "personal", "cites": [0], "when": "2026-04-27"}
                ]
            },
            {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": "she moved"}]},
        ]
    )


def agent(context: str, text: str) -> str:
    """Stands for your agent: a model that is given the context and the message."""
    if "dinner" not in text:
        return "Nice to meet you."
    return "Anything but satay." if "peanuts" in context else "Satay, perhaps?"


def main() -> None:
    """Two turns, months apart, then what changed."""
    with TemporaryDirectory() as folder, Memory(llm=extractor(), store=Path(folder, "agent.db")) as memory:
        mine = memory.scoped(user_id="mara")
        for when, text in TURNS:
            context = mine.context(text, token_budget=300)
            answer = agent(str(context), text)
            print(f"{when[:10]}  Mara:  {text}\n            agent: {answer}")
            # Only what was said goes back into the memory, never the assembled prompt.
            result = mine.add([("user", text), ("assistant", answer)], observed_at=when)
            for change in result:
                print(f"            {change.event}: {change.memory}")

        home = mine.search("Where does Mara live?", limit=1).results[0]
        earlier = mine.search("Where does Mara live?", limit=1, as_of="2026-04-01").results[0]
        print(f"now: {home.memory}  in April: {earlier.memory}")
        for event in mine.history(home.id):
            print(f"revision {event.revision}: {event.event} {event.new_memory}")


if __name__ == "__main__":
    main()
