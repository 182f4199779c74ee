"""One thread writes: it runs what callers hand in, several at a time in one transaction.

Eight connections that write for themselves wait for each other up to seconds; one writer that commits what
queued up during the last sync takes five times as many commits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from ...errors import StorageError, UsageError
from .driver import BUSY_SECONDS, Connection, Error, typed
from .pool import Pool

T = TypeVar("T")
Work = Callable[[Connection], T]

_LARGEST_GROUP: Final = 128


class _Ticket(Generic[T]):
    """A caller's work and its outcome; ``done`` is released when the outcome is durable."""

    __slots__ = ("after", "done", "error", "result", "since", "work")

    def __init__(self, work: Work[T], after: Callable[[Connection], None] | None) -> None:
        self.work = work
        self.after = after
        self.since = time.monotonic()
        self.done = threading.Lock()
        self.done.acquire()
        self.result: T | None = None
        self.error: BaseException | None = None


class Writer:
    """The one thread that changes a database. Started by the first write."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queue: SimpleQueue[_Ticket[object] | None] = SimpleQueue()
        self._entry = threading.Lock()
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Work[T], *, after: Callable[[Connection], None] | None = None) -> T:
        """What ``work`` returns, once its transaction is durable.

        Args:
            work: Called on the writer's thread inside a transaction; called again if the transaction of a
                group had to be given up, so it must depend on nothing but the database.
            after: Called once that transaction is committed, outside of any.

        Raises:
            UsageError: The store is closed.
            StorageError: Nothing was changed.
        """
        ticket: _Ticket[T] = _Ticket(work, after)
        with self._entry:
            if self._closed:
                raise UsageError(f"the store is closed ({self._pool.location})")
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="memkit-writer", daemon=True)
                thread.start()
                self._thread = thread
            self._queue.put(ticket)  # type: ignore[arg-type]
        # An interrupt ends the waiting only: the work itself is then done or not, never half.
        ticket.done.acquire()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

    def close(self) -> None:
        """Finish what was handed in, then end the thread."""
        with self._entry:
            already, self._closed = self._closed, True
            thread = self._thread
            if thread is not None and not already:
                self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def before_fork(self) -> None:
        """Wait for the running transaction, close the pool's connections, and rest."""
        self._entry.acquire()
        self._running.acquire()
        self._pool.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on writing."""
        self._pool.after_fork_in_parent()
        self._running.release()
        self._entry.release()

    def after_fork_in_child(self) -> None:
        """Start anew: the thread, and the callers that waited for it, stayed in the parent."""
        self._pool.after_fork_in_child()
        self._entry = threading.Lock()
        self._running = threading.Lock()
        self._queue = SimpleQueue()
        self._thread = None

    def _serve(self) -> None:
        queue = self._queue
        ending = False
        while not ending:
            ticket = queue.get()
            group: list[_Ticket[object]] = []
            while ticket is not None:
                group.append(ticket)
                if len(group) == _LARGEST_GROUP:
                    break
                try:
                    ticket = queue.get_nowait()
                except Empty:
                    break
            ending = ticket is None
            if group:
                with self._running:
                    self._settle(group)
        # An interrupt inside the first write can leave two threads; the next one must end as well.
        queue.put(None)

    def _settle(self, group: list[_Ticket[object]]) -> None:
        try:
            connection = self._pool.take()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers must not wait for ever
            self._fail(group, error)
        else:
            try:
                self._write(connection, group)
            except BaseException as error:  # noqa: BLE001 - as above
                self._fail(group, error)
            finally:
                self._pool.give_back(connection)
        for ticket in group:
            ticket.done.release()

    def _fail(self, group: list[_Ticket[object]], error: BaseException) -> None:
        for ticket in group:
            ticket.error = typed(error, self._pool.location)
            ticket.result = None

    def _write(self, connection: Connection, group: list[_Ticket[object]]) -> None:
        try:
            self._transact(connection, group)
        except BaseException as error:  # noqa: BLE001 - the transaction is lost, for whatever reason
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(group) == 1 or not isinstance(error, Error | _GroupLostError):
                self._fail(group, error)
                return
            for ticket in group:
                ticket.error = ticket.result = None
                self._write(connection, [ticket])
            return
        for ticket in group:
            if ticket.after is not None and ticket.error is None:
                try:
                    ticket.after(connection)
                except Error as error:
                    ticket.error = typed(error, self._pool.location)

    def _transact(self, connection: Connection, group: list[_Ticket[object]]) -> None:
        self._begin(connection, min(ticket.since for ticket in group))
        if len(group) == 1:
            group[0].result = group[0].work(connection)
        else:
            for ticket in group:
                self._run_one(connection, ticket)
        connection.execute("COMMIT")

    def _begin(self, connection: Connection, since: float) -> None:
        """Begin to write. What was waited behind others counts: nobody waits longer than for one lock."""
        waited = time.monotonic() - since
        if waited < 1:
            connection.execute("BEGIN IMMEDIATE")
            return
        left = max(0, int((BUSY_SECONDS - waited) * 1_000))
        connection.execute(f"PRAGMA busy_timeout = {left}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1_000)}")

    def _run_one(self, connection: Connection, ticket: _Ticket[object]) -> None:
        connection.execute("SAVEPOINT one")
        try:
            ticket.result = ticket.work(connection)
        except Exception as error:  # one caller's error must not undo the others' work
            if not connection.in_transaction:
                # A full disk or an I/O error makes SQLite give up the whole transaction.
                raise _GroupLostError from error
            ticket.error = typed(error, self._pool.location)
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")


class _GroupLostError(StorageError):
    """The transaction of a group was rolled back by the database."""
