"""Whose memory a run of an agent framework is about: one order of places for all adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from .errors import UsageError

#: What names the user of a run: an id, or a function of its config and runtime (either may be None).
UserSource: TypeAlias = str | Callable[[Mapping[str, Any] | None, object | None], str]

#: Where LangGraph keeps the runtime of a run in its config; nodes get it as an argument of its own.
_RUNTIME: Final = "__pregel_runtime"
_HELP: Final = (
    "no user id: pass user_id=…, or run the graph with context={'user_id': …}"
    " or {'configurable': {'user_id': …}}, or behind a server that authenticates its users"
)


def resolve_user(
    config: Mapping[str, Any] | None = None,
    runtime: object | None = None,
    explicit: UserSource | None = None,
) -> str:
    """The id of the user that a run is for; there is no default.

    The first of these that is there: ``explicit``; ``runtime.context.user_id`` (an attribute or a key);
    ``config["configurable"]["user_id"]``; the user that LangGraph's server has authenticated.

    Args:
        config: The run's ``RunnableConfig``.
        runtime: The run's ``Runtime`` or ``ToolRuntime``; None: the one that the config carries, if any.
        explicit: The id itself, or a function of config and runtime that returns it.

    Raises:
        UsageError: None is there, or the one that comes first is no non-empty text.
    """
    runtime = _runtime(config, runtime)
    if callable(explicit):
        return _checked(explicit(config, runtime), "what the function for user_id returned")
    if explicit is not None:
        return _checked(explicit, "user_id")
    for found, where in (
        (_field(getattr(runtime, "context", None), "user_id"), "runtime.context.user_id"),
        (_configurable(config).get("user_id"), "config['configurable']['user_id']"),
        (_authenticated(config, runtime), "the authenticated user's identity"),
    ):
        if found is not None:
            return _checked(found, where)
    raise UsageError(_HELP)


def authenticated_user(config: Mapping[str, Any] | None, runtime: object | None = None) -> str:
    """The user that LangGraph's server has authenticated, whatever else the run's caller says of itself.

    Pass it as ``user_id`` where callers may set ``configurable`` or the context and are not to be believed::

        create_recall_node(memory, user_id=authenticated_user)

    Raises:
        UsageError: Nobody was authenticated.
    """
    found = _authenticated(config, _runtime(config, runtime))
    if found is None:
        raise UsageError("nobody is authenticated: this needs a LangGraph server with authentication")
    return _checked(found, "the authenticated user's identity")


def _runtime(config: Mapping[str, Any] | None, runtime: object | None) -> object | None:
    return runtime if runtime is not None else _configurable(config).get(_RUNTIME)


def _authenticated(config: Mapping[str, Any] | None, runtime: object | None) -> object | None:
    return next((found for found in _identities(config, runtime) if found is not None), None)


def _identities(config: Mapping[str, Any] | None, runtime: object | None) -> Iterator[object | None]:
    yield _field(getattr(getattr(runtime, "server_info", None), "user", None), "identity")
    configurable = _configurable(config)
    yield _field(configurable.get("langgraph_auth_user"), "identity")
    yield configurable.get("langgraph_auth_user_id")


def _configurable(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found: object = (config or {}).get("configurable")
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _field(holder: object, name: str) -> object | None:
    if isinstance(holder, Mapping):
        return cast("Mapping[str, object]", holder).get(name)
    return getattr(holder, name, None)


def _checked(user_id: object, where: str) -> str:
    # Another id in place of an unusable one could be somebody else's.
    if not isinstance(user_id, str) or not user_id:
        raise UsageError(f"{where} is a non-empty text, not {user_id!r}")
    return user_id
