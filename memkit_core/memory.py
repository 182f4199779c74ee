"""The public face: ``Memory`` for sync code.

Signatures and wiring only: arguments are checked in ``verbs``, and the work is done in ``pipeline``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .admin import Admin
from .admin_verbs import AdminVerbs
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
from .runtime import drive
from .scoped import ScopedMemory
from .types import AsOf, Scope
from .verbs import Time, Verbs, scope_or_none

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.vectorstores import VectorStore

    from .async_memory import AsyncMemory
    from .filters import Filter
    from .protocols import RecordStore, VectorIndex

    Filters = Mapping[str, Any] | Filter


class Memory:
    """Long-term memory for agents: add conversations, search what is known.

    Safe to use from several threads, in notebooks and inside running event loops.
    """

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
        """Open a memory.

        Args:
            llm: ``"openai:gpt-5-mini"`` or any LangChain chat model. None: verbatim mode, with one warning;
                ``"verbatim"``: the same without it. A list: the first model, and what is asked in its place,
                one after the other, where calling it fails.
            embedder: ``"openai:text-embedding-3-small"`` or any LangChain embeddings. ``"auto"``: the offline
                model if the extra ``embedded`` is installed, else keywords only with one warning. None or
                ``"none"``: keywords only.
            store: ``"sqlite:///app.db"``, a path or a RecordStore. Default: ``memkit.db`` in this folder.
            config: The same and more as an object; arguments given beside it win.
            vector_store: A vector index beside the record store, for owners too large to compare one by one:
                a LangChain vector store, or an index of ``memkit_core.indexes``. It is closed with the
                memory; a LangChain vector store stays open.
            history_db_path: mem0's name for the SQLite file; memkit keeps history and memories in one.
            verifier: A second chat model that judges every extracted fact by the messages it cites, in one
                call per ``add``. None: code alone checks them.
            hooks: Called with every ``Proposal`` of an ``add`` before it is committed: what they return is
                kept, None is a veto.

        Raises:
            ConfigError: A model, store or setting does not exist or does not fit. Nothing was opened.
            MissingDependencyError: An extra is missing; the message is the install line. Nothing was opened.
            StorageError: The store cannot be opened, is newer than this memkit, or holds the vectors of
                another embedding model. Nothing was changed.
        """
        engine = Engine.open(
            config or MemoryConfig(),
            llm=llm,
            embedder=embedder,
            store=store,
            vector_store=vector_store,
            history_db_path=history_db_path,
            verifier=verifier,
            hooks=check_hooks(hooks, may_suspend=False),
        )
        self._start(engine)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Memory:
        """A memory as a dict describes it, in mem0's shape.

        Raises:
            ConfigError: A key is unknown or a value does not fit. Nothing was opened.
        """
        return cls(config=MemoryConfig.from_config(config))

    @classmethod
    def over(cls, engine: Engine) -> Memory:
        """A face over an engine that is open already; closing the face closes the engine."""
        face = cls.__new__(cls)
        face._start(engine)  # noqa: SLF001 - its own class
        return face

    def _start(self, engine: Engine) -> None:
        self._engine = engine
        self._verbs = Verbs(engine, engine.blocking)

    def add(
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
        """Remember a conversation: what was added, updated, deleted, already known, or still waits.

        The messages are stored and searchable before any model is called. If a model fails, the result's
        status is ``pending`` and ``failed`` says why; nothing is lost, and ``flush`` tries again.

        Args:
            messages: A string, a dict or list of dicts in OpenAI's shape, LangChain messages, or (role, text)
                pairs. ``name`` in a message says who speaks. Images in them are described by the model.
            user_id, agent_id, run_id: Whose memory; at least one. The owner is the user if given, else the
                agent, else the run; no call crosses owners.
            actor_id: Who speaks in user messages that carry no name.
            metadata: A JSON object kept with every memory of this call, for filters.
            infer: True: a model extracts facts and decides. False: every message is kept as it is.
            memory_type: ``"procedural_memory"`` records the run of an agent step by step, in one memory per
                ``agent_id`` and ``run_id`` that further calls extend; None for everything else.
            prompt: Instructions for what is worth remembering, for this call alone, in place of the
                configured ones.
            observed_at: When the messages were said, if not now (UTC if it names no zone). Dates such as
                "yesterday" are worked out from it, in its zone.
            expires_at: From then on the memories of this call are no longer found.
            idempotency_key: With one, a repeated call returns the first result and stores nothing.
            wait: False: return as soon as the messages are stored, and extract them in the background, with
                others of the same scope and options.

        Raises:
            UsageError: An argument is wrong. Nothing was changed.
            VisionUnsupportedError: There are images and no model that can see. Nothing was changed.
            StorageError: The messages could not be stored. Nothing was changed.
        """
        return drive(
            self._verbs.add(
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
        )

    def search(
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
        """Find the memories that answer a question, best first.

        Args:
            query: The question, in plain words.
            user_id, agent_id, run_id: Whose memory; at least one. The owner is the user if given, else the
                agent, else the run; no call crosses owners.
            limit: How many memories, and how many excerpts, at most (1 to 1,000).
            threshold: Leave out what is less relevant (0 to 1); compares with ``hit.relevance``.
            filters: Conditions on fields and metadata; see ``memkit_core.filters``.
            actor_id: Only memories of this speaker.
            as_of: Answer from what held at that time; ``AsOf(known=...)`` asks what was known then.
            include: ``"memories"``, ``"excerpts"`` (stored messages, word for word), or both; with
                ``"quarantined"`` also what is untrusted. A filter on ``trust`` asks for that as well.
            explain: Fill in ``hit.explain``, the parts of each score.

        Raises:
            UsageError: An argument is wrong.
            StorageError: The store cannot be read.
        """
        return drive(
            self._verbs.search(
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
        )

    def context(
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
        """Text for an agent's prompt: the facts that matter to a question, then what was said about it.

        Args:
            query: What the agent is about to answer.
            user_id, agent_id, run_id: Whose memory; at least one. The owner is the user if given, else the
                agent, else the run; no call crosses owners.
            token_budget: Longest text, in estimated tokens (at least 50).
            limit: How many facts, and how many excerpts, are considered.
            threshold: As in ``search``; it concerns both.
            filters: As in ``search``; they concern facts only.

        Raises:
            UsageError: An argument is wrong.
            StorageError: The store cannot be read.
        """
        return drive(
            self._verbs.context(
                query,
                Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
                token_budget=token_budget,
                limit=limit,
                threshold=threshold,
                filters=filters,
            )
        )

    def get(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> MemoryItem | None:
        """The memory with this id, None if there is none, or none in the scope given.

        Raises:
            UsageError: An argument is wrong.
        """
        return drive(self._verbs.get(memory_id, scope_or_none(user_id, agent_id, run_id)))

    def get_all(
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
        """One page of the memories of a scope, newest first.

        Pages are complete and stable while others write: a memory that is there throughout is on exactly one.

        Args:
            user_id, agent_id, run_id: Whose memory; at least one. The owner is the user if given, else the
                agent, else the run; no call crosses owners.
            limit: Memories on a page (1 to 1,000).
            cursor: ``next_cursor`` of the page before, with the same scope, filters and ``as_of``.
            filters: As in ``search``.
            as_of: What held at that time; ``AsOf(known=...)`` asks what was known then.

        Raises:
            UsageError: An argument is wrong.
        """
        return drive(
            self._verbs.get_all(
                Scope(user_id=user_id, agent_id=agent_id, run_id=run_id),
                limit=limit,
                cursor=cursor,
                filters=filters,
                as_of=as_of,
            )
        )

    def count(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        filters: Filters | None = None,
    ) -> int:
        """How many memories there are of a scope.

        Raises:
            UsageError: An argument is wrong.
        """
        return drive(
            self._verbs.count(Scope(user_id=user_id, agent_id=agent_id, run_id=run_id), filters=filters)
        )

    def update(
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
        """Give a memory a new version; the old one stays in its history.

        Args:
            memory_id: Which one.
            text: The new text; None keeps it.
            user_id, agent_id, run_id: Whose memory; at least one. The owner is the user if given, else the
                agent, else the run; no call crosses owners.
            metadata: Replaces the metadata; None keeps it.
            expires_at: From then on it is no longer found; None keeps what is set.
            actor_id: Who changes it, for the history.

        Raises:
            NotFoundError: No such memory, or none in the scope given. Nothing was changed.
            UsageError: An argument is wrong. Nothing was changed.
        """
        return drive(
            self._verbs.update(
                memory_id,
                text,
                scope_or_none(user_id, agent_id, run_id),
                metadata=metadata,
                expires_at=expires_at,
                actor_id=actor_id,
            )
        )

    def delete(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> MemoryChange:
        """Take a memory out of the current truth; its history stays.

        Messages that no other memory rests on are taken out of search with it.

        Raises:
            NotFoundError: No such memory, or none in the scope given. Nothing was changed.
        """
        return drive(self._verbs.delete(memory_id, scope_or_none(user_id, agent_id, run_id)))

    def delete_all(
        self,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        filters: Filters | None = None,
    ) -> DeleteAllResult:
        """Take all memories of a scope out of the current truth; their histories stay.

        Without filters the stored messages are taken out of search too, and pending ones are dropped.

        Raises:
            UsageError: An argument is wrong. Nothing was changed.
        """
        return drive(
            self._verbs.delete_all(Scope(user_id=user_id, agent_id=agent_id, run_id=run_id), filters=filters)
        )

    def history(
        self,
        memory_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        as_of: Time | AsOf | None = None,
    ) -> History:
        """What happened to a memory, oldest first; empty if there is none, or none in the scope given.

        Args:
            memory_id: Which memory.
            user_id: With an id given, a memory outside that scope has no history.
            agent_id: See ``user_id``.
            run_id: See ``user_id``.
            as_of: Only what was recorded by then: a time, or ``AsOf(known=...)``.

        Raises:
            UsageError: An argument is wrong.
        """
        return drive(self._verbs.history(memory_id, scope_or_none(user_id, agent_id, run_id), as_of=as_of))

    def scoped(
        self, *, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> ScopedMemory:
        """The same verbs without ids, unable to leave this scope.

        Raises:
            UsageError: No id is given, or one is no id.
        """
        return ScopedMemory(self._verbs, Scope(user_id=user_id, agent_id=agent_id, run_id=run_id))

    @property
    def aio(self) -> AsyncMemory:
        """The async face of the same engine; closing either closes both."""
        from .async_memory import AsyncMemory

        return AsyncMemory.over(self._engine)

    @property
    def admin(self) -> Admin:
        """What concerns the whole store."""
        return Admin(AdminVerbs(self._engine, self._engine.blocking))

    def flush(self, *, timeout: float | None = None) -> FlushResult:
        """Work off at once whatever waits or is pending: extraction, vectors, index work.

        Args:
            timeout: Longest wait in seconds; None, or infinity, waits as long as it takes.

        Returns:
            How many batches were completed and how many still wait, and why. If the time was over first,
            ``timed_out`` says so; what runs goes on, and another ``flush`` waits for it.

        Raises:
            UsageError: The timeout is no number of seconds. Nothing was done.
        """
        return drive(self._verbs.flush(timeout))

    def close(self) -> None:
        """Finish the extraction in hand and release the store. Calling it again does nothing.

        What merely waits in the background stays pending: the next opening takes it up.
        """
        self._engine.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Memory({self._engine.describe()})"
