"""Opening a memkit file, and the connections to it: readers borrow one, the writer has its own."""

from __future__ import annotations

import os
import threading
import time
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final

from ... import analysis
from ...errors import IntegrityError, MemkitError, SchemaVersionError, StorageUnavailableError, UsageError
from .driver import (
    BUSY_SECONDS,
    Connection,
    Durability,
    Error,
    check_version,
    configure,
    connect,
    typed,
    unavailable,
)
from .settings import put
from .upgrade import UPGRADES

APPLICATION_ID: Final = 0x6D6B6974  # "mkit"
SCHEMA_VERSION: Final = 9
_IDLE_READERS: Final = 8
#: What reading raises where a value is of another type than memkit writes. What is sound always converts.
_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
#: Connections in use at a fork, in the child. Their threads stayed behind, so they cannot be closed.
_inherited: Final[list[Connection]] = []


class Pool:
    """Connections to one database.

    Readers borrow a connection for one call, so there are as many as calls at the same time, not threads.
    A database in memory has a single connection, which everybody takes in turn.
    """

    def __init__(self, path: str, durability: Durability) -> None:
        self.path = path
        self.location = "SQLite in memory" if path == ":memory:" else f"SQLite file {path}"
        self._durability: Durability = durability
        self._idle: list[Connection] = []
        self._borrowed: set[Connection] = set()
        self._gate = threading.Condition(threading.Lock())
        self._shared: Connection | None = None
        self._turn = threading.Lock()
        self.closed = False
        self._forking = False
        check_version()
        if path == ":memory:":
            self._shared = self._open()
            try:
                migrate(self._shared, self.location)
            except BaseException:  # nothing stays open when opening fails
                self._shared.close()
                raise
        else:
            _check_folder(path)
            first = self._open()
            try:
                prepare_file(first, self.location)
            except BaseException:  # nothing stays open when opening fails
                first.close()
                raise
            self._idle.append(first)

    def _open(self) -> Connection:
        try:
            connection = connect(self.path)
            try:
                return configure(connection, self._durability)
            except BaseException:  # whatever happens, no open connection is left behind
                connection.close()
                raise
        except Error as error:
            raise unavailable(error, self.location) from error

    def take(self) -> Connection:
        """A connection nobody else uses until it is given back.

        Raises:
            UsageError: The store is closed.
            StorageUnavailableError: The file cannot be opened.
        """
        if self._shared is not None:
            self._turn.acquire()
            if self.closed:
                self._turn.release()
                raise UsageError(f"the store is closed ({self.location})")
            return self._shared
        with self._gate:
            while self._forking:
                self._gate.wait()
            if self.closed:
                raise UsageError(f"the store is closed ({self.location})")
            connection = self._idle.pop() if self._idle else self._open()
            self._borrowed.add(connection)
            return connection

    def give_back(self, connection: Connection) -> None:
        """Let others have the connection."""
        if connection is self._shared:
            self._turn.release()
            return
        with self._gate:
            if connection not in self._borrowed:
                return  # taken before a fork: the child must not touch it
            self._borrowed.remove(connection)
            if self.closed or len(self._idle) >= _IDLE_READERS:
                connection.close()
            else:
                self._idle.append(connection)
            self._gate.notify_all()

    def read(self) -> Reading:
        """One read transaction: everything inside sees one state."""
        return Reading(self)

    def close(self) -> None:
        """Close what nobody uses; what is in use is closed when it is given back."""
        if self._shared is not None:
            with self._turn:
                if not self.closed:
                    self.closed = True
                    self._shared.close()
            return
        with self._gate:
            self.closed = True
            while self._idle:
                self._idle.pop().close()

    def before_fork(self) -> None:
        """Close every connection and let none be opened until ``after_fork_*``.

        SQLite keeps its locks per process and file: a child that opens a file of which it inherited a
        connection believes to hold the parent's locks. Without open connections nothing is inherited.
        """
        if self._shared is not None:
            self._turn.acquire()
            return
        self._gate.acquire()
        self._forking = True
        deadline = time.monotonic() + BUSY_SECONDS
        while self._borrowed and time.monotonic() < deadline:
            self._gate.wait(0.1)
        while self._idle:
            self._idle.pop().close()

    def after_fork_in_parent(self) -> None:
        """Let connections be opened again."""
        if self._shared is not None:
            self._turn.release()
            return
        self._forking = False
        self._gate.notify_all()
        self._gate.release()

    def after_fork_in_child(self) -> None:
        """Start anew; what was still in use at the fork is kept, never used and never closed."""
        self._turn = threading.Lock()
        self._gate = threading.Condition(threading.Lock())
        self._forking = False
        _inherited.extend(self._borrowed)
        self._borrowed = set()


