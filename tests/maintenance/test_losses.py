"""What is lost stays told; a changed schema is mended; a file of the schema before loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memkit_core import IntegrityError, Memory
from memkit_core.protocols import AddMemory, ChangeSet, UpdateMemory
from memkit_core.storage.sqlite import open_sqlite
from memkit_core.testing import HashEmbeddings
from memkit_core.types import Scope

from .worlds import build, downgrade, downgrade_to_3, seen

TRUTH = ("owners", "batches", "messages", "memories", "events", "sources", "usage", "amendments")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memkit.db"
    build(path)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "memkit.db"))


def opened(path: Path, **more: Any) -> Memory:
    return Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path, **more)


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def rows(path: Path, table: str, columns: str = "*") -> list[Any]:
    with sqlite3.connect(path) as db:
        found = db.execute(f"SELECT {columns} FROM {table}").fetchall()
    db.close()
    return sorted(found, key=repr)


def lost(path: Path) -> list[str]:
    """The tables of the truth findings, the same before and after a repair."""
    with opened(path) as memory:
        before = {f.table for f in memory.admin.doctor().findings if f.kind == "truth"}
        memory.admin.doctor(repair=True)
        report = memory.admin.doctor()
        assert {finding.kind for finding in report.findings} <= {"truth"}, report
        assert {finding.table for finding in report.findings} == before
    return sorted(before)


@pytest.mark.parametrize("table", TRUTH)
def test_a_lost_row_is_told_before_and_after_a_repair(sound: Path, tmp_path: Path, table: str) -> None:
    key = "rowid" if table not in ("sources", "usage", "amendments") else "*"
    every = rows(sound, table, key)
    path = tmp_path / "memkit.db"
    for row in (every[0], every[len(every) // 2], every[-1]):
        shutil.copy(sound, path)
        if key == "rowid":
            change(path, f"DELETE FROM {table} WHERE rowid = {row[0]}")
        elif table == "amendments":
            change(path, f"DELETE FROM amendments WHERE unit = {row[0]} AND until = {row[1]}")
        elif table == "sources":
            change(path, f"DELETE FROM sources WHERE memory = {row[0]} AND message = {row[1]}")
        else:
            change(path, f"DELETE FROM usage WHERE owner = {row[0]} AND operation = '{row[1]}'")
        assert lost(path), (table, row)


@pytest.mark.parametrize("key", ["embedding", "counts"])
def test_a_lost_setting_is_told(path: Path, key: str) -> None:
    change(path, f"DELETE FROM meta WHERE key = '{key}'")
    with opened(path) as memory:
        assert "meta" in {f.table for f in memory.admin.doctor().findings if f.kind == "truth"}


def test_a_memory_that_was_lost_with_all_that_spoke_of_it(path: Path) -> None:
    unit, memory_id = rows(path, "memories", "unit, memory_id")[5]
    change(
        path,
        f"DELETE FROM events WHERE memory_id = '{memory_id}'",
        f"DELETE FROM sources WHERE memory IN (SELECT unit FROM memories WHERE memory_id = '{memory_id}')",
        f"DELETE FROM memories WHERE memory_id = '{memory_id}'",
        f"DELETE FROM vectors WHERE space <> 1 AND unit = {unit}",
        f"DELETE FROM postings WHERE space <> 1 AND unit = {unit}",
    )
    assert lost(path) == ["events", "memories"]
    with opened(path) as memory:
        problems = [f.problem for f in memory.admin.doctor().findings if f.table == "memories"]
    assert any("lost" in problem for problem in problems)


def test_messages_that_were_lost_with_their_batch(path: Path) -> None:
    change(
        path,
        "DELETE FROM messages WHERE batch = (SELECT max(id) FROM batches)",
        "DELETE FROM batches WHERE id = (SELECT max(id) FROM batches)",
    )
    assert lost(path) == ["batches", "messages"]


def test_an_owner_that_was_lost_with_everything(path: Path) -> None:
    owner = "(SELECT id FROM owners WHERE value = 'ben')"
    change(
        path,
        f"DELETE FROM sources WHERE memory IN (SELECT unit FROM memories WHERE owner = {owner})",
        *(
            f"DELETE FROM {table} WHERE owner = {owner}"
            for table in ("memories", "messages", "events", "batches", "sessions", "vectors", "postings")
        ),
        *(
            f"DELETE FROM {table} WHERE owner = {owner}"
            for table in ("unit_stats", "usage", "actors", "index_work", "space_changes")
        ),
        "DELETE FROM owners WHERE value = 'ben'",
    )
    assert lost(path) == ["owners"]
    with opened(path) as memory:
        memory.add("I like tea", user_id="ben")  # a new owner of the same name does not stand for the old one
    assert lost(path) == ["owners"]


def test_counts_are_exact_under_every_write(path: Path, tmp_path: Path) -> None:
    with opened(path) as memory:

        def write(number: int) -> None:
            owner = f"u{number % 3}"
            added = memory.add(f"I like thing {number}", user_id=owner, metadata={"n": number})
            memory.add(f"I like thing {number % 4}", user_id=owner, infer=False)
            if added.results:
                memory.update(str(added.results[0].id), f"I like thing {number} more")
            if number % 5 == 0 and added.results:
                memory.delete(str(added.results[0].id))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(40)))
        memory.delete_all(user_id="u1")
        memory.flush()
        assert memory.admin.doctor().ok
        memory.admin.export(tmp_path / "out.jsonl")
    with opened(tmp_path / "other.db") as other:
        other.add("I live here already", user_id="zoe")
        other.admin.import_(tmp_path / "out.jsonl")
        assert other.admin.doctor().ok
        other.add("I like one thing more", user_id="u2")
        assert other.admin.doctor().ok
        other.admin.reset(confirm=True)
        assert other.admin.doctor().ok
        other.add("I begin again", user_id="u2")
        assert other.admin.doctor().ok


def test_damaged_costs_are_not_reported(path: Path) -> None:
    change(path, "UPDATE usage SET milliseconds = milliseconds + 1")
    with opened(path) as memory:
        with pytest.raises(IntegrityError, match="operations cost"):
            memory.admin.usage()
        memory.add("I like tea more", user_id="ana")  # adding to them does not make them look sound
    with opened(path) as memory, pytest.raises(IntegrityError, match="operations cost"):
        memory.admin.usage(user_id="ana")


def test_dropped_and_altered_indexes_are_mended(path: Path) -> None:
    before = rows(path, "sqlite_master", "type, name, sql")
    for name in [name for kind, name, sql in before if kind == "index" and sql]:
        change(path, f"DROP INDEX {name}")
    change(
        path,
        "CREATE INDEX memories_listing ON memories (owner)",
        "CREATE INDEX mine ON messages (role)",
        "CREATE TRIGGER sly AFTER INSERT ON memories BEGIN DELETE FROM events; END",
    )
    with opened(path) as memory:
        report = memory.admin.doctor()
        found = {finding.key: finding.kind for finding in report.findings}
        assert {found[name] for name in ("memories_listing", "messages_owner", "mine", "sly")} == {"derived"}
        assert memory.admin.doctor(repair=True).ok
    assert rows(path, "sqlite_master", "type, name, sql") == before


@pytest.mark.parametrize(
    "damage",
    [
        ("DROP TABLE postings",),
        ("DROP TABLE sessions",),
        ("DROP TABLE actors", "CREATE TABLE actors (owner INTEGER, name TEXT)"),
    ],
)
def test_derived_tables_are_made_anew(path: Path, tmp_path: Path, damage: tuple[str, ...]) -> None:
    with opened(path) as memory:
        before = seen(memory, tmp_path)
    change(path, *damage)
    with opened(path) as memory:
        assert {f.kind for f in memory.admin.doctor().findings} <= {"derived", "file"}
        assert memory.admin.doctor(repair=True).ok
        assert seen(memory, tmp_path) == before


@pytest.mark.parametrize("damage", ["ALTER TABLE messages DROP COLUMN flags", "DROP TABLE events"])
def test_a_missing_table_or_column_of_the_record_is_told(path: Path, damage: str) -> None:
    change(path, damage)
    with opened(path) as memory:
        report = memory.admin.doctor()
        assert ("truth", damage.split()[2]) in {(finding.kind, finding.key) for finding in report.findings}
        assert not memory.admin.doctor(repair=True).ok
        assert {finding.kind for finding in memory.admin.doctor().findings} >= {"truth"}


@pytest.fixture(scope="module")
def sound_plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "memkit.db"
    build(path, plain=True)
    return path


@pytest.fixture
def plain(sound_plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound_plain, tmp_path / "memkit.db"))


@pytest.mark.parametrize("to", [downgrade, downgrade_to_3])
def test_a_file_of_an_earlier_schema_is_brought_up_to_date(
    plain: Path, tmp_path: Path, to: Callable[[Path], None]
) -> None:
    with opened(plain) as memory:
        before = seen(memory, tmp_path)
    tables = [*TRUTH, *("sessions", "postings", "vectors", "metadata_keys", "actors", "index_work", "meta")]
    every = {table: rows(plain, table) for table in tables}
    schema = rows(plain, "sqlite_master", "type, name, sql")
    to(plain)
    assert rows(plain, "sqlite_master", "type, name, sql") != schema
    open_sqlite(plain).close()
    assert {table: rows(plain, table) for table in tables} == every
    assert rows(plain, "sqlite_master", "type, name, sql") == schema
    with opened(plain) as memory:
        assert memory.admin.doctor().ok
        assert seen(memory, tmp_path) == before


@pytest.mark.parametrize("to", [downgrade, downgrade_to_3])
def test_an_upgrade_does_not_cover_damage(plain: Path, to: Callable[[Path], None]) -> None:
    to(plain)
    change(plain, "UPDATE owners SET created_at = created_at + 1 WHERE value = 'ana'")
    assert lost(plain) == ["owners"]
    with opened(plain) as memory:
        memory.add("I like tea more", user_id="ana")  # nor does a write
    assert lost(plain) == ["owners"]


def test_hashes_of_earlier_rows_are_those_of_today(tmp_path: Path) -> None:
    scope, at = Scope(user_id="ann", agent_id="a", run_id="r"), 1_700_000_000_000_000
    add = AddMemory(
        memory_id="m",
        scope=scope,
        text="Lives in Bern",
        kind="place",
        metadata={"n": 1},
        actor_id="Ann",
        event_time=at - 5,
        valid_from=at - 5,
        expires_at=2 * at,
        flags=1,
    )
    update = UpdateMemory(memory_id="m", text="Lives in Rome", valid_from=at + 3)
    with open_sqlite(tmp_path / "memkit.db") as store:
        store.commit(ChangeSet(scope=scope, recorded_at=at, changes=(add,)))
        store.commit(ChangeSet(scope=scope, recorded_at=at + 9, changes=(update,)))
    hashes = [seal.hex() for (seal,) in rows(tmp_path / "memkit.db", "memories", "content_hash")]
    # As the code of schema version 3 made them.
    assert hashes == ["2cc138c41e90c416642310679c9e618d", "dfeb199a4383cf91a0d9f957e0e47b70"]


def test_a_check_shows_how_far_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, *, total: int | None, desc: str, unit_scale: bool) -> None:
            self.total, self.desc, self.done, self.closed = total, desc, 0, False
            bars.append(self)

        def update(self, count: int) -> None:
            self.done += count

        def close(self) -> None:
            self.closed = True

    import tqdm.auto

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    change(path, "UPDATE unit_stats SET n = n + 1")
    with opened(path) as memory:
        memory.admin.doctor(repair=True, progress=True)
    assert [bar.desc for bar in bars] == ["check", "repair", "check again"]
    assert all(bar.closed and 0 < bar.done <= bar.total for bar in bars)
