"""The account of one operation: its models are called through it, and so counted where they are called."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from ..budgets import most
from ..errors import BudgetExceededError, MemkitError, StorageUnavailableError
from ..ledger import Bill
from ..models.calling import Target, estimated_tokens, may_fall_back, models_of, prompt_bytes
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
        self._services = services
        self._ledger = services.ledger
        self.bill = Bill(services.ledger, owner, operation, at_once=at_once)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.bill.close() or (error is not None and not isinstance(error, Exception)):
            return  # who is interrupted or cancelled awaits nothing more: the ledger writes it
        if isinstance(error, StorageUnavailableError):
            return  # nor does anybody wait once more for a store that could not be written
        try:
            await self._rt.call(self._ledger.settle)
        except MemkitError as failure:  # it is still owed, and the operation's own outcome stands
            _log.warning("what an operation cost is not written yet: %s", type(failure).__name__)

    # ------------------------------------------------------------ the runtime

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """See ``Runtime.chat``. The engine's policies for calls of models hold.

        Raises:
            ModelUnavailableError: The model failed too often in a row. It was not called.
            ModelTimeoutError: It did not answer in time.
            BudgetExceededError: The budget is spent. It was not called, or not again.
        """
        if isinstance(runnable, Target):
            return await self._chat(runnable, messages, config)
        models = models_of(runnable)
        for model in models[:-1]:
            try:
                return await self._chat(Target(model, model), messages, config)
            except Exception as error:  # whatever a provider raises: the next model is asked
                if isinstance(error, BudgetExceededError) or not may_fall_back(runnable, error):
                    raise
        return await self._chat(Target(models[-1], models[-1]), messages, config)

    async def _chat(self, target: Target, messages: Any, config: Any) -> Any:
        services, owner, size = self._services, self.bill.owner, prompt_bytes(messages)
        tokens = estimated_tokens(size)
        target.accounted = True

        async def once() -> Any:
            if services.budgets is None:
                return await self._ask(target, messages, config, tokens)
            async with services.budgets.turn(self._rt, owner, lambda: most(target.model, size)):
                return await self._ask(target, messages, config, tokens)

        return await services.caller.chat(self._rt, target.model, tokens, once)

    async def _ask(self, target: Target, messages: Any, config: Any, tokens: int) -> Any:
        """One single call."""
        seconds = self._services.policies.resilience.timeout
        limits = self._services.caller.limits

        def spend(usage: Usage) -> None:
            target.spent += usage
            self._spend(usage)
            limits.correct(tokens, usage.total_tokens)

        def late(reply: Any, error: BaseException | None) -> None:
            """The call counts already; what it used is known only now."""
            usage = returned_usage(reply) if error is None else failed_usage(error)
            self._spend(replace(usage, chat_calls=0))

        try:
            if seconds is None:
                reply = await self._rt.chat(target.runnable, messages, config)
            else:
                work = partial(self._rt.chat, target.runnable, messages, config)
                reply = await self._rt.bounded(work, seconds, late)
        except BaseException as error:  # a call that was interrupted was made all the same
            spend(failed_usage(error))
            raise
        spend(returned_usage(reply))
        return reply

    def _spend(self, usage: Usage) -> None:
        if self._services.budgets is None:
            self.bill.spend(usage)
        else:
            self._services.budgets.spend(self.bill, usage)

    async def embed_documents(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        """See ``Runtime.embed_documents``. Each single call of the model is tried again by itself."""
        portions = embedder.portions(texts)
        if len(portions) < 2:
            return await self._embed_portion(embedder, texts)
        parts = [await self._embed_portion(embedder, portion) for portion in portions]
        return [vector for part in parts for vector in part]

    async def _embed_portion(self, embedder: EmbeddingCalls, texts: list[str]) -> Any:
        async def once() -> Any:
            if texts:
                self.bill.spend(Usage(embedding_calls=1))
            return await self._rt.embed_documents(embedder, texts)

        return await self._services.caller.embed(self._rt, embedder, once)

    async def embed_query(self, embedder: EmbeddingCalls, text: str) -> Any:
        """See ``Runtime.embed_query``."""

        async def once() -> Any:
            self.bill.spend(Usage(embedding_calls=1))
            return await self._rt.embed_query(embedder, text)

        return await self._services.caller.embed(self._rt, embedder, once)

    async def compute(self, function: Callable[[], T]) -> T:
        """See ``Runtime.compute``."""
        return await self._rt.compute(function)

    async def beside(
        self, work: Coroutine[Any, Any, T], ahead: Callable[[], object], *, stored: bool = False
    ) -> T:
        """See ``Runtime.beside``."""
        return await self._rt.beside(work, ahead, stored=stored)

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Runtime.call``."""
        return await self._rt.call(function)

    async def stored(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """See ``Runtime.stored``."""
        return await self._rt.stored(work)

    async def gather(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """See ``Runtime.gather``."""
        return await self._rt.gather(*work)

    async def wait(self, jobs: Sequence[Any], seconds: float | None) -> int:
        """See ``Runtime.wait``."""
        return await self._rt.wait(jobs, seconds)

    async def sleep(self, seconds: float) -> None:
        """See ``Runtime.sleep``."""
        await self._rt.sleep(seconds)

    async def bounded(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        seconds: float,
        late: Callable[[T | None, BaseException | None], None],
    ) -> T:
        """See ``Runtime.bounded``."""
        return await self._rt.bounded(work, seconds, late)

    def exclusive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """See ``Runtime.exclusive``."""
        return self._rt.exclusive(key)
