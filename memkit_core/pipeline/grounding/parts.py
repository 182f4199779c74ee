"""Parts of large numbers in words: half a million, zweieinhalb Millionen, tres millones y medio. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from .words import Token

#: Words that multiply what stands before them.
SCALES: Final = {
    **dict.fromkeys("hundred hundert cien centenar hunderte".split(), 100),
    **dict.fromkeys("thousand mil tausend millar".split(), 1_000),
    **dict.fromkeys("million millions millon millones millionen".split(), 10**6),
    **dict.fromkeys("billion billions milliarde milliarden".split(), 10**9),
    **dict.fromkeys("dozen docena docenas dutzend".split(), 12),
}
_SCALE: Final = f"(?P<scale>{'|'.join(sorted(SCALES, key=len, reverse=True))})"
_FORMS: Final = tuple(
    (re.compile(rf"{form}(?= |$)"), Decimal(part))
    for form, part in (
        (rf"(?:an? |one )?half (?:of )?(?:an? )?{_SCALE}", "0.5"),
        (rf"medi[oa] {_SCALE}", "0.5"),
        (rf"(?:eine?[mnrs]? )?halbe?[mnrs]? {_SCALE}", "0.5"),
        (rf"(?:an? |one )?quarter (?:of )?(?:an? )?{_SCALE}", "0.25"),
        (rf"three quarters (?:of )?(?:an? )?{_SCALE}", "0.75"),
        (rf"(?P<count>[^ ]+) and a half {_SCALE}", "0.5"),
        (rf"(?P<count>[^ ]+) {_SCALE} y medi[oa]", "0.5"),
        (rf"(?P<count>[^ ]+)einhalb(?: {_SCALE})?", "0.5"),
        (rf"anderthalb(?: {_SCALE})?", "1.5"),
        (r"(?:eine )?viertelmillion", "250000"),
    )
)
_BEGIN: Final = frozenset(
    "half medio media halb halbe halber halbes halben halbem quarter quarters anderthalb"
    " viertelmillion".split()
)
_WORDS: Final = 7


def begins_part(key: str) -> bool:
    """Whether a word that is no number may begin a part of one."""
    return key in _BEGIN or key.endswith("einhalb")


def part_at(
    tokens: Sequence[Token], place: int, cardinal: Callable[[str], int | None]
) -> tuple[Decimal, int] | None:
    """The value of such an expression that begins at a place, and the place behind it."""
    keys = [token.key for token in tokens[place : place + _WORDS]]
    if not any(begins_part(key) for key in keys):
        return None
    shown = " ".join(keys)
    for form, part in _FORMS:
        match = form.match(shown)
        if match is None:
            continue
        found = match.groupdict()
        count = cardinal(found["count"]) if "count" in found else 0
        if count is not None:
            scale = SCALES.get(found.get("scale") or "", 1)
            return (count + part) * scale, place + match[0].count(" ") + 1
    return None
