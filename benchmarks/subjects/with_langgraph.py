"""The stores and checkpoint savers that come with LangGraph; they take part where memkit plays their role."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

from ..data import DIMENSION
from .base import Subject


class LangGraph(Subject):
    """A store and a saver; nothing that a memory does."""

    peer = False
    abilities = frozenset({"graph"})
    import_code = "import langgraph.store.base, langgraph.checkpoint.base"

    def open(self) -> None:
        self._open = ExitStack()

    def close(self) -> None:
        self._open.close()

    @abstractmethod
    def graph_store(self) -> Any: ...

    @abstractmethod
    def graph_saver(self) -> Any: ...

    def add_batch(self, texts: list[str], user: str) -> None:
        raise NotImplementedError

    def search(self, question: str, user: str) -> int:
        raise NotImplementedError


class LangGraphMemory(LangGraph):
    """Dicts."""

    name = "langgraph-memory"
    distributions = ("langgraph", "langgraph-checkpoint")
    open_code = "from langgraph.store.memory import InMemoryStore; InMemoryStore()"
    notes: ClassVar[Mapping[str, str]] = {"": "InMemoryStore and InMemorySaver keep nothing on disk"}

    def graph_store(self) -> Any:
        from langgraph.store.memory import InMemoryStore

        from ..chat import langchain_table

        return InMemoryStore(index={"dims": DIMENSION, "embed": langchain_table(), "fields": ["text"]})

    def graph_saver(self) -> Any:
        from langgraph.checkpoint.memory import InMemorySaver

        self._saver = InMemorySaver()
        return self._saver

    def graph_bytes(self) -> int:
        saver = getattr(self, "_saver", None)
        if saver is None:
            return 0
        checkpoints = (
            one for spaces in saver.storage.values() for ids in spaces.values() for one in ids.values()
        )
        kept = sum(len(part[1]) for checkpoint in checkpoints for part in checkpoint[:2])
        kept += sum(len(typed[1]) for typed in saver.blobs.values())
        return kept + sum(len(write[2][1]) for writes in saver.writes.values() for write in writes.values())


class LangGraphSqlite(LangGraph):
    """Files, with SQLite's own durability: every write is synced."""

    name = "langgraph-sqlite"
    distributions = ("langgraph-checkpoint-sqlite",)
    open_code = (
        "from langgraph.store.sqlite import SqliteStore\n"
        "with SqliteStore.from_conn_string('store.db') as store: store.setup()"
    )
    notes: ClassVar[Mapping[str, str]] = {
        "": "SqliteStore and SqliteSaver; vectors only on a Python whose sqlite3 loads extensions"
    }

    def graph_store(self) -> Any:
        from langgraph.store.sqlite import SqliteStore

        from ..chat import langchain_table

        index: Any = None
        if hasattr(sqlite3.Connection, "enable_load_extension"):
            index = {"dims": DIMENSION, "embed": langchain_table(), "text_fields": ["text"]}
        file = str(self.folder / "store.db")
        store = self._open.enter_context(SqliteStore.from_conn_string(file, index=index))
        store.setup()
        return store

    def graph_saver(self) -> Any:
        from langgraph.checkpoint.sqlite import SqliteSaver

        saver = self._open.enter_context(SqliteSaver.from_conn_string(str(self.folder / "saver.db")))
        saver.setup()
        return saver
