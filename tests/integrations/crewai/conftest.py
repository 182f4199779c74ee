"""A memory in a file, agents that read from a script, and CrewAI kept quiet and in a folder of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings

collect_ignore: list[str] = []
if importlib.util.find_spec("crewai"):
    os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"  # it is looked at when CrewAI is imported
    with warnings.catch_warnings():
        # CrewAI's own, from a module that does not let itself be set.
        warnings.simplefilter("ignore", ImportWarning)
        importlib.import_module("crewai")
else:
    # If these tests are asked for, test_installed.py fails.
    collect_ignore += [
        "test_benchmark.py",
        "test_memory.py",
        "test_runs.py",
        "test_storage.py",
        "test_tools.py",
    ]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "false")
    monkeypatch.setenv("CREWAI_DISABLE_VERSION_CHECK", "true")
    monkeypatch.setenv("CREWAI_STORAGE_DIR", "memkit-tests")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder=HashEmbeddings(), store=f"sqlite:///{tmp_path}/crew.db") as opened:
        yield opened


@pytest.fixture
def scripted() -> Callable[..., Any]:
    """Makes a model for CrewAI that gives prepared replies and keeps every prompt in ``prompts``.

    A reply is a text or, if the model is ``native``, calls of tools.
    """
    from crewai import BaseLLM
    from pydantic import PrivateAttr

    class Scripted(BaseLLM):
        _replies: list[Any] = PrivateAttr(default_factory=list)
        _native: bool = PrivateAttr(default=False)
        _prompts: list[str] = PrivateAttr(default_factory=list)

        def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            said = messages if isinstance(messages, str) else "\n".join(str(m["content"]) for m in messages)
            self._prompts.append(said)
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

        async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            return self.call(messages)

        def supports_function_calling(self) -> bool:
            return self._native

        @property
        def prompts(self) -> list[str]:
            return self._prompts

    def make(*replies: Any, native: bool = False) -> Scripted:
        model = Scripted(model="scripted")
        model._replies = list(replies)
        model._native = native
        return model

    return make


@pytest.fixture
def crew_of(scripted: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a crew of one agent that answers in one task."""
    from crewai import Agent, Crew, Task

    def make(*replies: str, task: str = "Who leads the market?", tools: Any = (), **options: Any) -> Any:
        model = scripted(*(reply if "Action:" in reply else answer(reply) for reply in replies))
        agent = Agent(role="Researcher", goal="Find out.", backstory="Curious.", llm=model, tools=list(tools))
        crew = Crew(
            agents=[agent],
            tasks=[Task(description=task, expected_output="A sentence.", agent=agent)],
            **options,
        )
        return crew, model

    return make


def answer(text: str) -> str:
    """How an agent without native tools ends."""
    return f"Thought: I now know the final answer\nFinal Answer: {text}"
