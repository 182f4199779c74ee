"""LangGraph's checkpoints in a memory's own database."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import lend
from memkit_core.errors import ConflictError, UsageError
from memkit_core.protocols import (
    LoadedCheckpoint,
    NewCheckpoint,
    Place,
    Retention,
    StoredCheckpoint,
    TaskWrite,
)

from . import places
from .averbs import AsyncVerbs
from .codec import Codec, Encoded, value_key
from .encryption import cipher_of
from .history import History
from .known import KnownValues
from .listing import Listing
from .remember import Rememberer
from .serde import StrictSerializer

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from memkit_core.adapting import UserSource

    from .saving import SaverOpening


class MemkitSaver(AsyncVerbs):
    """A checkpoint saver for threads and for event loops, in the database of a memory.

    A value of a channel is stored once per version, and a list or mapping that grows as what was added.

    Args:
        memory: Whose database. Closing the memory ends the saver; the saver never closes it.
        allow: Types of your own that may be made again from a checkpoint, as classes or (module, name).
            LangGraph's and LangChain's messages and Python's plain types always may.
        encryption_key: 16, 24 or 32 bytes: everything in checkpoints is encrypted with it, and nothing that
            is not is read. A list: the first encrypts, all decrypt. Names stay readable: threads,
            namespaces, channels of writes, ids (users' with ``remember``), sizes and times.
        keep_last: So many checkpoints of a namespace stay when another one is put, None: all.
        max_age: What is older goes when another checkpoint of its thread is put. The latest always stays.
        remember: Messages are remembered in this memory, once, in the background, for their run's user.
        user_id: Who that is: an id or a function of config and runtime; None: as ``resolve_user`` says.
        messages_key: The channel whose messages are remembered.
        serde: A serialiser in the place of the strict one, with whatever it lets through; not with ``allow``.

    Raises:
        UsageError: An argument is wrong, or the memory's database keeps no checkpoints.
        MissingDependencyError: ``encryption_key`` without the extra ``encryption``.
    """

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        allow: Iterable[type | tuple[str, str]] = (),
        encryption_key: bytes | Sequence[bytes] | None = None,
        keep_last: int | None = None,
        max_age: timedelta | None = None,
        remember: Memory | AsyncMemory | None = None,
        user_id: UserSource | None = None,
        messages_key: str = "messages",
        serde: SerializerProtocol | None = None,
    ) -> None:
        allowed = tuple(allow)
        if serde is not None and allowed:
            raise UsageError("allow is for the strict serialiser: configure the serde that is given instead")
        super().__init__(serde=serde or StrictSerializer(allowed))
        places.retention_of(keep_last, max_age)  # tells what is wrong with them
        self._keep = keep_last, max_age
        self._lent = lend(memory)
        cipher = cipher_of(encryption_key)
        store = self._lent.checkpoints
        self._store = store if cipher.signer is None else store.signed(cipher.signer)
        self._codec = Codec(cipher)
        self._binds = cipher.binds
        self._known = KnownValues()
        self._history = History(self._store, self._codec)
        self._rememberer = None
        if remember is not None:
            self._rememberer = Rememberer(lend(remember).memory, self._store, user_id, messages_key)

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        allow: Iterable[type | tuple[str, str]] = (),
        encryption_key: bytes | Sequence[bytes] | None = None,
        keep_last: int | None = None,
        max_age: timedelta | None = None,
        serde: SerializerProtocol | None = None,
    ) -> SaverOpening:
        """A saver of its own in a database: for ``with`` and for ``async with``.

        Args:
            conn_string: A path, ``sqlite:///file.db`` or ``:memory:``.
            allow, encryption_key, keep_last, max_age, serde: As for the class.
        """
        from .saving import SaverOpening

        make = partial(
            cls,
            allow=tuple(allow),
            encryption_key=encryption_key,
            keep_last=keep_last,
            max_age=max_age,
            serde=serde,
        )
        return SaverOpening(conn_string, make)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the messages of all checkpoints so far are handed to ``remember``.

        Args:
            timeout: Seconds, None: as long as it takes.

        Raises:
            TimeoutError: They were not by then; they still will be.
        """
        if self._rememberer is not None:
            self._rememberer.flush(timeout)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; see ``BaseCheckpointSaver``.

        Raises:
            UsageError: The config names no thread, or a run to be remembered begins and it names no user.
            StorageError: As after a UsageError, nothing was changed.
        """
        place = places.place_in(config, checkpoint["id"])
        heard = None
        if self._rememberer is not None and not place.namespace:
            heard = self._rememberer.prepare(config, checkpoint, metadata, place.thread_id, self._load)
        claims = None if heard is None else heard.claims
        whole = get_checkpoint_metadata(config, metadata)
        rest = cast("dict[str, Any]", checkpoint.copy())
        values: dict[str, Any] = rest.pop("channel_values")
        fresh = {channel: version for channel, version in new_versions.items() if channel in values}
        new, encoded = self._new(place, config, rest, whole, values, fresh, based=True)
        retention = places.retention_of(*self._keep)
        try:
            tags = self._store.put_checkpoint(new, retention=retention, claims=claims)
        except ConflictError:
            self._known.forget(place)
            new, encoded = self._new(place, config, rest, whole, values, fresh, based=False)
            tags = self._store.put_checkpoint(new, retention=retention, claims=claims)
        for channel, made in encoded.items():
            tag = tags.get(made.value.key)
            self._known.learn(place, channel, None if tag is None else made.known(tag))
        if self._rememberer is not None and heard is not None:
            self._rememberer.hand_on(place, heard, self._load)
        return places.config_of(place)

    def _new(
        self,
        place: Place,
        config: RunnableConfig,
        rest: dict[str, Any],
        metadata: CheckpointMetadata,
        values: Mapping[str, Any],
        fresh: ChannelVersions,
        *,
        based: bool,
    ) -> tuple[NewCheckpoint, dict[str, Encoded]]:
        encoded: dict[str, Encoded] = {}
        for channel, version in fresh.items():
            at = places.value_place(place, value_key(channel, version))
            known = self._known.recall(place, channel) if based else None
            encoded[channel] = self._codec.encode_value(self.serde, values[channel], at, known)
        parent = places.checkpoint_in(config)
        counted = cast("Mapping[str, object]", metadata.get("counters_since_delta_snapshot") or {})
        new = NewCheckpoint(
            place=place,
            parent_id=parent,
            root_id=places.root_of(place.namespace, metadata),
            run_id=places.text_of(metadata.get("run_id")),
            leans=any(name in rest["channel_versions"] and name not in values for name in counted),
            created_at=time.time_ns() // 1_000,
            body=self._codec.encode(self.serde, [rest, metadata], places.checkpoint_place(place, parent)),
            uses=tuple(value_key(*named) for named in rest["channel_versions"].items()),
            values=tuple(made.value for made in encoded.values()),
        )
        return new, encoded

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote; see ``BaseCheckpointSaver``.

        Raises:
            StorageError: Nothing was changed.
        """
        place = places.place_in(config)
        found: dict[int, TaskWrite] = {}
        for number, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, number)
            if index >= 0 and index in found:
                continue
            blob_place = places.write_place(place, task_id, task_path, index, channel)
            found[index] = TaskWrite(
                task_id=task_id,
                index=index,
                channel=channel,
                task_path=task_path,
                blob=self._codec.encode(self.serde, value, blob_place),
            )
        self._store.put_writes(place, list(found.values()))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the latest of its thread and namespace.

        Raises:
            IntegrityError: It, or what belongs to it, is damaged.
            UsageError: It holds a type that is not allowed, or is encrypted with another key.
        """
        place = places.place_in(config, places.checkpoint_in(config) or "")
        loaded = self._store.get_checkpoint(place.thread_id, place.namespace, place.checkpoint_id or None)
        found = None if loaded is None else self._tuple(loaded, learn=True)
        if self._rememberer is not None and found is not None and not place.namespace:
            self._rememberer.saw(place.thread_id, found.checkpoint)
        return found

    def _load(self, thread_id: str, checkpoint_id: str) -> CheckpointTuple | None:
        loaded = self._store.get_checkpoint(thread_id, "", checkpoint_id)
        return None if loaded is None else self._tuple(loaded, learn=False)

    def _tuple(self, loaded: LoadedCheckpoint, *, learn: bool) -> CheckpointTuple:
        stored = loaded.stored
        place = stored.place
        rest, metadata = self._codec.decode_checkpoint(self.serde, stored)
        values: dict[str, Any] = {}
        for channel, version in rest["channel_versions"].items():
            key = value_key(channel, version)
            if key in loaded.values:
                decoded = self._codec.decode_value(
                    self.serde, loaded.values[key], places.value_place(place, key)
                )
                values[channel] = decoded.value
                if learn and decoded.known is not None:
                    self._known.learn(place, channel, decoded.known)
        writes = [
            (
                write.task_id,
                write.channel,
                self._codec.decode(
                    self.serde,
                    write.blob,
                    places.write_place(place, write.task_id, write.task_path, write.index, write.channel),
                ),
            )
            for write in loaded.writes
        ]
        parent = stored.parent_id
        return CheckpointTuple(
            config=places.config_of(place),
            checkpoint=cast("Checkpoint", {**rest, "channel_values": values}),
            metadata=cast("CheckpointMetadata", metadata),
            parent_config=None if parent is None else places.config_of(place, parent),
            pending_writes=writes,
        )

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the latest first; read page by page, with nothing open in between.

        Args:
            config: A thread, a namespace of it (none: all) or one checkpoint; None: all threads.
            filter: Keys of the metadata and the values they have.
            before: Only checkpoints with ids below that one's.
            limit: How many at most.

        Raises:
            IntegrityError, UsageError: As ``get_tuple``; of all threads, those that another key has encrypted
                are left out, with a warning.
        """
        listing = Listing(config, before, limit)
        while (question := listing.question()) is not None:
            for stored in listing.page(self._store.list_checkpoints(question)):
                found = listing.whole(partial(self.listed, stored, filter))
                if found is not None:
                    yield found
                    if listing.given():
                        return

    def listed(self, stored: StoredCheckpoint, wanted: dict[str, Any] | None) -> CheckpointTuple | None:
        """The whole of a listed checkpoint; None if the filter rules it out, or it is gone by now."""
        if wanted:
            _, metadata = self._codec.decode_checkpoint(self.serde, stored)
            if any(metadata.get(key) != value for key, value in wanted.items()):
                return None
        place = stored.place
        loaded = self._store.get_checkpoint(place.thread_id, place.namespace, place.checkpoint_id)
        return None if loaded is None else self._tuple(loaded, learn=False)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See ``BaseCheckpointSaver``; reads the writes of these channels only, and each value once."""
        if not channels:
            return {}
        place = places.place_in(config, places.checkpoint_in(config) or "")
        return self._history.of(self.serde, place, channels)

    def delete_thread(self, thread_id: str) -> None:
        """Remove everything of a thread."""
        self._store.delete_threads([str(thread_id)])

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that some runs made, with their writes, from all threads.

        Raises:
            UsageError: Later checkpoints keep a channel as changes to one of them. Nothing was changed.
        """
        self._store.delete_runs([str(run) for run in run_ids])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Add everything of a thread to another one, which may be new."""
        source, target = str(source_thread_id), str(target_thread_id)
        reseal = partial(self._codec.reseal, thread_id=target) if self._binds else None
        self._store.copy_thread(source, target, reseal=reseal)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_age: timedelta | None = None,
    ) -> None:
        """Remove checkpoints that are no longer wanted; interrupts that wait can still be resumed.

        The latest of every namespace stays with its writes. Namespaces of graphs that were started for one
        task go with the checkpoints of their root. What a kept checkpoint needs for its delta channels stays.

        Args:
            strategy: ``keep_latest``, or ``delete`` for everything of the threads.
            keep_last: With ``keep_latest``: so many of each namespace instead of one.
            max_age: With ``keep_latest``: what is younger stays; with ``keep_last``, both must hold.

        Raises:
            UsageError: There is no such strategy. Nothing was changed.
        """
        names = [str(thread) for thread in thread_ids]
        if strategy == "delete":
            self._store.delete_threads(names)
        elif strategy == "keep_latest":
            if keep_last is None and max_age is None:
                keep_last = 1
            retention = places.retention_of(keep_last, max_age)
            self._store.prune_threads(names, retention or Retention())
        else:
            raise UsageError(f"strategy is 'keep_latest' or 'delete', not {strategy!r}")

    def get_next_version(self, current: str | int | float | None, channel: None) -> str:  # noqa: ARG002
        """The version behind this one: a number, and digits of chance that tell forks apart."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311 - no secret
