"""Texts to vectors, each distinct text once; a failing embedding model degrades and is reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from ..protocols import Runtime
from ..results import StageFailure
from ..types import Usage
from .services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Unit-length vectors by text; empty without an embedding model or after a failure."""

    vectors: dict[str, Any] = field(default_factory=dict[str, Any])
    failed: tuple[StageFailure, ...] = ()
    usage: Usage = Usage()


async def embed(rt: Runtime, services: Services, texts: Iterable[str]) -> Embedded:
    """Vectors of the texts. A failure is an outcome: rows go in without vectors, and ``flush`` adds them.

    Raises:
        EmbeddingMismatchError: The store holds another model's vectors. Nothing was changed.
    """
    distinct = list(dict.fromkeys(texts))
    if services.embedder is None or not distinct:
        return Embedded()
    embedder = services.embedder
    try:
        matrix = await rt.embed_documents(embedder, distinct)
    except ModelError as error:
        usage = error.usage or Usage(embedding_calls=1)
        return Embedded(failed=(StageFailure.of("embed", error),), usage=usage)
    await ensure_identity(rt, services)
    usage = Usage(embedding_calls=embedder.calls(len(distinct)))
    return Embedded(vectors=dict(zip(distinct, matrix, strict=True)), usage=usage)


async def ensure_identity(rt: Runtime, services: Services) -> None:
    """Record whose vectors the store holds, before the first one is stored.

    Raises:
        EmbeddingMismatchError: It holds another model's. Nothing was changed.
    """
    identity = services.identity
    if identity is not None and services.known.identity != identity:
        await rt.call(lambda: services.store.set_embedding_identity(identity))
        services.known.identity = identity
