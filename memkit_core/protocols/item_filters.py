"""Which items a search returns: the one reading of filters that every item store follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..errors import UsageError

#: What a path leads to if there is nothing.
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """A filter as it was written: fields, each with a value or with operators.

    A value that is no object equals exactly (``True`` is not 1, but 1 is 1.0); an object is matched in
    part; a field with full stops is a path unless there is a field of that name. ``$eq $ne $gt $gte $lt
    $lte $in $contains`` and ``$exists`` compare; a field that is not there fulfils ``{"$exists": False}``
    and nothing else. Numbers are ordered among numbers, texts among texts; nothing else has an order.

    Raises:
        UsageError: An operator is unknown, or its operand cannot be.
    """

    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, wanted in cast("Mapping[Any, Any]", self.fields).items():
            if not isinstance(name, str):
                raise UsageError(f"a filter names fields by strings, not by {type(name).__name__}")
            if name.startswith("$"):
                raise UsageError(f"unknown operator {name!r}: a filter begins with a field's name")
            _check(wanted)

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Whether an item with this value is meant."""
        return all(_fulfils(_at(value, name), wanted) for name, wanted in self.fields.items())


def _is_operators(wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return False
    names: list[Any] = list(cast("Any", wanted))
    return any(isinstance(name, str) and name.startswith("$") for name in names)


def _check(wanted: Any) -> None:
    if not isinstance(wanted, Mapping):
        return
    parts: Mapping[Any, Any] = cast("Any", wanted)
    if not _is_operators(parts):
        for part in parts.values():
            _check(part)
        return
    for operator, operand in parts.items():
        if operator not in _OPERATORS:
            raise UsageError(f"unknown operator {operator!r}: there are {' '.join(_OPERATORS)}")
        if operator == "$in" and (isinstance(operand, str) or not isinstance(operand, Sequence)):
            raise UsageError("$in takes a list of values")
        if operator == "$exists" and not isinstance(operand, bool):
            raise UsageError("$exists takes True or False")


def _at(value: Any, name: str) -> Any:
    """What is under a name, or else at the end of the path that it spells."""
    if not isinstance(value, Mapping):
        return _MISSING
    fields = cast("Mapping[str, Any]", value)
    if name in fields:
        return fields[name]
    head, stop, rest = name.partition(".")
    return _at(fields[head], rest) if stop and head in fields else _MISSING


def _fulfils(found: Any, wanted: Any) -> bool:
    if _is_operators(wanted):
        operators = cast("Mapping[str, Any]", wanted)
        return all(_OPERATORS[operator](found, operand) for operator, operand in operators.items())
    if found is _MISSING:
        return False
    if isinstance(wanted, Mapping):
        parts = cast("Mapping[str, Any]", wanted)
        return isinstance(found, Mapping) and all(
            _fulfils(_at(found, name), part) for name, part in parts.items()
        )
    return _equal(found, wanted)


def _equal(one: Any, other: Any) -> bool:
    """Equality as JSON knows it: no number is a truth value, and lists are tuples."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        first, second = cast("Sequence[Any]", one), cast("Sequence[Any]", other)
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        left, right = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    return bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(found: Any, operand: Any) -> bool:
        alike = (_is_number(found) and _is_number(operand)) or (
            isinstance(found, str) and isinstance(operand, str)
        )
        return alike and compare(found, operand)

    return test


def _contains(found: Any, operand: Any) -> bool:
    if isinstance(found, str):
        return isinstance(operand, str) and operand in found
    if isinstance(found, list | tuple):
        return any(_equal(part, operand) for part in cast("Sequence[Any]", found))
    return isinstance(found, Mapping) and isinstance(operand, str) and operand in found


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": lambda found, operand: found is not _MISSING and _equal(found, operand),
    "$ne": lambda found, operand: found is not _MISSING and not _equal(found, operand),
    "$gt": _ordered(lambda found, operand: found > operand),
    "$gte": _ordered(lambda found, operand: found >= operand),
    "$lt": _ordered(lambda found, operand: found < operand),
    "$lte": _ordered(lambda found, operand: found <= operand),
    "$in": lambda found, operand: found is not _MISSING and any(_equal(found, one) for one in operand),
    "$contains": _contains,
    "$exists": lambda found, operand: (found is not _MISSING) is operand,
}
