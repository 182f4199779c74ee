"""A value of another type than memkit writes is a typed error or told; nothing stays open."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from memkit_core import Memory, StorageError
from memkit_core.storage.sqlite import open_sqlite
from memkit_core.testing import HashEmbeddings

from .worlds import build, columns, said

#: Of every type that SQLite has; an integer wider than numpy's is a real.
VALUES: tuple[Any, ...] = (b"\xff\xfe\x00", "no number", 1.5, None, 1e300, -(2**63))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memkit.db"
    build(path)
    return path


def set_one(path: Path, table: str, column: str, value: Any) -> bool:
    """Put a value into one row; False if the database refuses it."""
    db = sqlite3.connect(path)
    try:
        key = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5])
        db.execute(
            f"UPDATE {table} SET {column} = ? WHERE ({key}) = (SELECT {key} FROM {table}"
            f" WHERE {column} IS NOT NULL LIMIT 1)",
            (value,),
        )
        db.commit()
    except sqlite3.IntegrityError:
        return False
    finally:
        db.close()
    return True


# numpy tells that a text is no number before the count of columns does.
@pytest.mark.filterwarnings("ignore:string or file could not be read:DeprecationWarning")
@pytest.mark.parametrize("part", range(4))
def test_a_value_of_another_type_never_raises_a_raw_error(sound: Path, tmp_path: Path, part: int) -> None:
    path = tmp_path / "memkit.db"
    for number, (table, column) in enumerate(columns(sound)):
        value = VALUES[number % len(VALUES)]
        if number % 4 != part or (table, column) == ("meta", "value"):  # some are made anew at opening
            continue
        shutil.copy(sound, path)
        if not set_one(path, table, column, value):
            continue
        try:
            with Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path) as memory:
                list(said(memory, path))  # lets every error but a StorageError through
                assert memory.admin.doctor().findings, (table, column, value)
        except StorageError:
            assert table == "meta", (table, column, value)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a list of what is open")
def test_a_file_that_cannot_be_opened_leaves_nothing_open(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "memkit.db"
    whole = sound.read_bytes()
    header = bytearray(whole)
    header[3] ^= 1
    unversioned = whole.replace(b"schema_version", b"schema_versiom")
    for content in (b"no database at all, but long enough for one" * 200, bytes(header), unversioned):
        path.write_bytes(content)
        with pytest.raises(StorageError):
            open_sqlite(path).close()
        before = len([*Path("/proc/self/fd").iterdir()])
        for _ in range(5):
            with pytest.raises(StorageError):
                open_sqlite(path).close()
        assert len([*Path("/proc/self/fd").iterdir()]) == before
