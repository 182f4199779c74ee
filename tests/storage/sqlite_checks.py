"""Helpers of the SQLite tests: a child that writes until it is killed, and a look for orphans."""

from __future__ import annotations

import sqlite3
import sys
import uuid
from collections import Counter
from pathlib import Path

from memkit_core import analysis
from memkit_core.protocols import AddMemory, ChangeSet, NewBatch, RetireMemory, UpdateMemory
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.types import Message, Scope

SCOPE = Scope(user_id="ann")
T0 = 1_700_000_000_000_000


def write_one(store: SqliteStore, name: str, at: int = T0) -> None:
    """A memory with its message, words and vector, all in one commit."""
    batch = NewBatch(
        batch_id=str(uuid.uuid4()),
        scope=SCOPE,
        messages=(Message(role="user", content=f"{name} was said", observed_at=at),),
        recorded_at=at,
    )
    add = AddMemory(
        memory_id=name, scope=SCOPE, text=f"{name} is known", valid_from=at, sources=(0,), vector=[1.0, 2.0]
    )
    store.commit(
        ChangeSet(scope=SCOPE, recorded_at=at, batch=batch, changes=(add,), message_vectors={0: [1.0, 0.0]})
    )


def write_for_ever(path: str) -> None:
    """Add, update, delete; say so on stdout after each acknowledgement."""
    store = open_sqlite(path)
    for n in range(1_000_000):
        name = f"{uuid.uuid4()}"
        write_one(store, name, T0 + n)
        print("add", name, flush=True)
        if n % 3 == 1:
            update = UpdateMemory(memory_id=name, text="changed", valid_from=T0 + n)
            store.commit(ChangeSet(scope=SCOPE, recorded_at=T0 + n, changes=(update,)))
            print("update", name, flush=True)
        elif n % 3 == 2:
            gone = RetireMemory(memory_id=name, valid_to=T0 + n, hide_sources=True)
            store.commit(ChangeSet(scope=SCOPE, recorded_at=T0 + n, changes=(gone,)))
            print("delete", name, flush=True)


def check_whole(path: Path) -> None:
    """No row without the rows it belongs to; statistics and terms as a recount gives them."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        spaces = {
            (owner, space, unit): (text, actor, time, vector)
            for owner, space, unit, text, actor, time, vector in db.execute(
                "SELECT owner, CASE WHEN retired_at IS NULL THEN 0 ELSE 2 END, unit, text, actor_id,"
                " event_time, embedded FROM memories UNION ALL SELECT owner, 1, unit, content, actor_id,"
                " observed_at, embedded FROM messages WHERE indexed = 1 AND hidden_at IS NULL"
            )
        }
        postings = {
            (owner, space, unit, term): (tf, length)
            for owner, space, unit, term, tf, length in db.execute(
                "SELECT owner, space, unit, term, tf, len FROM postings"
            )
        }
        expected = {}
        totals: Counter[tuple[int, int]] = Counter()
        counts: Counter[tuple[int, int]] = Counter()
        for (owner, space, unit), (text, actor, time, _) in spaces.items():
            terms = analysis.unit_terms(text, actor_id=actor, time=time)
            totals[owner, space] += terms.total()
            counts[owner, space] += 1
            expected |= {(owner, space, unit, term): (tf, terms.total()) for term, tf in terms.items()}
        assert postings == expected
        for owner, space, n, total in db.execute("SELECT owner, space, n, total_len FROM unit_stats"):
            assert (n, total) == (counts[owner, space], totals[owner, space])
        vectors = set(db.execute("SELECT owner, space, unit FROM vectors"))
        assert vectors == {key for key, (*_, embedded) in spaces.items() if embedded}
        for orphan in (
            "SELECT 1 FROM sources s LEFT JOIN memories m ON m.unit = s.memory WHERE m.unit IS NULL",
            "SELECT 1 FROM sources s LEFT JOIN messages t ON t.unit = s.message WHERE t.unit IS NULL",
            "SELECT 1 FROM memories WHERE revision = 1 AND unit NOT IN (SELECT memory FROM sources)",
            "SELECT 1 FROM messages t LEFT JOIN batches b ON b.id = t.batch WHERE b.id IS NULL",
            "SELECT 1 FROM messages t LEFT JOIN sessions s ON s.id = t.session WHERE s.id IS NULL",
            "SELECT memory_id, revision FROM memories EXCEPT SELECT memory_id, revision FROM events",
        ):
            assert db.execute(orphan).fetchone() is None, orphan
    db.close()


if __name__ == "__main__":
    write_for_ever(sys.argv[1])
