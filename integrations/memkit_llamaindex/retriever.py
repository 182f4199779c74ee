"""Memories as the nodes of a LlamaIndex query engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from memkit_core import AsyncMemory, Excerpt, Memory, SearchHit, SearchResult
from memkit_core.adapting import UserSource, lend, resolve_user
from memkit_core.filters import Filter

from .arguments import MOST, a_count, a_switch, an_id


class MemkitRetriever(BaseRetriever):
    """A retriever over one user's memories, best first.

    A node's id is the memory's (or the quoted message's), its score the relevance from 0 to 1, which does not
    depend on what else was found. Its metadata are not shown to models. A query without words finds nothing.

    Args:
        memory: Either face; the retriever works under ``retrieve`` and ``aretrieve``.
        user_id: Whose memories: an id, or a function that returns it and is asked for each query.
        k: How many memories at most, and how many quotations.
        agent_id: Only what this agent has learnt of the user.
        threshold: Lowest relevance.
        filters: As in ``memory.search``.
        excerpts: True: what was said, word for word, follows the memories.

    Raises:
        UsageError: An argument is wrong.
    """

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        user_id: UserSource,
        k: int = 6,
        agent_id: str | None = None,
        threshold: float | None = None,
        filters: Mapping[str, Any] | Filter | None = None,
        excerpts: bool = False,
    ) -> None:
        if not callable(user_id):
            an_id(resolve_user(explicit=user_id), "user_id")
        self._lent = lend(memory)
        self._user_id = user_id
        self._fixed: dict[str, Any] = {
            "limit": a_count(k, "k", most=MOST),
            "agent_id": None if agent_id is None else an_id(agent_id, "agent_id"),
            "threshold": threshold,
            "filters": filters,
            "include": ("memories", "excerpts") if a_switch(excerpts, "excerpts") else ("memories",),
        }
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - LlamaIndex types it loosely

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if not query_bundle.query_str.strip():
            return []
        return _nodes(self._lent.memory.search(query_bundle.query_str, **self._asked()))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if not query_bundle.query_str.strip():
            return []
        return _nodes(await self._lent.amemory.search(query_bundle.query_str, **self._asked()))

    def _asked(self) -> dict[str, Any]:
        return {**self._fixed, "user_id": resolve_user(None, None, self._user_id)}


def _nodes(found: SearchResult) -> list[NodeWithScore]:
    return [*(_memory(hit) for hit in found.results), *(_excerpt(excerpt) for excerpt in found.excerpts)]


def _memory(hit: SearchHit) -> NodeWithScore:
    told: dict[str, Any] = {
        "type": "memory",
        "kind": hit.kind,
        "trust": hit.trust,
        "revision": hit.revision,
        "sources": list(hit.sources),
        "valid_from": _time(hit.valid_from),
        "event_time": _time(hit.event_time),
        "created_at": _time(hit.created_at),
        "updated_at": _time(hit.updated_at),
        "metadata": dict(hit.metadata),
    }
    return _node(hit.id, hit.memory, told, hit.relevance)


def _excerpt(excerpt: Excerpt) -> NodeWithScore:
    told: dict[str, Any] = {
        "type": "excerpt",
        "role": excerpt.role,
        "actor_id": excerpt.actor_id,
        "observed_at": _time(excerpt.observed_at),
    }
    return _node(excerpt.message_id, excerpt.text, told, excerpt.relevance)


def _node(number: str, text: str, told: dict[str, Any], relevance: float) -> NodeWithScore:
    hidden = list(told)
    node = TextNode(
        id_=number,
        text=text,
        metadata=told,
        excluded_llm_metadata_keys=hidden,
        excluded_embed_metadata_keys=hidden,
    )
    return NodeWithScore(node=node, score=relevance)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
