"""Which of an agent's messages are new to a memory, and what a run keeps while it lasts."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.messages import BaseMessage

from memkit_core.adapting import answered, asked, behind_mark, by_harness, configured, thread_of


@dataclass(slots=True)
class Run:
    """What one run of one agent has recalled and seen. It lies in no state, so no checkpoint has it.

    Attributes:
        token: Names the run.
        question: For whom and for what ``recalled`` was recalled.
        seen: Messages that nobody has saved yet, by their ids.
    """

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    question: tuple[str, str | None, str] | None = None
    recalled: str = ""
    seen: dict[str, BaseMessage] = field(default_factory=dict[str, BaseMessage])


class Runs:
    """The runs that go on. One is over, and forgotten, when LangGraph lets go of its stream writer."""

    def __init__(self) -> None:
        self._runs: WeakKeyDictionary[Any, dict[str, Run]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, runtime: object, config: Mapping[str, Any]) -> Run:
        """The run of this call of the model; a new one where nothing tells one run from another."""
        writer = getattr(runtime, "stream_writer", None)
        with self._lock:
            try:
                agents = self._runs.setdefault(writer, {})
            except TypeError:  # nothing that can be held weakly
                return Run()
            return agents.setdefault(_graph(config), Run())


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user said and what was answered, and the key under which it is saved once."""

    messages: list[BaseMessage]
    key: str


def unsaved(
    messages: Sequence[BaseMessage], run: Run, config: Mapping[str, Any], name: str
) -> list[BaseMessage]:
    """What ``name`` has not saved: of a thread all of it, else the last question and what followed.

    A message that a summary has replaced while the run went on is among them.
    """
    start = behind_mark(messages, name)
    if start == 0 and not _kept(config):
        start = _last_questions(messages)
    new = [message for message in messages[start:] if _said(message)]
    if run.seen and any(by_harness(message) for message in messages):
        there = {message.id for message in messages}
        new = [*(message for key, message in run.seen.items() if key not in there), *new]
    run.seen.update({message.id: message for message in new if message.id})
    return new


def exchanges(
    new: Sequence[BaseMessage], answer: Sequence[BaseMessage], run: Run, config: Mapping[str, Any], name: str
) -> list[Exchange]:
    """The new messages and the answer that has just come, one exchange for each question.

    The key says the question and not what was answered: a step that runs again, after a crash for instance,
    asks the model again and gets another answer.
    """
    groups: list[list[BaseMessage]] = []
    for message in [*new, *(one for one in answer if _said(one))]:
        if not groups or asked(message):
            groups.append([])
        groups[-1].append(message)
    place = (thread_of(config), _graph(config)) if _kept(config) else (run.token,)
    return [Exchange(group, _key((name, *place), group[0])) for group in groups]


def _key(place: tuple[str | None, ...], first: BaseMessage) -> str:
    told = json.dumps([*place, first.id, first.type, first.text])
    return f"langchain:{hashlib.sha256(told.encode()).hexdigest()}"


def _said(message: BaseMessage) -> bool:
    if asked(message):
        return bool(message.text.strip()) or (isinstance(message.content, list) and bool(message.content))
    return answered(message) and bool(message.text.strip())


def _last_questions(messages: Sequence[BaseMessage]) -> int:
    """Where the last human messages begin that stand together."""
    start = next((n for n in range(len(messages) - 1, -1, -1) if asked(messages[n])), 0)
    while start > 0 and asked(messages[start - 1]):
        start -= 1
    return start


def _kept(config: Mapping[str, Any]) -> bool:
    """Whether a checkpointer keeps the thread. A thread's id alone is only a name."""
    return configured(config, "__pregel_checkpointer") is not None and thread_of(config) is not None


def _graph(config: Mapping[str, Any]) -> str:
    """The agent's place among graphs in graphs; empty for one that is called by itself."""
    return str(configured(config, "checkpoint_ns") or "").rpartition("|")[0]
