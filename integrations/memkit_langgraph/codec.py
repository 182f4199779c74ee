"""Values of channels, writes and checkpoints as the bytes that a checkpoint store keeps, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, cast

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from memkit_core.errors import IntegrityError
from memkit_core.protocols import KEY_BYTES, Base, Blob, BlobPlace, ChannelValue, Layers, StoredCheckpoint

from .encryption import Cipher, place_of
from .packing import pack, unpack
from .places import checkpoint_place
from .splitting import Assembly, Op, assemble, difference, digest_of, entries_of, long_texts

#: Bodies of this size are kept as a part.
_INLINE: Final = 640
#: How many layers a value may have before it is stored whole again, beside one for each of its entries.
_LAYERS: Final = 32
_INSIDE, _OUTSIDE = b"\0", b"\1"
_COUNTER: Final = 4


@dataclass(frozen=True, slots=True)
class Known:
    """A stored value that a later one may continue."""

    base: Base
    digests: tuple[bytes, ...]
    layers: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value on its way into the store, and what will be known of it when it is there."""

    value: ChannelValue
    digests: tuple[bytes, ...]
    layers: int

    def known(self, tag: bytes) -> Known:
        """The same, stored under this tag."""
        return Known(Base(self.value.key, tag), self.digests, self.layers)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A value that was read, and what is known of it."""

    value: Any
    known: Known | None


def value_key(channel: str, version: object) -> bytes:
    """What a channel's value in one version is called in the store: keys of later versions come behind."""
    head = str(version).partition(".")[0].lstrip("0")
    counter = min(int(head), 2**32 - 1) if head.isascii() and head.isdigit() and len(head) < 20 else 0
    name = json.dumps([channel, version]).encode("ascii")
    return counter.to_bytes(_COUNTER, "big") + blake2b(name, digest_size=KEY_BYTES - _COUNTER).digest()


class Codec:
    """Serialises, cuts, packs and encrypts, and the other way round."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def encode(self, serde: SerializerProtocol, value: Any, place: BlobPlace) -> Blob:
        """A value that stands for itself."""
        form, data = serde.dumps_typed(value)
        return self._blob(form, [_cut(data, form)], place)

    def decode(self, serde: SerializerProtocol, blob: Blob, place: BlobPlace) -> Any:
        """The value that was encoded.

        Raises:
            IntegrityError: It is damaged or was moved.
            UsageError: It is encrypted with another key, or of a type that is not allowed.
        """
        form, ops = self._ops(blob, place)
        return serde.loads_typed((form, b"".join(_assembled([ops]).entries)))

    def decode_checkpoint(
        self, serde: SerializerProtocol, stored: StoredCheckpoint
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A checkpoint without its values, and its metadata; errors as in ``decode``."""
        found = self.decode(serde, stored.body, checkpoint_place(stored.place, stored.parent_id))
        match found:
            case [{"channel_versions": dict()}, dict()]:
                rest, metadata = cast("tuple[dict[str, Any], dict[str, Any]]", found)
            case _:
                raise IntegrityError("a checkpoint's body is none that was written")
        if not all(isinstance(version, str | int | float) for version in rest["channel_versions"].values()):
            raise IntegrityError("a checkpoint's body is none that was written")
        return rest, metadata

    def encode_value(
        self, serde: SerializerProtocol, value: Any, place: BlobPlace, known: Known | None
    ) -> Encoded:
        """A channel's value, as what it adds to the one that is known if that is shorter."""
        form, data = serde.dumps_typed(value)
        entries = entries_of(data) if form == "msgpack" else [data]
        digests = tuple(map(digest_of, entries)) if len(entries) > 1 else ()
        ops: list[Op] = [entries]
        layers, base = 1, None
        if known is not None and digests and known.layers <= _LAYERS + len(entries):
            found = difference(known.digests, entries, digests)
            taken = sum(op[1] for op in found if isinstance(op, tuple))
            if 2 * taken >= max(len(entries), len(known.digests)):
                ops, layers, base = found, known.layers + 1, known.base
        if base is not None:
            place = _based(place, base.key)
        cut: list[Any] = []
        for op in ops:
            cut += [list(op)] if isinstance(op, tuple) else [_cut(entry, form) for entry in op]
        blob = self._blob(form, cut, place)
        return Encoded(ChannelValue(key=place.key, blob=blob, base=base), digests, layers)

    def decode_value(self, serde: SerializerProtocol, layers: Layers, place: BlobPlace) -> Decoded:
        """The value of some layers; errors as in ``decode``."""
        form, found = "", list[list[Op]]()
        for layer in layers:
            here = BlobPlace(
                kind=place.kind, thread_id=place.thread_id, namespace=place.namespace, key=layer.key
            )
            layer_form, ops = self._ops(layer.blob, _based(here, layer.base))
            form = form or layer_form
            found.append(ops)
        made = _assembled(found)
        known = None
        if len(made.entries) > 1:
            base = Base(layers[0].key, layers[0].tag)
            known = Known(base, tuple(map(digest_of, made.entries)), made.layers)
        return Decoded(serde.loads_typed((form, b"".join(made.entries))), known)

    def reseal(self, place: BlobPlace, blob: Blob, thread_id: str) -> Blob:
        """The same for another thread."""
        target = replace(place, thread_id=thread_id)
        here, there = _part_place(place), _part_place(target)
        plain = [self._cipher.open(part, here) for part in blob.parts]
        parts = tuple(self._cipher.seal(part, there, repeatable=True) for part in plain)
        body = self._cipher.open(blob.body, _body_place(place, blob.parts))
        return Blob(self._cipher.seal(body, _body_place(target, parts)), parts)

    def _blob(self, form: str, items: Sequence[Any], place: BlobPlace) -> Blob:
        """Items as ``_cut`` makes them, with texts in the places of their numbers."""
        texts: list[bytes] = []
        numbered: list[Any] = []
        for item in items:
            if isinstance(item, _Cut):
                pieces: list[bytes | int] = []
                for piece in item.pieces:
                    if len(pieces) % 2:  # a long text stands behind every literal
                        texts.append(piece)
                        pieces.append(len(texts) - 1)
                    else:
                        pieces.append(piece)
                numbered.append(pieces)
            else:
                numbered.append(item)
        packed = pack(ormsgpack.packb([form, numbered]))
        inside = len(packed) <= _INLINE
        stored = [pack(text) for text in texts] + ([] if inside else [packed])
        here = _part_place(place)
        parts = tuple(self._cipher.seal(part, here, repeatable=True) for part in stored)
        body = _INSIDE + packed if inside else _OUTSIDE
        return Blob(self._cipher.seal(body, _body_place(place, parts)), parts)

    def _ops(self, blob: Blob, place: BlobPlace) -> tuple[str, list[Op]]:
        body = self._cipher.open(blob.body, _body_place(place, blob.parts))
        here = _part_place(place)
        parts = [self._cipher.open(part, here) for part in blob.parts]
        packed = parts.pop() if body[:1] == _OUTSIDE and parts else body[1:]
        try:
            form, items = ormsgpack.unpackb(unpack(packed))
            return str(form), _read_items(items, [unpack(part) for part in parts])
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise IntegrityError("a stored value of a checkpoint cannot be read") from error


