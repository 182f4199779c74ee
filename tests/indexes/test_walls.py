"""Three walls between owners: each alone keeps out of an answer what an index or a store says of others.

What an index proposes is looked up among the owner's rows, then in the owner's own partition, and what is
read is compared with the scope. With one of them gone the others hold; a test for each notices its loss.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memkit_core import Memory, MemoryConfig
from memkit_core.protocols import Query, SearchRequest
from memkit_core.storage.sqlite import search as store_search
from memkit_core.storage.sqlite.store import SqliteStore
from memkit_core.testing import HashEmbeddings, InMemoryVectorIndex
from memkit_core.types import MemoryRecord, MessageRecord, OwnerKey, Ref, Scope, Space, Vector

CHECKS = 20_000
NAMES = (
    *("a", "a ", "A", "a%", "a_", "ab", "a/b", "a:b", "a=b", "a&b", "a.b", "a\\b", "a,b", "a'", "a''", 'a"'),
    *("\u00e9", "e\u0301", "*", "?", "null", "None", "0", "1", "01", "user/a", "a\tb", "a|b", "[a]", "{a}"),
)
OWNERS = [{f"{kind}_id": name} for name in NAMES for kind in ("user", "agent")]
TOPICS = ("tea", "jazz", "chess", "rowing")


class Gossip(InMemoryVectorIndex):
    """An index that proposes everybody's refs, in revisions that are over or to come, and unknown ones."""

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        everybody = [ref for refs in self._vectors.values() for ref in refs if ref.space == space]
        stale = [replace(ref, revision=ref.revision + step) for ref in everybody[::3] for step in (-1, 1)]
        return [*everybody, *stale, *(Ref(space, f"unknown:{n}") for n in range(50))]


def mark(number: int) -> str:
    return f"owner{number:03}"


@pytest.fixture(scope="module")
def gossip() -> Iterator[Memory]:
    config = MemoryConfig(exact_scan_units=0)
    with Memory(
        llm="verbatim",
        embedder=HashEmbeddings(32),
        store=":memory:",
        vector_store=Gossip(),
        config=config,
    ) as memory:
        for number, owner in enumerate(OWNERS):
            memory.add([f"I like {topic}, says {mark(number)}" for topic in TOPICS], **owner)
            first = memory.get_all(**owner).results[0]
            memory.update(first.id, f"I like {TOPICS[0]} best, says {mark(number)}", **owner)
        yield memory


