"""Vectors and keywords of all items anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from memkit_core.protocols import ItemStore, ItemTexts, StoredItem

from .index import ItemIndex
from .values import load

#: Items that are embedded together.
_PORTION: Final = 256


def reindex(items: ItemStore, index: ItemIndex) -> int:
    """See ``MemkitStore.reindex``."""
    embedder = index.embedder
    after = count = 0
    switched = False
    while portion := items.scan(after=after, limit=_PORTION):
        after = portion[-1][0]
        found = [_texts(index, number, item) for number, item in portion]
        texts = list(dict.fromkeys(text for item in found for text in item.texts))
        if embedder is not None and texts:
            vectors = dict(zip(texts, embedder.embed_documents(texts), strict=True))
            found = [replace(item, vectors=tuple(vectors[text] for text in item.texts)) for item in found]
        if not switched:  # the model has shown by now that it works, and how many dimensions it has
            items.switch_item_embedding(None)
            switched = True
        items.index(found, embedding=None if embedder is None else embedder.identity)
        count += len(found)
    if not switched:
        items.switch_item_embedding(None)
    return count


def _texts(index: ItemIndex, number: int, item: StoredItem) -> ItemTexts:
    return ItemTexts(
        number=number, updated_at=item.updated_at, texts=index.texts(load(item.value), item.paths)
    )
