"""Queries and filters as SQL conditions: fixed text, every value bound.

Each condition is 0 or 1, never NULL, so that NOT means what ``filters.matches`` says. Metadata is read by
``json_each`` and never by a JSON path, which would need quoting. What SQLite's JSON cannot tell exactly
(fractions, integers beyond 64 bits) is decided by ``filters.matches`` itself, called from SQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ...filters import (
    RECORD_FIELDS,
    TEXT_FIELDS,
    TIME_FIELDS,
    And,
    Comparison,
    Exists,
    Filter,
    Not,
    Or,
    matches,
    metadata_key,
    parse_filter,
)
from .rows import checksum

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from ...protocols import Query
    from ...types import MemoryRecord, Scope

_COMPARE: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_CONTAINS: Final = (
    "((j.type = 'text' AND instr(j.value, ?) > 0) OR (j.type = 'array' AND EXISTS"
    " (SELECT 1 FROM json_each(j.value) e WHERE e.type = 'text' AND e.value = ?)))"
)
_ICONTAINS: Final = (
    "((j.type = 'text' AND instr(memkit_fold(j.value), ?) > 0) OR (j.type = 'array' AND EXISTS"
    " (SELECT 1 FROM json_each(j.value) e WHERE e.type = 'text' AND memkit_fold(e.value) = ?)))"
)
#: Fields that are not stored as they are read.
_STORED: Final = {"support": "COALESCE(m.support, 'unchecked')"}
Part: TypeAlias = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class _MetadataOnly:
    """As much of a record as a condition on metadata reads."""

    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@lru_cache(maxsize=256)
def _leaf(condition: str) -> Filter:
    name, op, value = json.loads(condition)
    parsed = parse_filter({f"metadata.{name}": {op: value}})
    assert parsed is not None  # it was made from one condition
    return parsed


def _holds(metadata: str, condition: str) -> int:
    record = _MetadataOnly(json.loads(metadata))
    return int(matches(_leaf(condition), cast("MemoryRecord", record)))


def _fold(text: str | None) -> str | None:
    return None if text is None else text.casefold()


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that conditions call, and the one that makes checksums."""
    connection.create_function("memkit_sum", -1, checksum, deterministic=True)
    connection.create_function("memkit_holds", 2, _holds, deterministic=True)
    connection.create_function("memkit_fold", 1, _fold, deterministic=True)


def scope_condition(scope: Scope, owner: int, table: str = "m") -> Part:
    """Inside the owner, and inside the narrowing ids."""
    parts, values = [f"{table}.owner = ?"], [owner]
    parameters: list[Any] = list(values)
    for column, value in scope.narrowing.items():
        parts.append(f"{table}.{column} = ?")
        parameters.append(value)
    return " AND ".join(parts), parameters


def query_condition(query: Query, owner: int) -> Part:
    """All that a query asks of a row ``m`` of ``memories``."""
    sql, parameters = scope_condition(query.scope, owner)
    if query.valid_at is None and query.known_at is None:
        sql += " AND m.retired_at IS NULL"
    else:
        known = query.now if query.known_at is None else query.known_at
        valid = query.now if query.valid_at is None else query.valid_at
        sql += (
            " AND m.recorded_at <= ? AND m.valid_from <= ?"
            " AND (m.retired_at IS NULL OR m.retired_at > ? OR COALESCE((SELECT a.valid_to FROM amendments a"
            " WHERE a.unit = m.unit AND a.until > ? ORDER BY a.until LIMIT 1), m.valid_to) > ?)"
            # Whatever is said later counts from the time on that it speaks of, be it a new text or an end.
            " AND NOT EXISTS (SELECT 1 FROM memories l WHERE l.memory_id = m.memory_id"
            " AND l.revision > m.revision AND l.recorded_at <= ?"
            " AND (l.valid_from <= ? OR (l.deleted_at <= ? AND l.valid_to <= ?)))"
        )
        parameters += [known, valid, known, known, valid, known, valid, known, valid]
    sql += " AND (m.expires_at IS NULL OR m.expires_at > ?)"
    parameters.append(query.now if query.valid_at is None else query.valid_at)
    wanted, values = _wanted(query)
    return sql + wanted, [*parameters, *values]


def version_condition(query: Query, owner: int) -> Part:
    """What a query asks of a version ``m``, whenever it held and whenever it was known."""
    sql, parameters = scope_condition(query.scope, owner)
    wanted, values = _wanted(query)
    return sql + wanted, [*parameters, *values]


def _wanted(query: Query) -> Part:
    sql, parameters = "", list[Any]()
    if query.trusted_only:
        sql += " AND m.trust <> 'untrusted'"
    if query.where is not None:
        where, values = filter_condition(query.where)
        sql += f" AND {where}"
        parameters += values
    return sql, parameters


