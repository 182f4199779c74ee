"""How values become rows and rows become values."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from ...errors import IntegrityError, UsageError
from ...protocols import StoredBatch
from ...types import MemoryRecord, Scope, Space, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .driver import Connection

MEMORY, TURN, RETIRED = 0, 1, 2
LONE_SURROGATE: Final = "a text holds a lone surrogate, which is not text: pass memkit_core.clean_text(text)"
SPACE_CODES: Final[dict[Space, int]] = {"memory": MEMORY, "turn": TURN, "retired": RETIRED}
SPACE_NAMES: Final[tuple[Space, ...]] = ("memory", "turn", "retired")

#: The columns of a version in the order of ``record_of``.
RECORD_COLUMNS: Final = (
    "unit, memory_id, revision, user_id, agent_id, run_id, actor_id, text, kind, memory_type, metadata,"
    " origin, trust, event_time, valid_from, valid_to, created_at, recorded_at, retired_at, deleted_at,"
    " superseded_by, expires_at, flags, slot, support, attributes"
)
#: The same of a table ``m``, and the hash behind them.
M_RECORD_COLUMNS: Final = f"m.{RECORD_COLUMNS.replace(', ', ', m.')}, m.content_hash"


#: ``json.dumps`` makes an encoder for each call.
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def digest(values: Sequence[object]) -> bytes:
    """A 16-byte hash of a row's payload.

    Raises:
        UsageError: A string in it is not proper Unicode.
    """
    try:
        payload = _encode(values).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(LONE_SURROGATE) from error
    return blake2b(payload, digest_size=16).digest()


def payload_of(row: Sequence[Any]) -> list[Any]:
    """What never changes of a version, from a row of ``RECORD_COLUMNS`` behind the unit.

    Columns that came with schema version 4 count if any of them is set: earlier rows keep their hashes.
    """
    later = row[22:25]
    return [*row[:14], *row[15:17], *row[20:22], *(later if any(part is not None for part in later) else ())]


def payload_hash(row: Sequence[Any]) -> bytes:
    """The hash of that; ``seals.memory_seal`` makes the stored hash of it."""
    return digest(payload_of(row))


def dump_attributes(attributes: Mapping[str, Any]) -> str | None:
    """Attributes as they are stored; None if there are none.

    Raises:
        UsageError: They are not a JSON object, or hold NUL.
    """
    return dump_metadata(attributes, "attributes") if attributes else None


def dump_metadata(metadata: Mapping[str, Any], what: str = "metadata") -> str:
    """Metadata as JSON text that SQLite reads exactly as Python does.

    Raises:
        UsageError: It is not a JSON object, or holds NUL.
    """
    if not metadata:
        return "{}"
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} must be a JSON object: {error}") from error
    if "\\u0000" in text and _holds_nul(dict(metadata)):
        raise UsageError(f"{what}: a text in it holds a NUL character: pass memkit_core.clean_text(text)")
    return text


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        pairs: dict[Any, Any] = cast("Any", value)
        return _holds_nul(list(pairs)) or _holds_nul(list(pairs.values()))
    return isinstance(value, list | tuple) and any(map(_holds_nul, cast("Sequence[Any]", value)))


def pack_vector(vector: Vector) -> bytes:
    """A vector at unit length as little-endian half precision.

    Raises:
        UsageError: It is not a one-dimensional array of finite numbers, not all zero.
    """
    import numpy as np

    try:
        array = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a vector must be a one-dimensional array of numbers: {error}") from error
    length = float(np.sqrt(np.dot(array, array))) if array.ndim == 1 and array.size else 0.0
    if not 0.0 < length < float("inf"):
        raise UsageError("a vector must be one-dimensional, finite and not all zero")
    packed: bytes = (array / length).astype("<f2").tobytes()
    return packed


def crc32(data: bytes) -> int:
    """The checksum of some bytes."""
    return zlib.crc32(data)


def checksum(*values: object) -> int:
    """The checksum of a row that may hold anything: what kind each value is counts as well."""
    return zlib.crc32(repr(values).encode("utf-8", "backslashreplace"))


def vector_sum(owner: int, space: int, unit: int, data: bytes) -> int:
    """The checksum that is stored beside a vector: of its place as well, so that it stays with its text."""
    return zlib.crc32(data, zlib.crc32(b"%d/%d/%d/" % (owner, space, unit)))


def unpack_vector(place: tuple[int, int, int], data: bytes, checksum: int) -> Vector:
    """A stored vector in single precision, at unit length; its place is its owner, space and unit.

    Raises:
        IntegrityError: The bytes do not fit their checksum.
    """
    import numpy as np

    if vector_sum(*place, data) != checksum:
        raise IntegrityError("a stored vector does not match its checksum; restore the file from a backup")
    array = np.frombuffer(data, dtype="<f2").astype(np.float32)
    unit: NDArray[np.float32] = array / np.sqrt(np.dot(array, array))
    return unit


def load_metadata(text: str, memory_id: str) -> dict[str, Any]:
    """The JSON object of a row.

    Raises:
        IntegrityError: It cannot be decoded.
    """
    if text == "{}":
        return {}
    try:
        metadata: Any = json.loads(text)
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            f"memory {memory_id}: stored metadata cannot be read; restore a backup"
        ) from error
    if not isinstance(metadata, dict):
        raise IntegrityError(f"memory {memory_id}: stored metadata is no object; restore a backup")
    return cast("dict[str, Any]", metadata)


def record_of(row: Sequence[Any], sources: tuple[str, ...] = ()) -> MemoryRecord:
    """The version that a row of ``RECORD_COLUMNS`` holds.

    Raises:
        IntegrityError: A column cannot be decoded.
    """
    return MemoryRecord(
        unit=row[0],
        memory_id=row[1],
        revision=row[2],
        user_id=row[3],
        agent_id=row[4],
        run_id=row[5],
        actor_id=row[6],
        text=row[7],
        kind=row[8],
        memory_type=row[9],
        metadata=load_metadata(row[10], row[1]),
        origin=row[11],
        trust=row[12],
        event_time=row[13],
        valid_from=row[14],
        valid_to=row[15],
        created_at=row[16],
        recorded_at=row[17],
        retired_at=row[18],
        deleted_at=row[19],
        superseded_by=row[20],
        expires_at=row[21],
        flags=row[22],
        slot=row[23],
        support="unchecked" if row[24] is None else row[24],
        attributes={} if row[25] is None else load_metadata(row[25], row[1]),
        sources=sources,
    )


def records_of(
    connection: Connection, rows: Sequence[Sequence[Any]], damaged: set[int] | None = None
) -> list[MemoryRecord]:
    """The versions of several rows of ``M_RECORD_COLUMNS``, with the public ids of their sources.

    Args:
        damaged: Takes the unit numbers of damaged rows, which are left out then.

    Raises:
        IntegrityError: One of them does not match its hash: what it says may be wrong.
    """
    from .seals import is_sound  # which needs this module

    sources = sources_of(connection, [row[0] for row in rows])
    found: list[MemoryRecord] = []
    for row in rows:
        cited = sources.get(row[0], {})
        if not is_sound(row, cited):
            if damaged is not None:
                damaged.add(row[0])
                continue
            raise IntegrityError(
                f"memory {row[1]} is damaged, its text cannot be trusted: see memory.admin.doctor(), and"
                " restore the file from a backup"
            )
        found.append(record_of(row, tuple(name for name in cited.values() if name is not None)))
    return found


def sources_of(connection: Connection, units: Iterable[int]) -> dict[int, dict[int, str | None]]:
    """The messages that versions cite, in the order they were said: units and public ids (None: lost)."""
    found: dict[int, dict[int, str | None]] = {}
    for unit, message, name in connection.execute(
        "SELECT s.memory, s.message, b.uuid || ':' || t.position FROM json_each(?) u JOIN sources s"
        " ON s.memory = u.value LEFT JOIN messages t ON t.unit = s.message LEFT JOIN batches b"
        " ON b.id = t.batch ORDER BY s.message",
        (json.dumps(list(units)),),
    ):
        found.setdefault(unit, {})[message] = name
    return found


BATCH_COLUMNS: Final = (
    "id, uuid, user_id, agent_id, run_id, pending, first_unit, size, recorded_at, job, attempts, lease,"
    " last_error, result"
)


def batch_of(row: Sequence[Any], *, replayed: bool = False) -> StoredBatch:
    """The batch that a row of ``BATCH_COLUMNS`` holds."""
    return StoredBatch(
        batch_id=row[1],
        scope=Scope(user_id=row[2], agent_id=row[3], run_id=row[4]),
        state="pending" if row[5] else "done",
        units=tuple(range(row[6], row[6] + row[7])),
        recorded_at=row[8],
        job=row[9],
        attempts=row[10],
        lease=row[11],
        last_error=row[12],
        result=row[13],
        replayed=replayed,
    )


def find_owner(connection: Connection, scope: Scope) -> tuple[int, int]:
    """The owner's id and revision, (0, 0) if it was never seen."""
    key = scope.owner
    row = connection.execute(
        "SELECT id, revision FROM owners WHERE kind = ? AND value = ?", (key.kind, key.value)
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])
