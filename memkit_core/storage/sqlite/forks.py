"""What open stores do around a fork: nothing is in use at that moment, and the child starts anew."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import Final, Protocol


class ForkAware(Protocol):
    """Something with locks, threads or connections that must not be shared with a child."""

    def before_fork(self) -> None:
        """Come to rest, and stay at rest until one of the other two is called."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Start anew."""
        ...


_members: Final[list[weakref.ref[ForkAware]]] = []
_resting: Final[list[ForkAware]] = []
_lock: Final = threading.Lock()


def register(member: ForkAware) -> None:
    """Call the member's methods around every fork as long as it exists, in the order of registration."""
    with _lock:
        _members[:] = [known for known in _members if known() is not None]
        _members.append(weakref.ref(member))


def _before() -> None:
    _lock.acquire()
    for known in _members:
        member = known()
        if member is not None:
            member.before_fork()
            _resting.append(member)


def _after(*, child: bool) -> None:
    for member in reversed(_resting):
        if child:
            member.after_fork_in_child()
        else:
            member.after_fork_in_parent()
    _resting.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=partial(_after, child=False),
        after_in_child=partial(_after, child=True),
    )
