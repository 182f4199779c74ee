"""One filter language for every verb and every backend.

A filter is a small tree of conditions on a memory's fields and metadata. It narrows inside a scope and
can never widen it. Users write a dict, or combine the classes below:

    {"topic": "work", "created_at": {"gte": "2026-01-01"}}
    {"OR": [{"priority": {"gt": 3}}, {"NOT": {"tags": {"contains": "old"}}}]}
    And(Eq("topic", "work"), Gte("created_at", datetime(2026, 1, 1, tzinfo=UTC)))

Semantics, the same in every backend: logic is two-valued; a condition on a missing key is false, except
``ne`` and ``nin``, which are exactly the negations of ``eq`` and ``in``. ``True`` is not ``1``. Numbers
compare with numbers, strings with strings (by code point), times with times; anything else is false.
``contains`` is a substring of a string or a member of a list; ``icontains`` is the same after case folding.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, cast

from .errors import UsageError
from .types import MemoryRecord, check_text, parse_time

Scalar: TypeAlias = str | int | float | bool | None

#: Fields of the memory itself; every other name is a metadata key (``metadata.NAME`` says so explicitly).
TEXT_FIELDS: Final = frozenset(
    "id user_id agent_id run_id actor_id kind memory_type origin trust support memory".split()
)
TIME_FIELDS: Final = frozenset({"created_at", "updated_at", "event_time", "expires_at"})
FIELDS: Final = TEXT_FIELDS | TIME_FIELDS
#: Where a field lives in ``MemoryRecord`` if not under its own name.
RECORD_FIELDS: Final = {"id": "memory_id", "memory": "text", "updated_at": "recorded_at"}

MAX_NODES: Final = 256
MAX_DEPTH: Final = 16
MAX_LIST: Final = 1_000
_PREFIX: Final = "metadata."
_MAX_INT: Final = 2**63 - 1


def is_field(name: str) -> bool:
    """Whether ``name`` is a field of the memory itself, not a metadata key."""
    return name in FIELDS


def metadata_key(name: str) -> str:
    """The metadata key that a filter's field name means."""
    return name.removeprefix(_PREFIX)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition on one field. Use a subclass."""

    field: str
    value: Any
    op: ClassVar[str] = ""

    def __post_init__(self) -> None:
        _check_field(self.field)
        value = self.value
        if self.field in TIME_FIELDS:
            value = _time_value(self.field, self.op, value)
        elif self.op in ("in", "nin"):
            value = _list_value(self.field, self.op, value)
        else:
            value = _scalar(self.field, self.op, value)
        if self.op in ("gt", "gte", "lt", "lte") and (value is None or isinstance(value, bool)):
            raise UsageError(f"filter {self.field!r}: {self.op} needs a number, a string or a time")
        if self.op == "icontains" and not isinstance(value, str):
            raise UsageError(f"filter {self.field!r}: icontains needs a string")
        object.__setattr__(self, "value", value)


class Eq(Comparison):
    """Equal. ``Eq(f, None)`` matches a stored null, not a missing key."""

    op = "eq"


class Ne(Comparison):
    """Not equal, or missing."""

    op = "ne"


class Gt(Comparison):
    """Greater."""

    op = "gt"


class Gte(Comparison):
    """Greater or equal."""

    op = "gte"


class Lt(Comparison):
    """Less."""

    op = "lt"


class Lte(Comparison):
    """Less or equal."""

    op = "lte"


class In(Comparison):
    """Equal to one of the values; an empty list matches nothing."""

    op = "in"


class Nin(Comparison):
    """Equal to none of the values, or missing."""

    op = "nin"


class Contains(Comparison):
    """A string that has the value as a substring, or a list that has it as a member."""

    op = "contains"


class IContains(Comparison):
    """``Contains`` after case folding both sides."""

    op = "icontains"


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether the field is present (``present=False``: absent). A stored null is present."""

    field: str
    present: bool = True

    def __post_init__(self) -> None:
        _check_field(self.field)
        if not isinstance(self.present, bool):
            raise UsageError(f"filter {self.field!r}: exists needs True or False")


@dataclass(frozen=True, slots=True, init=False)
class And:
    """All of the conditions."""

    parts: tuple[Filter, ...]

    def __init__(self, *parts: Filter) -> None:
        object.__setattr__(self, "parts", _check_parts("AND", parts))


@dataclass(frozen=True, slots=True, init=False)
class Or:
    """At least one of the conditions."""

    parts: tuple[Filter, ...]

    def __init__(self, *parts: Filter) -> None:
        object.__setattr__(self, "parts", _check_parts("OR", parts))


@dataclass(frozen=True, slots=True)
class Not:
    """Exactly where the condition is false."""

    part: Filter

    def __post_init__(self) -> None:
        _check_parts("NOT", (self.part,))


Filter: TypeAlias = Comparison | Exists | And | Or | Not

