"""Recalled memories that come back inside messages: they are no news, whoever carries them. Pure.

An agent that puts ``memory.context()`` into a message and then adds that message would otherwise remember
its own memories again, as said by the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from .. import analysis
from ..results import Rejection
from ..types import Fact, Message
from .context import FENCE_CLOSE, FENCE_OPEN

_WORDS: Final = re.compile(r"\w+")
_LINE_DATE: Final = re.compile(r" \(\d{4}-\d\d-\d\d\)$")


def without_recalled(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The messages without the blocks that ``memory.context()`` writes, and the lines of those blocks."""
    shown: list[Message] = []
    lines: list[str] = []
    for message in messages:
        if FENCE_OPEN not in message.content:
            shown.append(message)
            continue
        text, inside = _cut(message.content)
        lines += inside
        shown.append(replace(message, content=text))
    return tuple(shown), tuple(lines)


def _cut(text: str) -> tuple[str, list[str]]:
    """A text without its fenced blocks, and their lines. What is not closed is no block: it stays."""
    kept: list[str] = []
    lines: list[str] = []
    place = 0
    while True:
        start = text.find(FENCE_OPEN, place)
        end = text.find(FENCE_CLOSE, start) if start >= 0 else -1
        if end < 0:
            kept.append(text[place:])
            return "".join(kept).strip(), lines
        kept.append(text[place:start])
        block = text[start + len(FENCE_OPEN) : end].splitlines()
        lines += [_LINE_DATE.sub("", line[2:]) for line in block if line.startswith("- ")]
        place = end + len(FENCE_CLOSE)


def drop_echoes(
    facts: Sequence[Fact], recalled: Iterable[str]
) -> tuple[tuple[Fact, ...], tuple[Rejection, ...]]:
    """The facts that are news, and the rest with the reason.

    Only what an assistant or a tool said can be an echo: a user who repeats something confirms it.

    Args:
        facts: Facts as extracted.
        recalled: Texts that were recalled from memory.
    """
    texts = list(recalled)
    if not texts or all(fact.origin == "user" for fact in facts):
        return tuple(facts), ()
    known = {analysis.text_key(text) for text in texts}
    word_sets = [_word_set(text) for text in texts]
    kept: list[Fact] = []
    rejected: list[Rejection] = []
    for fact in facts:
        words = _word_set(fact.text)
        # Every word counts, "not" too: what says less than a memory, in its own words, says nothing new.
        if fact.origin != "user" and (
            analysis.text_key(fact.text) in known or any(words and words <= other for other in word_sets)
        ):
            rejected.append(Rejection(item=fact.text, reason="it only repeats recalled memory text"))
        else:
            kept.append(fact)
    return tuple(kept), tuple(rejected)


def _word_set(text: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(text.casefold()))
