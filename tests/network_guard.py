"""Makes any attempt to reach a network fail, and remembers it. Standard library only.

Run as a script it guards another program: ``python network_guard.py memkit_core.cli demo`` behaves like
``python -m memkit_core.cli demo`` on a machine without a network, and exits with 86 if a socket was tried. A
first argument that ends in ``.py`` is a script's path instead of a module's name.
"""

from __future__ import annotations

import runpy
import socket
import sys
from typing import Any

EXIT_CODE = 86
_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_LOCAL_NAMES = frozenset({None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"})


class NetworkGuard:
    """An audit hook that can be switched on and off; it sees the sockets of every thread."""

    def __init__(self) -> None:
        self.on = False
        self.attempts: list[str] = []
        self._installed = False

    def start(self) -> None:
        """Forget earlier attempts and forbid new ones."""
        if not self._installed:
            sys.addaudithook(self._hook)
            self._installed = True
        self.attempts.clear()
        self.on = True

    def stop(self) -> None:
        """Allow sockets again."""
        self.on = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on or not event.startswith("socket."):
            return
        if event in _CONNECTING:
            refused = args[0].family in (socket.AF_INET, socket.AF_INET6)
            target = args[1]
        elif event in _RESOLVING:
            refused = args[0] not in _LOCAL_NAMES
            target = args[0]
        else:
            return
        if refused:
            self.attempts.append(f"{event} {target!r}")
            raise PermissionError(f"network access in a test: {event} {target!r}")


def main() -> None:
    """Run the module or script named first on the command line with no network."""
    guard = NetworkGuard()
    guard.start()
    program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    sys.path[0] = ""  # the working folder, as for `python -m`, instead of this file's
    code: Any = 0
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code
    if guard.attempts:
        print("\n".join(guard.attempts), file=sys.stderr)
        sys.exit(EXIT_CODE)
    sys.exit(code)


if __name__ == "__main__":
    main()
