"""Images in messages: named in the text, shown to a model once, never fetched."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a message, whose text has a mark in its place.

    Attributes:
        number: Counts the images of one ``add`` from 1.
        reference: What its mark calls it: a URL, a hash and mime type, or a provider's file id.
        source: What a model is shown: a URL, or ``file:`` and a provider's id. None: nothing, or no longer.
        detail: How closely a model is to look: auto, low or high.
        start, end: Where its mark or its description stands in the message's text.
    """

    number: int
    reference: str
    source: str | None = field(default=None, repr=False)
    detail: str | None = None
    start: int = 0
    end: int = 0

    @property
    def mark(self) -> str:
        """What stands in the text before the image is described."""
        return f"[image {self.number} ({self.reference})]"
