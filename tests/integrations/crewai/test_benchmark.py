"""The benchmark of a crew's turns runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.crewai
def test_turns_of_a_crew_are_measured(source_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crew", "--turns", "2", "--rows", "5"],
        cwd=source_root,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    figures = dict(re.findall(r"^(\w.*?) +(-?[\d.]+) ms$", done.stdout, re.MULTILINE))
    assert {"without", "with memkit's", "more than without"} <= figures.keys()
    assert all(float(figures[name]) > 0 for name in ("without", "with memkit's"))
