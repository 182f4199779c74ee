"""No subject reaches a network. Standard library only."""

from __future__ import annotations

import socket
import sys
from typing import Any

_LOCAL = frozenset({None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"})


def forbid_network() -> list[str]:
    """From now on every attempt to leave this machine fails; what was attempted is in the list."""
    attempts: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not event.startswith("socket."):
            return
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            target = args[1]
            refused = args[0].family in (socket.AF_INET, socket.AF_INET6)
            refused = refused and not (target and target[0] in _LOCAL)
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            target, refused = args[0], args[0] not in _LOCAL
        else:
            return
        if refused:
            attempts.append(f"{event} {target!r}")
            raise PermissionError(f"no network in a benchmark: {event} {target!r}")

    sys.addaudithook(hook)
    return attempts
