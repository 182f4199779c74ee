"""``memkit doctor``, ``reindex``, ``export``, ``import`` and ``stats``."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from memkit_core import Memory
from memkit_core.cli import app
from memkit_core.testing import HashEmbeddings


def memkit(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "m.db"
    with Memory(llm="verbatim", embedder=HashEmbeddings(), store=path) as memory:
        for text in ("I like tea", "I live in Oslo"):
            memory.add(text, user_id="ana")
        memory.add("I like trains", user_id="ben")
    return str(path)


def spoil(store: str, statement: str) -> None:
    with sqlite3.connect(store) as db:
        db.execute(statement)
    db.close()


def test_doctor_repairs_what_is_derived(store: str) -> None:
    assert "no damage" in memkit("doctor", "--store", store).stdout
    spoil(store, "DELETE FROM postings WHERE unit = 1")
    assert "remain" in memkit("doctor", "--store", store, code=1).stdout
    assert "repaired" in memkit("doctor", "--store", store, "--repair").stdout
    assert json.loads(memkit("doctor", "--store", store, "--json").stdout)["findings"] == []


def test_doctor_does_not_invent(store: str) -> None:
    spoil(store, "UPDATE memories SET text = 'I hate tea' WHERE unit = 1")
    told = json.loads(memkit("doctor", "--store", store, "--repair", "--json", code=1).stdout)
    assert any(finding["kind"] == "truth" for finding in told["findings"])
    listed = memkit("list", "--store", store, "--user", "ana")
    assert "1 damaged memory was left out" in listed.stderr
    assert "I hate tea" not in listed.output


def test_export_and_import(store: str, tmp_path: Path) -> None:
    file, other = tmp_path / "all.jsonl.gz", str(tmp_path / "other.db")
    assert "2 owners" in memkit("export", str(file), "--store", store).stdout
    assert json.loads(memkit("import", str(file), "--store", other, "--json").stdout)["owners"] == 2
    again = tmp_path / "again.jsonl.gz"
    memkit("export", str(again), "--store", other)
    assert again.read_bytes() == file.read_bytes()
    assert "memories of" in memkit("import", str(file), "--store", other, code=1).stderr
    assert "1 owners" in memkit("export", str(again), "--store", store, "--user", "ben").stdout


def test_a_refused_import_leaves_nothing(store: str, tmp_path: Path) -> None:
    file, bad, folder = tmp_path / "all.jsonl", tmp_path / "bad.jsonl", tmp_path / "empty"
    folder.mkdir()
    memkit("export", str(file), "--store", store)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    event = next(n for n, line in enumerate(lines) if '"event"' in line)
    swapped = [*lines[: event + 1], lines[event], *lines[event + 2 : -1]]
    digest = hashlib.sha256("".join(swapped).encode()).hexdigest()
    end = json.dumps({"kind": "end", "lines": len(swapped), "sha256": digest}) + "\n"
    for content in ("", "no export\n", "".join(lines[:-2]), "".join([*swapped, end])):
        bad.write_text(content, encoding="utf-8")
        result = memkit("import", str(bad), "--store", str(folder / "new.db"), code=1)
        assert "bad.jsonl" in result.stderr
        assert list(folder.iterdir()) == []
    memkit("import", str(file), "--store", f"sqlite:///{folder / 'new.db'}")
    assert [path.name for path in folder.iterdir()] == ["new.db"]
    memkit("import", str(bad), "--store", str(folder / "new.db"), code=1)
    assert "3 memories" in memkit("stats", "--store", str(folder / "new.db")).stdout
    memkit("import", str(file), "--store", str(tmp_path / "no" / "new.db"), code=1)


def test_stats_and_reindex(store: str) -> None:
    assert json.loads(memkit("stats", "--store", store, "--json").stdout)["memories"] == 3
    assert "3 memories" in memkit("stats", "--store", store).stdout
    assert "keywords of 6 texts" in memkit("reindex", "--store", store).stdout


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    for command in ("doctor", "stats", "reindex"):
        memkit(command, "--store", str(tmp_path / "none.db"), code=1)
    assert not (tmp_path / "none.db").exists()


def test_a_loss_is_given_up_and_an_export_leaves_it_out(store: str, tmp_path: Path) -> None:
    spoil(store, "UPDATE memories SET text = 'I hate tea' WHERE unit = 1")
    file = str(tmp_path / "rest.jsonl")
    assert "damaged" in memkit("export", file, "--store", store, code=1).stderr
    told = memkit("export", file, "--store", store, "--skip-damaged")
    assert "left out: memories" in told.stderr
    assert "needs repair" in memkit("doctor", "--store", store, "--accept-loss", code=1).stderr
    assert "given up" in memkit("doctor", "--store", store, "--repair", "--accept-loss").stdout
    assert "no damage" in memkit("doctor", "--store", store).stdout


def test_what_it_cost(store: str) -> None:
    told = memkit("usage", "--store", store).stdout
    assert "operation" in told
    assert "all" in told
    assert json.loads(memkit("usage", "--store", store, "--json", "--user", "ana").stdout)["operations"]


def test_a_configuration_names_the_store(store: str, tmp_path: Path) -> None:
    config = tmp_path / "memkit.json"
    config.write_text(json.dumps({"store": f"sqlite:///{store}"}), encoding="utf-8")
    file, other = str(tmp_path / "all.jsonl"), tmp_path / "other.json"
    for command in (("stats",), ("usage",), ("export", file), ("doctor",)):
        memkit(*command, "--config", str(config))
    other.write_text(json.dumps({"store": f"sqlite:///{tmp_path / 'other.db'}"}), encoding="utf-8")
    memkit("import", file, "--config", str(other))
    assert (tmp_path / "other.db").exists()


def test_an_old_sqlite_is_told_once_and_shortly(store: str) -> None:
    run = [sys.executable, "-m", "memkit_core.cli", "doctor", "--store", store]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stderr
    assert told.count("SQLite") <= 1
    assert all(len(line) < 120 for line in told.splitlines())
