"""A memory in a file, and nothing that asks for a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(
        llm="verbatim", embedder=HashEmbeddings(), store=f"sqlite:///{tmp_path}/langchain.db"
    ) as opened:
        yield opened
