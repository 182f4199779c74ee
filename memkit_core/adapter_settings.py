"""What an adapter is made with, refused where it is given: a run that goes on would hide it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import UsageError
from .pipeline.ingest import parse_metadata
from .run_users import UserSource, resolve_user
from .types import check_id


def check_settings(
    *,
    user_id: UserSource | None = None,
    agent_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    k: int = 1,
    least: int = 1,
    threshold: float | None = None,
    token_budget: int = 50,
    wait: bool = False,
) -> None:
    """Refuse what no call of the memory would take.

    Args:
        user_id: A function is asked when there is a run.
        least: The lowest ``k``.

    Raises:
        UsageError: One of them is wrong.
    """
    if user_id is not None and not callable(user_id):
        check_id(resolve_user(explicit=user_id), "user_id")
    if agent_id is not None:
        check_id(agent_id, "agent_id")
    parse_metadata(metadata)
    for name, number, lowest in (("k", k, least), ("token_budget", token_budget, 50)):
        if not isinstance(number, int) or isinstance(number, bool) or number < lowest:
            raise UsageError(f"{name} is a whole number of at least {lowest}, not {number!r}")
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        raise UsageError(f"threshold is a relevance from 0 to 1, not {threshold!r}")
    if not isinstance(wait, bool):
        raise UsageError(f"wait is True or False, not {wait!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
