"""How an entry is written down in somebody else's index."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

from ..errors import UsageError
from ..types import OwnerKey, Ref, Space

#: The fields of an entry, wherever it is kept.
STORE: Final = "memkit_store"
OWNER: Final = "memkit_owner"
SPACE: Final = "memkit_space"
REF: Final = "memkit_ref"


def owner_text(owner: OwnerKey) -> str:
    """The owner as one string. No two owners share one: a kind has no colon."""
    return f"{owner.kind}:{owner.value}"


def entry_id(store: str, owner: OwnerKey, ref: Ref) -> str:
    """The id of a ref of this owner in this record store: a UUID, which every index takes.

    The same ref under another owner, or in a copy of the record store, has another id: no call reaches
    what is somebody else's.
    """
    text = f"{store}\0{owner_text(owner)}\0{ref.key}"  # no part can hold a NUL
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode("utf-8")).digest()[:16], version=5))


def fields(store: str, owner: OwnerKey, ref: Ref) -> dict[str, str]:
    """What is stored beside the vector."""
    return {STORE: store, OWNER: owner_text(owner), SPACE: ref.space, REF: ref.key}


def is_of(stored: Mapping[str, Any] | None, store: str) -> bool:
    """Whether an entry with these fields is memkit's and of this record store."""
    return stored is not None and stored.get(STORE) == store and key_of(stored) is not None


def ref_of(stored: Mapping[str, Any] | None, owner: OwnerKey, space: Space) -> Ref | None:
    """The ref in an entry's fields, None if they are not this owner's and space's."""
    if not stored or stored.get(OWNER) != owner_text(owner) or stored.get(SPACE) != space:
        return None
    try:
        ref = Ref.from_key(str(stored.get(REF)))
    except UsageError:  # somebody else wrote into the collection
        return None
    return ref if ref.space == space else None


def key_of(stored: Mapping[str, Any] | None) -> str | None:
    """The ref key in an entry's fields, None if it is not one of memkit's."""
    key = None if stored is None else stored.get(REF)
    return key if isinstance(key, str) else None
