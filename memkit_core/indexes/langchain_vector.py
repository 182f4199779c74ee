"""Any LangChain vector store as a vector index: refs as texts, vectors from the record store."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, MissingDependencyError, UsageError
from ..protocols import IndexEntry
from ..types import OwnerKey, Ref, Space, Vector
from .entries import OWNER, STORE, entry_id, fields, is_of, key_of, ref_of
from .owner_filters import field_filter, owner_fields

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.structured_query import Visitor
    from langchain_core.vectorstores import VectorStore

_FIRST_FETCH: Final = 64
_GROWTH: Final = 4
_CLEARED_AT_ONCE: Final = 1_000
#: Takes texts, vectors, metadatas and ids.
_AddPairs = Callable[[list[str], list[list[float]], list[Any], list[str]], Any]


class LangChainVectorIndex:
    """A vector index in any LangChain vector store that can be searched by vector.

    The store is built with ``StoredVectors()`` where it asks for an embedding model, or has a public
    ``add_embeddings``; a public attribute that holds an embedding model is replaced by ``StoredVectors``,
    which asks that model for the texts of others. Every entry says which record store it belongs to: entries
    of others are neither proposed nor deleted. Calls are made one at a time, since few stores promise to be
    safe in threads.

    An owner's entries are selected by a filter that LangChain's structured-query translator makes for the
    store, if there is one, and in LangChain's in-memory store by a function. Otherwise more and more of the
    nearest entries are fetched until enough are the owner's: exact, but for a small owner in a large store it
    ends with fetching everything.

    A store that cannot delete (append-only) works: refs that are no longer current are ignored by the core.

    Args:
        store: The vector store.
        name: Names the pending work in the record store; default ``langchain:`` and the store's class.
        translator: LangChain's translator for the store's filters, if memkit does not know it.
        recreate: Returns the store anew and empty, for ``clear`` where the store itself cannot be emptied.

    Raises:
        ConfigError: The store cannot be searched by vector, or cannot be given vectors.
        MissingDependencyError: LangChain is not installed.
    """

    def __init__(
        self,
        store: VectorStore,
        *,
        name: str | None = None,
        translator: Visitor | None = None,
        recreate: Callable[[], VectorStore] | None = None,
    ) -> None:
        self._name = name or f"langchain:{type(store).__name__}"
        self._given_translator = translator
        self._recreate = recreate
        self._lock = threading.Lock()
        self._closed = False
        self._dimension: int | None = None
        self._store_id = ""
        self._foreign = 0
        self._take(store)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._store).__name__}, name={self._name!r})"

    def _take(self, store: VectorStore) -> None:
        if not _overrides(store, "similarity_search_by_vector"):
            raise ConfigError(
                f"{type(store).__name__} cannot be an index: it has no similarity_search_by_vector of its own"
            )
        self._store = store
        self._vectors = _stored_vectors(store)
        self._pairs = None if self._vectors is not None else _add_embeddings(store)
        if self._vectors is None and self._pairs is None:
            raise ConfigError(
                f"{type(store).__name__} would embed every ref with a model of its own: build it with "
                "memkit_core.indexes.StoredVectors() in place of the embedding model"
            )
        self._deletes = _overrides(store, "delete")
        self._knows_ids = _overrides(store, "get_by_ids")
        self._filter = field_filter(store, self._given_translator)

    @property
    def name(self) -> str:
        """See ``VectorIndex.name``."""
        return self._name

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``VectorIndex.add``. No embedding model is called."""
        with self._lock:
            self._check_open()
            # Of equal ones the last.
            unique = {entry_id(self._store_id, entry.owner, entry.ref): entry for entry in entries}
            present = self._present(list(unique))
            if present and self._deletes:
                self._store.delete(present)
            elif present:  # append-only: a ref's vector does not change while the embedding model stays
                unique = {key: entry for key, entry in unique.items() if key not in set(present)}
            if unique:
                self._insert(unique)

    def delete(self, owner: OwnerKey, refs: Sequence[Ref]) -> None:
        """See ``VectorIndex.delete``. Does nothing if the store cannot delete: stale refs are ignored."""
        ids = list(dict.fromkeys(entry_id(self._store_id, owner, ref) for ref in refs))
        with self._lock:
            self._check_open()
            if not self._deletes:
                return
            present = self._present(ids) if self._knows_ids else ids  # some stores refuse unknown ids
            if present:
                self._store.delete(present)

    def propose(self, owner: OwnerKey, vector: Vector, *, space: Space, limit: int) -> list[Ref]:
        """See ``VectorIndex.propose``."""
        if limit < 1:
            return []
        question = _floats(vector)
        with self._lock:
            self._check_open()
            self._dimension = len(question)
            if self._filter is not None:
                wanted = self._filter(owner_fields(self._store_id, owner, space))
                found = self._nearest(question, limit, wanted)
                return self._refs(found, owner, space)[:limit]
            fetch = max(_FIRST_FETCH, _GROWTH * limit)
            while True:
                found = self._nearest(question, fetch, {})
                refs = self._refs(found, owner, space, count=False)
                if len(refs) >= limit or len(found) < fetch:
                    return self._refs(found, owner, space)[:limit]
                fetch *= _GROWTH

    def clear(self) -> None:
        """See ``VectorIndex.clear``. Entries of other record stores, and of other programs, stay.

        Raises:
            UsageError: The store cannot be emptied from outside, or not without what others keep there.
                Nothing was changed: make a new, empty one and open the memory with that, or say how with
                ``recreate``.
        """
        with self._lock:
            self._check_open()
            if self._known_dimension() is None:  # without it nothing can be looked for
                raise self._cannot_clear("be emptied from outside")
            if self._deletes and self._filter is not None:
                self._delete_own(self._filter({STORE: self._store_id}))
                return
            found = self._everything()
            own = [document for document in found if is_of(document.metadata, self._store_id)]
            if len(own) == len(found) and self._recreate is not None:
                self._take(self._recreate())
            elif len(own) == len(found) and self._can_reset():
                self._store.reset_collection()  # type: ignore[attr-defined]
            elif self._deletes:
                for start in range(0, len(own), _CLEARED_AT_ONCE):
                    self._store.delete([self._id(one) for one in own[start : start + _CLEARED_AT_ONCE]])
            elif own:
                others = "" if len(own) == len(found) else " without what others keep there"
                raise self._cannot_clear(f"be emptied from outside{others}")

    @property
    def foreign(self) -> int:
        """See ``ClaimableIndex.foreign``. What the store's own filter leaves out is not counted."""
        return self._foreign

    def claim(self, store_id: str, *, dimension: int | None) -> bool:
        """See ``ClaimableIndex.claim``. Never refused: entries know whose they are."""
        with self._lock:
            self._store_id, self._dimension = store_id, dimension or self._dimension
        return True

    def keys(self) -> Iterator[str]:
        """The ref key of every entry of this record store. LangChain lists no store: this searches for all.

        Raises:
            UsageError: The vectors' dimension is not known yet: nothing was added or searched since it was
                opened, and ``StoredVectors`` was made without ``dimension``.
        """
        with self._lock:
            self._check_open()
            own = None if self._filter is None else self._filter({STORE: self._store_id})
            found, store = self._everything(own), self._store_id
        yield from dict.fromkeys(
            str(key_of(document.metadata)) for document in found if is_of(document.metadata, store)
        )

    def close(self) -> None:
        """See ``VectorIndex.close``. The store itself stays open: it is its maker's."""
        self._closed = True

    # ------------------------------------------------------------ the store

    def _insert(self, entries: Mapping[str, IndexEntry]) -> None:
        ids = list(entries)
        texts = [entry.ref.key for entry in entries.values()]
        metadatas = [fields(self._store_id, entry.owner, entry.ref) for entry in entries.values()]
        vectors = [_floats(entry.vector) for entry in entries.values()]
        self._dimension = len(vectors[0])
        if self._vectors is None:
            assert self._pairs is not None  # _take saw to it
            self._pairs(texts, vectors, metadatas, ids)
            return
        # Texts of one call name one vector each: the same ref under two owners goes in two calls.
        while texts:
            first = {text: place for place, text in reversed(list(enumerate(texts)))}
            places = set(first.values())
            with self._vectors.holding({text: vectors[place] for text, place in first.items()}):
                self._store.add_texts(
                    _at(texts, places), metadatas=_at(metadatas, places), ids=_at(ids, places)
                )
            rest = set(range(len(texts))) - places
            texts, vectors, metadatas, ids = (_at(one, rest) for one in (texts, vectors, metadatas, ids))

    def _present(self, ids: list[str]) -> list[str]:
        """Which of the ids the store holds; none of them if it cannot say."""
        if not ids or not self._knows_ids:
            return []
        return [self._id(document) for document in self._store.get_by_ids(ids)]

    def _nearest(self, question: list[float], count: int, options: Mapping[str, Any]) -> list[Document]:
        return self._store.similarity_search_by_vector(question, k=count, **options)

    def _everything(self, options: Mapping[str, Any] | None = None) -> list[Document]:
        fetch = _CLEARED_AT_ONCE
        while len(found := self._nearest(self._probe(), fetch, options or {})) >= fetch:
            fetch *= _GROWTH
        return found

    def _delete_own(self, options: Mapping[str, Any]) -> None:
        """Delete what a filter selects. It is looked at once more: a filter that lies deletes nothing."""
        while found := self._nearest(self._probe(), _CLEARED_AT_ONCE, options):
            own = [self._id(one) for one in found if is_of(one.metadata, self._store_id)]
            if not own:
                raise self._cannot_clear("select its entries")
            self._store.delete(own)

    def _can_reset(self) -> bool:
        return callable(getattr(self._store, "reset_collection", None))

    def _cannot_clear(self, what: str) -> UsageError:
        return UsageError(
            f"{type(self._store).__name__} cannot {what}: make a new, empty store with "
            "StoredVectors(dimension=…), or pass recreate=… to LangChainVectorIndex"
        )

    def _refs(
        self, found: Sequence[Document], owner: OwnerKey, space: Space, *, count: bool = True
    ) -> list[Ref]:
        own = [document.metadata for document in found if is_of(document.metadata, self._store_id)]
        if count:
            self._foreign += len(found) - len(own)
        refs = (ref_of(metadata, owner, space) for metadata in own)
        return list(dict.fromkeys(ref for ref in refs if ref is not None))

    def _id(self, document: Document) -> str:
        """The id of an entry; a store that does not return it keeps what it is made from."""
        if document.id is not None:
            return str(document.id)
        kind, _, value = str(document.metadata[OWNER]).partition(":")
        owner = OwnerKey(kind, value)  # type: ignore[arg-type]
        return entry_id(self._store_id, owner, Ref.from_key(str(key_of(document.metadata))))

    def _known_dimension(self) -> int | None:
        return self._dimension or (None if self._vectors is None else self._vectors.dimension)

    def _probe(self) -> list[float]:
        dimension = self._known_dimension()
        if dimension is None:
            raise UsageError(
                "the dimension of this store's vectors is not known yet: build it with "
                "StoredVectors(dimension=…)"
            )
        return [1.0] + [0.0] * (dimension - 1)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the index {self._name!r} is closed")


