"""What providers raise when they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class FaultResponse:
    """The HTTP response behind a fault, as far as anybody reads it."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class ProviderFault(Exception):  # noqa: N818 - named for what it stands for, a provider's own error
    """An error as a provider's client raises it, with its HTTP status and response headers."""

    def __init__(self, message: str, *, status_code: int, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status_code
        self.response = FaultResponse(status_code, dict(headers or {}))
        super().__init__(message)


CALL_FAULTS: Final[Mapping[str, Callable[[], Exception]]] = {
    "timeout": lambda: TimeoutError("the request timed out"),
    "reset": lambda: ConnectionResetError("connection reset by peer"),
    "rate_limit": lambda: ProviderFault("rate limit exceeded", status_code=429, headers={"retry-after": "1"}),
    "unauthorized": lambda: ProviderFault("invalid api key", status_code=401),
    "bad_request": lambda: ProviderFault("the context is too long", status_code=400),
    "server_error": lambda: ProviderFault("internal server error", status_code=500),
}


def check_fault(fault: object, known: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for a fault's name that is not known."""
    if fault is not None and fault not in known:
        raise ValueError(f"unknown fault {fault!r}; there are {', '.join(sorted(known))}")
