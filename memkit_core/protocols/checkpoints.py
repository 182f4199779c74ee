"""Checkpoints: the states of a graph's threads, which a framework's saver keeps beside the memories.

Everything a caller stores is bytes of its own making: a store compares and counts them, and never reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

from ..types import Micros

#: How long the key of a channel's value is, in bytes.
KEY_BYTES: Final = 10


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes.

    Attributes:
        body: A few hundred bytes at most.
        parts: Longer pieces, which are kept once in a thread however many blobs have them.
    """

    body: bytes
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a checkpoint is. ``namespace``: empty for the graph itself, else that of a graph inside it."""

    thread_id: str
    namespace: str
    checkpoint_id: str


@dataclass(frozen=True, slots=True)
class Base:
    """The value of a channel that another one continues. ``tag``: which value was found under the key."""

    key: bytes
    tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelValue:
    """The value of a channel in one version.

    Attributes:
        key: ``KEY_BYTES`` bytes that name channel and version in a thread and namespace.
        blob: What it says, beside what it takes from ``base``.
        base: An earlier value of the same namespace, which stays as long as this one does.
    """

    key: bytes
    blob: Blob
    base: Base | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A stored value, or one that it continues. ``base``: the key of the next layer."""

    key: bytes
    tag: bytes
    blob: Blob
    base: bytes | None