class Reading:
    """A borrowed connection inside a read transaction."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        connection = self._connection = self._pool.take()
        try:
            connection.execute("BEGIN")
        except BaseException as error:  # the connection goes back whatever happens
            self._pool.give_back(connection)
            raise typed(error, self._pool.location) from error
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._connection is not None  # __enter__ saw to it
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            self._pool.give_back(self._connection)
        if isinstance(error, Error):
            raise unavailable(error, self._pool.location) from error
        if isinstance(error, _UNREADABLE) and not isinstance(error, MemkitError | UnicodeEncodeError):
            raise IntegrityError(
                f"a stored value in {self._pool.location} is not what memkit wrote "
                f"({type(error).__name__}): see memory.admin.doctor()"
            ) from error


def _check_folder(path: str) -> None:
    file = Path(path)
    folder = file.parent
    if not folder.is_dir():
        raise StorageUnavailableError(f"cannot open {path}: there is no folder {folder}; create it first")
    if file.is_dir():
        raise StorageUnavailableError(f"cannot open {path}: it is a folder; name a file inside it")
    if not os.access(folder, os.W_OK):
        raise StorageUnavailableError(
            f"cannot open {path}: the folder {folder} cannot be written, and SQLite keeps its journal there; "
            "change its permissions or use another folder"
        )
    if file.exists() and not os.access(file, os.R_OK | os.W_OK):
        raise StorageUnavailableError(f"cannot open {path}: no permission to read and write the file")


def prepare_file(connection: Connection, location: str) -> None:
    """Make a new file memkit's, bring an old one up to date, refuse any other.

    Raises:
        SchemaVersionError: A newer memkit wrote it.
        StorageUnavailableError: It is not memkit's, or cannot be written.
    """
    try:
        version = _version_of(connection, location)
        if version is not None and version > SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{location} has schema version {version}, this memkit knows {SCHEMA_VERSION}: upgrade "
                "memkit-core, or open another file. Nothing was changed"
            )
        _use_wal(connection, location)
        if version is None or version < SCHEMA_VERSION or _meta(connection, "analyzer") != analysis.ANALYZER:
            migrate(connection, location)
    except Error as error:
        raise unavailable(error, location) from error


def _meta(connection: Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _version_of(connection: Connection, location: str) -> int | None:
    """The schema version of a memkit file, None for an empty file."""
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and tables == 0:
        return None
    if application != APPLICATION_ID:
        raise StorageUnavailableError(
            f"{location} belongs to another program: choose another file. Nothing was changed"
        )
    version = _meta(connection, "schema_version")
    if version is None or not version.isdigit():
        raise StorageUnavailableError(f"{location} names no schema version: restore it from a backup")
    return int(version)


def _use_wal(connection: Connection, location: str) -> None:
    # Several processes may create the file at once, and SQLite does not always wait for this one lock.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except Error as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise StorageUnavailableError(f"{location} cannot use a write-ahead log: put it on a local disk")
        return


def migrate(connection: Connection, location: str) -> None:
    """Apply the migrations that the database has not seen, all in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version_of(connection, location) or 0
        for number in range(version + 1, SCHEMA_VERSION + 1):
            for statement in statements_of(number):
                connection.execute(statement)
            if number in UPGRADES:
                UPGRADES[number](connection)
        put(connection, "schema_version", str(max(version, SCHEMA_VERSION)))
        if _meta(connection, "analyzer") not in (None, analysis.ANALYZER):
            from .reindex import rebuild_postings

            rebuild_postings(connection)
        put(connection, "analyzer", analysis.ANALYZER)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:  # a half-made schema must not stay, not even after Ctrl-C
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements_of(number: int) -> list[str]:
    """The statements of one migration."""
    folder = resources.files(__name__.rpartition(".")[0]).joinpath("migrations")
    script = next(f for f in folder.iterdir() if f.name.startswith(f"{number:04}_")).read_text("utf-8")
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [s.strip() for s in "\n".join(lines).split(";\n") if s.strip().rstrip(";")]
