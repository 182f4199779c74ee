"""What a subject of the benchmarks does; modules of the library itself are imported when it is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from ..chat import ScriptedChat, Way

Ability = Literal["store", "reopen", "model", "async", "background", "graph", "agent", "llama"]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a subject is opened.

    Attributes:
        latency: Seconds that a call of the scripted model takes.
        every: The model makes a fact of each so-manieth message, instead of the fixed case's facts.
        asynchronous: Through the asynchronous face; then only ``afill`` and ``aadd`` are used.
    """

    latency: float = 0.0
    way: Way = "tools"
    every: int | None = None
    asynchronous: bool = False


class Subject(ABC):
    """One library, made to do what the others do.

    Attributes:
        name: As it is called in tables.
        peer: Whether it lives in the peers' environment instead of this one.
        distributions: Whose versions are reported.
        abilities: ``store``: raw adds and search. ``reopen``: what is stored outlives the process.
            ``model``: adds in which a model is asked. ``async``: the same, many at once. ``graph``: a store
            and a checkpoint saver for LangGraph. ``agent``: a middleware for LangChain's agents.
            ``llama``: a memory for LlamaIndex's agents.
        ways: In which ways its model can be asked for structure.
        import_code, open_code: Python that imports it, and that opens an empty one in the working folder.
        notes: Where an operation does not mean quite the same as memkit's, by the operation's name;
            ``""`` holds for all.
        fill_rows: Rows that it is given in one call when a store is filled.
    """

    name: ClassVar[str]
    peer: ClassVar[bool] = True
    distributions: ClassVar[tuple[str, ...]]
    abilities: ClassVar[frozenset[Ability]]
    ways: ClassVar[tuple[Way, ...]] = ("tools",)
    import_code: ClassVar[str]
    open_code: ClassVar[str]
    notes: ClassVar[Mapping[str, str]] = {}
    fill_rows: ClassVar[int] = 1_000

    chat: ScriptedChat

    def __init__(self, folder: Path, opening: Opening | None = None) -> None:
        self.folder = folder
        self.opening = opening or Opening()

    @abstractmethod
    def open(self) -> None:
        """Open what is in the folder, or begin."""

    def close(self) -> None:  # noqa: B027 - some hold nothing
        """Let go of it."""

    @abstractmethod
    def add_batch(self, texts: list[str], user: str) -> None:
        """Keep statements as they are, in one call where there is such a call."""

    def add_raw(self, text: str, user: str) -> None:
        """Keep one statement as it is."""
        self.add_batch([text], user)

    @abstractmethod
    def search(self, question: str, user: str) -> int:
        """Ask for the ten best; how many came."""

    def add(self, messages: list[dict[str, str]], user: str) -> None:
        """Have the model find what is worth keeping."""
        raise NotImplementedError

    def add_later(self, text: str, user: str) -> None:
        """Have the model find what is worth keeping in one turn, without waiting for it."""
        raise NotImplementedError

    def graph_store(self) -> Any:
        """LangGraph's store in the folder, open until ``close``."""
        raise NotImplementedError

    def graph_saver(self) -> Any:
        """LangGraph's checkpoint saver in the folder, open until ``close``."""
        raise NotImplementedError

    def middleware(self) -> Any:
        """A middleware for LangChain's agents that recalls before the model and saves behind it."""
        raise NotImplementedError

    def chat_memory(self, user: str) -> Any:
        """A memory for LlamaIndex's agents, for one session of a user."""
        raise NotImplementedError

    def graph_bytes(self) -> int:
        """What is kept; called when it is closed."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def flush(self) -> None:
        """Wait until nothing is left to do."""
        raise NotImplementedError

    async def afill(self, texts: list[str], user: str) -> None:
        """Keep statements as they are, before ``aadd`` is measured."""
        self.add_batch(texts, user)

    async def aadd(self, messages: list[dict[str, str]], user: str) -> int:
        """``add`` without blocking the loop; how many facts it says it has kept."""
        raise NotImplementedError
