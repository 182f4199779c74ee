"""Chroma, a vector database: one collection in a folder, users told apart by metadata."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from ..data import table
from .base import Subject

_OPEN = """\
import chromadb
client = chromadb.PersistentClient("chroma", settings=chromadb.Settings(anonymized_telemetry=False))
client.get_or_create_collection("memories", embedding_function=None)
"""


class Chroma(Subject):
    """Vectors and texts, no extraction and no history."""

    name = "chroma"
    distributions = ("chromadb",)
    abilities = frozenset({"store", "reopen"})
    import_code = "import chromadb"
    open_code = _OPEN
    notes: ClassVar[Mapping[str, str]] = {
        "": "vectors only, found by an approximate index (HNSW) with a metadata filter per user"
    }

    def open(self) -> None:
        chromadb: Any = import_module("chromadb")
        settings = chromadb.Settings(anonymized_telemetry=False)
        self._table = table()
        self._client = chromadb.PersistentClient(str(self.folder / "chroma"), settings=settings)
        self._memories = self._client.get_or_create_collection(
            "memories", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        self._most = self._client.get_max_batch_size()

    def close(self) -> None:
        self._client.close()

    def add_batch(self, texts: list[str], user: str) -> None:
        for start in range(0, len(texts), self._most):
            part = texts[start : start + self._most]
            self._memories.add(
                ids=[str(uuid.uuid4()) for _ in part],
                documents=part,
                embeddings=self._table.embed_documents(part),
                metadatas=[{"user_id": user}] * len(part),
            )

    def search(self, question: str, user: str) -> int:
        found = self._memories.query(
            query_embeddings=[self._table.embed_query(question)], n_results=10, where={"user_id": user}
        )
        return len(found["ids"][0])
