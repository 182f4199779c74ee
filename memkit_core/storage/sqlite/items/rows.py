"""How items become rows and rows become items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .... import analysis
from ....errors import IntegrityError, UsageError
from ....protocols import ItemPut, Namespace, StoredItem
from ....types import Vector
from ..rows import LONE_SURROGATE, checksum, digest, pack_vector
from ..seals import is_sound_row

#: The columns of an item ``i`` and of its namespace ``s`` in the order of ``item_of``.
ITEM: Final = (
    "i.id, s.namespace, i.key, i.value, i.paths, i.created_at, i.updated_at, i.content_hash, i.ttl,"
    " i.expires_at, i.terms, i.vectors, i.state_sum"
)
#: Terms of one item that are kept for keyword search.
_MAX_TERMS: Final = 4_096


def encode(namespace: Namespace) -> str:
    """A namespace as it is stored: a prefix of it is a prefix of the text.

    Raises:
        UsageError: A label is no string, empty, or holds a full stop, NUL or a lone surrogate.
    """
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            raise UsageError(
                f"a namespace's labels are non-empty strings without full stops and NUL, not {label!r}"
            )
        check_text(label)
    return "".join(f"{label}." for label in namespace)


def decode(text: str) -> Namespace:
    """The namespace that was encoded."""
    return tuple(text[:-1].split(".")) if text else ()


def span(prefix: str) -> tuple[str, str]:
    """The first encoded namespace with this encoded prefix, and the first behind all of them."""
    return prefix, f"{prefix[:-1]}/" if prefix else "\U0010ffff"


def check_text(text: str) -> None:
    """Refuse what is not text.

    Raises:
        UsageError: It holds a lone surrogate.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(LONE_SURROGATE) from error


def space_seal(namespace: str, size: int) -> bytes:
    """The hash of a namespace's row."""
    return digest([namespace, size])


def item_seal(namespace: str, key: str, value: str, paths: str, created_at: int, updated_at: int) -> bytes:
    """The hash of an item's row."""
    return digest([namespace, key, value, paths, created_at, updated_at])


def state_sum(item: int, ttl: int | None, expires_at: int | None, terms: int, vectors: int) -> int:
    """The checksum of what changes without a put."""
    return checksum(item, ttl, expires_at, terms, vectors)


def terms_sum(rows: Sequence[tuple[str, int, int]]) -> int:
    """The checksum of an item's keywords, as (term, tf, len); 0 if there are none."""
    return checksum(*sorted(rows)) if rows else 0


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a row of ``ITEM`` matches its hash and its checksum."""
    return is_sound_row(row[1:7], row[7]) and state_sum(row[0], *row[8:12]) == row[12]


def item_of(row: Sequence[Any]) -> StoredItem:
    """The item in a row of ``ITEM``.

    Raises:
        IntegrityError: It does not match its hash.
    """
    if not is_sound(row):
        raise IntegrityError(
            f"item {row[2]!r} in {row[1]!r} is damaged, what it says cannot be trusted: see"
            " memory.admin.doctor(), and put it again or restore the file from a backup"
        )
    _, namespace, key, value, paths, created_at, updated_at, _, ttl, expires_at, *_ = row
    return StoredItem(
        namespace=decode(namespace),
        key=key,
        value=value,
        paths=tuple(json.loads(paths)),
        created_at=created_at,
        updated_at=updated_at,
        ttl=ttl,
        expires_at=expires_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What an item is found by, as rows."""

    terms: tuple[tuple[str, int, int], ...]
    vectors: tuple[bytes, ...]


def prepare_index(texts: Sequence[str], vectors: Sequence[Vector]) -> Indexed:
    """The keywords of texts, as (term, tf, len), and their vectors.

    Raises:
        UsageError: A vector is none, or there are not as many as texts.
    """
    if vectors and len(vectors) != len(texts):
        raise UsageError(f"{len(vectors)} vectors for {len(texts)} texts")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(analysis.unit_terms(text.encode("utf-8", "replace").decode("utf-8")))
    length = counts.total()
    return Indexed(
        terms=tuple((term, tf, length) for term, tf in counts.most_common(_MAX_TERMS)),
        vectors=tuple(pack_vector(vector) for vector in vectors),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPut:
    """A put with everything made that needs no database."""

    namespace: str
    key: str
    value: str | None
    paths: str
    ttl: int | None
    indexed: Indexed


def prepare(puts: Sequence[ItemPut]) -> list[PreparedPut]:
    """The puts that count, in order: of several for one place the last.

    Raises:
        UsageError: One cannot be stored.
    """
    last = {(encode(put.namespace), put.key): put for put in puts}
    return [_prepare(namespace, put) for (namespace, _), put in last.items()]


def _prepare(namespace: str, put: ItemPut) -> PreparedPut:
    if not isinstance(put.key, str):
        raise UsageError(f"an item's key is a string, not {type(put.key).__name__}")
    check_text(put.key)
    if put.value is not None:
        check_text(put.value)
    if put.ttl is not None and not 0 <= put.ttl < 2**62:
        raise UsageError("a time to live is not negative, and less than 100,000 years")
    return PreparedPut(
        namespace=namespace,
        key=put.key,
        value=put.value,
        paths=json.dumps(put.paths),
        ttl=put.ttl,
        indexed=prepare_index(put.texts, put.vectors),
    )
