"""The benchmarks still run, measure what they say, and report it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OPERATIONS = (
    "first-memory raw-add batch-add search-100x100 turn-1k model-add concurrent-adds "
    "graph-items-10 graph-checkpoints-10 graph-turns llama-turns-10 growth large"
).split()


@pytest.fixture(scope="module")
def run(source_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """memkit alone, at tiny sizes: what is written as JSON and as a table."""
    pytest.importorskip("bpe_openai")
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--subjects", "memkit"]
    command += ["--json", str(folder / "all.json"), "--markdown", str(folder / "all.md")]
    done = subprocess.run(
        [*command, "--only", *OPERATIONS],
        cwd=source_root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads((folder / "all.json").read_text()), (folder / "all.md").read_text()


def _figures(run: tuple[dict[str, Any], str]) -> dict[str, dict[str, float]]:
    return {operation["name"]: operation["rows"][0]["medians"] for operation in run[0]["operations"]}


def test_every_operation_has_its_figures(run: tuple[dict[str, Any], str]) -> None:
    figures = _figures(run)
    assert list(figures) == OPERATIONS
    expected = {
        "first-memory": {"open.cpu", "open.wall"},
        "raw-add": {"add.cpu", "add.wall"},
        "batch-add": {"row.cpu", "row.wall"},
        "search-100x100": {"open and first search.wall", "cold search.cpu", "warm search.cpu", "hits"},
        "turn-1k": {"add.wall", "search.wall"},
        "model-add": {"add.wall", "overhead.wall", "calls", "prompt tokens"},
        "concurrent-adds": {"all.wall", "calls", "longest gap, ms"},
        "graph-items-10": {"put.wall", "get.cpu", "list ten.cpu", "filter.cpu", "search.cpu"},
        "graph-checkpoints-10": {"put.wall", "put writes.cpu", "get latest.cpu"},
        "graph-turns": {"turn.wall", "bytes kept for each byte said"},
        "llama-turns-10": {
            "a list.cpu",
            "its own.cpu",
            "with.cpu",
            "more than its own.cpu",
            "more than a list.cpu",
        },
        "growth": {"add beside 10.cpu", "search beside 100.cpu", "search, most against fewest others"},
        "large": {"open and first search.wall", "warm search.cpu", "memory, MB", "files, MB"},
    }
    for name, wanted in expected.items():
        assert wanted <= figures[name].keys(), name


def test_every_bar_names_a_figure(run: tuple[dict[str, Any], str]) -> None:
    for operation in run[0]["operations"]:
        assert operation["bars"].keys() <= operation["rows"][0]["medians"].keys()


def test_searches_find_and_both_calls_are_made(run: tuple[dict[str, Any], str]) -> None:
    figures = _figures(run)
    assert figures["search-100x100"]["hits"] == 10
    assert figures["model-add"]["calls"] == 2
    assert figures["concurrent-adds"]["calls"] == 2 * 4


def test_every_part_of_a_prompt_is_counted_for_every_way(run: tuple[dict[str, Any], str]) -> None:
    (operation,) = (o for o in run[0]["operations"] if o["name"] == "model-add")
    (row,) = operation["rows"]
    assert row["tokens"].keys() == {"tools", "native", "text"}
    for way, calls in row["tokens"].items():
        roles = [[role for role, _ in call] for call in calls]
        assert roles == [["system", "human"] if way == "text" else ["system", "human", "schema"]] * 2
    totals = [sum(tokens for call in calls for _, tokens in call) for calls in row["tokens"].values()]
    assert row["medians"]["prompt tokens"] == max(totals)
    assert max(totals) <= 1_500  # the budget for extraction and decision together, on the fixed case


def test_the_table_says_that_it_was_a_quick_run(run: tuple[dict[str, Any], str]) -> None:
    table = run[1]
    assert "quick run" in table
    assert all(f"(`{name}`)" in table for name in OPERATIONS)


@pytest.fixture
def data(source_root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(source_root)
    return importlib.import_module("benchmarks.data")


def test_data_is_equal_in_every_process(data: Any) -> None:
    assert data.Texts(1).statements(3) == data.Texts(1).statements(3)
    code = "from benchmarks.data import table, Texts; print(table().embed_query(Texts(1).statement())[:3])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(data.__file__).parents[1],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(data.table().embed_query(data.Texts(1).statement())[:3])


def test_the_case_has_six_messages_and_ten_memories(data: Any) -> None:
    case = data.case()
    assert (len(case.messages), len(case.memories)) == (6, 10)
    assert all(0 <= place < 10 for place in case.updates.values())
    assert all(case.messages[cite]["role"] == "user" for fact in case.facts for cite in fact["cites"])
