"""Runs a notebook's cells without a kernel: ``python run_cells.py NOTEBOOK OUT``.

Writes for every code cell what it printed, the table of its last line if that has one, and how many
figures it drew.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def run(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a cell shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    shown = getattr(value, "_repr_html_", None)
    return {
        "printed": printed.getvalue(),
        "table": shown() if callable(shown) else None,
        "value": value is not None,
        "figures": _figures(),
    }


def _figures() -> int:
    plt = sys.modules.get("matplotlib.pyplot")
    if plt is None:
        return 0
    count = len(plt.get_fignums())
    plt.close("all")
    return count


def main() -> None:
    """Run all cells in one namespace."""
    notebook, out = map(Path, sys.argv[1:])
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    told = [run("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    out.write_text(json.dumps(told), encoding="utf-8")


main()
