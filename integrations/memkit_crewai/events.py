"""CrewAI's events around what a memory does, which its traces and listeners are made from."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.memory_events import (
    MemoryQueryCompletedEvent,
    MemoryQueryFailedEvent,
    MemoryQueryStartedEvent,
    MemorySaveCompletedEvent,
    MemorySaveFailedEvent,
    MemorySaveStartedEvent,
)
from crewai.memory.types import MemoryMatch

_KIND = "unified_memory"


@contextmanager
def saving(
    memory: object, value: str, metadata: dict[str, Any] | None, agent_role: str | None
) -> Generator[None]:
    """Says that a save begins, and how it ended."""
    told: dict[str, Any] = {
        "value": value,
        "metadata": metadata,
        "agent_role": agent_role,
        "source_type": _KIND,
    }
    crewai_event_bus.emit(memory, MemorySaveStartedEvent(**told))
    began = time.perf_counter()
    try:
        yield
    except Exception as error:
        crewai_event_bus.emit(memory, MemorySaveFailedEvent(**told, error=str(error)))
        raise
    took = (time.perf_counter() - began) * 1000
    crewai_event_bus.emit(memory, MemorySaveCompletedEvent(**told, save_time_ms=took))


@contextmanager
def asking(memory: object, query: str, limit: int) -> Generator[list[MemoryMatch]]:
    """Says that a search begins, and how it ended; what it found belongs into the list."""
    told: dict[str, Any] = {"query": query, "limit": limit, "source_type": _KIND}
    found: list[MemoryMatch] = []
    crewai_event_bus.emit(memory, MemoryQueryStartedEvent(**told))
    began = time.perf_counter()
    try:
        yield found
    except Exception as error:
        crewai_event_bus.emit(memory, MemoryQueryFailedEvent(**told, error=str(error)))
        raise
    took = (time.perf_counter() - began) * 1000
    crewai_event_bus.emit(memory, MemoryQueryCompletedEvent(**told, results=found, query_time_ms=took))
