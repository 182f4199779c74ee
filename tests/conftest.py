"""Fixtures for every test: no network, no provider keys, a folder of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parent


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_GUARD = _load(TESTS / "network_guard.py").NetworkGuard()


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Any attempt to reach a network fails the test, also if the code under test swallowed the error."""
    if request.node.get_closest_marker("network"):
        yield
        return
    _GUARD.start()
    try:
        yield
    finally:
        _GUARD.stop()
    assert not _GUARD.attempts, f"network access in a test: {_GUARD.attempts}"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither spend a developer's money nor depend on their settings."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or (name.startswith("MEMKIT_") and name != "MEMKIT_SOURCE_ROOT"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts tests wait for a moment only, unless a provider asks for more."""
    monkeypatch.setattr("memkit_core.models.calling._FIRST_WAIT", 0.001)


@pytest.fixture(scope="session")
def source_root() -> Path:
    """The source tree. ``MEMKIT_SOURCE_ROOT`` names it where only tests/ was copied to test a wheel."""
    root = Path(os.environ.get("MEMKIT_SOURCE_ROOT", TESTS.parent))
    assert (root / "memkit_core").is_dir(), f"no source tree at {root}: set MEMKIT_SOURCE_ROOT"
    return root


@pytest.fixture(scope="session")
def guarded() -> list[str]:
    """The beginning of a command line that runs a Python module without a network."""
    return [sys.executable, str(TESTS / "network_guard.py")]
