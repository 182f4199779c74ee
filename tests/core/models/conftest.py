"""Asking a model through both runtimes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from memkit_core.models.structured import Answer, ask
from memkit_core.runtime import AsyncRuntime, BlockingRuntime, Gates, Workers, drive

Ask = Callable[..., Answer[Any]]


class Item(BaseModel):
    """One fact."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=200)
    cites: list[int] = Field(default_factory=list[int])


class Found(BaseModel):
    """The facts of a conversation."""

    model_config = ConfigDict(extra="forbid")

    facts: list[Item]
    note: str | None = None


PROMPT = [("system", "List the facts."), ("user", "I like tea.")]


@pytest.fixture(params=["sync", "async"])
def put(request: pytest.FixtureRequest) -> Ask:
    """``ask`` with a prompt of its own, once blocking and once on an event loop."""
    gates, workers = Gates(), Workers(1, "test")

    def asked(model: Any, **options: Any) -> Answer[Any]:
        given = {"schema": Found, "messages": PROMPT, "item_field": "facts", "name": "memkit.test"} | options
        if request.param == "sync":
            return drive(ask(BlockingRuntime(gates, workers), model, **given))
        work: Awaitable[Answer[Any]] = ask(AsyncRuntime(gates, workers), model, **given)
        return asyncio.run(work)  # type: ignore[arg-type]

    return asked