_COMPARISONS: Final[dict[str, type[Comparison]]] = {
    c.op: c for c in (Eq, Ne, Gt, Gte, Lt, Lte, In, Nin, Contains, IContains)
}
OPERATORS: Final = (*_COMPARISONS, "exists")
_LOGIC: Final = ("AND", "OR", "NOT")


def parse_filter(filters: object) -> Filter | None:
    """The filter that a caller's ``filters=`` argument means; None for None and ``{}``.

    Raises:
        UsageError: It is not a filter: unknown key or operator, wrong value type, too large or too deep.
    """
    if filters is None:
        return None
    if isinstance(filters, Comparison | Exists | And | Or | Not):
        parsed: Filter | None = filters
    elif isinstance(filters, Mapping):
        parsed = _parse_mapping(cast("Mapping[object, object]", filters), 1) if filters else None
    else:
        raise UsageError(
            "filters must be a dict such as {'topic': 'work'} or a memkit_core.filters object, "
            f"not {type(filters).__name__}"
        )
    if parsed is not None:
        _check_size(parsed)
    return parsed


def _parse_mapping(mapping: Mapping[object, object], depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise UsageError(f"filters are nested deeper than {MAX_DEPTH} levels")
    if not mapping:
        raise UsageError("an empty condition {} inside filters: it would match everything")
    parts: list[Filter] = []
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise UsageError(f"filter keys are strings, not {type(key).__name__}")
        if key in _LOGIC:
            parts.append(_parse_logic(key, value, depth))
        else:
            parts.extend(_parse_field(key, value))
    return parts[0] if len(parts) == 1 else And(*parts)


def _parse_logic(key: str, value: Any, depth: int) -> Filter:
    if key == "NOT" and isinstance(value, Mapping):
        return Not(_parse_mapping(cast("Mapping[object, object]", value), depth + 1))
    if not isinstance(value, list | tuple) or not value:
        raise UsageError(f"{key} takes a non-empty list of conditions")
    parts: list[Filter] = []
    for item in cast("Sequence[object]", value):
        if isinstance(item, Comparison | Exists | And | Or | Not):
            parts.append(item)
        elif isinstance(item, Mapping):
            parts.append(_parse_mapping(cast("Mapping[object, object]", item), depth + 1))
        else:
            raise UsageError(f"{key} takes conditions (dicts), not {type(item).__name__}")
    if key == "AND":
        return And(*parts)
    # NOT over a list says that none of the conditions holds.
    return Or(*parts) if key == "OR" else Not(Or(*parts))


def _parse_field(name: str, value: Any) -> Iterator[Filter]:
    if not isinstance(value, Mapping):
        if isinstance(value, list | tuple | set | frozenset):
            raise UsageError(f"filter {name!r}: write {{'in': [...]}} to match one of several values")
        yield Eq(name, value)
        return
    if not value:
        raise UsageError(f"filter {name!r}: an empty condition; give an operator such as 'eq'")
    for op, operand in cast("Mapping[str, Any]", value).items():
        if op == "exists":
            yield Exists(name, operand)
        elif op in _COMPARISONS:
            yield _COMPARISONS[op](name, operand)
        else:
            raise UsageError(
                f"filter {name!r}: unknown operator {op!r}{_hint(str(op), OPERATORS)}; "
                f"operators are {', '.join(OPERATORS)}"
            )


def _check_field(name: object) -> None:
    if not isinstance(name, str) or not name or name == _PREFIX:
        raise UsageError("a filter's field must be a non-empty string")
    check_text(name, "a filter's field", max_chars=256)
    if name in FIELDS or name.startswith(_PREFIX):
        return
    if name.startswith("$") or name.upper() in _LOGIC or name in OPERATORS:
        raise UsageError(
            f"unknown filter key {name!r}; logic is AND, OR, NOT, and operators stand inside a field: "
            "{'topic': {'eq': 'work'}}"
        )
    squashed = name.replace("-", "_").replace("_", "").casefold()
    for known in sorted(FIELDS):
        if known.replace("_", "") == squashed and known != name:
            raise UsageError(
                f"unknown filter key {name!r}: did you mean {known!r}? "
                f"Write 'metadata.{name}' for a metadata key of that name"
            )


def check_known_keys(parsed: Filter | None, known: Collection[str]) -> None:
    """Raise if a bare key is neither a field nor a metadata key that the store has ever seen.

    ``metadata.NAME`` is never checked: it says that the key may be absent.

    Raises:
        UsageError: With the nearest name, if there is one.
    """
    for name in sorted(bare_keys(parsed)):
        if name not in known:
            raise UsageError(
                f"unknown filter key {name!r}{_hint(name, sorted(FIELDS))}: no memory has had such a "
                f"metadata key; fields are {', '.join(sorted(FIELDS))}. "
                f"Write 'metadata.{name}' for a key that may be absent"
            )


def bare_keys(parsed: Filter | None) -> frozenset[str]:
    """The metadata keys that a filter names without ``metadata.`` before them."""
    if parsed is None:
        return frozenset()
    names = (node.field for node in walk(parsed) if isinstance(node, Comparison | Exists))
    return frozenset(n for n in names if n not in FIELDS and not n.startswith(_PREFIX))


def walk(parsed: Filter) -> Iterator[Filter]:
    """Every node of the tree, the root first."""
    stack = [parsed]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, And | Or):
            stack.extend(node.parts)
        elif isinstance(node, Not):
            stack.append(node.part)


