"""Values to bytes and back: only types on a list are made again, whatever the bytes say."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from memkit_core.errors import IntegrityError, UsageError

#: The forms that are written. Others, such as pickle and LangChain's JSON, can run code and are never read.
_FORMS: Final = frozenset(("null", "bytes", "bytearray", "msgpack"))


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serialiser with a closed list of types.

    Args:
        allow: Types of your own that may be made again from a checkpoint, as classes or as (module, name).

    Raises:
        UsageError: Something in ``allow`` is neither.
    """

    def __init__(self, allow: Iterable[type | tuple[str, str]] = ()) -> None:
        names = [_name_of(allowed) for allowed in allow]
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=names or None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value that was serialised.

        Raises:
            UsageError: It is, or holds, of a type that is not on the list; nothing was made of it.
            IntegrityError: The bytes are in no form that is written.
        """
        if data[0] not in _FORMS:
            raise IntegrityError(f"a value of a checkpoint has the form {data[0]!r}, which is never written")
        with _Watch() as blocked:
            try:
                value = super().loads_typed(data)
            except Exception as error:  # whatever a type that is allowed makes of forged bytes
                raise IntegrityError("a value of a checkpoint cannot be read") from error
        if blocked:
            module, name = blocked[0]
            raise UsageError(
                f"a checkpoint holds a {module}.{name}, which is not on the list of allowed types:"
                f" MemkitSaver(…, allow=[({module!r}, {name!r})])"
            )
        return value


def _name_of(allowed: type | tuple[str, str]) -> tuple[str, ...]:
    if isinstance(allowed, type):
        return allowed.__module__, allowed.__name__
    parts: object = allowed
    match parts:
        case (str(module), str(name)):
            return module, name
        case _:
            raise UsageError(f"allow lists classes or (module, name), not {allowed!r}")


class _Blocked(threading.local):
    """The types that were refused while this thread reads a value; None while it reads none."""

    names: list[tuple[str, str]] | None = None


_blocked: Final = _Blocked()
_listening = threading.Lock()
_listeners: Final[list[object]] = []


def _note(event: SerdeEvent) -> None:
    if _blocked.names is not None and event["kind"] in ("msgpack_blocked", "msgpack_method_blocked"):
        _blocked.names.append((event["module"], event["name"]))


class _Watch:
    """Collects the types that LangGraph's serialiser refuses, which it otherwise only logs."""

    def __enter__(self) -> list[tuple[str, str]]:
        if not _listeners:
            with _listening:
                if not _listeners:
                    _listeners.append(register_serde_event_listener(_note))
        self._outer, found = _blocked.names, list[tuple[str, str]]()
        _blocked.names = found
        return found

    def __exit__(self, *_: object) -> None:
        _blocked.names = self._outer
