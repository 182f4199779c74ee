"""The doctor finds every flipped bit, repairs what is derived, and leaves the record alone."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from memkit_core import IntegrityError, Memory, StorageError
from memkit_core.testing import HashEmbeddings
from memkit_core.types import OwnerKey, Ref

from .test_reindex import DictIndex
from .worlds import NO_PAYLOAD, build, columns, flip, said, seen, texts

DERIVED = {
    *(
        "postings",
        "unit_stats",
        "vectors",
        "actors",
        "metadata_keys",
        "sessions",
        "space_changes",
        "index_work",
    )
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memkit.db"
    build(path)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    path = tmp_path / "memkit.db"
    shutil.copy(sound, path)
    return path


def opened(path: Path) -> Memory:
    return Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path)


def test_a_sound_store_has_no_findings(path: Path) -> None:
    with opened(path) as memory:
        report = memory.admin.doctor()
    assert report.ok
    assert report.findings == []
    assert report.checked > 80
    assert report.notes[0].startswith("1 batches wait")
    assert report.notes[-1].startswith("the index 'down' has")


def content(path: Path) -> dict[str, Any]:
    """All rows that are part of the record."""
    db = sqlite3.connect(path)
    db.text_factory = bytes
    tables = ("owners", "memories", "events", "batches", "messages", "sources")
    found = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    db.close()
    return found


@pytest.fixture(scope="module")
def undamaged(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What users see of the store as it was."""
    folder = tmp_path_factory.mktemp("undamaged")
    shutil.copy(sound, folder / "memkit.db")
    with opened(folder / "memkit.db") as memory:
        return seen(memory, folder)


@pytest.mark.parametrize("part", range(4))
def test_two_hundred_flipped_bits_are_found_and_derived_data_is_repaired(
    sound: Path, tmp_path: Path, undamaged: dict[str, Any], part: int
) -> None:
    """Every flip is told; what is derived is as before after a repair; a wrong text is never given out."""
    rng = random.Random(20260101 + part)
    places, sound_texts = columns(sound), texts(sound)
    random.Random(7).shuffle(places)
    path, done = tmp_path / "flipped.db", 0
    while done < 50:
        table, column = places[(part * 50 + done) % len(places)]
        shutil.copy(sound, path)
        what = flip(path, rng, table, column)
        if what is None:
            continue
        done += 1
        before = content(path)
        try:
            with Memory(llm="verbatim", embedder="none", store=path) as memory:
                report = memory.admin.doctor()
            # Another analyzer's keywords are made anew when the file is opened.
            assert not report.ok or "analyzer" in what, what
            assert content(path) == before
            with opened(path) as memory:
                wrong = set(said(memory, path)) - sound_texts
                assert not wrong, (what, wrong)
                memory.admin.doctor(repair=True)
                again = memory.admin.doctor()
                if again.ok:
                    assert seen(memory, tmp_path) == undamaged, what
                else:
                    assert table not in DERIVED, (what, again)
                    assert {finding.kind for finding in again.findings} == {"truth"}, (what, again)
                    wrong = set(said(memory, path)) - sound_texts
                    assert not wrong, (what, wrong)
        except StorageError:
            assert table == "meta", what  # a file that does not open has told


def test_a_damaged_text_is_reported_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE memories SET text = text || '!' WHERE unit = 3")
    db.close()
    before = content(path)
    with opened(path) as memory:
        report = memory.admin.doctor(repair=True)
        assert not report.ok
        truth = [finding for finding in report.findings if finding.kind == "truth"]
        assert [(finding.table, finding.key, finding.repaired) for finding in truth] == [
            ("memories", "3", False)
        ]
        assert "backup" in truth[0].remedy
        with pytest.raises(IntegrityError, match="doctor"):
            memory.admin.export(path.with_name("out.jsonl"))
    after = content(path)
    assert before["events"] == after["events"]
    assert [row[8] for row in before["memories"]] == [row[8] for row in after["memories"]]
    assert not path.with_name("out.jsonl").exists()


