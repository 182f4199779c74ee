"""Which utterances ask, greet or state."""

from __future__ import annotations

import pytest

from memkit_core.analysis import text_flags
from memkit_core.types import FLAG_ASKS, FLAG_QUESTION, FLAG_SMALLTALK


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("I sold the boat.", 0),
        ("Who bought it?", FLAG_QUESTION),
        ("Hi! Who bought it?", FLAG_QUESTION),
        ("I sold the boat. And you?", FLAG_ASKS),
        ("Who knows? I sold the boat.", 0),
        ("Thanks a lot!", FLAG_SMALLTALK),
        ("Hi there!", FLAG_SMALLTALK),
        ("Hey there", FLAG_SMALLTALK),
        ("Hi Sam! Nice to meet you.", FLAG_SMALLTALK),
        ("See you tomorrow", FLAG_SMALLTALK),
        ("Hallo zusammen", FLAG_SMALLTALK),
        ("Buenas tardes", FLAG_SMALLTALK),
        ("早上好", FLAG_SMALLTALK),
        ("Goodbye alcohol!", 0),
        ("Hello retirement!", 0),
        ("Hi Sam, I sold the boat", 0),
        ("Hi I sold the boat", 0),
        ("Hello Kitty is my favourite", 0),
    ],
)
def test_flags(text: str, flags: int) -> None:
    assert text_flags(text) == flags
