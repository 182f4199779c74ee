"""The hashes that let ``doctor`` tell a damaged row from a sound one.

Every column that cannot be derived again is under the hash of its row. What changes later is chained onto
the hash that was there: damage that lies between is not covered up by a new one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

from ...errors import UsageError
from ...types import Micros
from .driver import Connection
from .rows import checksum, digest, payload_hash

BATCH_SEALED: Final = (
    "uuid, user_id, agent_id, run_id, pending, first_unit, size, recorded_at, job, attempts, lease,"
    " lease_until, not_before, last_error, idempotency_key, fingerprint, result"
)
#: What the checksums of totals and of pending index work cover: all but the work's number and its failures.
USAGE_SUMMED: Final = (
    "owner, operation, chat_calls, embedding_calls, input_tokens, output_tokens, milliseconds"
)
WORK_SUMMED: Final = "index_name, owner, space, unit, ref_id, revision, removed"
#: The same checksum in SQL, of a table ``w``. Texts go as bytes: damaged ones may be no Unicode any more.
WORK_SUM: Final = (
    "memkit_sum(CAST(w.index_name AS BLOB), w.owner, w.space, w.unit, CAST(w.ref_id AS BLOB), w.revision,"
    " w.removed)"
)
#: The tally of an owner of whom nothing was stored yet.
NO_TALLY: Final = "[]"


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


def owner_seal(kind: str, value: str, revision: int, created_at: Micros, tally: str = NO_TALLY) -> bytes:
    """The hash of an owner; ``tallies`` says what a tally is."""
    return digest([kind, value, revision, created_at, tally])


def batch_seal(row: Sequence[Any]) -> bytes:
    """The hash of a batch, from its columns as in ``BATCH_SEALED``."""
    return digest(row)


def work_sum(name: str, owner: int, space: int, unit: int, ref_id: str, revision: int, removed: int) -> int:
    """The checksum of pending index work."""
    return checksum(name.encode(), owner, space, unit, ref_id.encode(), revision, removed)


def is_sound(row: Sequence[Any], sources: Iterable[int]) -> bool:
    """Whether a version, a row of ``rows.M_RECORD_COLUMNS``, matches its hash."""
    try:
        seal = memory_seal(payload_hash(row[1:26]), sources)
    except (TypeError, ValueError, UsageError):
        return False  # what cannot be hashed was never stored like this
    closing = tuple(row[number] for number in (15, 18, 19, 20))
    if closing != (None,) * 4:
        seal = closed_seal(seal, *closing)
    return bool(seal == row[26])


def is_sound_row(row: Sequence[Any], seal: bytes) -> bool:
    """Whether a row with a plain hash matches it: an event, an owner, or a message in search."""
    try:
        return digest(row) == seal
    except (TypeError, ValueError, UsageError):
        return False


def seal_batch(connection: Connection, batch: int) -> None:
    """Renew the hash of a batch whose state has changed."""
    row = connection.execute(f"SELECT {BATCH_SEALED} FROM batches WHERE id = ?", (batch,)).fetchone()
    connection.execute("UPDATE batches SET content_hash = ? WHERE id = ?", (batch_seal(row), batch))
