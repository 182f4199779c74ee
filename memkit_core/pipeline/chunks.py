"""A conversation in portions for one model call each, every one with what was said just before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..analysis import estimate_tokens
from ..types import Message
from .borders import pieces, sentences, word_start

#: What a message costs beside its text: number, time, role, quotes.
LINE_TOKENS: Final = 16
#: A chunk that is smaller is not cut any further.
_LEAST_TOKENS: Final = 3 * LINE_TOKENS


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one call sees.

    Attributes:
        pieces: Messages, or parts of long ones, each with its position in the batch.
        earlier: What was said before, for context alone.
    """

    pieces: tuple[tuple[int, Message], ...]
    earlier: tuple[Message, ...]

    @property
    def tokens(self) -> int:
        """Estimated tokens of its messages."""
        return sum(LINE_TOKENS + estimate_tokens(piece.content) for _, piece in self.pieces)

    @property
    def span(self) -> tuple[int, int]:
        """The positions it covers, start and end."""
        return self.pieces[0][0], self.pieces[-1][0] + 1


def chunks(
    messages: Sequence[Message], *, earlier: Sequence[Message], chunk_tokens: int, carry_tokens: int
) -> list[Chunk]:
    """All the messages, in portions of at most ``chunk_tokens``; one that is longer is in several of them.

    Args:
        messages: A batch. Empty ones are left out.
        earlier: What was said before the batch, in order.
        chunk_tokens: Estimated tokens of one portion.
        carry_tokens: Estimated tokens of what is shown before it.
    """
    pieces = [
        (position, message if part == message.content else replace(message, content=part))
        for position, message in enumerate(messages)
        for part in _parts(message.content, chunk_tokens)
    ]
    if not pieces:
        return []
    starts: list[int] = []
    size = 0
    for number, (_, piece) in enumerate(pieces):
        cost = LINE_TOKENS + estimate_tokens(piece.content)
        if not starts or size + cost > chunk_tokens + LINE_TOKENS:
            starts.append(number)
            size = 0
        size += cost
    before = [*earlier, *(piece for _, piece in pieces)]
    return [
        Chunk(tuple(pieces[start:end]), _carried(before[: len(earlier) + start], carry_tokens))
        for start, end in zip(starts, [*starts[1:], len(pieces)], strict=True)
    ]


def halves(chunk: Chunk) -> tuple[Chunk, Chunk] | None:
    """A chunk in two of about the same size, with less of what was said before; None for a small one."""
    tokens = chunk.tokens
    if tokens < _LEAST_TOKENS:
        return None
    limit = max(LINE_TOKENS, tokens // 3)
    pieces = [
        (position, replace(piece, content=part))
        for position, piece in chunk.pieces
        for part in _parts(piece.content, limit)
    ]
    if len(pieces) < 2:
        return None
    size, cut = 0, 0
    while cut < len(pieces) - 1 and (cut == 0 or size < tokens // 2):
        size += LINE_TOKENS + estimate_tokens(pieces[cut][1].content)
        cut += 1
    before = [*chunk.earlier, *(piece for _, piece in pieces[:cut])]
    return (
        Chunk(tuple(pieces[:cut]), _carried(chunk.earlier, tokens // 8)),
        Chunk(tuple(pieces[cut:]), _carried(before, tokens // 8)),
    )


def _carried(before: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """The latest of what was said before, as much as fits; at least the end of the last message."""
    carried: list[Message] = []
    for message in reversed(before):
        left = budget - LINE_TOKENS
        cost = estimate_tokens(message.content)
        if cost > left:
            if not carried and left > 0:
                text = message.content
                end = text[word_start(text, len(text) - left) :].lstrip()
                carried.append(replace(message, content="\u2026" + end))
            break
        carried.append(message)
        budget = left - cost
    return tuple(reversed(carried))


def _parts(text: str, limit: int) -> list[str]:
    """A text in parts of at most ``limit`` estimated tokens that end where a sentence does, or a word.

    Joined they are the text, without parts that are nothing but white space.
    """
    if not text.strip():
        return []
    if estimate_tokens(text) <= limit:
        return [text]
    parts: list[str] = []
    size = limit + 1
    for sentence in sentences(text):
        # A sentence that is too long by itself is cut; a character is never more than a token.
        for piece in pieces(sentence, limit) if estimate_tokens(sentence) > limit else [sentence]:
            cost = estimate_tokens(piece)
            if size + cost > limit:
                parts.append("")
                size = 0
            parts[-1] += piece
            size += cost
    return [part for part in parts if part.strip()]
