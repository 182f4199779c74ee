"""Memories as the documents of a LangChain retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from pydantic import ConfigDict, Field, field_validator

from memkit_core import AsOf, AsyncMemory, Excerpt, Memory, SearchHit, SearchResult
from memkit_core.adapting import UserSource, check_settings, lend, resolve_user
from memkit_core.filters import Filter


class MemoryRetriever(BaseRetriever):
    """A retriever over a user's memories, best first.

    A document's id is the memory's (or the quoted message's). Its metadata hold ``relevance`` from 0 to 1,
    which does not depend on what else was found, times as ISO 8601 texts, and the memory's own ``metadata``.

    Attributes:
        memory: Either face; the retriever works under ``invoke`` and ``ainvoke``.
        user_id: Whose memories: an id, or a function of the run's config and runtime. None: the run says it,
            see ``resolve_user``; a query for nobody raises ``UsageError``.
        k: How many memories at most, and how many quotations. ``invoke(query, k=…)`` says it for one query.
        agent_id: Only what this agent has learnt of the user.
        threshold: Lowest relevance.
        filters: As in ``memory.search``.
        as_of: Answers from what held at that time, as in ``memory.search``; ``invoke(query, as_of=…)`` for
            one query.
        excerpts: True: what was said, word for word, follows the memories.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    memory: Memory | AsyncMemory = Field(repr=False)
    user_id: UserSource | None = None
    k: int = Field(default=6, ge=1)
    agent_id: str | None = None
    threshold: float | None = None
    filters: Mapping[str, Any] | Filter | None = None
    as_of: datetime | str | AsOf | None = None
    excerpts: bool = False

    @field_validator("user_id")
    @classmethod
    def _named(cls, user_id: UserSource | None) -> UserSource | None:
        check_settings(user_id=user_id)
        return user_id

    @field_validator("agent_id")
    @classmethod
    def _agent(cls, agent_id: str | None) -> str | None:
        check_settings(agent_id=agent_id)
        return agent_id

    @field_validator("as_of")
    @classmethod
    def _timed(cls, as_of: datetime | str | AsOf | None) -> datetime | str | AsOf | None:
        if as_of is not None and not isinstance(as_of, AsOf):
            AsOf(valid=as_of)  # refuses what is no time, before the first query
        return as_of

    def invoke(
        self,
        input: str,  # noqa: A002 - LangChain's
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The documents for a query; ``k`` and ``as_of`` may be said for this one."""
        # The base takes from the config its callbacks only: whose memories they are stands there as well.
        with set_config_context(ensure_config(config)) as context:
            return context.run(super().invoke, input, config, **kwargs)

    async def ainvoke(
        self,
        input: str,  # noqa: A002 - LangChain's
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """See ``invoke``."""
        with set_config_context(ensure_config(config)) as context:
            return await asyncio.create_task(super().ainvoke(input, config, **kwargs), context=context)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - as its base
        k: int | None = None,
        as_of: datetime | str | AsOf | None = None,
    ) -> list[Document]:
        return _documents(lend(self.memory).memory.search(query, **self._asked(k, as_of)))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - as its base
        k: int | None = None,
        as_of: datetime | str | AsOf | None = None,
    ) -> list[Document]:
        return _documents(await lend(self.memory).amemory.search(query, **self._asked(k, as_of)))

    def _asked(self, k: int | None, as_of: datetime | str | AsOf | None) -> dict[str, Any]:
        return {
            "user_id": resolve_user(cast("Mapping[str, Any]", ensure_config()), None, self.user_id),
            "limit": self.k if k is None else k,
            "agent_id": self.agent_id,
            "threshold": self.threshold,
            "filters": self.filters,
            "as_of": self.as_of if as_of is None else as_of,
            "include": ("memories", "excerpts") if self.excerpts else ("memories",),
        }


def _documents(found: SearchResult) -> list[Document]:
    return [*(_memory(hit) for hit in found.results), *(_excerpt(excerpt) for excerpt in found.excerpts)]


def _memory(hit: SearchHit) -> Document:
    told: dict[str, Any] = {
        "type": "memory",
        "relevance": hit.relevance,
        "score": hit.score,
        "kind": hit.kind,
        "trust": hit.trust,
        "sources": list(hit.sources),
        "valid_from": _time(hit.valid_from),
        "event_time": _time(hit.event_time),
        "created_at": _time(hit.created_at),
        "updated_at": _time(hit.updated_at),
        "metadata": dict(hit.metadata),
    }
    return Document(id=hit.id, page_content=hit.memory, metadata=told)


def _excerpt(excerpt: Excerpt) -> Document:
    told: dict[str, Any] = {
        "type": "excerpt",
        "relevance": excerpt.relevance,
        "score": excerpt.score,
        "role": excerpt.role,
        "actor_id": excerpt.actor_id,
        "observed_at": _time(excerpt.observed_at),
    }
    return Document(id=excerpt.message_id, page_content=excerpt.text, metadata=told)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