def test_an_index_that_differs_is_rebuilt(path: Path) -> None:
    index = DictIndex()
    with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path, vector_store=index) as memory:
        assert [finding.kind for finding in memory.admin.doctor().findings] == ["index"]
        assert memory.admin.doctor(repair=True).ok
        held = set(index.entries)
        index.entries.pop(next(iter(held)))
        index.entries[OwnerKey("user", "ana"), Ref("memory", "nothing", 1)] = [0.0]
        assert memory.admin.doctor().total == 2
        assert memory.admin.doctor(repair=True).ok
        assert set(index.entries) == held


def test_a_damaged_vector_is_embedded_again(path: Path) -> None:
    with opened(path) as memory:
        memory.flush()
        before = [hit.id for hit in memory.search("What does Ana like?", user_id="ana")]
    with sqlite3.connect(path) as db:
        db.execute("UPDATE vectors SET data = zeroblob(length(data)) WHERE unit % 2 = 0")
    db.close()
    with opened(path) as memory:
        assert memory.admin.doctor(repair=True).ok
        assert [hit.id for hit in memory.search("What does Ana like?", user_id="ana")] == before


def test_nothing_but_the_columns_named_is_left_out(sound: Path) -> None:
    tables = {table for table, _ in columns(sound)}
    assert {name.partition(".")[0] for name in NO_PAYLOAD} <= tables
    assert tables == {
        *("actors", "batches", "events", "index_work", "memories", "messages", "meta", "metadata_keys"),
        *("owners", "postings", "sessions", "sources", "space_changes", "unit_stats"),
        *("usage", "vectors", "amendments", "spending"),
    }


def test_lowered_numbers_and_tags_are_told_and_stop_nothing(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE unit_stats SET tag = 1 WHERE tag > 1")
    db.close()
    with opened(path) as memory:
        assert {finding.table for finding in memory.admin.doctor().findings} == {"unit_stats"}
        for number in range(3):
            assert memory.add(f"I like zebra {number}", user_id="ana").status == "complete"
        assert memory.admin.doctor(repair=True).ok
    for damage in ("UPDATE sqlite_sequence SET seq = seq / 2", "DELETE FROM sqlite_sequence"):
        with sqlite3.connect(path) as db:
            db.execute(damage)
        db.close()
        with opened(path) as memory:
            told = {finding.table for finding in memory.admin.doctor().findings}
            assert "sqlite_sequence" in told
            assert told <= {"sqlite_sequence", "index_work"}  # which is counted by these numbers
            assert memory.admin.doctor(repair=True).ok
            assert memory.add(f"I like newts, said {damage}", user_id="ana").status == "complete"
            assert memory.admin.doctor().ok


def test_a_text_of_another_type_is_told_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE memories SET text = CAST(text AS BLOB) WHERE unit = 3")
    db.close()
    with opened(path) as memory:
        memory.admin.doctor(repair=True)
        left = memory.admin.doctor().findings
        assert [(finding.kind, finding.table, finding.key) for finding in left] == [
            ("truth", "memories", "3")
        ]


def test_a_vector_that_moved_to_another_text_is_told_and_made_anew(path: Path) -> None:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT unit, crc32, data FROM vectors WHERE space = 0 LIMIT 2").fetchall()
        (one, *first), (other, *second) = rows
        for unit, row in ((one, second), (other, first)):
            db.execute("UPDATE vectors SET crc32 = ?, data = ? WHERE space = 0 AND unit = ?", (*row, unit))
    db.close()
    with opened(path) as memory:
        assert [finding.table for finding in memory.admin.doctor().findings] == ["vectors"] * 2
        assert memory.admin.doctor(repair=True).ok
        memory.flush()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT unit, data FROM vectors WHERE space = 0 LIMIT 2").fetchall() == [
            (one, first[1]),
            (other, second[1]),
        ]
    db.close()
