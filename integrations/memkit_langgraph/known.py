"""What a process knows of stored values, so that the next ones are stored as what they add."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from memkit_core.protocols import Place

from .codec import Known

#: Channels of which the last value is known, and how many entries of one are worth remembering.
_CHANNELS: Final = 512
_ENTRIES: Final = 100_000


class KnownValues:
    """The value of each channel that was read or written last, for the threads in use. Safe in threads.

    What is known may be out of date: the store refuses a base that is not there any more.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, str, str], Known] = OrderedDict()
        self._gate = Lock()

    def recall(self, place: Place, channel: str) -> Known | None:
        """The value of a channel that was seen last."""
        with self._gate:
            return self._values.get((place.thread_id, place.namespace, channel))

    def learn(self, place: Place, channel: str, known: Known | None) -> None:
        """Another value was seen; None: it is not known which."""
        key = place.thread_id, place.namespace, channel
        with self._gate:
            self._values.pop(key, None)
            if known is not None and 0 < len(known.digests) <= _ENTRIES:
                self._values[key] = known
                if len(self._values) > _CHANNELS:
                    self._values.popitem(last=False)

    def forget(self, place: Place) -> None:
        """All of a namespace is unknown again."""
        space = place.thread_id, place.namespace
        with self._gate:
            for key in [key for key in self._values if key[:2] == space]:
                del self._values[key]
