"""Every notebook runs from a clean start, offline, and shows what is saved in it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = [
    "01-quickstart.ipynb",
    "02-how-memories-evolve.ipynb",
    "03-langgraph-agent.ipynb",
    "04-rag-with-the-retriever.ipynb",
    "05-llamaindex-agent.ipynb",
    "06-evaluate-on-your-own-conversations.ipynb",
    "07-bring-your-own-vector-store.ipynb",
]
#: What differs between two runs: ids, when something was recorded, and the last digits of a relevance.
_VOLATILE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00|\b0\.\d\d\b")
#: What frameworks say has no time of its own, so that it holds since the day of the run.
_DATED = {"03-langgraph-agent.ipynb", "05-llamaindex-agent.ipynb"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
#: Figures of a table of usage: milliseconds differ.
_FIGURE = re.compile(r"(?<=>)[\d,]+(?=</td>)")
_MAX_BYTES = 200_000


def _cells(file: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def _saved(cell: dict[str, Any]) -> dict[str, Any]:
    """What is saved of a cell, as ``run_cells.py`` tells it."""
    outputs = cell["outputs"]
    tables = [out for out in outputs if out["output_type"] == "execute_result"]
    return {
        "printed": "".join("".join(out["text"]) for out in outputs if out["output_type"] == "stream"),
        "table": "".join(tables[0]["data"]["text/html"]) if tables else None,
        "value": bool(tables),
        "figures": sum(out["output_type"] == "display_data" for out in outputs),
    }


def _stable(shown: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [
        one | {"table": one["table"] and _table(one["table"], name), "printed": _text(one["printed"], name)}
        for one in shown
    ]


def _table(table: str, name: str) -> str:
    stable = _VOLATILE.sub("…", _text(table, name))
    return _FIGURE.sub("…", stable) if "<b>usage</b>" in stable else stable


def _text(text: str, name: str) -> str:
    return _DAY.sub("…", text) if name in _DATED else text


def test_every_notebook_is_run(source_root: Path) -> None:
    assert sorted(path.name for path in (source_root / "notebooks").glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.embedded
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_shows_what_is_saved_in_it(
    name: str, source_root: Path, guarded: list[str], tmp_path: Path
) -> None:
    notebook, out = source_root / "notebooks" / name, tmp_path / "shown.json"
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [*guarded, str(Path(__file__).with_name("run_cells.py")), str(notebook), str(out)],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _stable(json.loads(out.read_text()), name) == _stable(
        [_saved(cell) for cell in _cells(notebook, "code")], name
    )
    assert not list(folder.iterdir()), "a notebook leaves nothing behind"


def test_every_table_and_picture_is_shown_somewhere(source_root: Path) -> None:
    cells = [cell for name in NOTEBOOKS for cell in _cells(source_root / "notebooks" / name, "code")]
    tables = " ".join(_saved(cell)["table"] or "" for cell in cells)
    for shown in ("memories found", "add: complete", "history of", "<b>usage</b>", "<del", "<ins"):
        assert shown in tables, shown
    pictures = "".join("".join(cell["source"]) for cell in cells if _saved(cell)["figures"])
    assert "plot_history(" in pictures
    assert "plot_scopes(" in pictures


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_well_formed(name: str, source_root: Path) -> None:
    file = source_root / "notebooks" / name
    cells = _cells(file, "code") + _cells(file, "markdown")
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = _cells(file, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for out in (out for cell in code for out in cell["outputs"]):
        if out["output_type"] == "stream":
            assert out["name"] == "stdout"
        elif out["output_type"] == "execute_result":
            assert "<script" not in "".join(out["data"]["text/html"])
        else:
            assert out["output_type"] == "display_data"
            assert base64.b64decode("".join(out["data"]["image/png"])).startswith(b"\x89PNG")
    assert file.stat().st_size < _MAX_BYTES


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_s_links_lead_somewhere(name: str, source_root: Path) -> None:
    file = source_root / "notebooks" / name
    text = "".join("".join(cell["source"]) for cell in _cells(file, "markdown"))
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert not [link for link in links if not (file.parent / link).exists()]
