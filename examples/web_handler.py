"""Many users at once in one event loop, as a web server would have them.

One ``AsyncMemory`` for the process, a scoped view per request. A request answers from memory and stores what
was said without waiting for the model; extraction runs in the background.

    python examples/web_handler.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import BaseMessage

from memkit_core import AsyncMemory
from memkit_core.testing import ScriptedChatModel

SAID = ("I play the cello.", "I also play chess.")


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler is given."""

    user: str
    text: str


def model_answer(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """Stands for a chat model: what was said is a fact, and every fact is new.

    One reply for both of memkit's questions; each takes the part that it asked for.
    """
    said = [text for text in SAID if text in str(messages[-1].content)]
    return {
        "facts": [{"text": text, "cites": [0]} for text in said],
        "decisions": [{"fact": 0, "op": "ADD"}],
    }


async def handle(memory: AsyncMemory, request: Request) -> str:
    """One request: recall, answer, store."""
    mine = memory.scoped(user_id=request.user)
    found = await mine.search(request.text, limit=1)
    await mine.add(request.text, wait=False)
    return f"{request.user}: I know {len(found)} thing(s) about that"


async def main() -> None:
    """Twenty users send two messages each, all at once."""
    model = ScriptedChatModel(model_answer, delay=0.02)
    with TemporaryDirectory() as folder:
        async with AsyncMemory(llm=model, store=Path(folder, "web.db")) as memory:
            for text in SAID:
                requests = [Request(f"user-{number}", text) for number in range(20)]
                replies = await asyncio.gather(*(handle(memory, request) for request in requests))
                print(f"{len(replies)} replies, e.g. {replies[0]}")
                # Only so that the second round finds the first; a server calls flush from a timer, if at all.
                await memory.flush()
            counts = [await memory.count(user_id=f"user-{number}") for number in range(20)]
            print(f"{sum(counts)} memories of {len(counts)} users")


if __name__ == "__main__":
    asyncio.run(main())
