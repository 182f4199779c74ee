"""Everything derived, made anew from the records: keywords, vectors, derived indexes.

Each step ends in the store before the next begins, so that a run that was cut short is finished by the
next one. Readers see an owner's keywords before or after, never between; texts whose vector is not there
yet are found by keywords, and searches say so.
"""

from __future__ import annotations

from ..admin_results import ReindexResult
from ..errors import IntegrityError
from ..models.embed import Embedder
from ..pipeline.flush import fill_vectors
from ..pipeline.index import rebuild_index as rebuild
from ..pipeline.services import Services
from ..protocols import MaintainableStore, Runtime
from ..results import StageFailure
from ..types import EmbeddingIdentity
from .progress import Progress


async def adopt(rt: Runtime, store: MaintainableStore, embedder: Embedder) -> None:
    """Move the store to another embedding model, if it is another one.

    The model is called before anything is dropped: one that does not work costs nothing.

    Raises:
        ModelError: It does not work. Nothing was changed.
    """
    await rt.embed_documents(embedder, ["What an embedding model makes of a text."])
    identity = embedder.identity
    assert identity is not None  # the call has learned it
    try:
        held = await rt.call(store.embedding_identity)
    except IntegrityError:  # nobody knows whose vectors they are
        held = EmbeddingIdentity("", 0)
    if held is not None and held != identity:
        await rt.call(lambda: store.switch_embedding(identity))


async def reindex(
    rt: Runtime, services: Services, store: MaintainableStore, progress: Progress
) -> ReindexResult:
    """Keywords, then missing vectors, then the derived index.

    Raises:
        StorageError: The store failed; what was done by then stays, and another run does the rest.
    """
    units = await _terms(rt, store, progress)
    embedded = 0
    failed: list[StageFailure] = []
    calls = 0
    if services.embedder is not None:
        progress.stage("vectors")
        for retired in (False, True):
            filled = await fill_vectors(rt, services, retired=retired, enqueue=False, done=progress.step)
            embedded += filled.count
            calls += filled.calls
            failed += filled.failed
            if filled.failed:
                break
    indexed, trouble = await rebuild_index(rt, services, progress)
    return ReindexResult(
        units=units,
        embedded=embedded,
        embedding_calls=calls,
        indexed=indexed,
        index=None if services.index is None else services.index.name,
        failed=[*failed, *trouble],
    )


async def _terms(rt: Runtime, store: MaintainableStore, progress: Progress) -> int:
    progress.stage("keywords", await rt.call(store.count_units))
    units, position = 0, 0
    while True:
        at = position
        position, done = await rt.call(lambda: store.rebuild_terms(after=at))  # noqa: B023 - called at once
        units += done
        progress.step(done)
        if not position:
            return units


async def rebuild_index(
    rt: Runtime, services: Services, progress: Progress
) -> tuple[int, list[StageFailure]]:
    """Clear the derived index and fill it from the stored vectors."""
    index = services.index
    if index is None:
        return 0, []

    def begun(count: int) -> None:
        progress.stage(f"index {index.name}", count)

    return await rebuild(rt, services, begun=begun, done=progress.step)
