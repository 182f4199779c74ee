"""Messages of threads that are to be handed on, each once, and whose they are."""

from __future__ import annotations

from ....protocols import Claim, NewClaims, Said
from ..driver import Connection
from .reads import find_thread
from .rows import pack_id, unpack_optional


def claim(connection: Connection, thread: int, checkpoint_id: str, claims: NewClaims) -> None:
    """Claim what came with a checkpoint, and let go what is over with it."""
    for said in claims.said:
        user = _owner(connection, thread, said)
        connection.execute(
            "INSERT OR IGNORE INTO checkpoint_claims (thread, name, claim, open, user_id)"
            " VALUES (?, ?, 0, ?, ?)",
            (thread, said.name, int(user is not None), user),
        )
    over = set(claims.over)
    users: dict[str, list[str]] = {}
    for name, user in connection.execute(
        "SELECT name, user_id FROM checkpoint_claims WHERE thread = ? AND claim = 0 AND open = 1", (thread,)
    ):
        if name in over:
            users.setdefault(user, []).append(name)
    for names in users.values():
        number = connection.execute(
            "UPDATE checkpoint_threads SET claims = claims + 1 WHERE id = ? RETURNING claims", (thread,)
        ).fetchone()[0]
        connection.executemany(
            "UPDATE checkpoint_claims SET claim = ?, checkpoint_id = ? WHERE thread = ? AND name = ?",
            [(number, pack_id(checkpoint_id), thread, name) for name in names],
        )


def _owner(connection: Connection, thread: int, said: Said) -> str | None:
    if said.answers is None:
        return said.user_id
    row = connection.execute(
        "SELECT user_id FROM checkpoint_claims WHERE thread = ? AND name = ?", (thread, said.answers)
    ).fetchone()
    asked: str | None = None if row is None else row[0]
    # It may repeat what it answers, and what the run's own user told it: it is both's, or nobody's.
    return asked if said.user_id in (None, asked) else None


def open_claims(connection: Connection, thread_id: str) -> list[Claim]:
    """See ``CheckpointStore.open_claims``."""
    thread = find_thread(connection, thread_id)
    if thread is None:
        return []
    claims: dict[int, tuple[list[str], str | None, bytes | None]] = {}
    for number, name, user, checkpoint in connection.execute(
        "SELECT claim, name, user_id, checkpoint_id FROM checkpoint_claims"
        " WHERE thread = ? AND claim > 0 AND open = 1 ORDER BY claim, name",
        (thread.id,),
    ):
        claims.setdefault(number, ([], user, checkpoint))[0].append(name)
    return [
        Claim(number=number, names=tuple(names), user_id=user, checkpoint_id=unpack_optional(checkpoint))
        for number, (names, user, checkpoint) in claims.items()
    ]


def settle(connection: Connection, thread_id: str, number: int) -> None:
    """See ``CheckpointStore.settle``."""
    thread = find_thread(connection, thread_id)
    if thread is not None:
        connection.execute(
            "UPDATE checkpoint_claims SET open = 0 WHERE thread = ? AND claim = ? AND open = 1",
            (thread.id, number),
        )


def copy_claims(connection: Connection, old: int, new: int) -> None:
    """What one thread has claimed is not handed on by another one with its messages as well."""
    connection.execute(
        "INSERT OR IGNORE INTO checkpoint_claims (thread, name, claim, open, user_id)"
        " SELECT ?, name, 0, 0, user_id FROM checkpoint_claims WHERE thread = ?",
        (new, old),
    )
