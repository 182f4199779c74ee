"""What an application hands in, checked where it does so: an agent's memory that fails later only logs it."""

from __future__ import annotations

from typing import Final, TypeVar

from memkit_core import clean_text
from memkit_core.errors import UsageError

T = TypeVar("T")
#: So many memories, or quotations, are recalled at most.
MOST: Final = 1_000
#: Characters of an id, as all of memkit has it.
_LONGEST: Final = 1_024
_MANY: Final = 1_000_000_000


def an_id(value: object, what: str) -> str:
    """The id itself.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, str) or not value or len(value) > _LONGEST or clean_text(value) != value:
        raise UsageError(
            f"{what} is a non-empty text of at most {_LONGEST:,} characters, without NUL and lone"
            f" surrogates, not {value!r:.80}"
        )
    return value


def a_count(value: object, what: str, *, least: int = 1, most: int = _MANY) -> int:
    """The number itself.

    Raises:
        UsageError: It is no whole number from ``least`` to ``most``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"{what} is a whole number from {least} to {most:,}, not {value!r:.80}")
    return value


def a_budget(value: object) -> int:
    """The token budget itself.

    Raises:
        UsageError: It is none that a recall can keep to.
    """
    return a_count(value, "token_budget", least=50, most=_MANY)


def a_switch(value: object, what: str) -> bool:
    """True or False.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{what} is True or False, not {value!r:.80}")
    return value


def one_of(value: T, what: str, choices: tuple[T, ...]) -> T:
    """The choice itself.

    Raises:
        UsageError: There is no such choice.
    """
    if value not in choices:
        raise UsageError(f"{what} is {' or '.join(map(repr, choices))}, not {value!r:.80}")
    return value
