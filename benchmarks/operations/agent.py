"""Turns of an agent of LangChain, with a memory's middleware and without one."""

from __future__ import annotations

from typing import Any

from ..data import Texts
from ..measure import Values, repeat, timed, values
from ..subjects import Opening
from .base import Bench, Operation

_USER = "u"


class AgentTurns(Operation):
    """A statement and a question, an answer of a model that takes no time, nothing kept of the thread."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        from langchain.agents import create_agent
        from langchain_core.language_models import FakeListChatModel

        self._subject, self._texts = self.bench.subject(opening=Opening(every=3)), Texts(9)
        self.bench.fill(self._subject, [_USER], self._rows)

        def agent(*middleware: Any) -> Any:
            return create_agent(FakeListChatModel(responses=["Well noted."]), middleware=middleware)

        self._without, self._with = agent(), agent(self._subject.middleware())
        self._turn(self._without)
        self._turn(self._with)

    def round(self) -> Values:
        taken = values()

        def both() -> None:
            with timed(taken, "without"):
                self._turn(self._without)
            with timed(taken, "with"):
                self._turn(self._with)
            for clock in ("cpu", "wall"):
                taken[f"middleware.{clock}"].append(
                    taken[f"with.{clock}"][-1] - taken[f"without.{clock}"][-1]
                )

        repeat(both, times=self.bench.samples, seconds=self.bench.seconds)
        # What was said is extracted later, in the background: one call of the model for many turns.
        with timed(taken, "later, per turn", per=len(taken["with.cpu"])):
            self._subject.flush()
        return taken

    def _turn(self, agent: Any) -> None:
        text = f"{self._texts.statement()}. {self._texts.question()}"
        agent.invoke({"messages": [("user", text)]}, {"configurable": {"user_id": _USER}})
