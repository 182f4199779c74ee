"""Which failures of a model's call may pass by themselves, and how long a provider asks to wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from ..errors import ModelTimeoutError

_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_LOCKED_OUT: Final = frozenset({401, 402, 403})
_PERMANENT_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
#: Errors of providers' clients and of what they are built on that tell no status.
_NAMES: Final = frozenset(
    {
        "APIConnectionError", "APITimeoutError", "Aborted", "ChunkedEncodingError", "ConnectError",
        "ConnectTimeout", "ConnectTimeoutError", "ConnectionClosedError", "ConnectionError",
        "DeadlineExceeded", "EndpointConnectionError", "GatewayTimeout", "InternalServerError",
        "OverloadedError", "ProtocolError", "RateLimitError", "ReadTimeoutError", "ResourceExhausted",
        "ServerError", "ServiceUnavailable", "ServiceUnavailableError", "ThrottlingException", "Timeout",
        "TooManyRequests", "TransportError",
    }
)  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later.

    A status decides if there is one: 408, 409, 425, 429 and 5xx but 501 pass, other ones (a refused key,
    a bad request) do not. Without one it is the class: timeouts and broken connections pass.
    """
    for one in _chain(error):
        status = status_of(one)
        if status is not None:
            passing = status in _TRANSIENT or (500 <= status < 600 and status != 501)
            return passing and getattr(one, "code", None) not in _PERMANENT_CODES
        if isinstance(one, TimeoutError | ConnectionError | ModelTimeoutError):
            return True
        if any(kind.__name__ in _NAMES for kind in type(one).__mro__):
            return True
    return False


def locks_out(error: BaseException) -> bool:
    """Whether the provider turns away every call, be it for a wrong key or an unpaid bill."""
    for one in _chain(error):
        if status_of(one) in _LOCKED_OUT or getattr(one, "code", None) in _PERMANENT_CODES:
            return True
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, wherever the provider's client keeps it."""
    response: Any = getattr(error, "response", None)
    found: list[Any] = [
        getattr(error, name, None) for name in ("status_code", "http_status", "status", "code")
    ]
    found.append(getattr(response, "status_code", None))
    if isinstance(response, Mapping):  # botocore
        metadata = cast("Mapping[str, Any]", response).get("ResponseMetadata")
        if isinstance(metadata, Mapping):
            found.append(cast("Mapping[str, Any]", metadata).get("HTTPStatusCode"))
    return next((s for s in found if isinstance(s, int) and not isinstance(s, bool) and 100 <= s < 600), None)


def retry_after(error: BaseException, *, now: float | None = None) -> float:
    """Seconds that the provider asks to wait (``Retry-After``, in seconds or as a date), 0 if it does not.

    Args:
        now: The present instant in seconds since 1970, for a date.
    """
    for one in _chain(error):
        headers = _headers(one)
        milliseconds = _number(headers.get("retry-after-ms"))
        if milliseconds is not None:
            return milliseconds / 1_000
        said = headers.get("retry-after")
        if said is None:
            continue
        seconds = _number(said)
        if seconds is not None:
            return seconds
        try:
            moment = parsedate_to_datetime(str(said)).timestamp()
        except (TypeError, ValueError, OverflowError):
            continue
        return max(0.0, moment - (time.time() if now is None else now))
    return 0.0


def _headers(error: BaseException) -> Mapping[str, Any]:
    response: Any = getattr(error, "response", None)
    headers: Any = getattr(response, "headers", None)
    if isinstance(response, Mapping):  # botocore
        metadata: Any = cast("Mapping[str, Any]", response).get("ResponseMetadata")
        headers = (
            cast("Mapping[str, Any]", metadata).get("HTTPHeaders") if isinstance(metadata, Mapping) else None
        )
    if not isinstance(headers, Mapping):
        return {}
    pairs = cast("Iterable[tuple[Any, Any]]", headers.items())  # pyright: ignore[reportUnknownMemberType]
    return {str(name).lower(): value for name, value in pairs}


def _number(value: object) -> float | None:
    """A number of at least 0; a provider's nonsense (a negative one, NaN) is none."""
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from; memkit's own wrap the provider's."""
    current: BaseException | None = error
    for _ in range(5):
        if current is None:
            return
        yield current
        current = current.__cause__
