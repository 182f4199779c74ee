"""Text in quotes that it cannot leave, for prompts.

Whatever a text holds, its quotation is one line, and JSON reads the text back from it exactly. No
quotation holds an angle bracket, so no text can open or close a fence such as ``</memories>``.
"""

from __future__ import annotations

import json
import re
from typing import Final

#: What JSON leaves as it is, but some reader takes for a fence, a new line, or an order to write backwards:
#: angle brackets in both widths, control characters, Unicode's line ends and its marks of direction.
_UNSAFE: Final = re.compile(
    "[<>\u2039\u203a\uff1c\uff1e\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def quoted(text: str) -> str:
    """A text as a JSON string on one line; harmless text as ``json.dumps`` writes it."""
    return as_json(text)


def as_json(value: object) -> str:
    """Anything that JSON knows, on one line, with the texts in it quoted like that."""
    line = json.dumps(value, ensure_ascii=False)
    return _UNSAFE.sub(_escaped, line) if _UNSAFE.search(line) else line


def inline(text: str) -> str:
    """The same without the quotes around it, and with quotes inside as they are."""
    return quoted(text)[1:-1].replace('\\"', '"')


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
