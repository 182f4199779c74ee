"""The released sdists of LangGraph's stores, unpacked: their wheels carry no tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

#: The dependency group ``langgraph-suites`` installs the same versions.
VERSIONS = {"langgraph-checkpoint": "4.3.2", "langgraph-checkpoint-sqlite": "3.1.2"}


@pytest.fixture(scope="session")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an unpacked sdist each; ``LANGGRAPH_SDISTS`` may name one with the archives."""
    folder = tmp_path_factory.mktemp("sdists")
    archives = Path(os.environ.get("LANGGRAPH_SDISTS") or _downloaded(folder))
    for name, version in VERSIONS.items():
        archive = archives / f"{name.replace('-', '_')}-{version}.tar.gz"
        if not archive.is_file():
            pytest.fail(f"there is no {archive}: LANGGRAPH_SDISTS must name a folder with {sorted(VERSIONS)}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return folder


def _downloaded(folder: Path) -> Path:
    wanted = [f"{name}=={version}" for name, version in VERSIONS.items()]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder / "archives"), *wanted],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        pytest.fail(
            f"{' and '.join(wanted)} could not be downloaded. These tests need a package index, or a"
            f" folder with the archives in LANGGRAPH_SDISTS.\n{done.stderr[-2_000:]}",
            pytrace=False,
        )
    return folder / "archives"
