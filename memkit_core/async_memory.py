"""The public face for async code; signatures and wiring only."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .admin_verbs import AdminVerbs
from .async_admin import AsyncAdmin
from .config import MemoryConfig
from .engine import Engine
from .hooks import Hook, check_hooks
from .results import (
    AddResult,
    ContextResult,
    DeleteAllResult,
    FlushResult,
    History,
    MemoryChange,
    MemoryItem,
    MemoryPage,
    SearchResult,
)
from .scoped import AsyncScopedMemory
from .types import AsOf, Scope
from .verbs import Time, Verbs, scope_or_none

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.vectorstores import VectorStore

    from .filters import Filter
    from .memory import Memory
    from .protocols import RecordStore, VectorIndex

    Filters = Mapping[str, Any] | Filter


class AsyncMemory:
    """``Memory`` for async code: the same verbs as coroutines, on the caller's event loop."""

    def __init__(
        self,
        llm: str | BaseChatModel | Sequence[str | BaseChatModel] | None = None,
        embedder: str | Embeddings | None = "auto",
        store: str | os.PathLike[str] | RecordStore | None = None,
        *,
        config: MemoryConfig | None = None,
        vector_store: VectorIndex | VectorStore | None = None,
        history_db_path: str | None = None,
        verifier: str | BaseChatModel | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Open a memory. See ``Memory``; hooks may be coroutine functions too."""
        engine = Engine.open(
            config or MemoryConfig(),
            llm=llm,
            embedder=embedder,
            store=store,
            vector_store=vector_store,
            history_db_path=history_db_path,
            verifier=verifier,
            hooks=check_hooks(hooks, may_suspend=True),
        )
        self._start(engine)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AsyncMemory:
        """A memory as a dict describes it, in mem0's shape.

        Raises:
            ConfigError: A key is unknown or a value does not fit. Nothing was opened.
        """
        return cls(config=MemoryConfig.from_config(config))

    @classmethod
    def over(cls, engine: Engine) -> AsyncMemory:
        """A face over an engine that is open already; closing the face closes the engine."""
        face = cls.__new__(cls)
        face._start(engine)  # noqa: SLF001 - its own class
        return face

    def _start(self, engine: Engine) -> None:
        self._engine = engine
        self._verbs = Verbs(engine, engine.suspending)

    async def add(
        self,
        messages: object,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        actor_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        infer: bool = True,
        memory_type: str | None = None,
        prompt: str | None = None,
        observed_at: Time | None = None,
        expires_at: Time | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> AddResult:
        """See ``Memory.add``."""
        return await self._verbs.add(
            messages,
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
            actor_id=actor_id,
            metadata=metadata,
            infer=infer,
            memory_type=memory_type,
            prompt=prompt,
            observed_at=observed_at,
            expires_at=expires_at,
            idempotency_key=idempotency_key,
            wait=wait,
        )

    async def search(
        self,
        query: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        limit: int = 10,
        threshold: float | None = None,
        filters: Filters | None = None,
        actor_id: str | None = None,
        as_of: Time | AsOf | None = None,
        include: Collection[str] = ("memories",),
        explain: bool = False,
    ) -> SearchResult:
        """See ``Memory.search``."""
        return await self._verbs.search(
            query,
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
            limit=limit,
            threshold=threshold,
            filters=filters,
            actor_id=actor_id,
            as_of=as_of,
            include=include,
            explain=explain,
        )

    async def context(
        self,
        query: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        token_budget: int = 1500,
        limit: int = 20,
        threshold: float | None = None,
        filters: Filters | None = None,
    ) -> ContextResult:
        """See ``Memory.context``."""
        return await self._verbs.context(
            query,
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
            token_budget=token_budget,
            limit=limit,
            threshold=threshold,
            filters=filters,
        )

    async def get(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> MemoryItem | None:
        """See ``Memory.get``."""
        return await self._verbs.get(memory_id, scope_or_none(user_id, agent_id, run_id))

    async def get_all(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        filters: Filters | None = None,
        as_of: Time | AsOf | None = None,
    ) -> MemoryPage:
        """See ``Memory.get_all``."""
        return await self._verbs.get_all(
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
            limit=limit,
            cursor=cursor,
            filters=filters,
            as_of=as_of,
        )

    async def count(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        filters: Filters | None = None,
    ) -> int:
        """See ``Memory.count``."""
        return await self._verbs.count(
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id), filters=filters
        )

    async def update(
        self,
        memory_id: str,
        text: str | None = None,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_at: Time | None = None,
        actor_id: str | None = None,
    ) -> MemoryChange:
        """See ``Memory.update``."""
        return await self._verbs.update(
            memory_id,
            text,
            scope_or_none(user_id, agent_id, run_id),
            metadata=metadata,
            expires_at=expires_at,
            actor_id=actor_id,
        )

    async def delete(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> MemoryChange:
        """See ``Memory.delete``."""
        return await self._verbs.delete(memory_id, scope_or_none(user_id, agent_id, run_id))

    async def delete_all(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        filters: Filters | None = None,
    ) -> DeleteAllResult:
        """See ``Memory.delete_all``."""
        return await self._verbs.delete_all(
            Scope(user_id=user_id, agent_id=agent_id, run_id=run_id), filters=filters
        )

    async def history(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        as_of: Time | AsOf | None = None,
    ) -> History:
        """See ``Memory.history``."""
        return await self._verbs.history(memory_id, scope_or_none(user_id, agent_id, run_id), as_of=as_of)

    def scoped(
        self, *, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> AsyncScopedMemory:
        """The same verbs without ids, unable to leave this scope.

        Raises:
            UsageError: No id is given, or one is no id.
        """
        return AsyncScopedMemory(self._verbs, Scope(user_id=user_id, agent_id=agent_id, run_id=run_id))

    @property
    def blocking(self) -> Memory:
        """The sync face of the same engine; closing either closes both."""
        from .memory import Memory

        return Memory.over(self._engine)

    @property
    def admin(self) -> AsyncAdmin:
        """What concerns the whole store."""
        return AsyncAdmin(AdminVerbs(self._engine, self._engine.suspending))

    async def flush(self, *, timeout: float | None = None) -> FlushResult:  # noqa: ASYNC109 - bounds threads, not a task
        """See ``Memory.flush``."""
        return await self._verbs.flush(timeout)

    async def close(self) -> None:
        """See ``Memory.close``."""
        await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> AsyncMemory:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncMemory({self._engine.describe()})"
