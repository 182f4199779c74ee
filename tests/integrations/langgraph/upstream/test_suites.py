"""LangGraph's own tests against memkit's classes: how many of them pass is asserted, and none may fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = [pytest.mark.upstream, pytest.mark.network]

HERE = Path(__file__).parent
#: How many tests run, by suite; which ones do not, and why, is in ``deselected.py``.
SUITES = {
    "langgraph_checkpoint_sqlite/test_store.py": 98,
    "langgraph_checkpoint_sqlite/test_async_store.py": 36,
    "langgraph_checkpoint_sqlite/test_ttl.py": 11,
    "langgraph_checkpoint/test_store.py": 87,
}


@pytest.mark.parametrize("suite", SUITES)
def test_a_store_suite_passes(suite: str, sdists: Path) -> None:
    distribution, file = suite.split("/")
    name = distribution.replace("_", "-")
    installed = version(name)
    folder = sdists / f"{distribution}-{installed}"
    assert folder.is_dir(), f"{name} {installed} is installed, its tests are those of another version"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "memkit_upstream"]
    settings = "addopts= asyncio_mode=auto asyncio_default_fixture_loop_scope=function timeout=120".split()
    for setting in settings:
        command += ["-o", setting]
    done = subprocess.run(
        # Warnings are theirs: what they deprecate they still test.
        [*command, "-W", "ignore", "--tb=short", f"tests/{file}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    told = (done.stdout + done.stderr)[-6_000:]
    assert done.returncode == 0, told
    counted = {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    outcomes = {what: count for what, count in counted.items() if what in _OUTCOMES}
    assert outcomes == {"passed": SUITES[suite]}, told


_OUTCOMES = {"passed", "failed", "error", "errors", "skipped", "xfailed", "xpassed"}
