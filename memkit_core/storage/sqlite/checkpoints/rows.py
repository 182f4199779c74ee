"""How checkpoints become rows and rows become checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from uuid import UUID

from ....errors import IntegrityError, UsageError
from ....protocols import KEY_BYTES, Blob, RowSigner, TaskWrite
from ..rows import LONE_SURROGATE

ADDRESS_BYTES: Final = 16
#: The columns under a checkpoint's hash, a value's and a task's writes'. ``content_hash`` comes behind
#: them, and in front of it ``mark`` where a table has one, which is under the hash if it is not NULL.
CHECKPOINT: Final = (
    "thread, namespace, checkpoint_id, parent_id, root_id, run_id, leans, created_at, uses, body, parts"
)
VALUE: Final = "thread, namespace, key, base, body, parts"
WRITES: Final = "thread, namespace, checkpoint_id, task_id, task_path, entries"
#: How long the hash of a row with a mark is: it only has to tell accidents, the mark tells the rest.
_MARKED_HASH: Final = 4
_UUID, _TEXT = b"\0", b"\1"


def pack_id(text: str) -> bytes:
    """An id as it is stored: those of one kind sort as their texts do.

    Raises:
        UsageError: It is no text.
    """
    if not isinstance(text, str):
        raise UsageError(f"an id is a text, not {type(text).__name__}")
    if len(text) == 36:
        try:
            found = UUID(text)
        except ValueError:
            pass  # 36 characters of something else
        else:
            if str(found) == text:
                return _UUID + found.bytes
    try:
        return _TEXT + text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(LONE_SURROGATE) from error


def pack_optional(text: str | None) -> bytes | None:
    """An id that may be missing, as it is stored."""
    return None if text is None else pack_id(text)


def unpack_id(data: bytes) -> str:
    """The id that was packed."""
    return str(UUID(bytes=data[1:])) if data[:1] == _UUID else data[1:].decode("utf-8")


def unpack_optional(data: bytes | None) -> str | None:
    """The id that was packed, if there was one."""
    return None if data is None else unpack_id(data)


def address_of(data: bytes) -> bytes:
    """What a part is found by."""
    return blake2b(data, digest_size=ADDRESS_BYTES).digest()


def seal(values: Iterable[bytes | str | int | None], size: int = 16) -> bytes:
    """The hash of a row."""
    state = blake2b(digest_size=size)
    for value in values:
        if isinstance(value, bytes):
            state.update(b"b%d:" % len(value))
            state.update(value)
        elif isinstance(value, str):
            data = value.encode("utf-8")
            state.update(b"s%d:" % len(data))
            state.update(data)
        else:
            state.update(b"%r;" % (value,))
    return state.digest()


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a row matches the hash at its end."""
    *values, stored = row
    return _is_plain(values) and seal(values) == stored


def _is_plain(values: Iterable[object]) -> bool:
    return all(value is None or isinstance(value, bytes | str | int) for value in values)


def check(row: Sequence[Any], what: str, name: str) -> None:
    """Raise if a row does not match the hash at its end.

    Raises:
        IntegrityError: It does not.
    """
    if not is_sound(row):
        raise damaged(what, name)


def is_marked_sound(row: Sequence[Any]) -> bool:
    """Whether a row of a table with marks matches the hash at its end."""
    *values, mark, stored = row
    if mark is None:
        return is_sound((*values, stored))
    return _is_plain((*values, mark)) and seal((*values, mark), size=_MARKED_HASH) == stored


def check_marked(row: Sequence[Any], what: str, name: str, signer: RowSigner | None) -> None:
    """Raise if a row of the thread ``name`` does not match its hash, or its mark is not the signer's.

    Raises:
        IntegrityError: One of them does not match, or there is a signer and no mark.
        UsageError: The mark is another key's.
    """
    if not is_marked_sound(row):
        raise damaged(what, name)
    if signer is not None:
        signer.check(_signed(what, name, row[:-2]), row[-2])


def marked(
    values: Sequence[bytes | str | int | None], what: str, name: str, signer: RowSigner | None
) -> tuple[bytes | str | int | None, ...]:
    """A row of the thread ``name`` with its mark, if there is a signer, and its hash."""
    if signer is None:
        return (*values, None, seal(values))
    mark = signer.sign(_signed(what, name, values))
    return (*values, mark, seal((*values, mark), size=_MARKED_HASH))


def _signed(what: str, name: str, values: Sequence[bytes | str | int | None]) -> bytes:
    # The thread's name instead of its number, which another file may have given to another thread.
    return seal((what, name, *values[1:]), size=32)


def damaged(what: str, name: str) -> IntegrityError:
    """The error for a row that cannot be given out."""
    return IntegrityError(
        f"{what} of the thread {name!r} is damaged or lost: see memory.admin.doctor(); delete the thread or"
        " restore the file from a backup"
    )


def split(joined: bytes, size: int) -> tuple[bytes, ...]:
    """Keys or addresses that are stored one behind the other."""
    return tuple(joined[start : start + size] for start in range(0, len(joined), size))


def keys_of(joined: bytes) -> tuple[bytes, ...]:
    """The keys in ``uses``."""
    return split(joined, KEY_BYTES)


def addresses_of(joined: bytes) -> tuple[bytes, ...]:
    """The addresses in ``parts``."""
    return split(joined, ADDRESS_BYTES)


class Entry(NamedTuple):
    """One write of a task, its parts by their addresses."""

    number: int
    channel: str
    body: bytes
    parts: tuple[bytes, ...]


def pack_entries(entries: Iterable[Entry]) -> bytes:
    """The writes of a task as one column."""
    entries = sorted(entries)
    head = [[entry.number, entry.channel, len(entry.body), len(entry.parts)] for entry in entries]
    tail = b"".join(entry.body + b"".join(entry.parts) for entry in entries)
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + tail


def unpack_entries(data: bytes) -> list[Entry]:
    """The writes that were packed."""
    head, _, tail = data.partition(b"\n")
    found: list[Entry] = []
    start = 0
    for index, channel, size, number in json.loads(head):
        middle, end = start + size, start + size + number * ADDRESS_BYTES
        found.append(Entry(index, channel, tail[start:middle], addresses_of(tail[middle:end])))
        start = end
    return found


def writes_of(row: Sequence[Any], parts: Mapping[bytes, bytes], channels: Any = None) -> list[TaskWrite]:
    """The writes in a row of ``WRITES``, to some channels or to all."""
    task_id, path = unpack_id(row[3]), row[4]
    return [
        TaskWrite(
            task_id=task_id,
            index=entry.number,
            channel=entry.channel,
            task_path=path,
            blob=Blob(entry.body, tuple(parts[address] for address in entry.parts)),
        )
        for entry in unpack_entries(row[5])
        if channels is None or entry.channel in channels
    ]


def write_order(write: TaskWrite) -> tuple[str, str, int]:
    """The order in which writes are given out."""
    return write.task_path, write.task_id, write.index
