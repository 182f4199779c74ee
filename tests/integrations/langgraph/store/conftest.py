"""Stores over a scripted world: hashed words for an embedding model, files in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings
from memkit_langgraph import MemkitStore


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder=HashEmbeddings(64), store=tmp_path / "memkit.db") as memory:
        yield memory


@pytest.fixture
def store(memory: Memory) -> MemkitStore:
    return MemkitStore(memory)
