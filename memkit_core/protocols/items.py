"""Items: JSON objects under keys in namespaces, which a framework's store keeps beside the memories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ..types import EmbeddingIdentity, Micros, Vector
from .item_filters import ItemFilter

#: Labels from the outermost inwards: never empty strings, without full stops and NUL.
Namespace: TypeAlias = tuple[str, ...]
#: How found items are ordered: by the cosine of their vectors, by keywords, or by both together.
ItemRanking: TypeAlias = Literal["cosine", "keywords", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredItem:
    """An item as it is stored.

    Attributes:
        value: The JSON text of an object.
        paths: The fields it is found by, as whoever put it wrote them; empty: it is not searched.
        ttl: Microseconds that it lives after it was written or read, None: for good.
        expires_at: When it may be swept away.
    """

    namespace: Namespace
    key: str
    value: str
    paths: tuple[str, ...]
    created_at: Micros
    updated_at: Micros
    ttl: Micros | None = None
    expires_at: Micros | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPut:
    """An item to be stored in the place of the one that is there, or (``value`` None) to be removed.

    Attributes:
        texts: What it is found by, drawn from its fields.
        vectors: One for each text, of any length; empty if there is no embedding model.
    """

    namespace: Namespace
    key: str
    value: str | None
    paths: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    vectors: tuple[Vector, ...] = ()
    ttl: Micros | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGet:
    """Asks for one item. ``refresh``: if it is there, its time to live begins anew."""

    namespace: Namespace
    key: str
    refresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSearch:
    """Asks for the items in all namespaces that begin with ``prefix``.

    With neither vector nor text: the last changed first. With a query: the best first, then what has nothing
    to compare with it, the last changed first. What is equal keeps one order from page to page.

    Attributes:
        where: What every item that is returned fulfils.
        vector: The query's vector, of the model that the items' vectors are from.
        text: The query's text, for keywords.
        refresh: The time to live of what is returned begins anew.
    """

    prefix: Namespace
    where: ItemFilter | None = None
    vector: Vector | None = None
    text: str | None = None
    ranking: ItemRanking = "cosine"
    limit: int = 10
    offset: int = 0
    refresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceListing:
    """Asks for the namespaces that hold an item, in the order of their labels.

    Attributes:
        prefixes, suffixes: Patterns that must all match; ``*`` stands for any one label.
        max_depth: Longer ones are cut to so many labels.
    """

    prefixes: tuple[Namespace, ...] = ()
    suffixes: tuple[Namespace, ...] = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTexts:
    """What an item that stays as it is shall be found by from now on.

    Attributes:
        number: The item's number in ``ItemStore.scan``. ``updated_at``: as it was there.
        texts, vectors: As in ``ItemPut``.
    """

    number: int
    updated_at: Micros
    texts: tuple[str, ...]
    vectors: tuple[Vector, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item that a search found.

    ``score``: the cosine with the nearest of its texts (``ranking`` cosine), else a value from 0 to 1 that
    only orders. None if nothing was compared.
    """

    item: StoredItem
    score: float | None = None


ItemQuestion: TypeAlias = ItemGet | ItemSearch | NamespaceListing
ItemAnswer: TypeAlias = StoredItem | tuple[FoundItem, ...] | tuple[Namespace, ...] | None


@runtime_checkable
class ItemStore(Protocol):
    """Keeps items. Errors as in ``RecordStore``: after any, the state is the one before the call.

    ``now`` is the caller's clock, in microseconds since 1970 UTC.
    """

    def item_identity(self) -> EmbeddingIdentity | None:
        """The model whose vectors the items have, None if none has any."""
        ...

    def ask(
        self,
        questions: Sequence[ItemQuestion],
        *,
        now: Micros,
        omit_expired: bool = False,
        embedding: EmbeddingIdentity | None = None,
    ) -> list[ItemAnswer]:
        """The answers to all questions, in their order and of one moment.

        A read begins an item's time to live anew where that is asked for and moves its end by a hundredth of
        that time at least.

        Args:
            omit_expired: Expired items are as if they were not there.
            embedding: The model that the questions' vectors are from.

        Raises:
            EmbeddingMismatchError: The items have vectors of another model.
            IntegrityError: An item that would be returned does not match its hash.
            UsageError: A vector has not the dimension of the items'.
        """
        ...

    def put(
        self, puts: Sequence[ItemPut], *, now: Micros, embedding: EmbeddingIdentity | None = None
    ) -> None:
        """Store and remove items, all or none; of several for one place the last counts.

        ``created_at`` of an item that is there is kept; what the old one was found by is forgotten.

        Args:
            embedding: The model that the vectors are from; needed if there are any.

        Raises:
            EmbeddingMismatchError: The items have vectors of another model. Nothing was changed.
        """
        ...

    def scan(self, *, after: int = 0, limit: int) -> list[tuple[int, StoredItem]]:
        """The next items by their numbers, which are positive and stay; damaged ones are left out."""
        ...

    def index(self, items: Sequence[ItemTexts], *, embedding: EmbeddingIdentity | None = None) -> None:
        """Find items by other texts and vectors; those that are gone or were put again stay as they are.

        Raises:
            EmbeddingMismatchError: The items have vectors of another model. Nothing was changed.
        """
        ...

    def switch_item_embedding(self, identity: EmbeddingIdentity | None) -> None:
        """Drop the vectors of all items; ``identity``: the model whose vectors come next, if it is known."""
        ...

    def sweep(self, *, now: Micros) -> int:
        """Remove all expired items; returns how many there were."""
        ...
