"""Texts of messages that are completed before anything is drawn from them: descriptions of their images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ... import analysis
from ...errors import ConflictError, IntegrityError
from ...types import Micros
from .draft import Draft
from .driver import Connection
from .prepare import Terms
from .rows import TURN, digest
from .seals import is_sound_row, seal_batch

_COLUMNS: Final = (
    "SELECT t.content_hash, t.embedded, b.uuid || ':' || t.position, t.user_id, t.agent_id, t.run_id,"
    " t.role, t.actor_id, t.content, t.origin, t.flags, t.observed_at, t.recorded_at, t.indexed"
    " FROM messages t JOIN batches b ON b.id = t.batch"
    " WHERE t.unit = ? AND t.batch = ? AND t.hidden_at IS NULL"
)


class _Rewriting(Draft):
    """A draft that can also index a message anew that it took out of the indexes."""

    def reindex_message(self, unit: int, terms: Terms) -> None:
        self._index(TURN, unit, terms)


def annotate(
    connection: Connection,
    batch_id: str,
    lease: str | None,
    *,
    texts: Mapping[int, str],
    job: str,
    now: Micros,
    indexes: tuple[str, ...],
) -> None:
    """See ``RecordStore.annotate_batch``."""
    row = connection.execute(
        "SELECT id, owner, pending, lease, lease_until FROM batches WHERE uuid = ?", (batch_id,)
    ).fetchone()
    if row is None or not row[2]:
        raise ConflictError(f"batch {batch_id} is done already, or not there. Nothing was changed")
    if row[3] != lease and (lease is not None or row[4] > now):
        raise ConflictError(f"batch {batch_id} is being worked on elsewhere. Nothing was changed")
    draft = _Rewriting(connection, row[1], indexes)
    for unit, text in texts.items():
        _rewrite(draft, row[0], unit, text)
    connection.execute("UPDATE batches SET job = ? WHERE id = ?", (job, row[0]))
    seal_batch(connection, row[0])


def _rewrite(draft: _Rewriting, batch: int, unit: int, text: str) -> None:
    connection = draft.connection
    found = connection.execute(_COLUMNS, (unit, batch)).fetchone()
    if found is None:  # it was deleted meanwhile
        return
    seal, embedded, *row = found
    message_id, actor_id, content, observed_at, indexed = row[0], row[5], row[6], row[9], row[11]
    if not is_sound_row(row, seal):
        raise IntegrityError(
            f"message {message_id} is damaged, it is left as it is: see memory.admin.doctor()"
        )
    row[6], row[8] = text, analysis.text_flags(text)
    terms = Terms.of(text, actor_id, observed_at)
    if indexed:
        draft.unindex_message(unit, Terms.of(content, actor_id, observed_at))
        if embedded:
            draft.work(TURN, unit, message_id, 1, removed=True)
        draft.flush()  # a term that stays is taken out before it comes in again
        draft.reindex_message(unit, terms)
    connection.execute(
        "UPDATE messages SET content = ?, flags = ?, length = ?, embedded = 0, content_hash = ?"
        " WHERE unit = ?",
        (text, row[8], terms.length if indexed else 0, digest(row), unit),
    )
    draft.flush()
