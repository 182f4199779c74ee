"""What goes: threads, runs, checkpoints that are too many or too old, and then what nothing uses any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from ....errors import UsageError
from ....protocols import Retention, RowSigner
from ..driver import Connection
from .reads import Thread, find_thread
from .rows import CHECKPOINT, addresses_of, check_marked, keys_of, pack_id, unpack_entries

#: So many checkpoints go one by one before values and parts that nothing uses are looked for.
_SWEPT_TOGETHER: Final = 32
#: The first columns of ``CHECKPOINT``.
_STEERING: Final = "thread, namespace, checkpoint_id, parent_id, root_id, run_id, leans, created_at"
_OF_THREAD: Final = (
    *("checkpoints", "checkpoint_values", "checkpoint_writes", "checkpoint_parts", "checkpoint_claims"),
)


class _Row(NamedTuple):
    """What retention knows of a checkpoint."""

    namespace: str
    id: bytes
    parent: bytes | None
    root: bytes | None
    run: bytes | None
    leans: int
    created_at: int


def delete_threads(connection: Connection, names: Collection[str]) -> None:
    """See ``CheckpointStore.delete_threads``."""
    for name in names:
        # What is damaged can be deleted as well.
        row = connection.execute("SELECT id FROM checkpoint_threads WHERE thread_id = ?", (name,)).fetchone()
        if row is not None:
            _delete_thread(connection, row[0])


def _delete_thread(connection: Connection, thread: int) -> None:
    for table in _OF_THREAD:
        connection.execute(f"DELETE FROM {table} WHERE thread = ?", (thread,))
    connection.execute("DELETE FROM checkpoint_threads WHERE id = ?", (thread,))


def delete_runs(connection: Connection, run_ids: Collection[str], signer: RowSigner | None) -> None:
    """See ``CheckpointStore.delete_runs``."""
    runs = {pack_id(run) for run in run_ids}
    threads = {
        Thread(*found)
        for run in runs
        for found in connection.execute(
            "SELECT DISTINCT t.id, t.thread_id FROM checkpoints c"
            " JOIN checkpoint_threads t ON t.id = c.thread WHERE c.run_id = ?",
            (run,),
        )
    }
    for thread in sorted(threads):
        spaces = _rows(connection, thread, signer)
        for rows in spaces.values():
            going = {row.id for row in rows if row.run in runs}
            needed = _leaned_on(rows, [row for row in rows if row.id not in going])
            if needed & going:
                raise UsageError(
                    "later checkpoints are built on those of these runs: their channels are kept as changes"
                    " only. Delete the threads, or prune them first. Nothing was changed"
                )
            _drop(connection, thread.id, rows, keep={row.id for row in rows} - going)
        sweep(connection, thread.id)


def prune_threads(
    connection: Connection, names: Collection[str], retention: Retention, signer: RowSigner | None
) -> None:
    """See ``CheckpointStore.prune_threads``."""
    _check(retention)
    for name in names:
        thread = find_thread(connection, name)
        if thread is not None:
            _prune(connection, thread, retention, signer)
            sweep(connection, thread.id)


def retain(
    connection: Connection, thread: Thread, namespace: str, retention: Retention, signer: RowSigner | None
) -> None:
    """Keep to what is to stay of a thread, behind a new checkpoint in one of its namespaces."""
    _check(retention)
    number, oldest = connection.execute(
        "SELECT count(*), min(checkpoint_id) FROM checkpoints WHERE thread = ? AND namespace = ?",
        (thread.id, namespace),
    ).fetchone()
    over = retention.keep_last is not None and number > retention.keep_last
    if not over and retention.since is not None:
        (created,) = connection.execute(
            "SELECT created_at FROM checkpoints WHERE thread = ? AND namespace = ? AND checkpoint_id = ?",
            (thread.id, namespace, oldest),
        ).fetchone()
        over = number > 1 and created < retention.since
    if not over:
        return
    dropped = _prune(connection, thread, retention, signer)
    if dropped:
        (total,) = connection.execute(
            "UPDATE checkpoint_threads SET dropped = dropped + ? WHERE id = ? RETURNING dropped",
            (dropped, thread.id),
        ).fetchone()
        if total >= _SWEPT_TOGETHER:
            sweep(connection, thread.id)


def _check(retention: Retention) -> None:
    if retention.keep_last is not None and retention.keep_last < 1:
        raise UsageError(f"at least one checkpoint is kept, not {retention.keep_last}")


def _rows(connection: Connection, thread: Thread, signer: RowSigner | None) -> dict[str, list[_Row]]:
    """The checkpoints of a thread by namespace, the latest first; with a signer none that was changed."""
    found: dict[str, list[_Row]] = {}
    columns = _STEERING if signer is None else f"{CHECKPOINT}, mark, content_hash"
    for values in connection.execute(
        f"SELECT {columns} FROM checkpoints WHERE thread = ? ORDER BY namespace, checkpoint_id DESC",
        (thread.id,),
    ):
        if signer is not None:
            check_marked(values, "a checkpoint", thread.name, signer)
        row = _Row(*values[1:8])
        found.setdefault(row.namespace, []).append(row)
    return found


def _leaned_on(rows: Iterable[_Row], kept: Iterable[_Row]) -> set[bytes]:
    """The ids of what some checkpoints of a namespace can only be read with."""
    known = {row.id: row for row in rows}
    found: set[bytes] = set()
    for row in kept:
        current: _Row | None = row
        while current is not None and current.leans and current.parent is not None:
            if current.parent in found:
                break
            found.add(current.parent)
            current = known.get(current.parent)
    return found


def _prune(connection: Connection, thread: Thread, retention: Retention, signer: RowSigner | None) -> int:
    """Drop checkpoints and their writes; returns how many went."""
    spaces = _rows(connection, thread, signer)
    roots: set[bytes] = set()
    dropped = 0
    for namespace in sorted(spaces):  # the graph itself is first
        rows = spaces[namespace]
        living = [row for row in rows if row.root is None or row.root in roots]
        keep = {
            row.id
            for place, row in enumerate(living)
            if place == 0
            or (
                (retention.keep_last is None or place < retention.keep_last)
                and (retention.since is None or row.created_at >= retention.since)
            )
        }
        keep |= _leaned_on(rows, [row for row in living if row.id in keep])
        if not namespace:
            roots = keep
        dropped += _drop(connection, thread.id, rows, keep=keep)
    return dropped


def _drop(connection: Connection, thread: int, rows: Collection[_Row], *, keep: set[bytes]) -> int:
    going = [(thread, row.namespace, row.id) for row in rows if row.id not in keep]
    for table in ("checkpoint_writes", "checkpoints"):
        connection.executemany(
            f"DELETE FROM {table} WHERE thread = ? AND namespace = ? AND checkpoint_id = ?", going
        )
    return len(going)


def sweep(connection: Connection, thread: int) -> None:
    """Remove the values and parts of a thread that nothing uses, and the thread if it is empty."""
    living: set[tuple[str, bytes]] = set()
    parts: set[bytes] = set()
    number = 0
    for namespace, uses, joined in connection.execute(
        "SELECT namespace, uses, parts FROM checkpoints WHERE thread = ?", (thread,)
    ):
        number += 1
        living.update((namespace, key) for key in keys_of(uses))
        parts.update(addresses_of(joined))
    values = {
        (namespace, key): (base, joined)
        for namespace, key, base, joined in connection.execute(
            "SELECT namespace, key, base, parts FROM checkpoint_values WHERE thread = ?", (thread,)
        )
    }
    waiting = list(living)
    while waiting:
        namespace, key = waiting.pop()
        base, joined = values.get((namespace, key), (None, b""))
        parts.update(addresses_of(joined))
        if base is not None and (namespace, base) not in living:
            living.add((namespace, base))
            waiting.append((namespace, base))
    connection.executemany(
        "DELETE FROM checkpoint_values WHERE thread = ? AND namespace = ? AND key = ?",
        [(thread, *place) for place in values if place not in living],
    )
    for (entries,) in connection.execute("SELECT entries FROM checkpoint_writes WHERE thread = ?", (thread,)):
        number += 1
        parts.update(address for entry in unpack_entries(entries) for address in entry.parts)
    stored = connection.execute("SELECT id, address FROM checkpoint_parts WHERE thread = ?", (thread,))
    connection.executemany(
        "DELETE FROM checkpoint_parts WHERE id = ?",
        [(part,) for part, address in stored.fetchall() if address not in parts],
    )
    connection.execute("UPDATE checkpoint_threads SET dropped = 0 WHERE id = ?", (thread,))
    if not number:
        _delete_thread(connection, thread)
