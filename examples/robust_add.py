"""Adding when models fail: nothing is lost, the result says what happened, and a check says what still waits.

python examples/robust_add.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from memkit_core import Memory, ModelOutputError, ScopedMemory
from memkit_core.testing import FaultyChatModel

FACT = {"facts": [{"text": "Mara bought a canoe.", "cites": [0]}]}
KEY = "message-1"


def remember(memory: ScopedMemory, text: str, key: str) -> str:
    """Store a message once, whatever the model does; says how far it came."""
    result = memory.add(text, idempotency_key=key)
    for failure in result.failed:
        hint = ""
        if isinstance(failure.error, ModelOutputError):
            hint = f" ({failure.error.reason}; see error.raw)"
        print(f"  {failure.stage}: {failure.error_type}{hint}")
    return "replayed" if result.replayed and result.ok else result.status


def recall(memory: ScopedMemory, question: str) -> str:
    """The best memory, or word for word what was said, if no memory was made of it yet."""
    found = memory.search(question, limit=1, threshold=0.3, include=("memories", "excerpts"))
    for degraded in found.degraded:
        print(f"  degraded: {degraded}")
    if found.results:
        return f"memory: {found.results[0].memory}"
    return f"excerpt: {found.excerpts[0].text}" if found.excerpts else "nothing"


def check(memory: Memory) -> bool:
    """Whether everything that was said has been extracted; tries again what has not. For a timer."""
    report = memory.flush()
    print(f"  check: {report.completed} extracted now, {report.pending} still wait")
    return report.pending == 0


def main() -> None:
    """A provider that is down, then answers prose, then works."""
    model = FaultyChatModel([FACT], faults=["server_error", "prose", "prose"])
    with TemporaryDirectory() as folder, Memory(llm=model, store=Path(folder, "robust.db")) as memory:
        mine = memory.scoped(user_id="mara")
        print(f"first try: {remember(mine, 'I bought a canoe.', KEY)}")
        print(recall(mine, "Which canoe?"))
        print(f"healthy: {check(memory)}")
        print(f"healthy: {check(memory)}")
        print(recall(mine, "Which canoe?"))
        # The caller never learned of it and sends the same request again.
        print(f"second try: {remember(mine, 'I bought a canoe.', KEY)}")
        assert memory.count(user_id="mara") == 1


if __name__ == "__main__":
    main()
