"""What a question of CrewAI's looks for among an owner's memories, as a filter of memkit's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memkit_core import And, Contains, Eq, Exists, Gte, In, Lt, Ne, Or
from memkit_core.filters import Filter

from .records import CATEGORIES, PRIVATE, SCOPE, SOURCE, path

_SCOPE: Final = f"metadata.{SCOPE}"
#: The character behind the slash: between ``/a/`` and ``/a0`` is what begins with ``/a/``.
_BEHIND_SLASH: Final = chr(ord("/") + 1)


def saved_here() -> Filter:
    """What was saved by way of CrewAI, believed or not."""
    return And(Exists(_SCOPE), In("trust", ["trusted", "untrusted"]))


def below(scope: str | None) -> Filter | None:
    """What lies at a path or below it; None: anything."""
    top = path(scope)
    if top == "/":
        return None
    inside = And(Gte(_SCOPE, f"{top}/"), Lt(_SCOPE, f"{top}{_BEHIND_SLASH}"))
    return Or(Eq(_SCOPE, top), inside)


def in_categories(categories: Sequence[str] | None) -> Filter | None:
    """What has one of these at least; None: anything."""
    return Or(*(Contains(f"metadata.{CATEGORIES}", name) for name in categories)) if categories else None


def shown_to(source: str | None) -> Filter:
    """What is not private, or is the source's own."""
    public = Ne(f"metadata.{PRIVATE}", True)
    return public if source is None else Or(public, Eq(f"metadata.{SOURCE}", source))


def believed() -> Filter:
    """What is trusted, and what CrewAI's agents have saved, which in a user's memory is not."""
    return Or(Eq("trust", "trusted"), saved_here())


def all_of(*conditions: Filter | None) -> Filter | None:
    """What fulfils every condition that there is."""
    given = [condition for condition in conditions if condition is not None]
    return And(*given) if given else None
