"""The documentation as a site: it builds strictly and offline, is complete, and asks nobody for anything."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import tomllib
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

import memkit_core
import memkit_core.indexes
import memkit_core.plots
import memkit_core.protocols
import memkit_core.testing
import memkit_crewai
import memkit_langchain
import memkit_langgraph
import memkit_llamaindex
from memkit_core.cli import app

ROOT = Path(__file__).parents[2]
MODULES = ("memkit_core.filters",)


@pytest.fixture(scope="module")
def site(guarded: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [*guarded, "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """The dotted names that the reference explains."""
    compressed = (site / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]
    return {line.split(" ", 1)[0] for line in zlib.decompress(compressed).decode("utf-8").splitlines()}


def test_every_public_name_is_in_the_reference(documented: set[str]) -> None:
    missing = {f"memkit_core.{name}" for name in memkit_core.__all__} - documented
    missing |= {f"memkit_core.testing.{name}" for name in memkit_core.testing.__all__} - documented
    missing |= {f"memkit_core.indexes.{name}" for name in memkit_core.indexes.__all__} - documented
    missing |= {f"memkit_core.plots.{name}" for name in memkit_core.plots.__all__} - documented
    missing |= {f"memkit_crewai.{name}" for name in memkit_crewai.__all__} - documented
    missing |= {f"memkit_langchain.{name}" for name in memkit_langchain.__all__} - documented
    missing |= {f"memkit_langgraph.{name}" for name in memkit_langgraph.__all__} - documented
    missing |= {f"memkit_llamaindex.{name}" for name in memkit_llamaindex.__all__} - documented
    missing |= {f"memkit_core.protocols.{name}" for name in memkit_core.protocols.__all__} - documented
    assert not missing


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_a_public_module_is_in_the_reference(name: str, documented: set[str]) -> None:
    names = {f"{name}.{defined}" for defined in _defined(import_module(name))}
    assert len(names) > 10
    assert not names - documented


def _defined(module: ModuleType) -> Iterator[str]:
    """What a module defines without an underscore, imports left out."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = [node.name]
        elif isinstance(node, ast.AnnAssign):
            found = [ast.unparse(node.target)]
        elif isinstance(node, ast.Assign):
            found = [ast.unparse(target) for target in node.targets]
        else:
            continue
        yield from (one for one in found if not one.startswith("_"))


@pytest.mark.parametrize("face", ["Memory", "AsyncMemory", "ScopedMemory", "AsyncScopedMemory"])
def test_every_verb_is_in_the_reference(face: str, documented: set[str]) -> None:
    kind = getattr(memkit_core, face)
    verbs = {f"{kind.__module__}.{face}.{name}" for name in vars(kind) if not name.startswith("_")}
    assert verbs
    assert not verbs - documented


def test_every_command_is_explained() -> None:
    text = (ROOT / "docs/howto/cli.md").read_text(encoding="utf-8")
    missing: list[str] = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        for full in [f"{name} {one}" for one in inner] if inner else [name]:
            if f"memkit {full}" not in text:
                missing.append(full)
    assert not missing


def test_every_configuration_key_is_explained() -> None:
    text = (ROOT / "docs/howto/configuration.md").read_text(encoding="utf-8")
    assert not [key for key in memkit_core.MemoryConfig.model_fields if f"| `{key}` |" not in text]


@pytest.mark.parametrize("document", ["README.md", "docs/index.md"])
def test_every_extra_is_explained(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert not [extra for extra in extras if f"| `{extra}` |" not in text]


def test_every_error_is_explained() -> None:
    text = (ROOT / "docs/howto/errors.md").read_text(encoding="utf-8")
    bases = {"MemkitError", "ModelError", "StorageError", "MemkitWarning"}
    names = {name for name in memkit_core.__all__ if name.endswith("Error")} - bases
    assert not [name for name in names if f"| `{name}` |" not in text]


def test_a_reader_s_browser_asks_nobody_else(site: Path) -> None:
    asked: list[str] = []
    for page in [*site.rglob("*.html"), *site.rglob("*.css")]:
        text = page.read_text(encoding="utf-8")
        asked += re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//[^\s>]+", text)
        asked += re.findall(r"<link[^>]+href=\"?(?:https?:)?//[^\s>]+", text)
        asked += re.findall(r"url\([\"']?(?:https?:)?//[^)]+|@import[^;]+//[^;]+", text)
    assert not asked
