"""LangGraph's long-term store on a memory's own database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import lend
from memkit_core.errors import UsageError
from memkit_core.protocols import ItemRanking

from .index import ItemIndex
from .memories import Memories
from .plan import Plan
from .sweeping import Count, Ready, Sweeper, Sweeping, Yes

if TYPE_CHECKING:
    from memkit_core.adapting import EmbeddingIdentity

_RANKINGS = ("cosine", "keywords", "hybrid")
_TTL = {"refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes"}
_NOTHING: Mapping[str, Any] = {}


class MemkitStore(BaseStore):
    """A ``BaseStore`` for threads and for event loops, in the database of a memory.

    It holds items of any namespace, and shows every user's memories under
    ``user_namespace("memories", user_id)``: they are those of ``memory.search``, both ways.

    Args:
        memory: Whose database, and whose embedding model unless ``index`` brings its own. Closing the memory
            ends the store; the store never closes it.
        index: LangGraph's configuration of what is embedded. None: all of every value, by the memory's model.
            False: no vectors; a query then finds words.
        ttl: LangGraph's configuration of expiry, in minutes. Reading refreshes with ``refresh_on_read``, or
            where a call says ``refresh_ttl=True``.
        ranking: What a query orders by: ``cosine`` (``score`` is the cosine; without an embedding model it is
            ``keywords``), ``keywords``, or ``hybrid`` (both ranks together; ``score`` is then 1 for what is
            first in both).
        memories: The first label of users' memories, None to show none.
        extract: The memory's chat model extracts from every put of ``{"messages": [...]}`` into a user's
            memories, also where the value has no ``"extract": True``.

    Raises:
        UsageError: An argument is wrong, or the memory's database keeps no items.
        ConfigError: The model of ``index`` cannot embed.
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        index: IndexConfig | Literal[False] | None = None,
        ttl: TTLConfig | None = None,
        ranking: ItemRanking = "cosine",
        memories: str | None = "memories",
        extract: bool = False,
    ) -> None:
        if ranking not in _RANKINGS:
            raise UsageError(f"ranking is one of {', '.join(_RANKINGS)}, not {ranking!r}")
        unknown = set(ttl or ()) - _TTL
        if unknown:
            raise UsageError(f"ttl knows {', '.join(sorted(_TTL))}, not {', '.join(sorted(unknown))}")
        _interval((ttl or {}).get("sweep_interval_minutes"))
        self._lent = lend(memory)
        self._items = self._lent.items
        self._index = ItemIndex(self._lent, index)
        self._memories = Memories(self._lent, memories, extract=extract)
        self._ranking: ItemRanking = ranking
        self._sweeper = Sweeper()
        # LangGraph's own database stores refresh only where that is configured; so does this one.
        self.ttl_config = None if ttl is None else {"refresh_on_read": False, **ttl}

    @classmethod
    def from_conn_string(
        cls, conn_string: str, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> Opening:
        """A store of its own in a database: for ``with`` and for ``async with``.

        Args:
            conn_string: A path, ``sqlite:///file.db`` or ``:memory:``.
            index: As in LangGraph's stores: without one there are no vectors, with one it names ``embed``.
            ttl: LangGraph's configuration of expiry, in minutes.

        Raises:
            UsageError: ``index`` names no model.
        """
        if index is not None and index.get("embed") is None:
            raise UsageError("index needs 'embed': an embedding model, a function or 'provider:model'")
        return Opening(cls, conn_string, index, ttl)

    def setup(self) -> Ready:
        """Does nothing: opening the memory has made the tables. May be awaited."""
        return Ready()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; see ``BaseStore``. Reads see the state before the puts of the same batch.

        All puts of items are one transaction. Puts into users' memories come behind them, one by one: a
        ``StorageError`` in one of them leaves what came before it done.

        Raises:
            UsageError: An operation is wrong. Nothing was changed.
            ModelError: The embedding model failed. Nothing was changed.
            EmbeddingMismatchError: The items have another model's vectors: see ``reindex``. Nothing was
                changed.
            IntegrityError: What would be returned is damaged. Nothing was changed.
        """
        plan = self._plan(ops)
        embedder = self._index.embedder
        queries, texts = _NOTHING, _NOTHING
        if embedder is not None and plan.queries:
            queries = {query: embedder.embed_query(query) for query in plan.queries}
        if embedder is not None and plan.texts:
            texts = dict(zip(plan.texts, embedder.embed_documents(plan.texts), strict=True))
        self._carry_out(plan, queries, texts)
        for (user, _), op in plan.memory_puts.items():
            extraction = self._memories.extraction(op, user)
            if extraction is None:
                self._memories.put(user, op)
            else:
                self._lent.memory.add(**extraction)
        return plan.results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See ``batch``. A call that is cancelled has changed everything or nothing of its items."""
        plan = self._plan(ops)
        embedder = self._index.embedder
        queries, texts = _NOTHING, _NOTHING
        if embedder is not None and plan.queries:
            vectors = await asyncio.gather(*map(embedder.aembed_query, plan.queries))
            queries = dict(zip(plan.queries, vectors, strict=True))
        if embedder is not None and plan.texts:
            texts = dict(zip(plan.texts, await embedder.aembed_documents(plan.texts), strict=True))
        await self._lent.call(lambda: self._carry_out(plan, queries, texts))
        for (user, _), op in plan.memory_puts.items():
            extraction = self._memories.extraction(op, user)
            if extraction is None:
                await self._put_memory(user, op)
            else:
                await self._lent.amemory.add(**extraction)
        return plan.results

    async def _put_memory(self, user: str, op: Any) -> None:
        await self._lent.call(lambda: self._memories.put(user, op))

    def _plan(self, ops: Iterable[Op]) -> Plan:
        return Plan(ops, self._index, self._memories, self._ranking)

    @property
    def _identity(self) -> EmbeddingIdentity | None:
        return None if self._index.embedder is None else self._index.embedder.identity

    def _carry_out(self, plan: Plan, queries: Mapping[str, Any], texts: Mapping[str, Any]) -> None:
        """Everything behind the embedding, on one thread."""
        questions = plan.questions(queries)
        if questions:
            omit = bool((self.ttl_config or {}).get("omit_expired"))
            answers = self._items.ask(
                questions, now=_now(), omit_expired=omit, embedding=self._identity if queries else None
            )
            plan.answer(answers)
        for position, user, op in plan.memory_reads:
            plan.results[position] = self._memories.read(user, op)
        puts = plan.puts(texts)
        if puts:
            self._items.put(puts, now=_now(), embedding=self._identity if texts else None)

    def reindex(self) -> int:
        """Derive the vectors and keywords of all items anew; returns how many items there are.

        For another embedding model, or after ``doctor`` has dropped damaged ones. Items stay readable; those
        that are not done yet are found behind all others. It can be called again after a failure.

        Raises:
            ModelError: The embedding model failed. What was done stays.
        """
        from .reindexing import reindex

        return reindex(self._items, self._index)

    async def areindex(self) -> int:
        """See ``reindex``."""
        return await self._lent.call(self.reindex)

    def sweep_ttl(self) -> Count:
        """Remove all expired items; returns how many there were. May be awaited."""
        return Count(self._items.sweep(now=_now()))

    async def asweep_ttl(self) -> int:
        """See ``sweep_ttl``; does not hold up the event loop."""
        return await self._lent.call(self.sweep_ttl)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Sweeping:
        """Sweep at an interval on a thread of its own; returns a future that ends it when it is cancelled.

        Without a TTL configuration nothing is started. May be awaited, which returns at once.

        Args:
            sweep_interval_minutes: By default as configured, else 5.

        Raises:
            UsageError: The interval is no positive number. Nothing was started.
        """
        if not self.ttl_config:
            nothing = Sweeping()
            nothing.set_result(None)
            return nothing
        minutes = _interval(sweep_interval_minutes or self.ttl_config.get("sweep_interval_minutes"))
        return self._sweeper.start(self.sweep_ttl, minutes * 60)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> Yes:
        """End the sweeper; false if it was still at work after ``timeout`` seconds. May be awaited."""
        return Yes(self._sweeper.stop(timeout))

    def __enter__(self) -> MemkitStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweeper.stop(None)

    async def __aenter__(self) -> MemkitStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._sweeper.stop, None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lent.location}, {self._index.embedder or 'no embedding model'})"


