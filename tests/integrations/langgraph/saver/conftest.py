"""Savers over a file in a folder of their own, and what graphs are put together from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_langgraph.saver import MemkitSaver


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memkit.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        yield memory


@pytest.fixture
def saver(memory: Memory) -> MemkitSaver:
    return MemkitSaver(memory)
