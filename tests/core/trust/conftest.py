"""A memory with a model, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel


@pytest.fixture
def open_memory(tmp_path: Path) -> Iterator[Callable[..., Memory]]:
    opened: list[Memory] = []

    def opener(model: Any = None, *, embedder: Any = None, **policies: Any) -> Memory:
        memory = Memory(
            llm="verbatim" if model is None else ScriptedChatModel(model),
            embedder=embedder or HashEmbeddings(dimension=32),
            store=tmp_path / f"{len(opened)}.db",
            config=MemoryConfig(**policies),
        )
        opened.append(memory)
        return memory

    yield opener
    for memory in opened:
        memory.close()
