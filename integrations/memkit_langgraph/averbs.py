"""The asynchronous half of the saver: every verb on a storage thread, so that no event loop is held up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from memkit_core.adapting import Lent
from memkit_core.protocols import CheckpointStore, StoredCheckpoint

from .listing import Listing
from .sweeping import Ready

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

T = TypeVar("T")


class AsyncVerbs(BaseCheckpointSaver[str]):
    """Calls the synchronous verbs of the class that inherits it.

    A call that is cancelled has changed everything or nothing.
    """

    _lent: Lent
    _store: CheckpointStore

    async def _call(self, function: Callable[[], T]) -> T:
        return await self._lent.call(function)

    def setup(self) -> Ready:
        """Does nothing: opening the memory has made the tables. May be awaited."""
        return Ready()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See ``put``."""
        return await self._call(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See ``put_writes``."""
        await self._call(lambda: self.put_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See ``get_tuple``."""
        return await self._call(lambda: self.get_tuple(config))

    def listed(self, stored: StoredCheckpoint, wanted: dict[str, Any] | None) -> CheckpointTuple | None:
        """The whole of a listed checkpoint; None if the filter rules it out, or it is gone by now."""
        raise NotImplementedError

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See ``list``."""
        listing = Listing(config, before, limit)
        while (question := listing.question()) is not None:
            asked = question
            page = await self._call(lambda: self._store.list_checkpoints(asked))  # noqa: B023 - called at once
            for stored in listing.page(page):
                whole = partial(self.listed, stored, filter)
                found = await self._call(lambda: listing.whole(whole))  # noqa: B023 - called at once
                if found is not None:
                    yield found
                    if listing.given():
                        return

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See ``get_delta_channel_history``."""
        return await self._call(lambda: self.get_delta_channel_history(config=config, channels=channels))

    async def adelete_thread(self, thread_id: str) -> None:
        """See ``delete_thread``."""
        await self._call(lambda: self.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See ``delete_for_runs``."""
        await self._call(lambda: self.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See ``copy_thread``."""
        await self._call(lambda: self.copy_thread(source_thread_id, target_thread_id))

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_age: timedelta | None = None,
    ) -> None:
        """See ``BaseCheckpointSaver.prune``."""
        raise NotImplementedError

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_age: timedelta | None = None,
    ) -> None:
        """See ``prune``."""
        await self._call(
            lambda: self.prune(thread_ids, strategy=strategy, keep_last=keep_last, max_age=max_age)
        )
