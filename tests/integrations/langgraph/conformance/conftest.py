"""What LangGraph's own stores fail is read out of the documentation: it must fail, and nothing else may."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs/howto/store-conformance.md"
_ROW = re.compile(r"^\| `(test_\w+)` \| (fails|) *\| (fails|) *\| [^|]+ \|$", re.MULTILINE)


def _documented() -> dict[str, set[str]]:
    """The tests that a store fails, by the store's name."""
    failing: dict[str, set[str]] = {"InMemoryStore": set(), "SqliteStore": set()}
    for name, memory, sqlite in _ROW.findall(PAGE.read_text(encoding="utf-8")):
        for store, told in zip(failing, (memory, sqlite), strict=True):
            if told:
                failing[store].add(name)
    return failing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for store, failing in _documented().items():
        for item in items:
            kind = getattr(item, "cls", None)
            if kind is None or kind.__name__ not in (f"Test{store}", f"Test{store}Async"):
                continue
            if item.name in failing:
                item.add_marker(pytest.mark.xfail(reason=f"{PAGE.name} says so", strict=True))


@pytest.fixture(scope="session")
def documented() -> dict[str, set[str]]:
    return _documented()
