"""Memories that are closed in the end."""

from __future__ import annotations

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.testing import ScriptedChatModel


@pytest.fixture
def open_memory(tmp_path):
    opened = []

    def opener(model, **policies):
        memory = Memory(
            llm=ScriptedChatModel(model),
            embedder="none",
            store=tmp_path / "m.db",
            config=MemoryConfig(**policies),
        )
        opened.append(memory)
        return memory

    yield opener
    for memory in opened:
        memory.close()
