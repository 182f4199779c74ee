"""Every example in README and docs runs as printed: offline, without a key, in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_PREAMBLE = (
    "import warnings; warnings.simplefilter('error'); from memkit_core import MemkitWarning; "
    "warnings.simplefilter('ignore', MemkitWarning)"
)
ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)


def _blocks(text: str, language: str) -> list[tuple[int, str]]:
    """The blocks of one language with the line on which their body begins, from 1."""
    return [
        (text.count("\n", 0, match.start("body")) + 1, match["body"])
        for match in _FENCE.finditer(text)
        if match["language"] == language
    ]


def test_there_are_documents() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run(document: str, guarded: list[str], tmp_path: Path) -> None:
    lines: list[str] = []
    for start, body in _blocks((ROOT / document).read_text(encoding="utf-8"), "python"):
        # Kept on their own lines, so that a traceback names the document's line.
        lines += [""] * (start - 1 - len(lines)) + body.splitlines()
    if not lines:
        return
    assert lines[0] == "", "a document does not begin with code"
    lines[0] = _PREAMBLE
    script = tmp_path / (Path(document).stem + ".py")
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run([*guarded, str(script)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_console_examples_run(document: str, guarded: list[str], tmp_path: Path) -> None:
    for start, body in _blocks((ROOT / document).read_text(encoding="utf-8"), "console"):
        for number, line in enumerate(body.splitlines(), start):
            if not line.startswith("$ memkit "):
                continue
            arguments = shlex.split(line.removeprefix("$ memkit "))
            done = subprocess.run(
                [*guarded, "memkit_core.cli", *arguments],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{document}:{number}: {done.stderr}"
            assert done.stdout.strip(), f"{document}:{number} printed nothing"


def test_the_readme_begins_with_two_commands_of_one_line() -> None:
    first, second = _blocks((ROOT / "README.md").read_text(encoding="utf-8"), "sh")[:2]
    assert first[1].count("\n") == second[1].count("\n") == 1
    assert first[1].rstrip().endswith("memkit demo")
    assert second[1].rstrip().endswith("-m pytest")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_and_named_files_exist(document: str, source_root: Path) -> None:
    text = _FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    missing = [link for link in links if not (source_root / document).parent.joinpath(link).exists()]
    named = re.findall(r"`((?:tests|docs|memkit_core)/[\w/.*-]*)`", text)
    missing += [name for name in named if not list(source_root.glob(name.rstrip("/")))]
    assert not missing, missing
