"""Every error memkit raises, in one tree.

MemkitError
├── UsageError(ValueError)             the call is wrong; nothing was changed
│   └── KeyReusedError                 the idempotency key belongs to a call with other content
├── ConfigError(ValueError)            the configuration is wrong; nothing was opened
├── MissingDependencyError(ImportError) an extra is not installed; names the install line
├── NotFoundError(LookupError)         no such memory in this scope; nothing was changed
├── ModelError                         a chat or embedding model failed
│   ├── ModelCallError                 the call itself failed; keeps the cause
│   │   ├── ModelTimeoutError          no reply in time
│   │   ├── PromptTooLongError         the prompt does not fit into the model's context
│   │   └── ModelUnavailableError      not asked: the model failed too often just now
│   ├── ModelOutputError               the reply could not be used; keeps the raw text
│   ├── VisionUnsupportedError         the chat model takes no images
│   └── BudgetExceededError            not asked: a budget is spent
├── HookError                          a hook failed, or answered what it may not
├── TransferError(ValueError)          an export file cannot be written or read; nothing was changed
└── StorageError                       the record store failed
    ├── StorageUnavailableError        cannot be opened, read or written now
    ├── ConflictError                  somebody else changed the same rows first
    ├── SchemaVersionError             the file was written by a newer memkit
    ├── EmbeddingMismatchError         the file holds vectors of another embedding model
    ├── IndexMismatchError             the vector index belongs to another record store
    └── IntegrityError                 stored data does not match its own hash

MemkitWarning(UserWarning)             something works with less than it could; said once, changes nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from .types import Usage


class MemkitError(Exception):
    """Base of every error that memkit raises on purpose."""


class UsageError(MemkitError, ValueError):
    """The call cannot be carried out as written. Nothing was changed."""


class KeyReusedError(UsageError):
    """The idempotency key was used before, for other content. Nothing was changed."""


class ConfigError(MemkitError, ValueError):
    """The configuration cannot work. Nothing was opened or changed."""


class MissingDependencyError(MemkitError, ImportError):
    """An optional dependency is not installed.

    Args:
        feature: What was asked for, in the user's words.
        extra: The extra of the distribution that brings it.
    """

    def __init__(self, feature: str, *, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'memkit-core[{extra}]'")

    def __reduce__(self) -> tuple[object, ...]:
        return (_missing_dependency, (self.feature, self.extra))


def _missing_dependency(feature: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(feature, extra=extra)


class NotFoundError(MemkitError, LookupError):
    """No memory with this id is visible in the given scope. Nothing was changed."""


class ModelError(MemkitError):
    """A model did not do its work. Raw messages are kept and can be tried again.

    Attributes:
        usage: What the failed attempt cost, None if nothing is known of it.
    """

    usage: Usage | None = None


class ModelCallError(ModelError):
    """The call to the model failed; ``__cause__`` is the provider's own error."""


class ModelTimeoutError(ModelCallError):
    """The model did not answer within ``resilience.timeout`` seconds. The call may still be charged."""


class PromptTooLongError(ModelCallError):
    """The model takes less text at once than it was sent, and there was no way to send less."""


class ModelUnavailableError(ModelCallError):
    """The model was not asked, since it has failed too often in a row; it is tried again later.

    Attributes:
        retry_after: Seconds until it is asked again.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_model_unavailable, (str(self), self.retry_after), {"usage": self.usage})


def _model_unavailable(message: str, retry_after: float) -> ModelUnavailableError:
    return ModelUnavailableError(message, retry_after=retry_after)


class VisionUnsupportedError(ModelError):
    """The chat model takes no images, or there is none.

    Raised before anything is stored if that is known beforehand. If the provider says so when it is asked,
    the messages are stored already and wait.
    """


class BudgetExceededError(ModelError):
    """The model was not asked, since a budget is spent.

    Attributes:
        budget: Which limit: ``max_calls``, ``max_tokens`` or ``max_cost``.
        spent, limit: Calls, tokens or money.
        resets_at: When the budget is whole again, None: never.
    """

    def __init__(
        self, message: str, *, budget: str, spent: float, limit: float, resets_at: datetime | None
    ) -> None:
        self.budget = budget
        self.spent = spent
        self.limit = limit
        self.resets_at = resets_at
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        values = (str(self), self.budget, self.spent, self.limit, self.resets_at)
        return (_budget_exceeded, values, {"usage": self.usage})


def _budget_exceeded(
    message: str, budget: str, spent: float, limit: float, resets_at: datetime | None
) -> BudgetExceededError:
    return BudgetExceededError(message, budget=budget, spent=spent, limit=limit, resets_at=resets_at)


class ModelOutputError(ModelError):
    """The model answered, but the answer cannot be used.

    Attributes:
        reason: One of ``empty``, ``truncated``, ``refused``, ``unparsable``, ``invalid``,
            ``wrong_shape``.
        raw: The reply as received, for a log or a report; it may hold users' text.
    """

    def __init__(self, message: str, *, reason: str, raw: str = "") -> None:
        self.reason = reason
        self.raw = raw
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_model_output, (str(self), self.reason, self.raw), {"usage": self.usage})


def _model_output(message: str, reason: str, raw: str) -> ModelOutputError:
    return ModelOutputError(message, reason=reason, raw=raw)


class HookError(MemkitError):
    """A hook raised, or answered no proposal with allowed changes; ``__cause__`` says more.

    Nothing was remembered. An ``add`` that a model works on stays pending; any other ``add`` raises this, and
    nothing was changed.
    """


class TransferError(MemkitError, ValueError):
    """An export file cannot be written, or cannot be imported. Nothing was changed.

    Attributes:
        reason: One of ``file`` (it cannot be opened, read or written), ``format`` (no export of memkit),
            ``truncated``, ``digest`` (it was changed), ``too_long`` (a line), ``unknown_kind``, ``invalid``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_transfer, (str(self), self.reason))


def _transfer(message: str, reason: str) -> TransferError:
    return TransferError(message, reason=reason)


class StorageError(MemkitError):
    """The record store could not do its work; the state is the one before the call."""


class StorageUnavailableError(StorageError):
    """The store cannot be opened, read or written now. Nothing was changed."""


class ConflictError(StorageError):
    """The rows that a commit was decided on have changed since. Nothing was changed."""


class SchemaVersionError(StorageError):
    """The store was written by a newer memkit. Nothing was changed."""


class EmbeddingMismatchError(StorageError):
    """The store holds vectors of another embedding model. Nothing was changed."""


class IndexMismatchError(StorageError):
    """The vector index belongs to another record store, or to another program. Nothing was changed."""


class IntegrityError(StorageError):
    """A stored row does not match its own hash."""


class MemkitWarning(UserWarning):
    """Something works, but with less than it could: no model, no embedding, an old SQLite."""
