"""What operations cost, summed up by owner, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...errors import IntegrityError
from ...types import OwnerKey, Usage
from . import settings
from .driver import Connection
from .rows import checksum
from .seals import USAGE_SUMMED
from .spending import add_spending
from .tallies import Tally, settle

_REPLACE: Final = f"INSERT OR REPLACE INTO usage ({USAGE_SUMMED}, crc32) VALUES ({', '.join('?' * 8)})"
_COUNTED: Final = (
    "owners memories messages events batches sessions sources vectors index_work items checkpoints".split()
)


def add_usage(connection: Connection, owner: int, spent: Mapping[str, Usage]) -> None:
    """Add to an owner's totals (0: nobody's). What did not match its checksum before does not afterwards."""
    add_spending(connection, owner, spent.values())
    for operation, usage in spent.items():
        there = connection.execute(
            f"SELECT {USAGE_SUMMED}, crc32 FROM usage WHERE owner = ? AND operation = ?", (owner, operation)
        ).fetchone()
        more = (
            usage.chat_calls,
            usage.embedding_calls,
            usage.input_tokens,
            usage.output_tokens,
            float(usage.milliseconds),
        )
        damage = 0
        if there is None:
            if owner:
                counted = Tally()
                counted.count("usage", 1, checksum(operation))
                settle(connection, owner, counted)
            else:
                settings.bump(connection, "usage", checksum(operation))
        else:
            *row, stored = there
            damage = checksum(*row) ^ stored
            if not damage:
                more = tuple(one + other for one, other in zip(row[2:], more, strict=True))
            else:
                more = tuple(row[2:])  # what cannot be added to stays, and is told
        row = (owner, operation, *more)
        connection.execute(_REPLACE, (*row, checksum(*row) ^ damage))


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
    columns = ", ".join(f"u.{name}" for name in USAGE_SUMMED.split(", "))
    rows = connection.execute(
        f"SELECT o.kind, o.value, u.crc32, {columns} FROM usage u LEFT JOIN owners o ON o.id = u.owner"
        f"{condition} ORDER BY u.owner, u.operation",
        values,
    )
    found: dict[tuple[OwnerKey | None, str], Usage] = {}
    for kind, value, stored, *row in rows:
        if checksum(*row) != stored or (kind is None) != (row[0] == 0):
            raise IntegrityError(
                "what operations cost is damaged, and would be reported wrongly: see memory.admin.doctor()"
            )
        found[None if kind is None else OwnerKey(kind, value), row[1]] = Usage(
            chat_calls=row[2],
            embedding_calls=row[3],
            input_tokens=row[4],
            output_tokens=row[5],
            milliseconds=row[6],
        )
    return found


def read_counts(connection: Connection) -> dict[str, int]:
    """See ``MaintainableStore.counts``."""
    found = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in _COUNTED
    }
    current = connection.execute("SELECT count(*) FROM memories WHERE retired_at IS NULL").fetchone()
    return {"current": int(current[0]), **found}
