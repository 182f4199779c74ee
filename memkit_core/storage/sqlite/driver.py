"""Which SQLite is used, how a connection is set up, and what its errors mean."""

from __future__ import annotations

import logging
import sqlite3
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

from ...errors import ConflictError, IntegrityError, StorageError, StorageUnavailableError, UsageError
from .conditions import register_functions
from .rows import LONE_SURROGATE

logger = logging.getLogger(__name__)

Connection: TypeAlias = sqlite3.Connection
Durability: TypeAlias = Literal["full", "relaxed"]

BUSY_SECONDS: Final = 30.0
_OLDEST: Final = (3, 35, 0)


def _newest_driver() -> Any:
    """The bundled SQLite of the extra ``sqlite`` if it is newer than Python's own."""
    try:
        bundled: Any = import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3
    newer: bool = bundled.sqlite_version_info >= sqlite3.sqlite_version_info
    return bundled if newer else sqlite3


driver: Final[Any] = _newest_driver()
Error: Final[type[Exception]] = driver.Error


def has_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite may damage a WAL file that several processes write (fixed upstream in 2026)."""
    if version[:2] == (3, 44):
        return version < (3, 44, 6)
    if version[:2] == (3, 50):
        return version < (3, 50, 7)
    return version < (3, 51, 3)


class _Once:
    warned = False


def check_version() -> None:
    """Log once if this SQLite has the WAL-reset bug.

    Raises:
        StorageUnavailableError: It is too old for memkit's statements.
    """
    version: tuple[int, ...] = driver.sqlite_version_info
    if version < _OLDEST:
        raise StorageUnavailableError(
            f"SQLite {driver.sqlite_version} is too old (3.35 is needed): pip install 'memkit-core[sqlite]'"
        )
    if has_reset_bug(version) and not _Once.warned:
        _Once.warned = True
        logger.warning(
            "SQLite %s may damage files that several processes write: pip install 'memkit-core[sqlite]'",
            driver.sqlite_version,
        )


def connect(path: str) -> Connection:
    """A plain connection in autocommit mode, usable from any one thread at a time.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection: Connection = driver.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:  # whatever happens, no open connection is left behind
        connection.close()
        raise
    return connection


def configure(connection: Connection, durability: Durability) -> Connection:
    """The same connection with memkit's settings and functions."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -8000")
    # Hot pages are then copied back four times less often than by default.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    register_functions(connection)
    return connection


def typed(error: BaseException, location: str) -> BaseException:
    """The memkit error that an error of the driver stands for; any other error itself."""
    if isinstance(error, UnicodeEncodeError):
        return UsageError(LONE_SURROGATE)
    if not isinstance(error, Error):
        return error
    if isinstance(error, driver.IntegrityError):
        return ConflictError(f"a row with the same id is already there in {location}: {error}")
    return unavailable(error, location)


def unavailable(error: BaseException, location: str) -> StorageError:
    """An error that says what to do about one of the driver: for damage to a text, an ``IntegrityError``."""
    reason = str(error)
    if "decode to UTF-8" in reason:
        return IntegrityError(f"a stored text in {location} is damaged: see memory.admin.doctor()")
    if "full" in reason:
        advice = "free some space and try again"
    elif "locked" in reason or "busy" in reason:
        advice = "another process keeps the file locked; try again when it is done"
    elif "readonly" in reason or "unable to open" in reason:
        advice = "check that the file and its folder exist and can be written"
    elif "malformed" in reason or "not a database" in reason:
        advice = "the file is damaged or no SQLite file; restore it from a backup"
    else:
        advice = "check the disk and the file"
    return StorageUnavailableError(f"cannot use {location}: {reason}; {advice}. Nothing was changed")
