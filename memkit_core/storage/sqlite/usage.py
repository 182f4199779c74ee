"""What operations cost, summed up by owner, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...types import OwnerKey, Usage
from .driver import Connection

_UPSERT: Final = (
    "INSERT INTO usage (owner, operation, chat_calls, embedding_calls, input_tokens, output_tokens,"
    " milliseconds) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, operation) DO UPDATE SET"
    " chat_calls = chat_calls + excluded.chat_calls,"
    " embedding_calls = embedding_calls + excluded.embedding_calls,"
    " input_tokens = input_tokens + excluded.input_tokens,"
    " output_tokens = output_tokens + excluded.output_tokens,"
    " milliseconds = milliseconds + excluded.milliseconds"
)
_COUNTED: Final = "owners memories messages events batches sessions sources vectors index_work".split()


def add_usage(connection: Connection, owner: int, spent: Mapping[str, Usage]) -> None:
    """Add to an owner's totals (0: nobody's)."""
    for operation, usage in spent.items():
        connection.execute(
            _UPSERT,
            (
                owner,
                operation,
                usage.chat_calls,
                usage.embedding_calls,
                usage.input_tokens,
                usage.output_tokens,
                usage.milliseconds,
            ),
        )


def record_usage(connection: Connection, spent: Mapping[tuple[OwnerKey | None, str], Usage]) -> None:
    """See ``MaintainableStore.record_usage``. An owner that is not there yet counts as nobody."""
    for (key, operation), usage in spent.items():
        row = None
        if key is not None:
            row = connection.execute(
                "SELECT id FROM owners WHERE kind = ? AND value = ?", (key.kind, key.value)
            ).fetchone()
        add_usage(connection, 0 if row is None else row[0], {operation: usage})


def read_usage(connection: Connection, owner: OwnerKey | None) -> dict[tuple[OwnerKey | None, str], Usage]:
    """See ``MaintainableStore.usage``."""
    condition, values = (
        ("", ()) if owner is None else (" WHERE o.kind = ? AND o.value = ?", (owner.kind, owner.value))
    )
    rows = connection.execute(
        "SELECT o.kind, o.value, u.operation, u.chat_calls, u.embedding_calls, u.input_tokens,"
        f" u.output_tokens, u.milliseconds FROM usage u LEFT JOIN owners o ON o.id = u.owner{condition}"
        " ORDER BY u.owner, u.operation",
        values,
    )
    found: dict[tuple[OwnerKey | None, str], Usage] = {}
    for (
        kind,
        value,
        operation,
        chat_calls,
        embedding_calls,
        input_tokens,
        output_tokens,
        milliseconds,
    ) in rows:
        found[None if kind is None else OwnerKey(kind, value), operation] = Usage(
            chat_calls=chat_calls,
            embedding_calls=embedding_calls,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            milliseconds=milliseconds,
        )
    return found


def read_counts(connection: Connection) -> dict[str, int]:
    """See ``MaintainableStore.counts``."""
    found = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in _COUNTED
    }
    current = connection.execute("SELECT count(*) FROM memories WHERE retired_at IS NULL").fetchone()
    return {"current": int(current[0]), **found}