#: A value with all that it continues, itself first.
Layers: TypeAlias = tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckpoint:
    """A checkpoint to be stored, in the place of one that is there.

    Attributes:
        parent_id: The checkpoint of the same namespace that it came from.
        root_id: The checkpoint of the graph itself that it is a part of, and goes with.
        run_id: The run that made it.
        leans: Its channels can only be made again from its parent's and the parent's writes.
        created_at: The caller's clock.
        body: The checkpoint without its values.
        uses: The keys of all values it may have; those that are not stored are left out.
        values: New ones. One whose key is there already is left as it is.
    """

    place: Place
    parent_id: str | None
    root_id: str | None
    run_id: str | None
    leans: bool
    created_at: Micros
    body: Blob
    uses: tuple[bytes, ...]
    values: tuple[ChannelValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint without its values and writes."""

    place: Place
    parent_id: str | None
    body: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWrite:
    """What a task wrote to one channel.

    Attributes:
        index: Its number among the task's writes. One below 0 takes the place of the one that is there.
        task_path: Where the task is in the graph: writes are ordered by it, then by task and index.
    """

    task_id: str
    index: int
    channel: str
    task_path: str
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCheckpoint:
    """A checkpoint with its values by key, and its writes in their order."""

    stored: StoredCheckpoint
    values: Mapping[bytes, Layers]
    writes: tuple[TaskWrite, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A checkpoint on the way to another one's beginning, with its writes to some channels."""

    stored: StoredCheckpoint
    writes: tuple[TaskWrite, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What stays of a thread when it is pruned.

    The latest checkpoint of every namespace stays in any case, with its writes. A graph inside another one
    that was started for one task goes with the checkpoints of that one; what a checkpoint leans on stays.

    Attributes:
        keep_last: So many checkpoints of each namespace, None: all.
        since: Only what was made then or later, None: at any time.
    """

    keep_last: int | None = None
    since: Micros | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointQuestion:
    """Asks for a page of checkpoints, the highest id first.

    Attributes:
        before: Only ids below this one.
        after: The last one of the page before.
    """

    thread_id: str | None = None
    namespace: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    after: Place | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobPlace:
    """What a blob belongs to.

    Attributes:
        names: Of a checkpoint: its id and its parent's. Of a value: the key of its base. Of a write: task,
            path, index and channel.
        key: Of a value.
    """

    kind: Literal["checkpoint", "value", "write"]
    thread_id: str
    namespace: str
    key: bytes = b""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message that came into a thread.

    Attributes:
        user_id: Whom the run was for that brought it, None if it does not say.
        answers: The message of a person that it answers; it is then that one's user's, or nobody's if the
            run was for somebody else. None: it is whose the run was.
    """

    name: str
    user_id: str | None
    answers: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClaims:
    """What a checkpoint brings to be handed on.

    Attributes:
        said: What came with it. A message that is claimed already stays whose it is.
        over: The messages of exchanges that are over: those of them that wait are to be handed on now.
    """

    said: tuple[Said, ...]
    over: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Messages of a thread that are to be handed on together, once.

    Attributes:
        number: Which claim of the thread.
        user_id: Whose they are; None in what an earlier schema left.
        checkpoint_id: That has all of them, as they are to be handed on, unless it was removed; None in what
            an earlier schema left.
    """

    number: int
    names: tuple[str, ...]
    user_id: str | None
    checkpoint_id: str | None


class RowSigner(Protocol):
    """A key that rows are marked with, so that nobody without it can change them unnoticed."""

    def sign(self, digest: bytes) -> bytes:
        """The mark of a row whose content has this digest of 32 bytes."""
        ...

    def check(self, digest: bytes, mark: bytes | None) -> None:
        """Return if the mark is this row's.

        Raises:
            IntegrityError: It is not, or there is none.
            UsageError: It was made with another key.
        """
        ...


@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps checkpoints. Errors as in ``RecordStore``: after any, the state is the one before the call.

    What is read is never damaged: where a row does not match its hash, ``IntegrityError`` is raised.
    """

    def signed(self, signer: RowSigner) -> CheckpointStore:
        """The same store, which marks what it writes.

        A checkpoint is marked with all its fields, and what a task wrote as a whole. What it reads,
        adds to, copies and prunes by must bear the right mark; errors as ``RowSigner.check``.
        ``list_checkpoints`` does not check marks.
        """
        ...

    def put_checkpoint(
        self,
        checkpoint: NewCheckpoint,
        *,
        retention: Retention | None = None,
        claims: NewClaims | None = None,
    ) -> Mapping[bytes, bytes]:
        """Store a checkpoint; returns the tags of the new values that were stored, by key.

        Args:
            retention: What of the thread stays; it is cheap to say so with every checkpoint.
            claims: Messages that are to be handed on, claimed in the same transaction.

        Raises:
            ConflictError: The base of a value is not there any more, or is another one. Nothing was changed.
        """
        ...

    def put_writes(self, place: Place, writes: Sequence[TaskWrite]) -> None:
        """Store what a task wrote; the checkpoint itself may come later."""
        ...

    def get_checkpoint(
        self, thread_id: str, namespace: str, checkpoint_id: str | None = None
    ) -> LoadedCheckpoint | None:
        """A checkpoint with all that belongs to it; without an id the one with the highest."""
        ...

    def list_checkpoints(self, question: CheckpointQuestion) -> list[StoredCheckpoint]:
        """A page of checkpoints; nothing stays open between two pages."""
        ...

    def ancestors(self, place: Place, *, channels: Collection[str], limit: int) -> list[Ancestor]:
        """The parent of a checkpoint, the parent's parent and so on, with their writes to the channels."""
        ...

    def held(self, thread_id: str, namespace: str, keys: Collection[bytes]) -> frozenset[bytes]:
        """Those of the keys under which a value is stored."""
        ...

    def layers(self, thread_id: str, namespace: str, keys: Collection[bytes]) -> dict[bytes, Layers]:
        """The stored values under the keys."""
        ...

    def delete_threads(self, thread_ids: Collection[str]) -> None:
        """Remove everything of some threads."""
        ...

    def delete_runs(self, run_ids: Collection[str]) -> None:
        """Remove the checkpoints that some runs made, with their writes.

        Raises:
            UsageError: A checkpoint that would stay leans on one of them. Nothing was changed.
        """
        ...

    def prune_threads(self, thread_ids: Collection[str], retention: Retention) -> None:
        """Remove everything but what ``retention`` keeps."""
        ...

    def copy_thread(
        self, source: str, target: str, *, reseal: Callable[[BlobPlace, Blob], Blob] | None = None
    ) -> None:
        """Add everything of a thread to another one, which may be new.

        Args:
            reseal: Makes the bytes for the other thread where they depend on the thread.
        """
        ...

    def open_claims(self, thread_id: str) -> list[Claim]:
        """What is to be handed on and was not settled, in the order of numbers."""
        ...

    def settle(self, thread_id: str, number: int) -> None:
        """A claim was handed on."""
        ...