def filter_condition(parsed: Filter) -> Part:
    """A filter over a row ``m`` of ``memories``; means what ``filters.matches`` means."""
    if isinstance(parsed, And | Or):
        parts = [filter_condition(part) for part in parsed.parts]
        word = " AND " if isinstance(parsed, And) else " OR "
        return f"({word.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]
    if isinstance(parsed, Not):
        sql, values = filter_condition(parsed.part)
        return f"(NOT {sql})", values
    name = parsed.field
    if name in TEXT_FIELDS or name in TIME_FIELDS:
        column = _STORED.get(name, f"m.{RECORD_FIELDS.get(name, name)}")
        return _field_condition(column, parsed, text=name in TEXT_FIELDS)
    return _metadata_condition(metadata_key(name), parsed)


def _field_condition(column: str, leaf: Comparison | Exists, *, text: bool) -> Part:
    if isinstance(leaf, Exists):
        return f"({column} IS {'NOT ' if leaf.present else ''}NULL)", []
    op, value = leaf.op, leaf.value
    if op in ("ne", "nin"):
        sql, values = _equals(column, value, text=text)
        return f"(NOT {sql})", values
    if op in ("eq", "in"):
        return _equals(column, value, text=text)
    # A text field holds strings, a time field instants (the filter saw to it); nothing else can match.
    if text and not isinstance(value, str):
        return "0", []
    if op == "contains":
        return f"COALESCE(instr({column}, ?) > 0, 0)", [value]
    if op == "icontains":
        return f"COALESCE(instr(memkit_fold({column}), ?) > 0, 0)", [value.casefold()]
    return f"COALESCE({column} {_COMPARE[op]} ?, 0)", [value]


def _equals(column: str, value: Any, *, text: bool) -> Part:
    wanted: tuple[Any, ...] = cast("Any", value) if isinstance(value, tuple) else (value,)
    usable = [v for v in wanted if isinstance(v, str if text else int)]
    if not usable:
        return "0", []
    if len(usable) == 1:
        return f"({column} IS ?)", usable
    return f"COALESCE({column} IN (SELECT value FROM json_each(?)), 0)", [_json(usable)]


def _metadata_condition(key: str, leaf: Comparison | Exists) -> Part:
    negated = isinstance(leaf, Comparison) and leaf.op in ("ne", "nin")
    if isinstance(leaf, Exists):
        test: Part = ("1", [])
        negated = not leaf.present
    else:
        op = {"ne": "eq", "nin": "in"}.get(leaf.op, leaf.op)
        test = _metadata_test(key, op, leaf.value)
    sql = f"EXISTS (SELECT 1 FROM json_each(m.metadata) j WHERE j.key = ? AND {test[0]})"
    return (f"(NOT {sql})" if negated else sql), [key, *test[1]]


def _metadata_test(key: str, op: str, value: Any) -> Part:
    if op == "icontains":
        return _ICONTAINS, [value.casefold(), value.casefold()]
    if op == "contains":
        return _contains_test(key, value)
    if op == "in":
        return _any_test(key, value)
    if value is None or isinstance(value, bool):
        return "(j.type = ?)", [_json_type(value)]
    sign = _COMPARE.get(op, "=")
    if isinstance(value, str):
        return f"(j.type = 'text' AND j.value {sign} ?)", [value]
    exact = _json([key, op, value])
    if isinstance(value, float):
        return "(j.type IN ('integer', 'real') AND memkit_holds(m.metadata, ?))", [exact]
    sql = (
        f"(CASE WHEN j.type = 'integer' AND typeof(j.value) = 'integer' THEN j.value {sign} ?"
        " WHEN j.type IN ('integer', 'real') THEN memkit_holds(m.metadata, ?) ELSE 0 END)"
    )
    return sql, [value, exact]


def _contains_test(key: str, value: Any) -> Part:
    if isinstance(value, str):
        return _CONTAINS, [value, value]
    if value is None or isinstance(value, bool):
        return (
            "(j.type = 'array' AND EXISTS (SELECT 1 FROM json_each(j.value) e WHERE e.type = ?))",
            [_json_type(value)],
        )
    return "(j.type = 'array' AND memkit_holds(m.metadata, ?))", [_json([key, "contains", value])]


def _any_test(key: str, wanted: tuple[Any, ...]) -> Part:
    texts = [v for v in wanted if isinstance(v, str)]
    types = sorted({_json_type(v) for v in wanted if v is None or isinstance(v, bool)})
    numbers = [v for v in wanted if isinstance(v, int | float) and not isinstance(v, bool)]
    sql, values = "(0", list[Any]()
    if texts:
        sql += " OR (j.type = 'text' AND j.value IN (SELECT value FROM json_each(?)))"
        values.append(_json(texts))
    if types:
        sql += " OR j.type IN (SELECT value FROM json_each(?))"
        values.append(_json(types))
    if numbers:
        sql += " OR (j.type IN ('integer', 'real') AND memkit_holds(m.metadata, ?))"
        values.append(_json([key, "in", numbers]))
    return sql + ")", values


def _json_type(value: bool | None) -> str:
    return "null" if value is None else "true" if value else "false"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
