"""LangChain's own vector store in memory: the least that a memory can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import Subject

_IMPORT = "from langchain_core.vectorstores import InMemoryVectorStore"


class LangChain(Subject):
    """A dict of documents; each search compares all vectors of the user."""

    name = "langchain"
    peer = False
    distributions = ("langchain-core",)
    abilities = frozenset({"store"})
    import_code = _IMPORT
    open_code = (
        f"{_IMPORT}\nfrom langchain_core.embeddings import FakeEmbeddings\n"
        "InMemoryVectorStore(FakeEmbeddings(size=384))"
    )
    notes: ClassVar[Mapping[str, str]] = {"": "keeps nothing on disk; vectors only"}

    def open(self) -> None:
        from langchain_core.vectorstores import InMemoryVectorStore

        from ..chat import langchain_table

        self._store = InMemoryVectorStore(langchain_table())

    def add_batch(self, texts: list[str], user: str) -> None:
        self._store.add_texts(texts, metadatas=[{"user_id": user} for _ in texts])

    def search(self, question: str, user: str) -> int:
        def own(document: Any) -> bool:
            return bool(document.metadata["user_id"] == user)

        return len(self._store.similarity_search(question, k=10, filter=own))