def is_vector_store(value: object) -> bool:
    """Whether an object is a LangChain vector store."""
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("add_texts", "similarity_search_by_vector")
    )


def _base() -> Any:
    try:
        from langchain_core.vectorstores import VectorStore
    except ImportError:
        raise MissingDependencyError("LangChainVectorIndex", extra="models") from None
    return VectorStore


def _overrides(store: object, method: str) -> bool:
    """Whether the store has a method of its own, not the base class's that only raises."""
    own = getattr(type(store), method, None)
    return own is not None and own is not getattr(_base(), method, None)


def _stored_vectors(store: Any) -> Any:
    """The store's ``StoredVectors``, put into a public attribute if need be; None if it has none."""
    _base()
    from .stored_vectors import StoredVectors

    model: Any = store.embeddings
    if isinstance(model, StoredVectors):
        return model
    if model is None or _add_embeddings(store) is not None:
        return None
    attributes: dict[str, Any] = store.__dict__
    for attribute, value in list(attributes.items()):
        if value is model and not attribute.startswith("_"):
            replaced = StoredVectors(otherwise=model)
            setattr(store, attribute, replaced)
            if store.embeddings is replaced:
                return replaced
            setattr(store, attribute, value)
    return None


def _add_embeddings(store: Any) -> _AddPairs | None:
    """The store's ``add_embeddings``, in either of its two spellings; None if it has none."""
    method = getattr(store, "add_embeddings", None)
    if not callable(method):
        return None
    parameters = inspect.signature(method).parameters

    def pairs(texts: list[str], vectors: list[list[float]], metadatas: list[Any], ids: list[str]) -> Any:
        both = list(zip(texts, vectors, strict=True))
        return method(text_embeddings=both, metadatas=metadatas, ids=ids)

    def lists(texts: list[str], vectors: list[list[float]], metadatas: list[Any], ids: list[str]) -> Any:
        return method(texts=texts, embeddings=vectors, metadatas=metadatas, ids=ids)

    if "text_embeddings" in parameters:
        return pairs
    return lists if {"texts", "embeddings"} <= parameters.keys() else None


def _at(items: Sequence[Any], places: set[int]) -> list[Any]:
    return [item for place, item in enumerate(items) if place in places]


def _floats(vector: Vector) -> list[float]:
    import numpy as np

    floats: list[float] = np.asarray(vector, dtype=np.float32).tolist()
    return floats
