"""The hashes that let ``doctor`` tell a damaged row from a sound one.

Every column that cannot be derived again is under the hash of its row. What changes later is chained onto
the hash that was there: damage that lies between is not covered up by a new one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

from ...types import Micros
from .driver import Connection
from .rows import digest

BATCH_SEALED: Final = (
    "uuid, user_id, agent_id, run_id, pending, first_unit, size, recorded_at, job, attempts, lease,"
    " lease_until, not_before, last_error, idempotency_key, fingerprint, result"
)


def memory_seal(payload: bytes, sources: Iterable[int]) -> bytes:
    """The hash of a new version, from the hash of its own columns and the messages it rests on."""
    return blake2b(payload + array("q", sorted(sources)).tobytes(), digest_size=16).digest()


def closed_seal(
    seal: bytes, valid_to: Micros, retired_at: Micros, deleted_at: Micros | None, superseded_by: str | None
) -> bytes:
    """The hash of a version from its closing on."""
    return digest([seal.hex(), valid_to, retired_at, deleted_at, superseded_by])


def hidden_seal(seal: bytes, hidden_at: Micros) -> bytes:
    """The hash of a message from its being hidden on."""
    return digest([seal.hex(), hidden_at])


def owner_seal(kind: str, value: str, revision: int, created_at: Micros) -> bytes:
    """The hash of an owner."""
    return digest([kind, value, revision, created_at])


def batch_seal(row: Sequence[Any]) -> bytes:
    """The hash of a batch, from its columns as in ``BATCH_SEALED``."""
    return digest(row)


def advance_owner(connection: Connection, owner: int, revision: int) -> None:
    """Give an owner its next revision."""
    kind, value, created_at = connection.execute(
        "SELECT kind, value, created_at FROM owners WHERE id = ?", (owner,)
    ).fetchone()
    seal = owner_seal(kind, value, revision, created_at)
    connection.execute(
        "UPDATE owners SET revision = ?, content_hash = ? WHERE id = ?", (revision, seal, owner)
    )


def seal_batch(connection: Connection, batch: int) -> None:
    """Renew the hash of a batch whose state has changed."""
    row = connection.execute(f"SELECT {BATCH_SEALED} FROM batches WHERE id = ?", (batch,)).fetchone()
    connection.execute("UPDATE batches SET content_hash = ? WHERE id = ?", (batch_seal(row), batch))
