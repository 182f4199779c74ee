"""Runs a notebook's cells without a kernel: ``python run_cells.py NOTEBOOK OUT``.

As in a kernel, cells run inside a running event loop and may ``await``. Writes for every code cell what it
printed, the table of its last line if that has one, and how many figures it drew.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any


async def run(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a cell shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        await _value(tree, "exec", names)
        if isinstance(last, ast.Expr):
            value = await _value(ast.Expression(last.value), "eval", names)
    shown = getattr(value, "_repr_html_", None)
    return {
        "printed": printed.getvalue(),
        "table": shown() if callable(shown) else None,
        "value": value is not None,
        "figures": _figures(),
    }


async def _value(tree: ast.Module | ast.Expression, mode: str, names: dict[str, Any]) -> Any:
    code = compile(tree, "<cell>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, names)
    return await value if code.co_flags & inspect.CO_COROUTINE else value


def _figures() -> int:
    plt = sys.modules.get("matplotlib.pyplot")
    if plt is None:
        return 0
    count = len(plt.get_fignums())
    plt.close("all")
    return count


async def main() -> None:
    """Run all cells in one namespace."""
    notebook, out = map(Path, sys.argv[1:])
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    told = [await run("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    out.write_text(json.dumps(told), encoding="utf-8")


asyncio.run(main())
