"""Every notebook runs from a clean start, offline, and prints what is saved in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = ["langgraph-agent.ipynb"]
#: Between what two cells print.
_BORDER = "\x1e"


def _cells(file: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def test_every_notebook_is_run(source_root: Path) -> None:
    assert sorted(path.name for path in (source_root / "notebooks").glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_prints_what_is_saved_in_it(
    name: str, source_root: Path, guarded: list[str], tmp_path: Path
) -> None:
    cells = _cells(source_root / "notebooks" / name, "code")
    script = tmp_path / "notebook.py"
    border = f"\nprint({_BORDER!r}, end='')\n"
    script.write_text(border.join("".join(cell["source"]) for cell in cells), encoding="utf-8")
    done = subprocess.run(
        [*guarded, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    saved = ["".join("".join(out["text"]) for out in cell["outputs"]) for cell in cells]
    assert done.stdout.split(_BORDER) == saved


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_well_formed(name: str, source_root: Path) -> None:
    file = source_root / "notebooks" / name
    cells = _cells(file, "code") + _cells(file, "markdown")
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = _cells(file, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(out["output_type"] == "stream" for cell in code for out in cell["outputs"])
