"""Turns of an agent of LlamaIndex: with memkit's memory, with the one it has by itself, with a mere list."""

from __future__ import annotations

import asyncio
from typing import Any

from ..data import Texts
from ..measure import Values, repeat, timed, values
from ..subjects import Opening
from .base import Bench, Operation

_USER = "u"
_TOKENS = 96_000
#: After so many turns a session begins again where it was.
_LONGER = 10


class LlamaTurns(Operation):
    """A statement and a question, an answer of a model that takes no time, behind so many turns."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        from llama_index.core.agent.workflow import FunctionAgent
        from llama_index.core.base.llms.types import ChatMessage
        from llama_index.core.llms.mock import MockFunctionCallingLLM
        from llama_index.core.memory import ChatMemoryBuffer

        self._subject, self._texts = self.bench.subject(opening=Opening(every=3)), Texts(9)
        self.bench.fill(self._subject, [_USER], self._rows)

        answer = ChatMessage(role="assistant", content="Well noted.")
        model = MockFunctionCallingLLM(response_generator=lambda *_, **__: answer)
        self._agent = FunctionAgent(llm=model, streaming=False)
        said = Texts(10)
        self._history = [
            message
            for _ in range(self._rows)
            for message in (ChatMessage(f"{said.statement()}. {said.question()}", role="user"), answer)
        ]
        self._memories = {
            "a list": _plain(),
            # What an agent takes that is given none; three quarters of its model's context.
            "its own": ChatMemoryBuffer.from_defaults(token_limit=_TOKENS),
            "with": self._subject.chat_memory(_USER),
        }
        # One event loop for all turns, as a server has one.
        self._runner = asyncio.Runner()

    def round(self) -> Values:
        taken = values()
        turns = 0

        def each() -> None:
            nonlocal turns
            if turns % _LONGER == 0:
                for memory in self._memories.values():
                    memory.set(self._history)
                    self._turn(memory)
            turns += 1
            # Each follows each of the others as often: what ran before leaves its own in the caches.
            names = list(self._memories)
            first = turns % len(names)
            order = names[first:] + names[:first]
            for name in order if turns // len(names) % 2 else order[::-1]:
                with timed(taken, name):
                    self._turn(self._memories[name])
            for name in ("its own", "a list"):
                for clock in ("cpu", "wall"):
                    more = taken[f"with.{clock}"][-1] - taken[f"{name}.{clock}"][-1]
                    taken[f"more than {name}.{clock}"].append(more)

        repeat(each, times=self.bench.samples, seconds=self.bench.seconds)
        # What was said is extracted later, in the background: one call of the model for many turns.
        with timed(taken, "later, per turn", per=turns):
            self._subject.flush()
        return taken

    def finish(self) -> dict[str, Any]:
        self._runner.close()
        return {}

    def _turn(self, memory: Any) -> None:
        text = f"{self._texts.statement()}. {self._texts.question()}"

        async def run() -> None:
            await self._agent.run(text, memory=memory)

        self._runner.run(run())


def _plain() -> Any:
    """A memory that does nothing but keep what it is given: no limit, no tokens counted."""
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.memory import BaseMemory
    from pydantic import PrivateAttr

    class Plain(BaseMemory):
        # No field: an agent's steps would validate all messages of it, again and again.
        _messages: list[ChatMessage] = PrivateAttr(default_factory=list)

        @classmethod
        def from_defaults(cls, **kwargs: Any) -> Plain:
            return cls(**kwargs)

        def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002, ARG002
            return self.get_all()

        def get_all(self) -> list[ChatMessage]:
            return list(self._messages)

        def put(self, message: ChatMessage) -> None:
            self._messages.append(message)

        def set(self, messages: list[ChatMessage]) -> None:
            self._messages = list(messages)

        def reset(self) -> None:
            self._messages = []

    return Plain()
