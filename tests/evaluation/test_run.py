"""The harness end to end, on a real store and without any chat model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from memkit_core import UsageError
from memkit_core.evaluation.run import evaluate_locomo, run_locomo


@pytest.fixture
def data(tmp_path: Path, sample: dict[str, Any], flat: dict[str, Any]) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "official.json").write_text(json.dumps([sample]), encoding="utf-8")
    (folder / "flat.json").write_text(json.dumps(flat), encoding="utf-8")
    return folder


def test_questions_find_the_turns_that_answer_them(data: Path) -> None:
    report = run_locomo(data, embedder=None)
    found = report.to_dict()
    assert found["turn"]["any"]["R@5"] == 100.0
    assert found["turn"]["fractional"]["R@20"] == 100.0
    assert found["session"]["any"]["R@5"] == 100.0
    assert set(found["by_category"]) == {"1", "2", "3", "4", "5"}
    assert found["by_category"]["1"]["turn"]["fractional"]["R@20"] == 100.0
    assert (found["questions"], found["skipped"], found["unknown_evidence"]) == (8, 2, 2)
    assert (found["conversations"], found["turns"]) == (2, 16)
    assert found["bytes"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"]


def test_a_conversation_is_never_searched_for_another(data: Path) -> None:
    outcomes = run_locomo(data, embedder=None).outcomes
    assert all(turn is not None for one in outcomes for turn in one.ranked)
    assert all(len(one.ranked) <= 8 for one in outcomes)
    half = len(outcomes) // 2
    assert [one.ranked for one in outcomes[:half]] == [one.ranked for one in outcomes[half:]]


@pytest.mark.embedded
def test_with_the_offline_embedding(data: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert run_locomo(data, embedder="embedded").to_dict()["turn"]["any"]["R@5"] == 100.0


def test_the_store_can_be_kept_but_is_not_filled_twice(data: Path, tmp_path: Path) -> None:
    run_locomo(data, embedder=None, store_dir=tmp_path / "kept")
    assert (tmp_path / "kept" / "locomo.db").stat().st_size > 0
    with pytest.raises(UsageError, match="exists"):
        run_locomo(data, embedder=None, store_dir=tmp_path / "kept")


def test_the_command_prints_a_table_and_writes_json(data: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    report = evaluate_locomo(data, console=console, embedder=None, json_file=tmp_path / "out.json")
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "category 5 (not in the total)" in printed
    assert "total" in printed
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == report.to_dict()


def test_a_missing_folder_is_found_out_before_the_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        evaluate_locomo(data, console=Console(), embedder=None, json_file=tmp_path / "no" / "out.json")
