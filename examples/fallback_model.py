"""Adding with a model to fall back on: where the first one fails, the next is asked, and only if all fail
does the message wait.

The models are scripted and fail on command. Real ones are ``llm=["openai:gpt-5-mini", "anthropic:…"]``.

    python examples/fallback_model.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from memkit_core import Memory, MemoryConfig
from memkit_core.policies import ResiliencePolicy
from memkit_core.testing import FaultyChatModel

#: A second try soon, then the next model: a fallback is for what does not pass by itself.
CONFIG = MemoryConfig(resilience=ResiliencePolicy(attempts=2, max_wait=0.1))


def fact(text: str) -> dict[str, object]:
    """A reply to an extraction, which serves a decision as well."""
    return {"facts": [{"text": text, "cites": [0]}], "decisions": [{"fact": 0, "op": "ADD"}]}


def say(memory: Memory, text: str) -> None:
    """Add one message and tell how it went."""
    result = memory.add(text, user_id="mara", idempotency_key=text)
    learnt = ", ".join(change.memory for change in result.added) or "nothing yet"
    print(f"{text!r}: {result.status}, {learnt}")


def main() -> None:
    """The first model is down for good; the second goes down after the first message and comes back."""
    first = FaultyChatModel(faults="server_error")
    second = FaultyChatModel(
        [fact("Mara bought a canoe."), fact("Mara is learning to roll."), fact("Mara is learning to roll.")],
        faults=[None, "timeout", "timeout"],
    )
    with (
        TemporaryDirectory() as folder,
        Memory(llm=[first, second], config=CONFIG, store=Path(folder, "fallback.db")) as memory,
    ):
        say(memory, "I bought a canoe.")
        print(f"  the first model was asked {len(first.calls)} times, the second {len(second.calls)}")
        say(memory, "I am learning to roll it.")
        found = memory.search("learning to roll", user_id="mara", include=("excerpts",), limit=1)
        print(f"  found meanwhile: {found.excerpts[0].text}")
        print(f"  extracted by flush: {memory.flush().completed}")
        print(f"remembered: {sorted(item.memory for item in memory.get_all(user_id='mara'))}")


if __name__ == "__main__":
    main()
