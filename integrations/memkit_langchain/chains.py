"""Memory in plain chains: a Runnable that recalls before the model, and one that remembers behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import set_config_context

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import Lent, UserSource, check_settings, last_question, lend, resolve_user, unseen
from memkit_core.errors import UsageError, VisionUnsupportedError

OnError: TypeAlias = Literal["log", "raise"]
_log = logging.getLogger(__name__)


def create_recall(
    memory: Memory | AsyncMemory,
    *,
    user_id: UserSource | None = None,
    agent_id: str | None = None,
    input_key: str | None = None,
    k: int = 6,
    threshold: float | None = None,
    token_budget: int = 1500,
    on_error: OnError = "log",
) -> Runnable[Any, str]:
    """A Runnable that takes a question and returns what is remembered of its user, fenced as data.

    A question is a text, a message, messages (the last one of a user counts) or a prompt's value; of a
    mapping, what stands under ``input_key``. Where nothing is remembered, the text is empty.

    Args:
        memory: Either face; the Runnable works under ``invoke`` and ``ainvoke``, in batches and streams.
        user_id: Whose memory: an id, or a function of the run's config and runtime (None here). None: the
            config says it, see ``resolve_user``. A run for nobody raises ``UsageError``, whatever
            ``on_error`` says.
        agent_id: Only what this agent has learnt of the user.
        k: How many memories, and how many quotations, at most.
        threshold: Lowest relevance, from 0 to 1.
        token_budget: Longest text, in estimated tokens (at least 50).
        on_error: ``"log"``: a memory that fails recalls nothing, a warning is logged.

    Raises:
        UsageError: An argument is wrong.
    """
    check_settings(user_id=user_id, agent_id=agent_id, k=k, threshold=threshold, token_budget=token_budget)
    part = _Part(memory, user_id, on_error)
    more: dict[str, Any] = {
        "agent_id": agent_id,
        "limit": k,
        "threshold": threshold,
        "token_budget": token_budget,
    }

    def recall(asked: Any, config: RunnableConfig) -> str:
        user, question = part.user(config), _text_of(_under(asked, input_key))
        context = part.lent.memory.context
        found = question and part.guarded(config, "recall", lambda: context(question, user_id=user, **more))
        return str(found or "")

    async def arecall(asked: Any, config: RunnableConfig) -> str:
        user, question = part.user(config), _text_of(_under(asked, input_key))
        context = part.lent.amemory.context
        if not question:
            return ""
        return str(
            await part.aguarded(config, "recall", lambda: context(question, user_id=user, **more)) or ""
        )

    return RunnableLambda(recall, afunc=arecall, name="recall")


def create_remember(
    memory: Memory | AsyncMemory,
    *,
    user_id: UserSource | None = None,
    agent_id: str | None = None,
    question_key: str = "question",
    answer_key: str = "answer",
    wait: bool = False,
    metadata: Mapping[str, Any] | None = None,
    on_error: OnError = "log",
) -> Runnable[Mapping[str, Any], Mapping[str, Any]]:
    """A Runnable that remembers a question and its answer, and returns the mapping that it was given.

    Both are texts, messages or, for the question, several messages of which the last one of a user counts.

    Args:
        memory: Either face; the Runnable works under ``invoke`` and ``ainvoke`` and in batches. In a stream
            it waits for the whole answer.
        user_id: As in ``create_recall``.
        agent_id: Kept with what is remembered.
        question_key: Where the question stands in the mapping.
        answer_key: Where the answer stands. Without one, the question alone is remembered.
        wait: False: what is remembered is durable at once, and is extracted in the background.
        metadata: A JSON object kept with every memory.
        on_error: ``"log"``: a memory that fails remembers nothing, a warning is logged.

    Raises:
        UsageError: An argument is wrong. When it runs: its input is no mapping with a question.
    """
    check_settings(user_id=user_id, agent_id=agent_id, metadata=metadata, wait=wait)
    part = _Part(memory, user_id, on_error)
    more: dict[str, Any] = {"agent_id": agent_id, "wait": wait, "metadata": metadata}

    def said(given: Any) -> list[BaseMessage]:
        question = HumanMessage(_text_of(_under(given, question_key)))
        answer = AIMessage(_text_of(given.get(answer_key)))
        return [message for message in (question, answer) if message.text.strip()]

    def remember(given: Any, config: RunnableConfig) -> Any:
        user, messages = part.user(config), said(given)
        if messages:
            part.guarded(config, "remember", lambda: part.add(messages, user, more))
        return given

    async def aremember(given: Any, config: RunnableConfig) -> Any:
        user, messages = part.user(config), said(given)
        if messages:
            await part.aguarded(config, "remember", lambda: part.aadd(messages, user, more))
        return given

    return RunnableLambda(remember, afunc=aremember, name="remember")


class _Part:
    """What both have in common: a memory, whose it is, and what happens when it fails."""

    def __init__(self, memory: Memory | AsyncMemory, user_id: UserSource | None, on_error: OnError) -> None:
        if on_error not in ("log", "raise"):
            raise UsageError(f"on_error is 'log' or 'raise', not {on_error!r}")
        self.lent: Lent = lend(memory)
        self._user_id, self._on_error = user_id, on_error

    def user(self, config: RunnableConfig) -> str:
        return resolve_user(cast("Mapping[str, Any]", config), None, self._user_id)

    def add(self, messages: Sequence[BaseMessage], user: str, more: Mapping[str, Any]) -> None:
        try:
            self.lent.memory.add(messages, user_id=user, **more)
        except (UsageError, VisionUnsupportedError) as refusal:
            if fit := self._fit(messages, user, refusal):
                self.lent.memory.add(fit, user_id=user, **more)

    async def aadd(self, messages: Sequence[BaseMessage], user: str, more: Mapping[str, Any]) -> None:
        try:
            await self.lent.amemory.add(messages, user_id=user, **more)
        except (UsageError, VisionUnsupportedError) as refusal:
            if fit := self._fit(messages, user, refusal):
                await self.lent.amemory.add(fit, user_id=user, **more)

    def _fit(self, messages: Sequence[BaseMessage], user: str, refusal: Exception) -> list[BaseMessage]:
        fit, refused = self.lent.acceptable(messages, user_id=user)
        if fit == list(messages) or (not fit and self._on_error == "raise"):
            raise refusal
        _log.warning("%d messages that memory refuses are not remembered", len(messages) - len(fit))
        _log.debug("why a message is not remembered", exc_info=refused)
        return fit

    def guarded(self, config: RunnableConfig, what: str, work: Callable[[], Any]) -> Any:
        with set_config_context(unseen(config)) as context:
            try:
                return context.run(work)
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's chain
                self._failed(what, error)
        return None

    async def aguarded(self, config: RunnableConfig, what: str, work: Callable[[], Any]) -> Any:
        with set_config_context(unseen(config)) as context:
            try:
                return await asyncio.create_task(work(), context=context)
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's chain
                self._failed(what, error)
        return None

    def _failed(self, what: str, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        _log.warning("a chain cannot %s and goes on without: %s", what, type(error).__name__)
        _log.debug("why a chain cannot %s", what, exc_info=error)


def _under(given: Any, key: str | None) -> Any:
    if key is None:
        return given
    named = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else dict[str, Any]()
    if key not in named:
        kind = type(cast("object", given)).__name__
        raise UsageError(f"a mapping with {key!r} is expected, not {kind}")
    return named[key]


def _text_of(said: Any) -> str:
    """The text of a message, of the last one of a user among several, or a text itself.

    Raises:
        UsageError: It is none of these.
    """
    if said is None:
        return ""
    if isinstance(said, PromptValue):
        said = said.to_messages()
    if isinstance(said, BaseMessage):
        return said.text
    if isinstance(said, list | tuple):
        messages = cast("Sequence[object]", said)
        if all(isinstance(message, BaseMessage) for message in messages):
            found = last_question(messages)
            return "" if found is None else str(found.text)
        said = messages
    if not isinstance(said, str):
        raise UsageError(f"a text or LangChain's messages are expected, not {type(said).__name__}")
    return said
