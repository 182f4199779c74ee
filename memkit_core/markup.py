"""Small tables for notebooks: plain HTML that takes its colours from the page, be it light or dark.

Every text is escaped here, and only here: what people have said is shown, never interpreted.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

MAX_ROWS: Final = 50
#: Longer texts are cut, in characters.
MAX_CELL: Final = 500

#: Notebooks would set text between two dollar signs as a formula.
_CLASSES: Final = "memkit tex2jax_ignore mathjax_ignore"
_CELL: Final = "text-align:left;vertical-align:top"
#: Half transparent, so that the page's own colours stay readable; struck out and underlined for those who do
#: not tell red from green.
_GONE: Final = "background:rgba(248,81,73,.25);text-decoration:line-through"
_NEW: Final = "background:rgba(46,160,67,.25);text-decoration:underline"
#: A word, a run of spaces, or one sign; Chinese and Japanese have no spaces between words.
_IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_PARTS: Final = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+|\s+|[^\w\s]")


class Markup(str):
    """Text that is HTML already. Everything else is escaped."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """A value as HTML text; None is nothing, and long texts are cut."""
    if isinstance(value, Markup):
        return value
    text = "" if value is None else str(value)
    return Markup(html.escape(text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"))


def table(
    title: object, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Iterable[object] = ()
) -> Markup:
    """A title, a table of at most ``MAX_ROWS`` rows (none without rows), and a line for each note."""
    parts = [f'<div class="{_CLASSES}"><p><b>{escaped(title)}</b></p>']
    if rows:
        head = "".join(f'<th style="{_CELL}">{escaped(name)}</th>' for name in columns)
        body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows[:MAX_ROWS])
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    more = [f"… {len(rows) - MAX_ROWS} more"] if len(rows) > MAX_ROWS else []
    parts += [f"<p>{escaped(note)}</p>" for note in (*more, *notes)]
    return Markup("".join(parts) + "</div>")


def joined(*blocks: Markup) -> Markup:
    """Several tables below each other."""
    return Markup("".join(blocks))


def diff(old: str | None, new: str | None) -> Markup:
    """What became of a text: words that are gone struck out, new ones underlined."""
    if old is None or new is None:
        return _marked("del", _GONE, old or "") if new is None else _marked("ins", _NEW, new)
    if len(old) > MAX_CELL or len(new) > MAX_CELL:
        return Markup(f"{_marked('del', _GONE, old)} {_marked('ins', _NEW, new)}")
    return Markup("".join(_pieces(_PARTS.findall(old), _PARTS.findall(new))))


def _pieces(before: Sequence[str], after: Sequence[str]) -> Iterator[Markup]:
    for _, start, end, from_, to in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        gone, new = "".join(before[start:end]), "".join(after[from_:to])
        if gone == new:
            yield escaped(new)
        else:
            yield Markup(_marked("del", _GONE, gone) + _marked("ins", _NEW, new))


def _marked(tag: str, style: str, text: str) -> Markup:
    return Markup(f'<{tag} style="{style}">{escaped(text)}</{tag}>' if text else "")


def _cell(value: object) -> str:
    return f'<td style="{_CELL}">{escaped(value)}</td>'
