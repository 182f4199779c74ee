"""The checkpoint store of a SQLite file: reads through the pool, writes through the one writer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ....protocols import (
    Ancestor,
    Blob,
    BlobPlace,
    CheckpointQuestion,
    Claim,
    Layers,
    LoadedCheckpoint,
    NewCheckpoint,
    NewClaims,
    Place,
    Retention,
    RowSigner,
    StoredCheckpoint,
    TaskWrite,
)
from ..pool import Pool
from ..writer import Writer
from . import claims as claiming
from . import reads
from . import retention as going
from . import writes as coming


class SqliteCheckpoints:
    """A ``CheckpointStore`` over the pool and the writer of a SQLite record store."""

    def __init__(self, pool: Pool, writer: Writer, signer: RowSigner | None = None) -> None:
        self._pool = pool
        self._writer = writer
        self._signer = signer

    def signed(self, signer: RowSigner) -> SqliteCheckpoints:
        """See ``CheckpointStore.signed``."""
        return SqliteCheckpoints(self._pool, self._writer, signer)

    def put_checkpoint(
        self,
        checkpoint: NewCheckpoint,
        *,
        retention: Retention | None = None,
        claims: NewClaims | None = None,
    ) -> Mapping[bytes, bytes]:
        """See ``CheckpointStore.put_checkpoint``."""
        return self._writer.run(
            lambda connection: coming.put_checkpoint(connection, checkpoint, retention, claims, self._signer)
        )

    def put_writes(self, place: Place, writes: Sequence[TaskWrite]) -> None:
        """See ``CheckpointStore.put_writes``."""
        if writes:
            self._writer.run(lambda connection: coming.put_writes(connection, place, writes, self._signer))

    def get_checkpoint(
        self, thread_id: str, namespace: str, checkpoint_id: str | None = None
    ) -> LoadedCheckpoint | None:
        """See ``CheckpointStore.get_checkpoint``."""
        with self._pool.read() as connection:
            return reads.get_checkpoint(connection, thread_id, namespace, checkpoint_id, self._signer)

    def list_checkpoints(self, question: CheckpointQuestion) -> list[StoredCheckpoint]:
        """See ``CheckpointStore.list_checkpoints``."""
        with self._pool.read() as connection:
            return reads.list_checkpoints(connection, question)

    def ancestors(self, place: Place, *, channels: Collection[str], limit: int) -> list[Ancestor]:
        """See ``CheckpointStore.ancestors``."""
        with self._pool.read() as connection:
            return reads.ancestors(connection, place, channels, limit, self._signer)

    def held(self, thread_id: str, namespace: str, keys: Collection[bytes]) -> frozenset[bytes]:
        """See ``CheckpointStore.held``."""
        with self._pool.read() as connection:
            return reads.held(connection, thread_id, namespace, keys)

    def layers(self, thread_id: str, namespace: str, keys: Collection[bytes]) -> dict[bytes, Layers]:
        """See ``CheckpointStore.layers``."""
        with self._pool.read() as connection:
            return reads.layers(connection, thread_id, namespace, keys)

    def delete_threads(self, thread_ids: Collection[str]) -> None:
        """See ``CheckpointStore.delete_threads``."""
        self._writer.run(lambda connection: going.delete_threads(connection, thread_ids))

    def delete_runs(self, run_ids: Collection[str]) -> None:
        """See ``CheckpointStore.delete_runs``."""
        self._writer.run(lambda connection: going.delete_runs(connection, run_ids, self._signer))

    def prune_threads(self, thread_ids: Collection[str], retention: Retention) -> None:
        """See ``CheckpointStore.prune_threads``."""
        self._writer.run(
            lambda connection: going.prune_threads(connection, thread_ids, retention, self._signer)
        )

    def copy_thread(
        self, source: str, target: str, *, reseal: Callable[[BlobPlace, Blob], Blob] | None = None
    ) -> None:
        """See ``CheckpointStore.copy_thread``."""
        self._writer.run(
            lambda connection: coming.copy_thread(connection, source, target, reseal, self._signer)
        )

    def open_claims(self, thread_id: str) -> list[Claim]:
        """See ``CheckpointStore.open_claims``."""
        with self._pool.read() as connection:
            return claiming.open_claims(connection, thread_id)

    def settle(self, thread_id: str, number: int) -> None:
        """See ``CheckpointStore.settle``."""
        self._writer.run(lambda connection: claiming.settle(connection, thread_id, number))
