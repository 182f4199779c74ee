"""A batch of operations, checked and sorted: what is embedded, asked and written for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from langgraph.store.base import GetOp, ListNamespacesOp, Op, PutOp, Result, SearchOp, validate_op_namespace

from memkit_core.errors import UsageError
from memkit_core.protocols import (
    FoundItem,
    ItemAnswer,
    ItemGet,
    ItemPut,
    ItemQuestion,
    ItemRanking,
    ItemSearch,
    StoredItem,
)

from .index import ItemIndex
from .memories import Memories
from .values import check_page, dump, filter_of, item_of, listing_of, search_item_of, ttl_micros

#: Vectors by the texts and by the queries that they were made from.
Vectors = Mapping[str, Any]


class Plan:
    """One batch. Every read sees the state before its puts; of several puts to one place the last counts.

    Attributes:
        results: One for each operation, in order.
        texts, queries: What is embedded for it, each once.
        memory_reads: Positions and users of reads of somebody's memories. ``memory_puts``: the puts there.

    Raises:
        UsageError: An operation cannot be carried out. Nothing was changed.
    """

    def __init__(self, ops: Iterable[Op], index: ItemIndex, memories: Memories, ranking: ItemRanking) -> None:
        self._index = index
        self._ranking: ItemRanking = ranking
        self.results: list[Result] = []
        self._reads: list[tuple[int, ItemQuestion]] = []
        self.memory_reads: list[tuple[int, str, GetOp | SearchOp]] = []
        self.memory_puts: dict[tuple[str, str], PutOp] = {}
        self._puts: dict[tuple[tuple[str, ...], str], ItemPut] = {}
        for op in ops:
            self._sort(op, memories)
        embeds = index.embedder is not None
        texts = (text for put in self._puts.values() for text in put.texts)
        self.texts: list[str] = list(dict.fromkeys(texts)) if embeds else []
        queries = (asked.text for _, asked in self._reads if isinstance(asked, ItemSearch) and asked.text)
        self.queries: list[str] = list(dict.fromkeys(queries)) if embeds and ranking != "keywords" else []

    def _sort(self, op: Op, memories: Memories) -> None:
        validate_op_namespace(op)
        position = len(self.results)
        self.results.append(None)
        if isinstance(op, PutOp):
            self._sort_put(op, memories)
            return
        if isinstance(op, GetOp | SearchOp):
            user = memories.user(op.namespace if isinstance(op, GetOp) else op.namespace_prefix)
            if user is not None:
                self.memory_reads.append((position, user, op))
                return
        self._reads.append((position, _question(op, self._ranking)))

    def _sort_put(self, op: PutOp, memories: Memories) -> None:
        namespace, key = tuple(op.namespace), op.key
        user = memories.user(namespace)
        if user is not None:
            memories.check(user, op)
            self.memory_puts.pop((user, key), None)
            self.memory_puts[user, key] = op
            return
        value: str | None = None
        paths: tuple[str, ...] = ()
        texts: tuple[str, ...] = ()
        if op.value is not None:
            value = dump(op.value)
            paths = self._index.paths(op)
            texts = self._index.texts(op.value, paths)
        self._puts.pop((namespace, key), None)  # so that the last one also is the last in order
        self._puts[namespace, key] = ItemPut(
            namespace=namespace, key=key, value=value, paths=paths, texts=texts, ttl=ttl_micros(op.ttl)
        )

    def questions(self, queries: Vectors) -> list[ItemQuestion]:
        """What the item store is asked."""
        return [
            replace(asked, vector=queries.get(asked.text))
            if isinstance(asked, ItemSearch) and asked.text is not None
            else asked
            for _, asked in self._reads
        ]

    def answer(self, answers: Iterable[ItemAnswer]) -> None:
        """Take the answers to the questions as results."""
        for (position, _), answer in zip(self._reads, answers, strict=True):
            self.results[position] = _result(answer)

    def puts(self, texts: Vectors) -> list[ItemPut]:
        """What is written, with its vectors."""
        if not texts:
            return list(self._puts.values())
        return [replace(put, vectors=tuple(texts[text] for text in put.texts)) for put in self._puts.values()]


def _question(op: Op, ranking: ItemRanking) -> ItemQuestion:
    if isinstance(op, GetOp):
        return ItemGet(namespace=tuple(op.namespace), key=op.key, refresh=op.refresh_ttl)
    if isinstance(op, ListNamespacesOp):
        check_page(op.limit, op.offset)
        return listing_of(op)
    if not isinstance(op, SearchOp):
        raise UsageError(f"unknown operation: {type(op).__name__}")
    check_page(op.limit, op.offset)
    return ItemSearch(
        prefix=tuple(op.namespace_prefix),
        where=filter_of(op.filter),
        text=op.query if op.query and op.query.strip() else None,
        ranking=ranking,
        limit=op.limit,
        offset=op.offset,
        refresh=op.refresh_ttl,
    )


def _result(answer: ItemAnswer) -> Result:
    if answer is None:
        return None
    if isinstance(answer, StoredItem):
        return item_of(answer)
    found: list[Any] = [search_item_of(one) if isinstance(one, FoundItem) else one for one in answer]
    return found
