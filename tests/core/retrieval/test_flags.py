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
    ],
)
def test_flags(text: str, flags: int) -> None:
    assert text_flags(text) == flags
