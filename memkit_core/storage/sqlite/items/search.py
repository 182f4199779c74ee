"""Finding items: by vectors, by keywords, by both, or the last changed first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from .... import analysis
from ....errors import UsageError
from ....protocols import FoundItem, ItemFilter, ItemSearch
from ..driver import Connection
from .rows import ITEM, encode, item_of, span
from .warm import Floats, Ints, ItemVectors

# CROSS JOIN keeps SQLite to the order written: the few that are asked for first, never all that there are.
#: BM25: how soon a repeated word stops counting, and how much long texts are held back.
_K1, _B = 1.2, 0.75
#: What a first place is worth beside a tenth in reciprocal rank fusion.
_FUSION: Final = 60
#: Items that are read together while a page is filled.
_CHUNK: Final = 200

_Ranked = tuple[Ints, Floats]


class Space(NamedTuple):
    """A namespace that a search looks into."""

    id: int
    tag: int


def search(
    connection: Connection, warm: Callable[[], ItemVectors], asked: ItemSearch, expired: int | None
) -> tuple[list[FoundItem], list[tuple[int, int, int]]]:
    """The items that were asked for, and (number, ttl, expires_at) of those that expire some day.

    Args:
        expired: What expires by then is left out, None: nothing is.
    """
    if asked.limit < 0 or asked.offset < 0:
        raise UsageError(f"limit and offset must not be negative, they are {asked.limit} and {asked.offset}")
    spaces = _spaces(connection, encode(asked.prefix))
    if not spaces or not asked.limit:
        return [], []
    ranked = _rank(connection, warm, spaces, asked)
    if ranked is None:
        rows = ((row, None) for row in _latest(connection, spaces, asked, expired, skip=True))
        return _page(rows, asked.where, 0 if asked.where is None else asked.offset, asked.limit)
    return _page(
        _ranked_rows(connection, spaces, asked, ranked, expired), asked.where, asked.offset, asked.limit
    )


def _spaces(connection: Connection, prefix: str) -> list[Space]:
    first, behind = span(prefix)
    condition = "namespace >= ? AND namespace < ?" if prefix else "namespace >= ?"
    rows = connection.execute(
        f"SELECT id, tag FROM item_spaces WHERE {condition}", (first, behind) if prefix else (first,)
    )
    return [Space(*row) for row in rows]


def _page(
    rows: Iterator[tuple[Sequence[Any], float | None]], where: ItemFilter | None, offset: int, limit: int
) -> tuple[list[FoundItem], list[tuple[int, int, int]]]:
    kept: list[FoundItem] = []
    expiring: list[tuple[int, int, int]] = []
    for row, score in rows:
        if where is not None and not _fits(row[3], where):
            continue
        if offset:
            offset -= 1
            continue
        item = item_of(row)
        kept.append(FoundItem(item, score))
        if item.ttl is not None and item.expires_at is not None:
            expiring.append((row[0], item.ttl, item.expires_at))
        if len(kept) == limit:
            break
    return kept, expiring


def _fits(value: str, where: ItemFilter) -> bool:
    try:
        return where.matches(json.loads(value))
    except ValueError:
        return True  # it is damaged, which reading the item tells


def _latest(
    connection: Connection,
    spaces: Sequence[Space],
    asked: ItemSearch,
    expired: int | None,
    *,
    skip: bool = False,
    unless: str = "",
) -> Iterator[Sequence[Any]]:
    """Rows of ``ITEM``, the last changed first; with ``skip``, only the page if nothing filters it."""
    values: list[Any]
    if len(spaces) == 1:  # then the index has their order
        tables, values = "items i JOIN item_spaces s ON s.id = i.space WHERE i.space = ?", [spaces[0].id]
    else:
        tables = (
            "json_each(?) j CROSS JOIN item_spaces s ON s.id = j.value"
            " CROSS JOIN items i ON i.space = s.id WHERE 1"
        )
        values = [json.dumps([space.id for space in spaces])]
    if expired is not None:
        tables += " AND (i.expires_at IS NULL OR i.expires_at > ?)"
        values.append(expired)
    statement = f"SELECT {ITEM} FROM {tables}{unless} ORDER BY i.updated_at DESC, i.id DESC"
    if skip and asked.where is None:
        statement += " LIMIT ? OFFSET ?"
        values += [asked.limit, asked.offset]
    yield from connection.execute(statement, values)


def _ranked_rows(
    connection: Connection,
    spaces: Sequence[Space],
    asked: ItemSearch,
    ranked: _Ranked,
    expired: int | None,
) -> Iterator[tuple[Sequence[Any], float | None]]:
    items, scores = ranked
    order = _order(items, scores, None if asked.where or expired else asked.offset + asked.limit)
    for start in range(0, len(order), _CHUNK):
        chosen = order[start : start + _CHUNK]
        numbers = items[chosen].tolist()
        rows = {
            row[0]: row
            for row in connection.execute(
                f"SELECT {ITEM} FROM json_each(?) j CROSS JOIN items i ON i.id = j.value"
                " CROSS JOIN item_spaces s ON s.id = i.space",
                (json.dumps(numbers),),
            )
        }
        for number, score in zip(numbers, scores[chosen].tolist(), strict=True):
            row = rows.get(number)  # None: a vector without its item, which doctor tells
            if row is not None and (expired is None or row[9] is None or row[9] > expired):
                yield row, score
    known = set(items.tolist())
    for row in _latest(connection, spaces, asked, expired):
        if row[0] not in known:
            yield row, None


def _order(items: Ints, scores: Floats, needed: int | None) -> Ints:
    """Places of the best, in order; equal ones the newest first. ``needed``: only so many count."""
    places: Ints = np.arange(len(items))
    if needed is not None and 4 * needed < len(items):
        last = np.partition(scores, len(scores) - needed)[len(scores) - needed]
        places = np.flatnonzero(scores >= last)
        places = places[np.lexsort((-items[places], -scores[places]))]
        rest = np.flatnonzero(scores < last)
        return np.concatenate([places, rest])
    return places[np.lexsort((-items, -scores))]


def _rank(
    connection: Connection, warm: Callable[[], ItemVectors], spaces: Sequence[Space], asked: ItemSearch
) -> _Ranked | None:
    """Items that can be compared with the query, each once, with scores; None without a query."""
    dense = words = None
    if asked.vector is not None and asked.ranking != "keywords":
        dense = _dense(connection, warm(), spaces, asked.vector)
    if asked.text is not None and (asked.ranking != "cosine" or asked.vector is None):
        words = _keywords(connection, spaces, asked.text)
    if dense is None or words is None:
        return words if dense is None else dense
    return _fuse(dense, words)


def _dense(connection: Connection, warm: ItemVectors, spaces: Sequence[Space], vector: Any) -> _Ranked:
    query = np.asarray(vector, dtype=np.float32)
    length = float(np.sqrt(np.dot(query, query))) if query.ndim == 1 else 0.0
    if not 0.0 < length < float("inf"):
        raise UsageError("a query's vector is one-dimensional, finite and not all zero")
    query = query / np.float32(length)
    found: list[_Ranked] = []
    for space in spaces:
        copy = warm.get(connection, space.id, space.tag)
        if copy.parts and copy.parts[0].matrix.shape[1] != len(query):
            raise UsageError(
                f"the query's vector has {len(query)} dimensions, those of the items have"
                f" {copy.parts[0].matrix.shape[1]}"
            )
        found.append(copy.scores(query))
    return np.concatenate([items for items, _ in found]), np.concatenate([scores for _, scores in found])


def _keywords(connection: Connection, spaces: Sequence[Space], text: str) -> _Ranked:
    """Items that have a word of the query: BM25 over these namespaces, divided by its best possible."""
    numbers = json.dumps([space.id for space in spaces])
    size: int = connection.execute(
        "SELECT sum(s.size) FROM json_each(?) j JOIN item_spaces s ON s.id = j.value", (numbers,)
    ).fetchone()[0]
    hits: dict[str, list[tuple[int, int, int]]] = {}
    for term in analysis.query_terms(text):
        hits[term] = connection.execute(
            "SELECT p.item, p.tf, p.len FROM json_each(?) j CROSS JOIN item_postings p"
            " ON p.space = j.value AND p.term = ?",
            (numbers, term),
        ).fetchall()
    lengths = {item: length for rows in hits.values() for item, _, length in rows}
    mean = sum(lengths.values()) / len(lengths) if lengths else 1.0
    totals: dict[int, float] = {}
    mass = 0.0
    for rows in hits.values():
        idf = math.log1p((size - len(rows) + 0.5) / (len(rows) + 0.5)) if len(rows) <= size else 0.0
        mass += idf
        for item, tf, length in rows:
            share = tf * (_K1 + 1) / (tf + _K1 * (1 - _B + _B * length / mean))
            totals[item] = totals.get(item, 0.0) + idf * share
    best = mass * (_K1 + 1) or 1.0
    return (
        np.fromiter(totals, dtype=np.int64, count=len(totals)),
        np.fromiter((total / best for total in totals.values()), dtype=np.float32, count=len(totals)),
    )


def _fuse(dense: _Ranked, words: _Ranked) -> _Ranked:
    """Both rankings in one: the sum of reciprocal ranks, 1 for what is first in both."""
    fused: dict[int, float] = {}
    for items, scores in (dense, words):
        for rank, place in enumerate(_order(items, scores, None).tolist()):
            item = int(items[place])
            fused[item] = fused.get(item, 0.0) + (_FUSION + 1) / (2 * (_FUSION + 1 + rank))
    return (
        np.fromiter(fused, dtype=np.int64, count=len(fused)),
        np.fromiter(fused.values(), dtype=np.float32, count=len(fused)),
    )
