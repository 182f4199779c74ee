"""A user's namespace: any id becomes one label, and is read back from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from memkit_core.errors import UsageError

_TEXT: Final = "user:"
_NUMBER: Final = "int:"
#: What a label may not hold, what would be a wildcard or an escape in it, and what nobody would see.
_ESCAPED: Final = re.compile(r"[%.*\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%([0-9A-F]{2})")


def user_namespace(label: str, user_id: str | int) -> tuple[str, ...]:
    """The namespace of one user's items of one kind: ``("memories", "user:alice@example%2Ecom")``.

    Two users never share one: ids differ if they differ in a byte, and the integer 1 is not the text "1".

    Args:
        label: What is kept there: a label of its own, without full stops and NUL.
        user_id: Any non-empty text, or an integer.

    Raises:
        UsageError: The label or the id cannot be one.
    """
    if not isinstance(label, str) or not label or "." in label or "\0" in label:
        raise UsageError(f"a namespace's label is a text without full stops and NUL, not {label!r}")
    return (label, user_label(user_id))


def user_label(user_id: str | int) -> str:
    """The last label of ``user_namespace``, for templates that are filled in from a run's configuration.

    Raises:
        UsageError: The id is neither a non-empty text nor an integer.
    """
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        return f"{_NUMBER}{user_id}"
    if not isinstance(user_id, str) or not user_id:
        raise UsageError(f"a user id is a non-empty text or an integer, not {user_id!r}")
    try:
        user_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError("a user id holds a lone surrogate, which is not text") from error
    return _TEXT + _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", user_id)


def user_of(namespace: Sequence[str]) -> str | int:
    """The user id that ``user_namespace`` made this namespace, or one that begins with it, from.

    Raises:
        UsageError: It is no user's namespace.
    """
    label = namespace[1] if len(namespace) > 1 else ""
    found: str | int | None = None
    if label.startswith(_TEXT):
        found = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), label.removeprefix(_TEXT))
    elif re.fullmatch(r"-?[0-9]{1,4000}", label.removeprefix(_NUMBER)) and label.startswith(_NUMBER):
        found = int(label.removeprefix(_NUMBER))
    if found is None or found == "" or user_label(found) != label:
        raise UsageError(
            f"{tuple(namespace)!r} is no user's namespace: user_namespace(label, user_id) makes one"
        )
    return found
