"""The subjects, memkit first."""

from __future__ import annotations

from .base import Opening, Subject
from .with_chroma import Chroma
from .with_langchain import LangChain
from .with_langgraph import LangGraphMemory, LangGraphSqlite
from .with_langmem import LangMem
from .with_mem0 import Mem0
from .with_memkit import Memkit

SUBJECTS: dict[str, type[Subject]] = {
    subject.name: subject
    for subject in (Memkit, Chroma, LangChain, Mem0, LangMem, LangGraphMemory, LangGraphSqlite)
}

__all__ = ["SUBJECTS", "Opening", "Subject"]