def look(memory: Memory, checks: int) -> int:
    """Search as every owner in turn; returns how many rows were compared, none of them another owner's."""
    checked = turn = 0
    while checked < checks:
        number = turn % len(OWNERS)
        stranger = mark((number + 1) % len(OWNERS))
        question = (f"Who likes {TOPICS[turn % 4]}?", f"What does {stranger} like?")[turn // 7 % 2]
        found = memory.search(question, **OWNERS[number], limit=40, include=("memories", "excerpts"))
        said = [*(hit.memory for hit in found.results), *(excerpt.text for excerpt in found.excerpts)]
        assert len(found.results) == len(TOPICS)
        for text in said:
            assert text.endswith(mark(number)), (OWNERS[number], text)
        checked += len(said)
        turn += 1
    return checked


def test_twenty_thousand_rows_of_confusable_owners_over_an_index_that_lies(gossip: Memory) -> None:
    assert look(gossip, CHECKS) >= CHECKS


def test_without_the_first_wall_the_second_holds(gossip: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proposed of anybody reaches the owner's partition, which has none but the owner's rows."""
    proposed = 0

    def of_anybody(connection: Any, owner: int, refs: tuple[Ref, ...]) -> dict[int, list[int]]:
        nonlocal proposed
        memories = [unit for (unit,) in connection.execute("SELECT unit FROM memories")]
        turns = [unit for (unit,) in connection.execute("SELECT unit FROM messages")]
        proposed += len(memories)
        return {0: memories, 1: turns}

    monkeypatch.setattr(store_search, "_proposed_units", of_anybody)
    assert look(gossip, CHECKS // 10)
    assert proposed > 1_000


def test_the_first_wall_alone_drops_what_others_have(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "m.db")
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=store) as memory:
        for name in ("ana", "bob"):
            memory.add([f"I like tea {number}, says {name}" for number in range(5)], user_id=name)
        theirs = [Ref("memory", item.id) for item in memory.get_all(user_id="bob")]
        mine = [Ref("memory", item.id) for item in memory.get_all(user_id="ana")]
    with sqlite3.connect(tmp_path / "m.db") as db:
        (ana,) = db.execute("SELECT id FROM owners WHERE value = 'ana'").fetchone()
        rows = db.execute(
            "SELECT b.uuid || ':' || t.position, t.owner, t.unit FROM messages t"
            " JOIN batches b ON b.id = t.batch"
        ).fetchall()
        refs = (*theirs, *mine, *(Ref("turn", name) for name, _, _ in rows))
        found = store_search._proposed_units(db, ana, refs)
        wanted = {unit for (unit,) in db.execute("SELECT unit FROM memories WHERE owner = ?", (ana,))}
    db.close()
    assert set(found[0]) == wanted
    assert len(wanted) == len(mine) == 5
    assert sorted(found[1]) == sorted(unit for _, owner, unit in rows if owner == ana)


def test_the_second_wall_alone_scores_none_but_the_owners_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=tmp_path / "m.db") as memory:
        for name in ("ana", "bob"):
            memory.add([f"I like tea {number}, says {name}" for number in range(5)], user_id=name)
    with SqliteStore(tmp_path / "m.db") as store, sqlite3.connect(tmp_path / "m.db") as db:
        memories = dict(db.execute("SELECT unit, user_id FROM memories"))
        turns = dict(db.execute("SELECT unit, user_id FROM messages"))
        everything = {0: [*memories], 1: [*turns]}
        monkeypatch.setattr(store_search, "_proposed_units", lambda *_: everything)
        for dense in (True, False):
            found = store.search(
                SearchRequest(
                    query=Query(scope=Scope(user_id="ana"), now=2**50),
                    spaces=("memory", "turn"),
                    vector=HashEmbeddings(32).embed_query("tea"),
                    proposed=(Ref("memory", "anything"),),
                    dense=dense,
                    pool=50,
                )
            )
            whose = {(turns if one.space == "turn" else memories)[one.unit] for one in found.scored}
            assert whose == {"ana"}
    db.close()


class Mixed(SqliteStore):
    """A store that reads other people's rows under the numbers that it was asked for."""

    def read(
        self, query: Query, units: Collection[int], *, damaged: set[int] | None = None
    ) -> list[MemoryRecord]:
        other = Query(scope=Scope(user_id="bob"), now=query.now)
        theirs = super().scan(other, limit=50)
        wrong = [replace(record, unit=unit) for unit, record in zip(units, theirs, strict=False)]
        return [*super().read(query, units, damaged=damaged)[len(wrong) :], *wrong]

    def messages(
        self, scope: Scope, units: Collection[int], *, damaged: set[int] | None = None
    ) -> list[MessageRecord]:
        theirs = super().messages(Scope(user_id="bob"), range(1, 100))
        return [replace(record, unit=unit) for unit, record in zip(units, theirs, strict=False)]


def test_the_third_wall_alone_gives_out_nothing_of_others(tmp_path: Path) -> None:
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=tmp_path / "m.db") as memory:
        for name in ("ana", "bob"):
            memory.add([f"I like tea {number}, says {name}" for number in range(5)], user_id=name)
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=Mixed(tmp_path / "m.db")) as memory:
        found = memory.search("tea", user_id="ana", include=("memories", "excerpts"))
        assert "bob" not in str(found.model_dump())
        assert found.excerpts == []
