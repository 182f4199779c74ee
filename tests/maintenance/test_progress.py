"""Bars end where they say that the work ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.maintenance.progress import Progress


def test_a_bar_ends_full_whatever_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(show=True) as bars:
        bars.stage("fewer", 10)
        bars.step(4)
        bars.stage("more", 10)
        bars.step(14)
    told = capsys.readouterr().err
    assert "fewer: 100%" in told
    assert "more: 100%" in told


def test_a_bar_of_what_failed_does_not_end_full(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="no"), Progress(show=True) as bars:
        bars.stage("half", 10)
        bars.step(5)
        raise OSError("no")
    assert "100%" not in capsys.readouterr().err


def test_the_bars_of_a_doctor_are_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        memory.add("I like tea", user_id="ana")
        memory.admin.doctor(progress=True)
    assert "check: 100%" in capsys.readouterr().err
