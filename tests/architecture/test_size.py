"""A file is as long as its one idea; exceptions are listed with their reason."""

from __future__ import annotations

import ast

from .imports import module_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

LONG_FILES = {
    "memkit_core.filters": "one language: its classes, its two spellings and the definition of a match",
    "memkit_core.memory": "signatures and docstrings only: what a user reads in one place",
    "memkit_core.results": "declarations only: the typed answers of every verb",
    "memkit_core.verbs": "every verb once, with its checks; splitting it would split the checks they share",
}
LONG_FUNCTIONS: dict[str, str] = {}


def test_files_are_short_or_say_why() -> None:
    long = {
        module
        for module, path in module_files().items()
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES
    }
    assert long <= set(LONG_FILES), f"over {MAX_FILE_LINES} lines: {sorted(long - set(LONG_FILES))}"
    assert set(LONG_FILES) <= long, f"no longer long: {sorted(set(LONG_FILES) - long)}"


def test_functions_are_short_or_say_why() -> None:
    long: dict[str, int] = {}
    for module, path in module_files().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                # What a caller has to read is the signature and the docstring; what asks for a split is code.
                if ast.get_docstring(node) is not None and isinstance(node.body[0].end_lineno, int):
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long[f"{module}.{node.name}"] = lines
    assert set(long) <= set(LONG_FUNCTIONS), f"over {MAX_FUNCTION_LINES} lines: {long}"
    assert set(LONG_FUNCTIONS) <= set(long), f"no longer long: {sorted(set(LONG_FUNCTIONS) - set(long))}"
