"""What delta channels are made of: the last value that is stored, and all writes since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol

from memkit_core.protocols import Ancestor, CheckpointStore, Place

from .codec import Codec, value_key
from .places import value_place, write_place

#: Ancestors that are read together.
_PAGE: Final = 64


class _Walk:
    """The channels that still look for a value on the way to the beginning."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        self.seeds: dict[str, Any] = {}
        self.remaining = set(channels)

    def result(self, channels: Sequence[str]) -> Mapping[str, DeltaChannelHistory]:
        """What was found."""
        found: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            entry: DeltaChannelHistory = {"writes": self.writes[channel][::-1]}
            if channel in self.seeds:
                entry["seed"] = self.seeds[channel]
            found[channel] = entry
        return found


class History:
    """Reads the histories of delta channels from a checkpoint store."""

    def __init__(self, store: CheckpointStore, codec: Codec) -> None:
        self._store = store
        self._codec = codec

    def of(
        self, serde: SerializerProtocol, place: Place, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The histories of some channels up to a checkpoint; without an id, to the latest."""
        walk = _Walk(channels)
        if not place.checkpoint_id:
            loaded = self._store.get_checkpoint(place.thread_id, place.namespace)
            if loaded is None:
                return walk.result(channels)
            place = loaded.stored.place
        while walk.remaining:
            page = self._store.ancestors(place, channels=walk.remaining, limit=_PAGE)
            for ancestor, keys in zip(page, self._keys(serde, page, walk), strict=True):
                self._visit(serde, ancestor, keys, walk)
            if len(page) < _PAGE:
                break
            place = page[-1].stored.place
        return walk.result(channels)

    def _keys(
        self, serde: SerializerProtocol, page: Sequence[Ancestor], walk: _Walk
    ) -> list[dict[str, bytes]]:
        """The keys of stored values of the wanted channels, for every ancestor."""
        found: list[dict[str, bytes]] = []
        for ancestor in page:
            stored = ancestor.stored
            rest, _ = self._codec.decode_checkpoint(serde, stored)
            versions: Mapping[str, object] = rest["channel_versions"]
            found.append(
                {channel: value_key(channel, versions[channel]) for channel in walk.remaining & {*versions}}
            )
        if not found:
            return []
        place = page[0].stored.place
        asked = {key for keys in found for key in keys.values()}
        held = self._store.held(place.thread_id, place.namespace, asked)
        return [{channel: key for channel, key in keys.items() if key in held} for keys in found]

    def _visit(
        self, serde: SerializerProtocol, ancestor: Ancestor, keys: Mapping[str, bytes], walk: _Walk
    ) -> None:
        place = ancestor.stored.place
        for write in reversed(ancestor.writes):
            if write.channel in walk.remaining:
                where = write_place(place, write.task_id, write.task_path, write.index, write.channel)
                value = self._codec.decode(serde, write.blob, where)
                walk.writes[write.channel].append((write.task_id, write.channel, value))
        for channel in walk.remaining & {*keys}:
            key = keys[channel]
            layers = self._store.layers(place.thread_id, place.namespace, [key])
            if key in layers:  # else it was pruned since
                walk.seeds[channel] = self._codec.decode_value(
                    serde, layers[key], value_place(place, key)
                ).value
                walk.remaining.discard(channel)
