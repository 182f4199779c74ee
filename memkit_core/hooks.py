"""What your own code sees of a change before it is committed: a ``Proposal``, to keep, edit or veto."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast

from .errors import ConfigError
from .types import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One change that an ``add`` is about to make. ``dataclasses.replace`` makes the edited copy.

    Attributes:
        operation: ADD, UPDATE or DELETE.
        text: What would be remembered; of a DELETE what would be forgotten. May be edited.
        previous_text: What the memory says now, for an UPDATE.
        kind, metadata, attributes: May be edited; a kind must be a known one.
        expires_at: From then on it is no longer found. May be edited.
        event_time: When it happened, if the text says so.
        memory_id: The memory that would be changed, None for an ADD.
        user_id, agent_id, run_id: Whose it is. ``actor_id``: who said it. ``origin``: what said it.
        support: Whether the cited messages bear it out.
        sources: Ids of the cited messages. ``cited``: their texts.
        reason: The model's, for an UPDATE or a DELETE.
    """

    operation: Literal["ADD", "UPDATE", "DELETE"]
    text: str
    previous_text: str | None = None
    kind: str = "other"
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expires_at: datetime | None = None
    event_time: datetime | None = None
    memory_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    actor_id: str | None = None
    origin: str = "user"
    support: Support = "unchecked"
    sources: tuple[str, ...] = ()
    cited: tuple[str, ...] = ()
    reason: str = ""


#: The fields that a hook may change.
EDITABLE: Final = ("text", "kind", "metadata", "attributes", "expires_at")

Hook: TypeAlias = Callable[[Proposal], Proposal | Awaitable[Proposal | None] | None]


def hook_name(hook: Hook) -> str:
    """What a hook is called in reports."""
    inner = hook.func if isinstance(hook, functools.partial) else hook
    return str(getattr(inner, "__name__", type(inner).__name__))


def is_async(hook: Hook) -> bool:
    """Whether calling it makes a coroutine, as far as that can be seen without calling it."""
    inner: Any = hook.func if isinstance(hook, functools.partial) else hook
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def needs_loop(hooks: Sequence[Hook]) -> bool:
    """Whether one of them is async, so that no add can end in the background."""
    return any(is_async(hook) for hook in hooks)


def check_hooks(hooks: Sequence[Hook], *, may_suspend: bool) -> tuple[Hook, ...]:
    """The hooks themselves.

    Raises:
        ConfigError: One cannot be called, or is a coroutine function where only sync code runs.
    """
    given: object = hooks
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigError(f"hooks is a list of callables, not {type(given).__name__}")
    for hook in cast("Sequence[object]", given):
        if not callable(hook):
            raise ConfigError(f"a hook is called with a Proposal; {type(hook).__name__} cannot be called")
        if not may_suspend and is_async(cast("Hook", hook)):
            raise ConfigError(
                f"the hook {hook_name(cast('Hook', hook))} is async, which needs AsyncMemory: "
                "Memory takes plain functions"
            )
    return tuple(hooks)