def matches(parsed: Filter | None, record: MemoryRecord) -> bool:
    """Whether a record satisfies the filter: the definition that every backend must reproduce."""
    if parsed is None:
        return True
    if isinstance(parsed, And):
        return all(matches(part, record) for part in parsed.parts)
    if isinstance(parsed, Or):
        return any(matches(part, record) for part in parsed.parts)
    if isinstance(parsed, Not):
        return not matches(parsed.part, record)
    present, stored = _read(parsed.field, record)
    if isinstance(parsed, Exists):
        return present is parsed.present
    negated = parsed.op in ("ne", "nin")
    if not present:
        return negated
    return _TESTS[parsed.op](stored, parsed.value) is not negated


def _read(name: str, record: MemoryRecord) -> tuple[bool, Any]:
    if name in FIELDS:
        value = getattr(record, RECORD_FIELDS.get(name, name))
        return value is not None, value  # a field that is not set is missing, never null
    key = metadata_key(name)
    return key in record.metadata, record.metadata.get(key)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "null" if value is None else "other"


def _equal(stored: Any, value: Any) -> bool:
    return _kind(stored) == _kind(value) != "other" and bool(stored == value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(stored: Any, value: Any) -> bool:
        return (
            _kind(stored) == _kind(value) and _kind(stored) in ("number", "string") and compare(stored, value)
        )

    return test


def _contains(stored: Any, value: Any) -> bool:
    if isinstance(stored, str):
        return isinstance(value, str) and value in stored
    return isinstance(stored, list) and any(_equal(item, value) for item in cast("list[object]", stored))


def _icontains(stored: Any, value: Any) -> bool:
    wanted = value.casefold()
    if isinstance(stored, str):
        return wanted in stored.casefold()
    return isinstance(stored, list) and any(
        isinstance(item, str) and item.casefold() == wanted for item in cast("list[object]", stored)
    )


_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": _equal,
    "ne": _equal,
    "in": lambda stored, values: any(_equal(stored, value) for value in values),
    "nin": lambda stored, values: any(_equal(stored, value) for value in values),
    "gt": _ordered(lambda a, b: a > b),
    "gte": _ordered(lambda a, b: a >= b),
    "lt": _ordered(lambda a, b: a < b),
    "lte": _ordered(lambda a, b: a <= b),
    "contains": _contains,
    "icontains": _icontains,
}


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _check_parts(what: str, parts: Sequence[object]) -> tuple[Filter, ...]:
    if not parts:
        raise UsageError(f"{what} needs at least one condition")
    for part in parts:
        if not isinstance(part, Comparison | Exists | And | Or | Not):
            raise UsageError(f"{what} takes filter conditions, not {type(part).__name__}")
    return tuple(parts)  # type: ignore[arg-type]


def _check_size(parsed: Filter) -> None:
    level: list[Filter] = [parsed]
    nodes = depth = 0
    while level:
        depth += 1
        nodes += len(level)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise UsageError(f"filters have over {MAX_NODES} conditions or {MAX_DEPTH} levels")
        level = [
            part
            for node in level
            for part in (
                node.parts if isinstance(node, And | Or) else (node.part,) if isinstance(node, Not) else ()
            )
        ]


def _scalar(name: str, op: str, value: Any) -> Scalar:
    if isinstance(value, str):
        return check_text(value, f"filter {name!r}", max_chars=65_536)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _MAX_INT:
            raise UsageError(f"filter {name!r}: integers go up to {_MAX_INT}")
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise UsageError(f"filter {name!r}: NaN and infinity compare with nothing")
        return value
    raise UsageError(
        f"filter {name!r}: {op} takes a string, number, bool or None, not {type(value).__name__}"
    )


def _list_value(name: str, op: str, value: Any) -> tuple[Scalar, ...]:
    if isinstance(value, str) or not isinstance(value, Collection) or isinstance(value, Mapping):
        raise UsageError(f"filter {name!r}: {op} takes a list of values")
    values = cast("Collection[object]", value)
    if len(values) > MAX_LIST:
        raise UsageError(f"filter {name!r}: {op} takes at most {MAX_LIST} values")
    return tuple(_scalar(name, op, item) for item in values)


def _time_value(name: str, op: str, value: Any) -> Any:
    if op in ("in", "nin"):
        if isinstance(value, str) or not isinstance(value, Collection):
            raise UsageError(f"filter {name!r}: {op} takes a list of times")
        return tuple(parse_time(item, f"filter {name!r}") for item in cast("Collection[object]", value))
    if op in ("contains", "icontains"):
        raise UsageError(f"filter {name!r}: a time has no {op}; use gte and lt")
    return parse_time(value, f"filter {name!r}")
