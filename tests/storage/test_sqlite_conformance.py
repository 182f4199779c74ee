"""The SQLite store and the in-memory index keep the contracts that are shipped for every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memkit_core.protocols import RecordStore
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.testing import InMemoryVectorIndex, RecordStoreConformance, VectorIndexConformance


class TestSqliteFile(RecordStoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with open_sqlite(tmp_path / "memkit.db", durability="relaxed") as store:
            assert isinstance(store, RecordStore)
            yield store


class TestSqliteInMemory(RecordStoreConformance):
    @pytest.fixture
    def store(self) -> Iterator[SqliteStore]:
        with open_sqlite(":memory:") as store:
            yield store


class TestSqliteWithoutCache(RecordStoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with open_sqlite(tmp_path / "memkit.db", durability="relaxed", cache_bytes=0) as store:
            yield store


class TestInMemoryIndex(VectorIndexConformance):
    @pytest.fixture
    def index(self) -> InMemoryVectorIndex:
        return InMemoryVectorIndex()
