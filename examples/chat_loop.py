"""A chat that remembers, without a model: what the user says is kept word for word and found again.

python examples/chat_loop.py                 (a short scripted conversation)
python examples/chat_loop.py --interactive   (you type; an empty line ends it)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from memkit_core import Memory, ScopedMemory

SAID = (
    "I am allergic to peanuts.",
    "My sister Ines lives in Lisbon.",
    "What should I not eat?",
    "Where does Ines live?",
)


def reply(memory: ScopedMemory, text: str) -> str:
    """What an agent would answer from; here the memory's own words are the answer."""
    found = memory.search(text, limit=1, threshold=0.3)
    memory.add(text, actor_id="Mara")
    if not text.endswith("?"):
        return "Noted."
    return f"You told me: {found.results[0].memory}" if found.results else "You have not told me."


def typed() -> Iterator[str]:
    """Lines from the keyboard until an empty one."""
    while text := input("> ").strip():
        yield text


def main(*, interactive: bool) -> None:
    """Hold the conversation in a store that is thrown away."""
    with TemporaryDirectory() as folder, Memory(llm="verbatim", store=Path(folder, "chat.db")) as memory:
        mine = memory.scoped(user_id="mara")
        for text in typed() if interactive else SAID:
            if not interactive:
                print(f"> {text}")
            print(reply(mine, text))


if __name__ == "__main__":
    main(interactive="--interactive" in sys.argv[1:])
