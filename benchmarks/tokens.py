"""Tokens of the o200k_base encoding, counted offline: ``bpe-openai`` brings the encoding along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

Prompts = Mapping[str, Sequence[Sequence[tuple[str, str]]]]


def counted(prompts: Prompts) -> dict[str, list[list[tuple[str, int]]]]:
    """The prompts with each part's tokens in place of its text.

    Raises:
        ImportError: ``bpe-openai`` is missing; it is in the development dependencies.
    """
    if not prompts:
        return {}
    encoding: Any = import_module("bpe_openai").get_encoding("o200k_base")

    def tokens(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    return {
        way: [[(role, tokens(text)) for role, text in call] for call in calls]
        for way, calls in prompts.items()
    }
