"""Whoever asks for CrewAI's tests gets them: without CrewAI they fail."""

from __future__ import annotations

import inspect

import pytest

import memkit_crewai


@pytest.mark.crewai
def test_crewai_is_there() -> None:
    import crewai

    assert tuple(int(part) for part in crewai.__version__.split(".")[:2]) >= (1, 15)


@pytest.mark.crewai
def test_crewai_s_names_are_sorted_there_and_explained() -> None:
    assert memkit_crewai.__all__ == sorted(memkit_crewai.__all__)
    for name in memkit_crewai.__all__:
        assert inspect.getdoc(getattr(memkit_crewai, name)), name
        assert name in dir(memkit_crewai)
    with pytest.raises(AttributeError, match="no attribute 'MemkitMemo'"):
        memkit_crewai.MemkitMemo  # noqa: B018
