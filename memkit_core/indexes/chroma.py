"""Chroma as a vector index: refs and vectors in one collection, no text, no embedding function."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..errors import (
    ConfigError,
    IndexMismatchError,
    MissingDependencyError,
    StorageUnavailableError,
    UsageError,
)
from ..protocols import IndexEntry
from ..types import OwnerKey, Ref, Space, Vector
from .entries import OWNER, SPACE, STORE, entry_id, fields, key_of, owner_text, ref_of

if TYPE_CHECKING:
    import os

_COSINE: Final = {"hnsw": {"space": "cosine"}}
#: Marks a collection that was made again after somebody had deleted it, so that it lacks what was there.
_INCOMPLETE: Final = "memkit_incomplete"
_PAGE: Final = 5_000
_KNOCK_SECONDS: Final = 3.0


class ChromaVectorIndex:
    """A vector index in a Chroma collection, on disk or on a server.

    It connects with the first call, so that a memory opens while its server is down, and tries again with
    every call until it gets there. Chroma's telemetry is off, and no embedding function is ever called.
    The collection's metadata says which record store it belongs to; another one is refused.

    Args:
        path: The folder of a database on disk, for this process alone (Chroma's own rule).
        host, port, ssl, headers: A Chroma server. One that is reached in another way, as through a proxy,
            goes into ``client``.
        client: A client of your own, which you close.
        collection: The collection's name. It belongs to one record store alone: ``clear`` deletes it.
        adopt: Take the collection over if it belongs to another record store: what is in it is dropped, and
            it is filled anew. For one opening, after the record store was restored from an export.
        name: Names the pending work in the record store; default ``chroma:`` and the collection.

    Raises:
        ConfigError: Not exactly one of ``path``, ``host`` and ``client`` is given.
        MissingDependencyError: The extra ``chroma`` is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        host: str | None = None,
        port: int = 8000,
        ssl: bool = False,
        headers: dict[str, str] | None = None,
        client: Any = None,
        collection: str = "memkit",
        adopt: bool = False,
        name: str | None = None,
    ) -> None:
        if sum(given is not None for given in (path, host, client)) != 1:
            raise ConfigError("a Chroma index needs exactly one of path, host and client")
        if client is None and find_spec("chromadb") is None:
            raise MissingDependencyError("ChromaVectorIndex", extra="chroma")
        self._path = None if path is None else str(Path(path).expanduser())
        self._server: dict[str, Any] = {"host": host, "port": port, "ssl": ssl, "headers": headers}
        self._own_client = client is None
        self._client: Any = client
        self._collection_name = collection
        self._name = name or f"chroma:{collection}"
        self._collection: Any = None
        self._vanished = False
        self._file: tuple[int, int] | None = None
        self._adopt = adopt
        self._store_id = ""
        self._fresh = False
        self._closed = False
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place()!r}, collection={self._collection_name!r})"

    @property
    def name(self) -> str:
        """See ``VectorIndex.name``."""
        return self._name

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``VectorIndex.add``. One request for each batch of the size that Chroma takes."""
        if not entries:
            return
        collection, store = self._connected(), self._store_id
        # Of equal ones the last.
        unique = {entry_id(store, entry.owner, entry.ref): entry for entry in entries}
        for ids in self._batches(list(unique)):
            portion = [unique[one] for one in ids]
            vectors = [_floats(entry.vector) for entry in portion]
            metadatas = [fields(store, entry.owner, entry.ref) for entry in portion]
            self._guarded(partial(collection.upsert, ids=ids, embeddings=vectors, metadatas=metadatas))

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """See ``VectorIndex.delete``."""
        unique = list(dict.fromkeys(entry_id(self._store_id, owner, ref) for ref in refs))
        if unique:
            collection = self._connected()
            for ids in self._batches(unique):
                self._guarded(partial(collection.delete, ids=ids))

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """See ``VectorIndex.propose``.

        Raises:
            StorageUnavailableError: Somebody deleted the collection, and what was in it is not back yet.
        """
        if limit < 1:
            return []
        collection = self._connected()
        marks: dict[str, Any] = collection.metadata or {}
        if marks.get(_INCOMPLETE):
            raise StorageUnavailableError(
                f"the collection {self._collection_name!r} was deleted and lacks what it held: reindex"
            )
        where = {"$and": [{OWNER: {"$eq": owner_text(owner)}}, {SPACE: {"$eq": space}}]}
        found = self._guarded(
            lambda: collection.query(
                query_embeddings=[_floats(vector)], n_results=limit, where=where, include=["metadatas"]
            )
        )
        rows: list[dict[str, Any]] = found["metadatas"][0]
        return [ref for row in rows if (ref := ref_of(row, owner, space)) is not None]

    def clear(self) -> None:
        """See ``VectorIndex.clear``. The collection is made anew, complete by definition.

        Raises:
            IndexMismatchError: It belongs to another record store. Nothing was changed.
        """
        with self._lock:
            self._collection = None  # somebody else may have taken it over meanwhile
            marks: dict[str, Any] = self._connected().metadata or {}
            self._delete()
            self._vanished = False
            self._create(marks.get(STORE, ""))

    @property
    def foreign(self) -> int:
        """See ``ClaimableIndex.foreign``. None: a collection has one owner."""
        return 0

    def claim(self, store_id: str, *, dimension: int | None) -> bool:  # noqa: ARG002 - Chroma needs none
        """See ``ClaimableIndex.claim``. A collection that nobody owns is taken if it is empty."""
        with self._lock:
            self._store_id, self._collection, self._fresh = store_id, None, False
            marks: dict[str, Any] = self._connected().metadata or {}
            return not (marks.get(_INCOMPLETE) or self._fresh)

    def keys(self) -> Iterator[str]:
        """The ref key of every entry, page by page, in no particular order."""
        seen = 0
        while True:
            try:
                rows = self._page(seen)
            except self._errors().NotFoundError:
                rows = self._page(seen)  # it is made anew, and holds nothing
            if not rows:
                return
            seen += len(rows)
            yield from (key for row in rows if (key := key_of(row)) is not None)

    def _page(self, start: int) -> list[dict[str, Any]]:
        collection = self._connected()
        found = self._guarded(lambda: collection.get(limit=_PAGE, offset=start, include=["metadatas"]))
        rows: list[dict[str, Any]] = found["metadatas"]
        return rows

    def close(self) -> None:
        """See ``VectorIndex.close``. A client that was handed in stays open."""
        with self._lock:
            if not self._closed and self._own_client and self._client is not None:
                self._client.close()
                _close_connections(self._client)
            self._closed, self._collection, self._client = True, None, None

    # ------------------------------------------------------------ the connection

    def _batches(self, ids: list[str]) -> Iterator[list[str]]:
        """The ids in portions of the size that Chroma takes."""
        size = int(self._client.get_max_batch_size())
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def _connected(self) -> Any:
        """The collection."""
        with self._lock:
            if self._file is not None and self._file != _identity(self._database()):
                self._reopen()
            if self._collection is None:
                self._connect()
                try:
                    self._collection = self._checked(
                        self._client.get_collection(self._collection_name, embedding_function=None)
                    )
                except self._errors().NotFoundError:
                    self._fresh = True
                    self._create(self._store_id)
                self._file = _identity(self._database())
            return self._collection

    def _database(self) -> Path | None:
        """The file that Chroma keeps open, None if it is elsewhere."""
        return None if self._path is None else Path(self._path, "chroma.sqlite3")

    def _reopen(self) -> None:
        """Let go of files that somebody deleted or replaced: what is written to them is gone."""
        self._client.close()
        self._client, self._collection, self._file, self._vanished = None, None, None, True

    def _create(self, store_id: str) -> None:
        """Make the collection. If somebody else was faster, it is theirs."""
        marks: dict[str, Any] = {STORE: store_id} if store_id else {}
        made = self._client.get_or_create_collection(
            self._collection_name,
            embedding_function=None,
            configuration=_COSINE,
            metadata=marks | ({_INCOMPLETE: True} if self._vanished else {}) or None,
        )
        self._collection = self._checked(made)

    def _delete(self) -> None:
        with contextlib.suppress(self._errors().NotFoundError):  # somebody else was faster
            self._client.delete_collection(self._collection_name)

    def _checked(self, found: Any) -> Any:
        """The collection that was found, if it is this record store's, or may become so.

        Raises:
            IndexMismatchError: It is somebody else's.
        """
        marks: dict[str, Any] = found.metadata or {}
        held = marks.get(STORE)
        if not self._store_id or held == self._store_id:
            return found
        empty = held is None and not found.count()
        if self._adopt or empty:
            self._delete()
            self._adopt, self._fresh, self._vanished = False, True, not empty
            self._create(self._store_id)
            return self._collection
        whose = "another record store" if held else "another program"
        raise IndexMismatchError(
            f"the Chroma collection {self._collection_name!r} belongs to {whose}: name another one "
            "(collection=...). If this record store was restored from an export, or is to have the "
            "collection for itself, open it once with adopt=True, or run memkit reindex --adopt: that drops "
            "what is in it. Nothing was changed"
        )

    def _connect(self) -> None:
        if self._closed:
            raise UsageError(f"the index {self._name!r} is closed")
        if self._client is not None:
            return
        chromadb = import_module("chromadb")
        settings = import_module("chromadb.config").Settings(anonymized_telemetry=False)
        if self._path is not None:
            self._client = chromadb.PersistentClient(path=self._path, settings=settings)
        else:
            self._knock()
            self._client = chromadb.HttpClient(**self._server, settings=settings)

    def _knock(self) -> None:
        """Raise ``OSError`` if nobody listens: a client of Chroma that fails to connect is never released."""
        host, port = str(self._server["host"]), self._server["port"]
        if "://" in host:
            parts = urlsplit(host)
            host, port = parts.hostname or host, parts.port or port
        socket.create_connection((host, port), timeout=_KNOCK_SECONDS).close()

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """The call's result. If somebody deleted the collection, the next call makes it anew."""
        try:
            return call()
        except self._errors().NotFoundError:
            with self._lock:
                self._collection, self._vanished = None, True
            raise

    @staticmethod
    def _errors() -> Any:
        return import_module("chromadb.errors")

    def _place(self) -> str:
        if self._path is not None:
            return self._path
        return f"{self._server['host']}:{self._server['port']}" if self._own_client else "client"


def _close_connections(client: Any) -> None:
    """Close what Chroma (1.5) leaves open when an HTTP client is closed; nobody else uses it."""
    for one in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(one, "_server", None), "_session", None)
        if session is not None:
            session.close()


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one under its name; None if there is none."""
    try:
        found = None if file is None else file.stat()
    except FileNotFoundError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _floats(vector: Vector) -> list[float]:
    import numpy as np

    floats: list[float] = np.asarray(vector, dtype=np.float32).tolist()
    return floats
