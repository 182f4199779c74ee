"""What a fact of a user's own kind states beside its text, held against the kind's JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from ..policies import searcher

#: Longest attributes of one fact as JSON, in characters.
_MAX_CHARS: Final = 8_192


def problem_with(attributes: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    """Why attributes do not fit a schema, without their values; None if they do.

    It takes time in proportion to the attributes' length, whatever the schema's regular expressions are.
    """
    if len(json.dumps(attributes, ensure_ascii=False, default=str)) > _MAX_CHARS:
        return "too long"
    error = next(_validator(json.dumps(fields, sort_keys=True)).iter_errors(attributes), None)
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where or 'as a whole'}: {error.validator}"


@lru_cache(maxsize=64)
def _validator(fields: str) -> Any:
    from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

    def pattern(_: Any, expression: str, instance: Any, __: Any) -> Iterator[ValidationError]:
        # Python's own matcher may take years over a short text.
        if isinstance(instance, str) and not searcher(expression)(instance):
            yield ValidationError("it does not match")

    # "regex" would have Python read an expression that a model wrote.
    formats = FormatChecker(tuple(set(FormatChecker.checkers) - {"regex"}))
    validator = cast("Any", validators).extend(Draft202012Validator, {"pattern": pattern})
    return validator(json.loads(fields), format_checker=formats)