def _assembled(layers: list[list[Op]]) -> Assembly:
    try:
        return assemble(layers)
    except (TypeError, ValueError, LookupError, MemoryError, OverflowError) as error:
        raise IntegrityError("a stored value of a checkpoint cannot be read") from error


@dataclass(frozen=True, slots=True)
class _Cut:
    """An entry with long texts: literal, text, literal and so on, beginning and ending with a literal."""

    pieces: tuple[bytes, ...]


def _cut(entry: bytes, form: str) -> bytes | _Cut:
    pieces, position = list[bytes](), 0
    spans = (
        long_texts(entry) if form == "msgpack" else iter([(0, len(entry))] if len(entry) > _INLINE else [])
    )
    for start, end in spans:
        pieces += (entry[position:start], entry[start:end])
        position = end
    return _Cut((*pieces, entry[position:])) if pieces else entry


def _read_items(items: Sequence[Any], texts: Sequence[bytes]) -> list[Op]:
    ops: list[Op] = []
    for item in items:
        if isinstance(item, bytes):
            entry = item
        else:
            pieces: list[Any] = item
            if isinstance(pieces[0], int):
                ops.append((pieces[0], pieces[1]))
                continue
            entry = b"".join(texts[piece] if isinstance(piece, int) else piece for piece in pieces)
        last = ops[-1] if ops else None
        if isinstance(last, list):
            last.append(entry)
        else:
            ops.append([entry])
    return ops


def _based(place: BlobPlace, base: bytes | None) -> BlobPlace:
    return replace(place, names=("" if base is None else base.hex(),))


def _part_place(place: BlobPlace) -> bytes:
    return place_of("part", place.thread_id)


def _body_place(place: BlobPlace, parts: Sequence[bytes]) -> bytes:
    state = blake2b(digest_size=32)
    for part in parts:
        state.update(blake2b(part, digest_size=32).digest())
    return place_of(place.kind, place.thread_id, place.namespace, place.key, *place.names, state.digest())
