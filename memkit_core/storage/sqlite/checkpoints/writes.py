"""What transactions add to checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ....errors import ConflictError, UsageError
from ....protocols import (
    KEY_BYTES,
    Blob,
    BlobPlace,
    ChannelValue,
    NewCheckpoint,
    NewClaims,
    Place,
    Retention,
    RowSigner,
    TaskWrite,
)
from ..driver import Connection
from .claims import claim, copy_claims
from .reads import Thread, find_thread, held_keys, read_parts
from .retention import retain
from .rows import (
    CHECKPOINT,
    VALUE,
    WRITES,
    Entry,
    address_of,
    addresses_of,
    check,
    check_marked,
    marked,
    pack_entries,
    pack_id,
    pack_optional,
    seal,
    unpack_entries,
    unpack_id,
)

_CHECKPOINT: Final = (
    f"INSERT OR REPLACE INTO checkpoints ({CHECKPOINT}, mark, content_hash) VALUES ({'?, ' * 12}?)"
)
_VALUE: Final = f"INSERT INTO checkpoint_values ({VALUE}, content_hash) VALUES ({'?, ' * 6}?)"
_WRITES: Final = (
    f"INSERT OR REPLACE INTO checkpoint_writes ({WRITES}, mark, content_hash) VALUES ({'?, ' * 7}?)"
)


def make_thread(connection: Connection, name: str) -> Thread:
    """The thread with this name, made if it is not there."""
    found = find_thread(connection, name)
    if found is not None:
        return found
    row = connection.execute(
        "INSERT INTO checkpoint_threads (thread_id, dropped, claims, content_hash) VALUES (?, 0, 0, x'')"
        " RETURNING id",
        (name,),
    ).fetchone()
    connection.execute(
        "UPDATE checkpoint_threads SET content_hash = ? WHERE id = ?", (seal((row[0], name)), row[0])
    )
    return Thread(row[0], name)


def put_checkpoint(
    connection: Connection,
    new: NewCheckpoint,
    retention: Retention | None,
    claims: NewClaims | None,
    signer: RowSigner | None,
) -> Mapping[bytes, bytes]:
    """See ``CheckpointStore.put_checkpoint``."""
    place = new.place
    thread = make_thread(connection, place.thread_id)
    there = held_keys(connection, thread.id, place.namespace, {*new.uses, *(v.key for v in new.values)})
    tags: dict[bytes, bytes] = {}
    for value in new.values:
        if len(value.key) != KEY_BYTES:
            raise UsageError(f"the key of a value has {KEY_BYTES} bytes, not {len(value.key)}")
        if value.key not in there and value.key not in tags:
            tags[value.key] = _put_value(connection, thread, place.namespace, value)
    uses = b"".join(sorted(key for key in {*new.uses, *tags} if key in there or key in tags))
    row = (
        *(thread.id, place.namespace, pack_id(place.checkpoint_id), pack_optional(new.parent_id)),
        *(pack_optional(new.root_id), pack_optional(new.run_id), int(new.leans), new.created_at, uses),
        *(new.body.body, put_parts(connection, thread.id, new.body.parts)),
    )
    connection.execute(_CHECKPOINT, marked(row, "a checkpoint", thread.name, signer))
    if claims is not None:
        claim(connection, thread.id, new.place.checkpoint_id, claims)
    if retention is not None:
        retain(connection, thread, place.namespace, retention, signer)
    return tags


def _put_value(connection: Connection, thread: Thread, namespace: str, value: ChannelValue) -> bytes:
    base = value.base
    if base is not None:
        found = connection.execute(
            "SELECT content_hash FROM checkpoint_values WHERE thread = ? AND namespace = ? AND key = ?",
            (thread.id, namespace, base.key),
        ).fetchone()
        if found is None or found[0] != base.tag:
            raise ConflictError(
                f"a value of the thread {thread.name!r} that another one continues has changed: put it whole."
                " Nothing was changed"
            )
    row = (
        *(thread.id, namespace, value.key, None if base is None else base.key, value.blob.body),
        put_parts(connection, thread.id, value.blob.parts),
    )
    tag = seal(row)
    connection.execute(_VALUE, (*row, tag))
    return tag


def put_parts(connection: Connection, thread: int, parts: Iterable[bytes]) -> bytes:
    """Store the parts that are not there yet; returns their addresses, one behind the other."""
    addresses: list[bytes] = []
    for data in parts:
        address = address_of(data)
        connection.execute(
            "INSERT OR IGNORE INTO checkpoint_parts (thread, address, data) VALUES (?, ?, ?)",
            (thread, address, data),
        )
        addresses.append(address)
    return b"".join(addresses)


def put_writes(
    connection: Connection, place: Place, writes: Sequence[TaskWrite], signer: RowSigner | None
) -> None:
    """See ``CheckpointStore.put_writes``."""
    thread = make_thread(connection, place.thread_id)
    checkpoint = pack_id(place.checkpoint_id)
    for task in dict.fromkeys(write.task_id for write in writes):
        key = (thread.id, place.namespace, checkpoint, pack_id(task))
        rows = connection.execute(
            f"SELECT {WRITES}, mark, content_hash FROM checkpoint_writes"
            " WHERE thread = ? AND namespace = ? AND checkpoint_id = ? AND task_id = ?",
            key,
        ).fetchall()
        found: dict[int, tuple[str, Entry]] = {}
        for row in rows:
            check_marked(row, "a write", thread.name, signer)
            if signer is None and row[-2] is not None:
                raise UsageError("what this task wrote before is encrypted: pass encryption_key=…")
            found.update((entry.number, (row[4], entry)) for entry in unpack_entries(row[5]))
        for write in writes:
            if write.task_id == task and (write.index < 0 or write.index not in found):
                parts = addresses_of(put_parts(connection, thread.id, write.blob.parts))
                entry = Entry(write.index, write.channel, write.blob.body, parts)
                found[write.index] = write.task_path, entry
        _store_writes(connection, thread, key, {row[4] for row in rows}, found.values(), signer)


def _store_writes(
    connection: Connection,
    thread: Thread,
    key: tuple[int, str, bytes, bytes],
    paths: set[str],
    entries: Iterable[tuple[str, Entry]],
    signer: RowSigner | None,
) -> None:
    groups: dict[str, list[Entry]] = {path: [] for path in paths}
    for path, entry in entries:
        groups.setdefault(path, []).append(entry)
    for path, group in groups.items():
        if group:
            row = (*key, path, pack_entries(group))
            connection.execute(_WRITES, marked(row, "a write", thread.name, signer))
        else:  # all that was written from there was overwritten
            connection.execute(
                "DELETE FROM checkpoint_writes WHERE thread = ? AND namespace = ? AND checkpoint_id = ?"
                " AND task_id = ? AND task_path = ?",
                (*key, path),
            )


Reseal = Callable[[BlobPlace, Blob], Blob]


def copy_thread(
    connection: Connection, source: str, target: str, reseal: Reseal | None, signer: RowSigner | None
) -> None:
    """See ``CheckpointStore.copy_thread``."""
    if source == target:
        raise UsageError("a thread cannot be copied onto itself")
    old = find_thread(connection, source)
    if old is None:
        return
    _Copy(connection, old, make_thread(connection, target), reseal, signer).run()


class _Copy:
    """The rows of one thread on their way into another."""

    def __init__(
        self,
        connection: Connection,
        old: Thread,
        new: Thread,
        reseal: Reseal | None,
        signer: RowSigner | None,
    ) -> None:
        self._connection = connection
        self._old = old
        self._new = new
        self._reseal = reseal
        self._signer = signer

    def run(self) -> None:
        """All of them."""
        connection, old, new = self._connection, self._old.id, self._new.id
        for row in self._rows(VALUE, "checkpoint_values"):
            place = self._place("value", row[1], row[2], "" if row[3] is None else row[3].hex())
            values = (new, row[1], row[2], row[3], *self._blob(place, row[4], row[5]))
            connection.execute(_VALUE.replace("INSERT", "INSERT OR IGNORE", 1), (*values, seal(values)))
        for row in self._marked_rows(CHECKPOINT, "checkpoints", "a checkpoint"):
            ids = unpack_id(row[2]), "" if row[3] is None else unpack_id(row[3])
            place = self._place("checkpoint", row[1], b"", *ids)
            values = (new, *row[1:9], *self._blob(place, row[9], row[10]))
            connection.execute(_CHECKPOINT, marked(values, "a checkpoint", self._new.name, self._signer))
        for row in self._marked_rows(WRITES, "checkpoint_writes", "a write"):
            entries = [self._entry(row, entry) for entry in unpack_entries(row[5])]
            written = (new, *row[1:5], pack_entries(entries))
            connection.execute(_WRITES, marked(written, "a write", self._new.name, self._signer))
        copy_claims(connection, old, new)

    def _rows(self, columns: str, table: str) -> list[Any]:
        rows = self._connection.execute(
            f"SELECT {columns}, content_hash FROM {table} WHERE thread = ?", (self._old.id,)
        ).fetchall()
        for row in rows:
            check(row, "a row", self._old.name)
        return rows

    def _marked_rows(self, columns: str, table: str, what: str) -> list[Any]:
        rows = self._connection.execute(
            f"SELECT {columns}, mark, content_hash FROM {table} WHERE thread = ?", (self._old.id,)
        ).fetchall()
        for row in rows:
            check_marked(row, what, self._old.name, self._signer)
        return rows

    def _place(self, kind: Any, namespace: str, key: bytes, *names: str) -> BlobPlace:
        return BlobPlace(kind=kind, thread_id=self._old.name, namespace=namespace, key=key, names=names)

    def _entry(self, row: Sequence[Any], entry: Entry) -> Entry:
        names = unpack_id(row[2]), unpack_id(row[3]), row[4], str(entry.number), entry.channel
        place = self._place("write", row[1], b"", *names)
        body, joined = self._blob(place, entry.body, b"".join(entry.parts))
        return Entry(entry.number, entry.channel, body, addresses_of(joined))

    def _blob(self, place: BlobPlace, body: bytes, joined: bytes) -> tuple[bytes, bytes]:
        addresses = addresses_of(joined)
        parts = read_parts(self._connection, self._old, addresses)
        blob = Blob(body, tuple(parts[address] for address in addresses))
        if self._reseal is not None:
            blob = self._reseal(place, blob)
        return blob.body, put_parts(self._connection, self._new.id, blob.parts)
