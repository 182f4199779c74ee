"""The commands that look after an index beside the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from memkit_core import Memory
from memkit_core.cli import app
from memkit_core.indexes import ChromaVectorIndex
from memkit_core.testing import HashEmbeddings

pytest.importorskip("chromadb")


def memkit(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("m", "other"):
        with Memory(llm="verbatim", embedder=HashEmbeddings(), store=tmp_path / f"{name}.db") as memory:
            memory.add(["I like tea", "I live in Oslo"], user_id="ana", infer=False)
    file = tmp_path / "memkit.toml"
    store, folder = (tmp_path / "m.db").as_posix(), (tmp_path / "c").as_posix()
    file.write_text(
        f'store = "sqlite:///{store}"\n[vector_store]\nprovider = "chroma"\n'
        f'config = {{ path = "{folder}", collection = "memories" }}\n'
    )
    return file


def keys(folder: Path) -> list[str]:
    index = ChromaVectorIndex(folder, collection="memories")
    found = sorted(index.keys())
    index.close()
    return found


def test_reindex_health_and_doctor_take_the_index_from_a_file(config: Path, tmp_path: Path) -> None:
    assert "entries for chroma:memories" in memkit("reindex", "--config", str(config)).stdout
    assert len(keys(tmp_path / "c")) == 2
    assert "ok    index chroma:memories: up to date" in memkit("health", "--config", str(config)).stdout
    index = ChromaVectorIndex(tmp_path / "c", collection="memories")
    index.clear()
    index.close()
    told = memkit("health", "--config", str(config), "--json", code=1).stdout
    assert [check["ok"] for check in json.loads(told)["checks"]].count(False) == 1
    assert "refs are missing" in memkit("doctor", "--config", str(config), code=1).stdout
    assert "repaired" in memkit("doctor", "--config", str(config), "--repair").stdout
    assert len(keys(tmp_path / "c")) == 2


def test_the_index_from_the_environment(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = {"provider": "chroma", "config": {"path": str(tmp_path / "c"), "collection": "memories"}}
    monkeypatch.setenv("MEMKIT_VECTOR_STORE", json.dumps(index))
    monkeypatch.setenv("MEMKIT_STORE", f"sqlite:///{tmp_path / 'm.db'}")
    assert json.loads(memkit("reindex", "--json").stdout)["indexed"] == 2
    memkit("health")
    monkeypatch.setenv("MEMKIT_VECTOR_STORE", "{secret")
    refused = memkit("health", code=1).stderr
    assert "MEMKIT_VECTOR_STORE is not JSON" in refused
    assert "secret" not in refused


def test_another_store_must_say_that_it_adopts(config: Path, tmp_path: Path) -> None:
    memkit("reindex", "--config", str(config))
    other = str(tmp_path / "other.db")
    before = keys(tmp_path / "c")
    for command in ("reindex", "health", "doctor"):
        told = memkit(command, "--config", str(config), "--store", other, code=1).stderr
        assert "belongs to another record store" in told
    assert keys(tmp_path / "c") == before
    assert "names" in memkit("reindex", "--store", other, "--adopt", code=1).stderr
    memkit("reindex", "--config", str(config), "--store", other, "--adopt")
    assert len(set(keys(tmp_path / "c")) & set(before)) == 0
    memkit("health", "--config", str(config), "--store", other)
    memkit("health", "--config", str(config), code=1)
