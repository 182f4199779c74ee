"""What is read of checkpoints, inside one read transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from ....errors import IntegrityError, UsageError
from ....protocols import (
    Ancestor,
    Blob,
    CheckpointQuestion,
    Layer,
    Layers,
    LoadedCheckpoint,
    Place,
    RowSigner,
    StoredCheckpoint,
    TaskWrite,
)
from ..driver import Connection
from .rows import (
    CHECKPOINT,
    VALUE,
    WRITES,
    address_of,
    addresses_of,
    check,
    check_marked,
    damaged,
    keys_of,
    pack_id,
    unpack_entries,
    unpack_id,
    unpack_optional,
    write_order,
    writes_of,
)

#: Parts that are read by one statement.
_CHUNK: Final = 500
#: No value continues so many others.
_DEEPEST: Final = 1_000_000

_CHAIN: Final = (
    f"WITH RECURSIVE chain({VALUE}, content_hash, depth) AS ("
    f" SELECT {VALUE}, content_hash, 0 FROM checkpoint_values"
    " WHERE thread = ?1 AND namespace = ?2 AND key = ?3"
    f" UNION ALL SELECT v.{VALUE.replace(', ', ', v.')}, v.content_hash, c.depth + 1 FROM chain c"
    " JOIN checkpoint_values v ON v.thread = ?1 AND v.namespace = ?2 AND v.key = c.base"
    f" WHERE c.depth < {_DEEPEST}) SELECT {VALUE}, content_hash FROM chain ORDER BY depth"
)


class Thread(NamedTuple):
    """A thread and its number."""

    id: int
    name: str


def find_thread(connection: Connection, name: str) -> Thread | None:
    """The thread with this name, None if nothing of it is stored.

    Raises:
        UsageError: The name is no text.
    """
    if not isinstance(name, str):
        raise UsageError(f"a thread's id is a text, not {type(name).__name__}")
    row = connection.execute(
        "SELECT id, thread_id, content_hash FROM checkpoint_threads WHERE thread_id = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    check(row, "the row", name)
    return Thread(row[0], name)


def get_checkpoint(
    connection: Connection,
    thread_id: str,
    namespace: str,
    checkpoint_id: str | None,
    signer: RowSigner | None,
) -> LoadedCheckpoint | None:
    """See ``CheckpointStore.get_checkpoint``."""
    thread = find_thread(connection, thread_id)
    if thread is None:
        return None
    row = checkpoint_row(connection, thread, namespace, checkpoint_id, signer)
    if row is None:
        return None
    keys = keys_of(row[8])
    chains = {key: _chain(connection, thread, namespace, key) for key in keys}
    for chain in chains.values():
        if not chain:
            raise damaged("a value", thread_id)
    writes = _write_rows(connection, thread, namespace, row[2], signer)
    wanted = [addresses_of(row[10])]
    wanted += [addresses_of(link[5]) for chain in chains.values() for link in chain]
    wanted += [entry.parts for written in writes for entry in unpack_entries(written[5])]
    parts = read_parts(connection, thread, (address for group in wanted for address in group))
    return LoadedCheckpoint(
        stored=_stored(thread, row, parts),
        values={key: _layers(chain, parts) for key, chain in chains.items()},
        writes=_ordered(writes, parts, None),
    )


def checkpoint_row(
    connection: Connection,
    thread: Thread,
    namespace: str,
    checkpoint_id: str | None,
    signer: RowSigner | None,
) -> Sequence[Any] | None:
    """A sound row of ``CHECKPOINT``: the one with this id, or with the highest."""
    where, values = "", list[object]([thread.id, namespace])
    if checkpoint_id is not None:
        where = " AND checkpoint_id = ?"
        values.append(pack_id(checkpoint_id))
    row = connection.execute(
        f"SELECT {CHECKPOINT}, mark, content_hash FROM checkpoints WHERE thread = ? AND namespace = ?{where}"
        " ORDER BY checkpoint_id DESC LIMIT 1",
        values,
    ).fetchone()
    if row is not None:
        check_marked(row, "a checkpoint", thread.name, signer)
    return row  # type: ignore[no-any-return]


def _stored(thread: Thread, row: Sequence[Any], parts: dict[bytes, bytes]) -> StoredCheckpoint:
    return StoredCheckpoint(
        place=Place(thread.name, row[1], unpack_id(row[2])),
        parent_id=unpack_optional(row[3]),
        body=Blob(row[9], tuple(parts[address] for address in addresses_of(row[10]))),
    )


def _chain(connection: Connection, thread: Thread, namespace: str, key: bytes) -> list[Sequence[Any]]:
    """The rows of ``VALUE`` of a value and what it continues; empty if it is not there."""
    rows: list[Sequence[Any]] = connection.execute(_CHAIN, (thread.id, namespace, key)).fetchall()
    for row in rows:
        check(row, "a value", thread.name)
    if rows and rows[-1][3] is not None:
        raise damaged("a value", thread.name)
    return rows


def _layers(chain: Sequence[Sequence[Any]], parts: dict[bytes, bytes]) -> Layers:
    return tuple(
        Layer(
            key=row[2],
            tag=row[6],
            blob=Blob(row[4], tuple(parts[address] for address in addresses_of(row[5]))),
            base=row[3],
        )
        for row in chain
    )


def read_parts(connection: Connection, thread: Thread, addresses: Iterable[bytes]) -> dict[bytes, bytes]:
    """The parts at some addresses.

    Raises:
        IntegrityError: One is damaged or lost.
    """
    wanted = list(dict.fromkeys(addresses))
    found: dict[bytes, bytes] = {}
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        marks = ",".join("?" * len(chunk))
        found.update(
            connection.execute(
                f"SELECT address, data FROM checkpoint_parts WHERE thread = ? AND address IN ({marks})",
                (thread.id, *chunk),
            ).fetchall()
        )
    for address in wanted:
        data = found.get(address)
        if not isinstance(data, bytes) or address_of(data) != address:
            raise damaged("a part", thread.name)
    return found


def _write_rows(
    connection: Connection, thread: Thread, namespace: str, checkpoint_id: bytes, signer: RowSigner | None
) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = connection.execute(
        f"SELECT {WRITES}, mark, content_hash FROM checkpoint_writes"
        " WHERE thread = ? AND namespace = ? AND checkpoint_id = ?",
        (thread.id, namespace, checkpoint_id),
    ).fetchall()
    for row in rows:
        check_marked(row, "a write", thread.name, signer)
    return rows


def _ordered(
    rows: Iterable[Sequence[Any]], parts: dict[bytes, bytes], channels: Collection[str] | None
) -> tuple[TaskWrite, ...]:
    return tuple(
        sorted((write for row in rows for write in writes_of(row, parts, channels)), key=write_order)
    )


def list_checkpoints(connection: Connection, asked: CheckpointQuestion) -> list[StoredCheckpoint]:
    """See ``CheckpointStore.list_checkpoints``."""
    if asked.limit < 0:
        raise UsageError(f"limit must not be negative, it is {asked.limit}")
    conditions, values = ["1"], list[Any]()
    if asked.thread_id is not None:
        thread = find_thread(connection, asked.thread_id)
        if thread is None:
            return []
        conditions.append("c.thread = ?")
        values.append(thread.id)
    for column, given, sign in (
        ("c.namespace", asked.namespace, "="),
        ("c.checkpoint_id", None if asked.checkpoint_id is None else pack_id(asked.checkpoint_id), "="),
        ("c.checkpoint_id", None if asked.before is None else pack_id(asked.before), "<"),
    ):
        if given is not None:
            conditions.append(f"{column} {sign} ?")
            values.append(given)
    if asked.after is not None:
        last = pack_id(asked.after.checkpoint_id)
        conditions.append(
            "(c.checkpoint_id < ? OR (c.checkpoint_id = ? AND (t.thread_id, c.namespace) > (?, ?)))"
        )
        values += [last, last, asked.after.thread_id, asked.after.namespace]
    rows = connection.execute(
        f"SELECT c.{CHECKPOINT.replace(', ', ', c.')}, c.mark, c.content_hash, t.thread_id FROM checkpoints c"
        f" JOIN checkpoint_threads t ON t.id = c.thread WHERE {' AND '.join(conditions)}"
        " ORDER BY c.checkpoint_id DESC, t.thread_id, c.namespace LIMIT ?",
        [*values, asked.limit],
    ).fetchall()
    found: list[StoredCheckpoint] = []
    for *row, name in rows:
        check_marked(row, "a checkpoint", name, None)
        thread = Thread(row[0], name)
        found.append(_stored(thread, row, read_parts(connection, thread, addresses_of(row[10]))))
    return found


def ancestors(
    connection: Connection,
    place: Place,
    channels: Collection[str],
    limit: int,
    signer: RowSigner | None,
) -> list[Ancestor]:
    """See ``CheckpointStore.ancestors``."""
    thread = find_thread(connection, place.thread_id)
    row = None
    if thread is not None:
        row = checkpoint_row(connection, thread, place.namespace, place.checkpoint_id, signer)
    if thread is None or row is None:
        return []
    found: list[Ancestor] = []
    seen = {row[2]}
    while row[3] is not None and len(found) < limit:
        row = checkpoint_row(connection, thread, place.namespace, unpack_id(row[3]), signer)
        if row is None:
            break
        if row[2] in seen:
            raise IntegrityError(f"a checkpoint of the thread {thread.name!r} is its own ancestor")
        seen.add(row[2])
        writes = _write_rows(connection, thread, place.namespace, row[2], signer)
        wanted = [
            address
            for written in writes
            for entry in unpack_entries(written[5])
            if entry.channel in channels
            for address in entry.parts
        ]
        parts = read_parts(connection, thread, (*addresses_of(row[10]), *wanted))
        found.append(Ancestor(stored=_stored(thread, row, parts), writes=_ordered(writes, parts, channels)))
    return found


def held(connection: Connection, thread_id: str, namespace: str, keys: Collection[bytes]) -> frozenset[bytes]:
    """See ``CheckpointStore.held``."""
    thread = find_thread(connection, thread_id)
    return frozenset() if thread is None else held_keys(connection, thread.id, namespace, keys)


def held_keys(
    connection: Connection, thread: int, namespace: str, keys: Collection[bytes]
) -> frozenset[bytes]:
    """Those of the keys under which a value is stored."""
    wanted, found = list(keys), set[bytes]()
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        marks = ",".join("?" * len(chunk))
        rows = connection.execute(
            f"SELECT key FROM checkpoint_values WHERE thread = ? AND namespace = ? AND key IN ({marks})",
            (thread, namespace, *chunk),
        )
        found.update(key for (key,) in rows)
    return frozenset(found)


def layers(
    connection: Connection, thread_id: str, namespace: str, keys: Collection[bytes]
) -> dict[bytes, Layers]:
    """See ``CheckpointStore.layers``."""
    thread = find_thread(connection, thread_id)
    if thread is None:
        return {}
    chains = {key: _chain(connection, thread, namespace, key) for key in keys}
    parts = read_parts(
        connection,
        thread,
        (address for chain in chains.values() for row in chain for address in addresses_of(row[5])),
    )
    return {key: _layers(chain, parts) for key, chain in chains.items() if chain}
