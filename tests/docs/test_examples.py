"""Every example in README and docs runs as printed: offline, without a key, in an empty folder.

A document's ``python`` blocks run as one script, its ``console`` blocks as one shell session. A ``text``
block behind a ``python`` block, and what stands in a ``console`` block under a command, is output: its lines
must come in that order, and ``…`` in them stands for anything.

CrewAI has an environment of its own: its page, and elsewhere the blocks that import it, run in tests with the
marker ``crewai``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: [^\n]+ -->\n$")
_PREAMBLE = (
    "import warnings; warnings.simplefilter('error'); from memkit_core import MemkitWarning; "
    "warnings.simplefilter('ignore', MemkitWarning); "
    # LlamaIndex looks through all attributes of a workflow, those that pydantic has deprecated too.
    "warnings.filterwarnings('ignore', category=DeprecationWarning, module='inspect')"
)
#: CrewAI reads its own deprecated fields, and has a module that does not let itself be set.
_CREWAI_PREAMBLE = (
    f"{_PREAMBLE}; warnings.simplefilter('ignore', ImportWarning);"
    " warnings.simplefilter('ignore', DeprecationWarning)"
)
_CREWAI_QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}
_IMPORTS_CREWAI = re.compile(r"^(?:from|import) (?:memkit_)?crewai\b", re.MULTILINE)
_COMMANDS = {"memkit", "export"}
ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``line`` is where its body begins, from 1, and ``before`` what stands above it."""

    language: str
    body: str
    line: int
    before: str


def _text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _blocks(document: str, *languages: str) -> list[Block]:
    text = _text(document)
    found = [
        Block(m["language"], m["body"], text.count("\n", 0, m.start("body")) + 1, text[: m.start()])
        for m in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def _is_crewai_s(document: str, block: Block) -> bool:
    return document == "docs/howto/crewai.md" or bool(_IMPORTS_CREWAI.search(block.body))


def _promised(document: str, *, crewai: bool = False) -> list[str]:
    """The lines of the ``text`` blocks that directly follow the block whose output they are."""
    blocks = _blocks(document)
    return [
        line
        for code, output in pairwise(blocks)
        if code.language == "python" and output.language == "text"
        if _is_crewai_s(document, code) is crewai
        for line in output.body.splitlines()
    ]


def _check_output(printed: str, promised: Sequence[str]) -> None:
    lines = iter(printed.splitlines())
    for wanted in promised:
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        assert any(pattern.fullmatch(line.rstrip()) for line in lines), (
            f"not printed, or in another order: {wanted!r}\n{printed}"
        )


def test_there_are_documents() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.md"} <= set(
        DOCUMENTS
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run(document: str, guarded: list[str], tmp_path: Path) -> None:
    blocks = [block for block in _blocks(document, "python") if not _is_crewai_s(document, block)]
    if blocks:
        printed = _run(document, blocks, guarded, tmp_path, preamble=_PREAMBLE, env={})
        _check_output(printed, _promised(document))


@pytest.mark.crewai
@pytest.mark.parametrize("document", ["README.md", "docs/howto/crewai.md"])
def test_python_blocks_with_crewai_run(document: str, guarded: list[str], tmp_path: Path) -> None:
    blocks = [block for block in _blocks(document, "python") if _is_crewai_s(document, block)]
    assert blocks
    env = {**_CREWAI_QUIET, "XDG_DATA_HOME": str(tmp_path / "data")}
    printed = _run(document, blocks, guarded, tmp_path, preamble=_CREWAI_PREAMBLE, env=env)
    _check_output(printed, _promised(document, crewai=True))


def test_crewai_stands_where_its_blocks_are_run() -> None:
    found = {d for d in DOCUMENTS for block in _blocks(d, "python") if _is_crewai_s(d, block)}
    assert found == {"README.md", "docs/howto/crewai.md"}


def _run(
    document: str,
    blocks: Sequence[Block],
    guarded: list[str],
    tmp_path: Path,
    *,
    preamble: str,
    env: dict[str, str],
) -> str:
    """What a document's blocks print, as one script."""
    lines: list[str] = []
    for block in blocks:
        # Kept on their own lines, so that a traceback names the document's line.
        lines += [""] * (block.line - 1 - len(lines)) + block.body.splitlines()
    assert lines[0] == "", "a document does not begin with code"
    lines[0] = preamble
    script = tmp_path / (Path(document).stem + ".py")
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [*guarded, str(script)],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_console_examples_run(document: str, guarded: list[str], tmp_path: Path) -> None:
    script = [
        "set -euo pipefail",
        f'python() {{ {shlex.quote(sys.executable)} "$@"; }}',
        f'memkit() {{ {shlex.join(guarded)} memkit_core.cli "$@"; }}',
    ]
    promised: list[str] = []
    for block in _blocks(document, "console"):
        for number, line in enumerate(block.body.splitlines(), block.line):
            if not line.startswith("$ "):
                promised.append(line)
                continue
            command = line.removeprefix("$ ")
            assert re.match(r"(?:\w+=\$\()?(\w+)", command)[1] in _COMMANDS, f"{document}:{number}: {command}"
            script += [f"trap 'echo failed: {document}:{number} >&2' ERR", command]
    if len(script) == 3:
        return
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), f"{document} printed nothing"
    _check_output(done.stdout, promised)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_run_or_says_why_not(document: str) -> None:
    for block in _blocks(document):
        where = f"{document}:{block.line}"
        assert block.language in {"python", "py", "console", "sh", "text"}, f"{where}: {block.language!r}"
        if block.language == "py":
            assert _NOT_RUN.search(block.before), f"{where}: a py block needs <!-- not run: why --> above it"
    fences = len(re.findall(r"^\s*```", _text(document), re.MULTILINE))
    assert fences == 2 * len(_blocks(document)), f"{document}: a fence is indented or not closed"


def test_the_readme_begins_with_two_commands_of_one_line() -> None:
    first, second = _blocks("README.md", "sh")[:2]
    assert first.body.count("\n") == second.body.count("\n") == 1
    assert first.body.rstrip().endswith("memkit demo")
    assert second.body.rstrip().endswith("-m pytest")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_and_named_files_exist(document: str, source_root: Path) -> None:
    text = _FENCE.sub("", _text(document))
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    missing = [link for link in links if not (source_root / document).parent.joinpath(link).exists()]
    named = re.findall(r"`((?:tests|docs|memkit_core|examples|benchmarks)/[\w/.*-]*)`", text)
    missing += [name for name in named if not list(source_root.glob(name.rstrip("/")))]
    assert not missing, missing
