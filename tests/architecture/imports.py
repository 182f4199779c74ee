"""Reads who imports whom out of the source, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import memkit_core

PACKAGE = Path(memkit_core.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module.

    Attributes:
        importer, imported: Dotted names; ``imported`` ends in the imported name for ``from x import y``.
        line: Where.
        at_import: It runs when the importer is imported: not in a function, not for type checkers alone.
    """

    importer: str
    imported: str
    line: int
    at_import: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def module_files() -> dict[str, Path]:
    """Every module of the installed package by its dotted name."""
    files: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "__main__.py":  # runs when it is imported
            continue
        parts = ("memkit_core", *path.relative_to(PACKAGE).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports_of(module: str, path: Path) -> list[Import]:
    """Every import in a module, also those in functions and for type checkers."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        Import(importer=module, imported=name, line=line, at_import=at_import)
        for line, name, at_import in _walk(tree, package, True)
    ]


def room(module: str) -> str:
    """The room a module belongs to: ``memkit_core.storage.sqlite.reads`` is in ``storage``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _walk(node: ast.AST, package: str, at_import: bool) -> Iterator[tuple[int, str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield child.lineno, alias.name, at_import
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child.level, child.module or "", package)
            for alias in child.names:
                yield child.lineno, f"{base}.{alias.name}", at_import
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _walk(ast.Module([part], []), package, False)
            for part in child.orelse:
                yield from _walk(ast.Module([part], []), package, at_import)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(child, package, False)
        else:
            if isinstance(child, ast.Call):
                yield from _dynamic(child, package, at_import)
            yield from _walk(child, package, at_import)


def _dynamic(call: ast.Call, package: str, at_import: bool) -> Iterator[tuple[int, str, bool]]:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name in ("import_module", "__import__") and call.args and isinstance(call.args[0], ast.Constant):
        target = str(call.args[0].value)
        level = len(target) - len(target.lstrip("."))
        yield call.lineno, _absolute(level, target[level:], package), at_import


def _absolute(level: int, module: str, package: str) -> str:
    if level == 0:
        return module
    base = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*base, module] if module else base)
