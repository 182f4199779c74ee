"""What a memory lends to an adapter of a framework: both its faces, the stores beside its memories, and whose
memory a run is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .adapter_settings import check_settings as check_settings
from .agent_turns import MARK as MARK
from .agent_turns import answered as answered
from .agent_turns import asked as asked
from .agent_turns import behind_mark as behind_mark
from .agent_turns import by_harness as by_harness
from .agent_turns import configured as configured
from .agent_turns import last_question as last_question
from .agent_turns import marked as marked
from .agent_turns import marks as marks
from .agent_turns import thread_of as thread_of
from .agent_turns import unseen as unseen
from .async_memory import AsyncMemory
from .engine import Engine
from .errors import UsageError, VisionUnsupportedError
from .fencing import fenced as fenced
from .fencing import fenced_text as fenced_text
from .memory import Memory
from .protocols import CheckpointStore, ItemPut, ItemStore
from .results import AddResult
from .run_users import UserSource as UserSource
from .run_users import authenticated_user as authenticated_user
from .run_users import resolve_user as resolve_user
from .runtime import drive
from .session_log import ALL as ALL
from .session_log import LogPage as LogPage
from .session_log import SessionLog as SessionLog
from .types import Micros, Scope

if TYPE_CHECKING:
    from .models.embed import Embedder as Embedder
    from .types import EmbeddingIdentity as EmbeddingIdentity

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lent:
    """One open engine, as an adapter sees it. It is closed by whoever opened the memory.

    Attributes:
        memory: Its blocking face.
        amemory: Its asynchronous face.
    """

    memory: Memory
    amemory: AsyncMemory
    _engine: Engine

    @property
    def location(self) -> str:
        """Where the store is, without secrets."""
        return self._engine.services.store.location

    @property
    def embedder(self) -> Embedder | None:
        """The embedding model of the memories: vectors of unit length, float32. None without one."""
        return self._engine.services.embedder

    @property
    def items(self) -> ItemStore:
        """The item store beside the memories.

        Raises:
            UsageError: The record store keeps no items.
        """
        items: object = getattr(self._engine.services.store, "items", None)
        if not isinstance(items, ItemStore):
            raise UsageError(
                f"{self.location} keeps no items for a framework's store: open the memory with a SQLite file,"
                " or with a store whose `items` is a memkit_core.protocols.ItemStore"
            )
        return items

    @property
    def checkpoints(self) -> CheckpointStore:
        """The checkpoint store beside the memories.

        Raises:
            UsageError: The record store keeps no checkpoints.
        """
        checkpoints: object = getattr(self._engine.services.store, "checkpoints", None)
        if not isinstance(checkpoints, CheckpointStore):
            raise UsageError(
                f"{self.location} keeps no checkpoints: open the memory with a SQLite file, or with a store"
                " whose `checkpoints` is a memkit_core.protocols.CheckpointStore"
            )
        return checkpoints

    @property
    def extracts(self) -> bool:
        """Whether a chat model extracts memories: ``wait=False`` leaves it, and embedding, to later."""
        return self._engine.services.chat is not None

    def check_open(self) -> None:
        """Be ready for a call.

        Raises:
            UsageError: The memory was closed.
        """
        self._engine.check_open()

    def check_add(
        self, messages: object, *, user_id: str, key: str, metadata: Mapping[str, Any] | None, infer: bool
    ) -> None:
        """Refuse what ``add`` would refuse for its arguments; nothing is stored.

        Args:
            key: Another id that goes with the call.

        Raises:
            UsageError: An argument is wrong.
            VisionUnsupportedError: There are images and no model that can see.
        """
        verbs = self.memory._verbs  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - lent on purpose
        verbs.check_add(messages, user_id=user_id, key=key, metadata=metadata, infer=infer)

    def add_beside(
        self,
        messages: object,
        puts: Sequence[ItemPut],
        *,
        now: Micros,
        user_id: str,
        agent_id: str | None = None,
    ) -> AddResult:
        """``add`` with ``wait=False``, and items put in the same transaction: both are durable, or neither.

        Args:
            puts: Items without vectors.
            now: When they are put.

        Raises:
            UsageError: There is no chat model to extract later, or as for ``add``. Nothing was changed.
            StorageError: Nothing was changed.
        """
        if not self.extracts:
            raise UsageError("without a chat model an add leaves nothing to the background")
        verbs = self.memory._verbs  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - lent on purpose
        return drive(
            verbs.add(
                messages,
                Scope(user_id=user_id, agent_id=agent_id),
                actor_id=None,
                metadata=None,
                infer=True,
                memory_type=None,
                prompt=None,
                observed_at=None,
                expires_at=None,
                idempotency_key=None,
                wait=False,
                beside=(puts, now),
            )
        )

    def acceptable(self, messages: Sequence[Any], *, user_id: str) -> tuple[list[Any], Exception | None]:
        """The LangChain messages that ``add`` takes, each by itself, and why the last other one is out.

        Of a message with images that no model can see, its text is taken.
        """
        fit: list[Any] = []
        refused: Exception | None = None
        for message in messages:
            for shape in (message, message.model_copy(update={"content": message.text})):
                try:
                    self.check_add([shape], user_id=user_id, key="k", metadata=None, infer=True)
                except VisionUnsupportedError as error:
                    refused = error
                    if shape.text.strip():
                        continue
                except UsageError as error:
                    refused = error
                else:
                    fit.append(shape)
                break
        return fit, refused

    async def call(self, function: Callable[[], T]) -> T:
        """What a blocking function returns, called on a storage thread of the engine."""
        return await self._engine.suspending.call(function)


def embedding_model(embeddings: Any, *, name: str | None = None, dimension: int | None = None) -> Embedder:
    """A model of an adapter's user behind memkit's checks: float32 vectors of unit length and one dimension.

    Args:
        embeddings: Any object with LangChain's ``embed_documents`` and ``embed_query``.
        name: What the store calls the model, by default the name that it gives itself.
        dimension: Of its vectors, if known.

    Raises:
        ConfigError: The object cannot embed.
    """
    from .models.embed import Embedder as Embedder
    from .types import EmbeddingIdentity as EmbeddingIdentity

    return Embedder(embeddings, name=name, dimension=dimension)


def lend(memory: Memory | AsyncMemory) -> Lent:
    """What an open memory lends to an adapter.

    Raises:
        UsageError: It is no memory, or it is closed.
    """
    if not isinstance(cast("object", memory), Memory | AsyncMemory):
        hint = ": open one, Memory(store=…)" if isinstance(cast("object", memory), str | Path) else ""
        raise UsageError(f"an adapter needs a Memory or an AsyncMemory, not {type(memory).__name__}{hint}")
    engine = memory._engine  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - lent on purpose
    engine.check_open()
    return Lent(Memory.over(engine), AsyncMemory.over(engine), engine)
