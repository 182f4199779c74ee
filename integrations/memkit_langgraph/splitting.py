"""Serialised values cut into pieces, so that one that grows is stored as what was added to it.

Nothing here depends on what the bytes mean: a cut in the wrong place costs space, and the pieces put together
are the same bytes in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

from memkit_core.errors import IntegrityError

#: A container up to this size is one entry, a larger one is cut into what it holds.
_WHOLE: Final = 512
#: Smaller elements are put together with those behind them.
_SMALLEST: Final = 48
#: A text of this size is stored once, however many entries hold it.
LONG: Final = 256
#: How deep containers are cut open.
_DEEPEST: Final = 8

#: What a value takes of its base (first entry, how many), or entries of its own.
Op: TypeAlias = tuple[int, int] | list[bytes]
#: A stretch of entries that are wanted of a layer, and the place of the first one in the result.
_Range: TypeAlias = tuple[int, int, int]


class NotMsgpackError(ValueError):
    """The bytes are no msgpack, and are kept in one piece."""


def entries_of(data: bytes) -> list[bytes]:
    """The bytes of a msgpack value as entries: elements of lists, pairs of mappings, and what is between."""
    if len(data) <= _WHOLE:
        return [data]
    try:
        cuts = list(_cuts(data, 0, 0))
        if _end(data, 0) != len(data):
            return [data]
    except (NotMsgpackError, IndexError, RecursionError):
        return [data]
    marks = [0, *dict.fromkeys(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


def _cuts(data: bytes, start: int, depth: int) -> Iterator[int]:
    """Where the value that starts here is cut, in ascending order."""
    number, pairs, position = _header(data, start)
    yield position
    begun = position
    for _ in range(number):
        inner = _end(data, position) if pairs else position
        end = _end(data, inner)
        if end - inner > _WHOLE and depth < _DEEPEST and _header(data, inner)[0]:
            yield position
            yield from _cuts(data, inner, depth + 1)
        if end - begun >= _SMALLEST:
            yield end
            begun = end
        position = end
    yield position


def _header(data: bytes, start: int) -> tuple[int, bool, int]:
    """How many values a list or mapping holds, whether in pairs, and where they begin; none for all else."""
    first = data[start]
    if 0x90 <= first <= 0x9F:
        return first & 0x0F, False, start + 1
    if 0x80 <= first <= 0x8F:
        return first & 0x0F, True, start + 1
    if first in (0xDC, 0xDE):
        return int.from_bytes(data[start + 1 : start + 3], "big"), first == 0xDE, start + 3
    if first in (0xDD, 0xDF):
        return int.from_bytes(data[start + 1 : start + 5], "big"), first == 0xDF, start + 5
    return 0, False, start


#: Markers of values whose size they say: how many bytes the value has behind the marker.
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xCA: 4,
    0xCB: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,
}
#: Markers of values whose size follows: the size's own bytes, and what comes with the value beside it.
_SIZED: Final = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
}


#: Texts and bytes of more than 255.
_LONG_MARKERS: Final = (b"\xda", b"\xdb", b"\xc5", b"\xc6")


def _end(data: bytes, start: int) -> int:
    """Where the value that starts here ends."""
    open_values = 1
    while open_values:
        first = data[start]
        open_values -= 1
        if first <= 0x7F or first >= 0xE0:
            start += 1
        elif 0xA0 <= first <= 0xBF:
            start += 1 + (first & 0x1F)
        elif first in _FIXED:
            start += 1 + _FIXED[first]
        elif first in _SIZED:
            width, beside = _SIZED[first]
            start += 1 + width + beside + int.from_bytes(data[start + 1 : start + 1 + width], "big")
        elif first == 0xC1:
            raise NotMsgpackError
        else:
            number, pairs, start = _header(data, start)
            open_values += 2 * number if pairs else number
        if start > len(data):
            raise NotMsgpackError
    return start


def long_texts(data: bytes) -> Iterator[tuple[int, int]]:
    """Where texts and bytes of at least ``LONG`` are, as their markers say: ascending, not overlapping."""
    position = 0
    while True:
        found = [
            at
            for at in (data.find(marker, position) for marker in (b"\xda", b"\xdb", b"\xc5", b"\xc6"))
            if at >= 0
        ]
        if not found:
            return
        start = min(found)
        width = 2 if data[start] in (0xDA, 0xC5) else 4
        first = start + 1 + width
        size = int.from_bytes(data[start + 1 : first], "big")
        if LONG <= size <= len(data) - first:
            yield first, first + size
            position = first + size
        else:
            position = start + 1


def digest_of(entry: bytes) -> bytes:
    """What two equal entries have in common."""
    return blake2b(entry, digest_size=16).digest()


def difference(base: Sequence[bytes], entries: Sequence[bytes], digests: Sequence[bytes]) -> list[Op]:
    """How the entries are made from those with the digests ``base``, in as few steps as one look gives."""
    places: dict[bytes, int] = {}
    for place in range(len(base) - 1, -1, -1):
        places[base[place]] = place
    ops: list[Op] = []
    next_place = -1
    for entry, digest in zip(entries, digests, strict=True):
        follows = 0 <= next_place < len(base) and base[next_place] == digest
        place = next_place if follows else places.get(digest, -1)
        last: Op | None = ops[-1] if ops else None
        if place >= 0:
            if isinstance(last, tuple) and place == next_place:
                first, number = last
                ops[-1] = (first, number + 1)
            else:
                ops.append((place, 1))
            next_place = place + 1
        elif isinstance(last, list):
            last.append(entry)
        else:
            ops.append([entry])
    return ops


@dataclass(frozen=True, slots=True)
class Assembly:
    """A value that was put together: its bytes' entries, and how many layers they came from."""

    entries: list[bytes]
    layers: int


def assemble(layers: Sequence[Sequence[Op]]) -> Assembly:
    """The entries of the first of some layers, each of which takes entries from the next.

    Raises:
        IntegrityError: They do not fit together.
    """
    size = sum(map(_size, layers[0]))
    result: list[bytes | None] = [None] * size
    wanted: list[_Range] = [(0, size, 0)]
    for ops in layers:
        starts = list(accumulate(map(_size, ops), initial=0))
        below: list[_Range] = []
        for first, end, target in wanted:
            if not 0 <= first <= end <= starts[-1]:
                raise IntegrityError("the parts of a stored value do not fit together")
            _take(ops, starts, (first, end, target), result, below)
        wanted = below
    if wanted or any(entry is None for entry in result):
        raise IntegrityError("the parts of a stored value do not fit together")
    return Assembly([entry for entry in result if entry is not None], len(layers))


def _size(op: Op) -> int:
    return op[1] if isinstance(op, tuple) else len(op)


def _take(
    ops: Sequence[Op],
    starts: Sequence[int],
    wanted: _Range,
    result: list[bytes | None],
    below: list[_Range],
) -> None:
    first, end, target = wanted
    for op, start in zip(ops, starts, strict=False):
        low, high = max(first, start), min(end, start + _size(op))
        if low >= high:
            continue
        place = target + low - first
        if isinstance(op, tuple):
            below.append((op[0] + low - start, op[0] + high - start, place))
        else:
            result[place : place + high - low] = op[low - start : high - start]