class Opening:
    """Opens a store when a ``with`` or ``async with`` block begins, and closes its memory when that ends."""

    def __init__(
        self, kind: type[MemkitStore], conn_string: str, index: IndexConfig | None, ttl: TTLConfig | None
    ) -> None:
        self._kind = kind
        self._conn_string = conn_string
        self._index = index
        self._ttl = ttl
        self._open: tuple[MemkitStore, Memory] | None = None

    def __enter__(self) -> MemkitStore:
        if self._open is not None:
            raise UsageError("this store is open already: from_conn_string makes another one")
        # Memories that are put through it wait for vectors: no model of memories' own is known here.
        memory = Memory(llm="verbatim", embedder="none", store=self._conn_string)
        try:
            store = self._kind(memory, index=False if self._index is None else self._index, ttl=self._ttl)
        except BaseException:  # nothing stays open when opening fails
            memory.close()
            raise
        self._open = store, memory
        return store

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            (store, memory), self._open = self._open, None
            store.stop_ttl_sweeper()
            memory.close()

    async def __aenter__(self) -> MemkitStore:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


def _interval(minutes: object) -> float:
    if not minutes:  # LangGraph's stores take 0 for none as well
        return 5.0
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e6:
        raise UsageError(f"sweep_interval_minutes is a positive number of minutes, not {minutes!r}")
    return float(minutes)


def _now() -> int:
    return time.time_ns() // 1_000
