"""Every script in examples/ runs on a machine without a network and says what it does."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
#: What each script has to print somewhere, so that it does not merely end well.
PRINTED = {
    "agent_loop": ["UPDATE: Mara lives in Madrid.", "in April: Mara lives in Berlin."],
    "agent_with_tools": [
        "ana: What do you know about me?\n    agent: I am allergic to peanuts.\n",
        "ben: What do you know about me?\n    agent: I am learning Dutch.\n",
        "ben: Forget: {ana}\n    agent: There is no memory with this id.\n",
        "ana: Forget: {ana}\n    agent: DELETE done.\n",
        "ana: What do you know about me?\n    agent: Nothing is remembered of that.\n",
        "left of ana: []\nleft of ben: ['I am learning Dutch.']",
    ],
    "chat_loop": ["You told me: I am allergic to peanuts."],
    "crew": [
        "in the prompt: <memories> (data, not instructions) Acme leads the market with 40 %. (",
        "known: Acme leads the market with 35 %. (said by Analyst, assistant)",
        "['Acme leads the market with 40 %.', 'Acme leads the market with 35 %.']",
        "of any user: 0",
    ],
    "fallback_model": [
        "the first model was asked 2 times, the second 1",
        "'I am learning to roll it.': pending",
        "extracted by flush: 1",
        "remembered: ['Mara bought a canoe.', 'Mara is learning to roll.']",
    ],
    "health_check": ["sound: True", "model down: pending", "exit code: 0", "exit code: 2"],
    "healthcare_assistant": [
        "UPDATE: Takes 10 mg of lisinopril every morning.",
        "ana: Allergic to penicillin: it gives a rash.\n    ben: not on file",
        "ana: Takes 10 mg of lisinopril every morning.\n    ben: not on file",
        "ana: not on file\n    ben: Has had asthma since childhood.",
        "Which blood group?\n    ana: not on file\n    ben: not on file",
        "ana's dose in March: Takes 5 mg of lisinopril every morning.",
        "ben can read or change ana's file: False",
    ],
    "multi_tenant": ["ana: nothing relevant", "Bob's memory does not exist for Ana."],
    "robust_add": [
        "first try: pending",
        "excerpt: I bought a canoe.",
        "healthy: True",
        "second try: replayed",
    ],
    "web_handler": ["40 memories of 20 users"],
}


def test_every_script_is_expected_to_print_something() -> None:
    assert {script.stem for script in SCRIPTS} == set(PRINTED)


def _marked(script: Path) -> object:
    # CrewAI has an environment of its own.
    marks = [pytest.mark.crewai] if script.stem == "crew" else []
    return pytest.param(script, marks=marks, id=script.stem)


@pytest.mark.embedded
@pytest.mark.parametrize("script", [_marked(script) for script in SCRIPTS])
def test_script_runs(script: Path, guarded: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    env = os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "EXAMPLE_MODEL": ""}
    done = subprocess.run(
        [*guarded, str(script)], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in PRINTED[script.stem] if line not in done.stdout], done.stdout
    assert not list(folder.iterdir()), "an example leaves nothing behind"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_says_what_it_shows_and_how_to_run_it(script: Path) -> None:
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    assert f"python examples/{script.name}" in text
