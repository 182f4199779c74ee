"""The account of one operation: its models are called through it, and so counted where they are called."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar

from ..errors import MemkitError
from ..ledger import Bill
from ..models.structured import failed_usage, returned_usage
from ..protocols import Runtime
from ..types import EmbeddingCalls, OwnerKey, Usage
from .services import Services

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Account(AbstractAsyncContextManager["Account"]):
    """A runtime that counts what the models called through it cost, whatever becomes of their replies.

    ``async with`` it around an operation. What ``bill.carrying`` has not written by the end is durable
    afterwards if a model was called; time alone is left to the ledger.

    Args:
        rt: The runtime that does the work.
        owner, operation, at_once: See ``Bill``.
    """

    def __init__(
        self,
        rt: Runtime,
        services: Services,
        owner: OwnerKey | None,
        operation: str,
        *,
        at_once: bool = False,
    ) -> None:
        self._rt = rt
        self._ledger = services.ledger
        self.bill = Bill(services.ledger, owner, operation, at_once=at_once)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.bill.close() or (error is not None and not isinstance(error, Exception)):
            return  # who is interrupted or cancelled awaits nothing more: the ledger writes it
        try:
            await self._rt.call(self._ledger.settle)
        except MemkitError as failure:  # it is still owed, and the operation's own outcome stands
            _log.warning("what an operation cost is not written yet: %s", type(failure).__name__)

    # ------------------------------------------------------------ the runtime

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """See ``Runtime.chat``."""
        try:
            reply = await self._rt.chat(runnable, messages, config)
        except BaseException as error:  # a call that was interrupted was made all the same
            self.bill.spend(failed_usage(error))
            raise
        self.bill.spend(returned_usage(reply))
        return reply

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """See ``Runtime.embed_documents``."""
        try:
            vectors = await self._rt.embed_documents(embedder, texts)
        except BaseException as error:
            self.bill.spend(getattr(error, "usage", None) or Usage(embedding_calls=1))
            raise
        self.bill.spend(Usage(embedding_calls=embedder.calls(len(texts))))
        return vectors

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """See ``Runtime.embed_query``."""
        try:
            return await self._rt.embed_query(embedder, text)
        finally:
            self.bill.spend(Usage(embedding_calls=1))

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``."""
        return await self._rt.call(function)

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """See ``Runtime.gather``."""
        return await self._rt.gather(*work)

    async def wait(self, jobs: Sequence[Any], seconds: float | None) -> int:
        """See ``Runtime.wait``."""
        return await self._rt.wait(jobs, seconds)

    async def sleep(self, seconds: float) -> None:
        """See ``Runtime.sleep``."""
        await self._rt.sleep(seconds)

    def exclusive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """See ``Runtime.exclusive``."""
        return self._rt.exclusive(key)
