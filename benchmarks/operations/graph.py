"""Operations of LangGraph's stores and checkpoint savers, through LangGraph's own interfaces."""

from __future__ import annotations

import itertools
from typing import Any

from ..data import Texts
from ..measure import Values, repeat, timed, values
from .base import Bench, Operation

_NAMESPACES = 10
_BATCH = 1_000


class Items(Operation):
    """Puts, gets and searches beside so many items in ten namespaces."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        from langgraph.store.base import PutOp

        self._subject, self._texts = self.bench.subject(), Texts(6)
        self._store = self._subject.graph_store()
        self._number = itertools.count(self._rows)
        for start in range(0, self._rows, _BATCH):
            numbers = range(start, min(start + _BATCH, self._rows))
            self._store.batch([PutOp(_space(n), str(n), self._value(n)) for n in numbers])
            self.bench.progress(numbers[-1] + 1, self._rows)
        found = self._store.search(_space(0), query=self._texts.question())
        self._searches = bool(found) and found[0].score is not None

    def _value(self, number: int) -> dict[str, Any]:
        # Equal texts are put together in no batch: InMemoryStore cannot.
        return {"text": f"{self._texts.statement()} {number}", "even": number % 2 == 0, "number": number}

    def round(self) -> Values:
        taken, store = values(), self._store

        def all_of_them() -> None:
            number = next(self._number)
            value, question, old = self._value(number), self._texts.question(), number % self._rows
            with timed(taken, "put"):
                store.put(_space(number), str(number), value)
            with timed(taken, "get"):
                store.get(_space(old), str(old))
            with timed(taken, "list ten"):
                store.search(_space(old))
            with timed(taken, "filter"):
                store.search(_space(old), filter={"even": True})
            if self._searches:
                with timed(taken, "search"):
                    store.search(_space(old), query=question)

        repeat(all_of_them, times=self.bench.samples, seconds=self.bench.seconds)
        return taken


class Checkpoints(Operation):
    """Puts and reads of the latest checkpoint beside so many others, ten to a thread."""

    def __init__(self, bench: Bench, rows: int) -> None:
        super().__init__(bench)
        self._rows = rows

    def prepare(self) -> None:
        self._subject, self._texts = self.bench.subject(), Texts(7)
        self._saver = self._subject.graph_saver()
        self._latest: dict[int, tuple[Any, int]] = {}
        self._next = itertools.count(self._rows)
        for number in range(self._rows):
            self._put(number)
            if number % 100 == 99:
                self.bench.progress(number + 1, self._rows)

    def _put(self, number: int) -> None:
        self._saver.put(*self._step(number))

    def _step(self, number: int) -> tuple[Any, Any, Any, Any]:
        """What a graph hands to its saver behind a step: one channel has changed."""
        from langgraph.checkpoint.base import empty_checkpoint

        thread = number // 10
        config, step = self._latest.get(thread, (None, 0))
        config = config or {"configurable": {"thread_id": str(thread), "checkpoint_ns": ""}}
        version = f"{step + 1:032}.0"
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"said": self._texts.statement()}
        checkpoint["channel_versions"] = {"said": version}
        written = {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}
        self._latest[thread] = (written, step + 1)
        return config, checkpoint, {"source": "loop", "step": step, "parents": {}}, {"said": version}

    def round(self) -> Values:
        taken, saver = values(), self._saver

        def both() -> None:
            number = next(self._next)
            step, text = self._step(number), self._texts.statement()
            latest = {"configurable": {"thread_id": str(number // 10), "checkpoint_ns": ""}}
            with timed(taken, "put"):
                written = saver.put(*step)
            with timed(taken, "put writes"):
                saver.put_writes(written, [("said", text)], f"task-{number}")
            with timed(taken, "get latest"):
                assert saver.get_tuple(latest) is not None

        repeat(both, times=self.bench.samples, seconds=self.bench.seconds)
        return taken


class Turns(Operation):
    """A thread of so many turns of 1 kB in a graph, and what is kept of it."""

    def __init__(self, bench: Bench, turns: int) -> None:
        super().__init__(bench)
        self._turns = turns
        self._rounds = itertools.count()

    def prepare(self) -> None:
        self._texts = Texts(8)

    def round(self) -> Values:
        from langchain_core.messages import AIMessage, HumanMessage
        from langgraph.graph import END, START, MessagesState, StateGraph

        def text() -> str:
            return " ".join(self._texts.statement() for _ in range(8))[:500]

        subject = self.bench.subject(f"turns-{next(self._rounds)}")
        subject.close()
        empty = subject.graph_bytes()
        subject.open()
        builder = StateGraph(MessagesState)
        builder.add_node("answer", lambda _: {"messages": [AIMessage(text())]})
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        graph, run = builder.compile(checkpointer=subject.graph_saver()), {"configurable": {"thread_id": "t"}}
        taken, said = values(), 0
        for _ in range(self._turns):
            with timed(taken, "turn"):
                told = graph.invoke({"messages": [HumanMessage(text())]}, run, durability="sync")
            said = sum(len(message.text) for message in told["messages"])
        subject.close()
        taken["bytes kept for each byte said"].append((subject.graph_bytes() - empty) / said)
        return taken


def _space(number: int) -> tuple[str, str]:
    return ("items", f"of {number % _NAMESPACES}")
