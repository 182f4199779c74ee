"""What lies in the tree and what goes into the wheel."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

# Put together here so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of somebody's machine": re.compile("/" + r"(?:work|root|home/\w+|Users/\w+)" + "/"),
    "another project's name on the package index": re.compile("pip install " + r"['\"]?memkit(?!-core)\b"),
    "a note to oneself": re.compile("TO" + "DO|FIX" + "ME|X" + "XX"),
}


@pytest.fixture(scope="session")
def tracked(source_root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={source_root}", "ls-files", "-z"],
        cwd=source_root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        source_root / name for name in listed.stdout.split("\0") if name and (source_root / name).is_file()
    ]


def test_no_tracked_file_holds_what_does_not_belong(tracked: list[Path], source_root: Path) -> None:
    found: list[str] = []
    for path in tracked:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary file, such as a model's weights
        for number, line in enumerate(text.splitlines(), 1):
            if path.suffix == ".ipynb" and line.lstrip().startswith('"image/png": "'):
                continue  # a picture's letters spell anything
            found += [
                f"{path.relative_to(source_root)}:{number}: {what}"
                for what, pattern in FORBIDDEN.items()
                if pattern.search(line)
            ]
    assert not found, "\n".join(found)


def test_tests_use_the_public_face(tracked: list[Path], source_root: Path) -> None:
    found: list[str] = []
    for path in tracked:
        if path.suffix != ".py" or source_root / "tests" not in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("memkit_core"):
                found += [
                    f"{path.relative_to(source_root)}:{node.lineno} imports {alias.name}"
                    for alias in node.names
                    if alias.name.startswith("_") and not alias.name.startswith("__")
                ]
    assert not found, "\n".join(found)


@pytest.fixture(scope="session")
def wheel(source_root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=source_root,
        capture_output=True,
        check=True,
        timeout=120,
    )
    (built,) = folder.glob("memkit_core-*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_file_of_the_package(
    wheel: zipfile.ZipFile, tracked: list[Path], source_root: Path
) -> None:
    names = set(wheel.namelist())
    roots = {
        "memkit_core": source_root,
        "memkit_crewai": source_root / "integrations",
        "memkit_langchain": source_root / "integrations",
        "memkit_langgraph": source_root / "integrations",
        "memkit_llamaindex": source_root / "integrations",
    }
    for name, root in roots.items():
        package = {path.relative_to(root).as_posix() for path in tracked if root / name in path.parents}
        assert package, f"no tracked file in {name}/"
        assert package <= names, f"missing: {sorted(package - names)}"
        assert f"{name}/py.typed" in names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "memkit_core",
        "memkit_crewai",
        "memkit_langchain",
        "memkit_langgraph",
        "memkit_llamaindex",
    }
    assert not [name for name in wheel.namelist() if "__pycache__" in name or name.endswith((".db", ".pyc"))]


def test_the_wheel_s_metadata(wheel: zipfile.ZipFile, source_root: Path) -> None:
    (info,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    licence = (source_root / "LICENSE").read_bytes()
    assert wheel.read(f"{info}/licenses/LICENSE") == licence
    assert "memkit = memkit_core.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "Name: memkit-core\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
