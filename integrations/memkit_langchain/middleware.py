"""Memory as a middleware of LangChain's agents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from langchain_core.tools import BaseTool

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import (
    UserSource,
    check_settings,
    last_question,
    lend,
    marked,
    resolve_user,
    unseen,
)
from memkit_core.errors import KeyReusedError, UsageError, VisionUnsupportedError

from .agent_tools import tools_of
from .exchanges import Exchange, Run, Runs, exchanges, unsaved

OnError: TypeAlias = Literal["log", "raise"]
Save: TypeAlias = Literal["after_agent", "off"]
Request: TypeAlias = ModelRequest[Any]
Response: TypeAlias = ModelResponse[Any]
_log = logging.getLogger(__name__)


class MemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """A middleware for ``create_agent`` that recalls before the model speaks, and remembers what was said.

    What is remembered about the user's last message is put behind the system message, fenced as data, once
    per run: neither the state nor a checkpoint has it. When the model's answer ends the run, the messages
    that are new in the thread are saved, each one once. No node, and so no checkpoint, is added to the agent.

    Args:
        memory: Either face; the agent works under ``invoke`` and ``ainvoke``.
        user_id: Whose memory: an id, or a function of the run's config and runtime. None: the run says it,
            see ``resolve_user``. A run for nobody raises ``UsageError``, whatever ``on_error`` says.
        agent_id: Only what this agent has learnt of the user, and kept with what is saved.
        k: How many memories, and how many quotations, at most. 0: nothing is recalled.
        threshold: Lowest relevance of what is recalled, from 0 to 1, as ``memory.search`` has it.
        token_budget: Longest text of what is recalled, in estimated tokens (at least 50).
        save: ``"off"``: nothing is saved.
        wait: False: what is saved is durable when the run ends, and is extracted in the background. True:
            the run ends when the memories are there.
        metadata: A JSON object kept with every memory.
        tools: Tools that the agent gets as well: those of ``create_memory_tools``, or their names
            (``"save_memory"``, ``"search_memory"``, ``"update_memory"``, ``"delete_memory"``) for tools of
            this memory, user and agent.
        on_error: ``"log"``: a run whose memory fails goes on without it, a warning is logged, and the next
            run of the thread saves what this one could not. A named tool tells the model.
        name: The middleware's name; two in one agent have two.

    Raises:
        UsageError: An argument is wrong.
    """

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        user_id: UserSource | None = None,
        agent_id: str | None = None,
        k: int = 6,
        threshold: float | None = None,
        token_budget: int = 1500,
        save: Save = "after_agent",
        wait: bool = False,
        metadata: Mapping[str, Any] | None = None,
        tools: Sequence[BaseTool | str] = (),
        on_error: OnError = "log",
        name: str = "MemoryMiddleware",
    ) -> None:
        super().__init__()
        if on_error not in ("log", "raise"):
            raise UsageError(f"on_error is 'log' or 'raise', not {on_error!r}")
        if save not in ("after_agent", "off"):
            raise UsageError(f"save is 'after_agent' or 'off', not {save!r}")
        if not name:
            raise UsageError("a middleware has a name")
        check_settings(
            user_id=user_id,
            agent_id=agent_id,
            metadata=metadata,
            k=k,
            least=0,
            threshold=threshold,
            token_budget=token_budget,
            wait=wait,
        )
        self._lent = lend(memory)
        self._user_id, self._agent_id = user_id, agent_id
        self._k, self._threshold, self._token_budget = k, threshold, token_budget
        self._saves, self._wait, self._metadata = save == "after_agent", wait, metadata
        self._on_error, self._name = on_error, name
        self._runs = Runs()
        self.tools = tools_of(memory, tools, user_id=user_id, agent_id=agent_id, forgiving=on_error == "log")

    @property
    def name(self) -> str:
        """The middleware's name in the agent."""
        return self._name

    def wrap_model_call(self, request: Request, handler: Callable[[Request], Response]) -> Response:
        """Called by the agent: the model's answer, with what is remembered behind the system message."""
        turn = self._turn(request)
        if self._recalls(turn):
            turn.run.recalled = self._guarded(turn, "recall", lambda: self._context(turn)) or ""
        response = handler(_told(request, turn.run.recalled))
        new = self._new(turn)
        if not self._saves or not _over(request, response):
            return response
        if self._guarded(turn, "save", lambda: self._save(turn, new, response)):
            turn.run.seen.clear()
            return _marked(response, self._name)
        return response

    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """As ``wrap_model_call``, for an agent that is awaited."""
        turn = self._turn(request)
        if self._recalls(turn):
            turn.run.recalled = await self._aguarded(turn, "recall", lambda: self._acontext(turn)) or ""
        response = await handler(_told(request, turn.run.recalled))
        new = self._new(turn)
        if not self._saves or not _over(request, response):
            return response
        if await self._aguarded(turn, "save", lambda: self._asave(turn, new, response)):
            turn.run.seen.clear()
            return _marked(response, self._name)
        return response

    def _turn(self, request: Request) -> _Turn:
        config = ensure_config()
        user = resolve_user(cast("Mapping[str, Any]", config), request.runtime, self._user_id)
        messages = cast("Sequence[BaseMessage]", request.state["messages"])
        return _Turn(user, config, messages, self._runs.of(request.runtime, config))

    def _recalls(self, turn: _Turn) -> bool:
        """Whether there is a question for which this run has not recalled yet."""
        message = last_question(turn.messages)
        question = None if message is None else (turn.user, message.id, message.text.strip())
        if question == turn.run.question:
            return False
        turn.run.question, turn.run.recalled = question, ""
        return question is not None and self._k > 0

    def _context(self, turn: _Turn) -> str:
        return str(self._lent.memory.context(turn.question, **self._asked(turn)))

    async def _acontext(self, turn: _Turn) -> str:
        return str(await self._lent.amemory.context(turn.question, **self._asked(turn)))

    def _asked(self, turn: _Turn) -> dict[str, Any]:
        return {
            "user_id": turn.user,
            "agent_id": self._agent_id,
            "limit": self._k,
            "threshold": self._threshold,
            "token_budget": self._token_budget,
        }

    def _new(self, turn: _Turn) -> list[BaseMessage]:
        return unsaved(turn.messages, turn.run, turn.config, self._name) if self._saves else []

    def _save(self, turn: _Turn, new: Sequence[BaseMessage], response: Response) -> bool:
        for exchange in exchanges(new, response.result, turn.run, turn.config, self._name):
            how = self._added(turn, exchange)
            with suppress(KeyReusedError):  # it was saved, with another answer
                try:
                    self._lent.memory.add(exchange.messages, **how)
                except (UsageError, VisionUnsupportedError) as refusal:
                    if fit := self._fit(exchange, turn, refusal):
                        self._lent.memory.add(fit, **how)
        return True

    async def _asave(self, turn: _Turn, new: Sequence[BaseMessage], response: Response) -> bool:
        for exchange in exchanges(new, response.result, turn.run, turn.config, self._name):
            how = self._added(turn, exchange)
            with suppress(KeyReusedError):  # it was saved, with another answer
                try:
                    await self._lent.amemory.add(exchange.messages, **how)
                except (UsageError, VisionUnsupportedError) as refusal:
                    if fit := self._fit(exchange, turn, refusal):
                        await self._lent.amemory.add(fit, **how)
        return True

    def _added(self, turn: _Turn, exchange: Exchange) -> dict[str, Any]:
        return {
            "user_id": turn.user,
            "agent_id": self._agent_id,
            "metadata": self._metadata,
            "wait": self._wait,
            "idempotency_key": exchange.key,
        }

    def _fit(self, exchange: Exchange, turn: _Turn, refusal: Exception) -> list[BaseMessage]:
        """The exchange without what memory refuses in it: a message that is too long for it for instance."""
        if isinstance(refusal, KeyReusedError):
            raise refusal
        fit, refused = self._lent.acceptable(exchange.messages, user_id=turn.user)
        if fit == exchange.messages or (not fit and self._on_error == "raise"):
            raise refusal
        if left := len(exchange.messages) - len(fit):
            _log.warning("the middleware %r leaves out %d messages that memory refuses", self._name, left)
        _log.debug("why the middleware %r left out a message or its images", self._name, exc_info=refused)
        return fit

    def _guarded(self, turn: _Turn, what: str, work: Callable[[], Any]) -> Any:
        with set_config_context(unseen(turn.config)) as context:
            try:
                return context.run(work)
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
                self._failed(what, error)
        return None

    async def _aguarded(self, turn: _Turn, what: str, work: Callable[[], Any]) -> Any:
        with set_config_context(unseen(turn.config)) as context:
            try:
                return await asyncio.create_task(work(), context=context)
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
                self._failed(what, error)
        return None

    def _failed(self, what: str, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        _log.warning(
            "the middleware %r cannot %s, the run goes on: %s (this logger tells why at level DEBUG)",
            self._name,
            what,
            type(error).__name__,
        )
        _log.debug("why the middleware %r cannot %s", self._name, what, exc_info=error)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call of the model, as the memory sees it."""

    user: str
    config: RunnableConfig
    messages: Sequence[BaseMessage]
    run: Run

    @property
    def question(self) -> str:
        return "" if self.run.question is None else self.run.question[2]


def _told(request: Request, recalled: str) -> Request:
    if not recalled:
        return request
    there = request.system_message
    if there is None:
        return request.override(system_message=SystemMessage(recalled))
    # The blocks stay what they are: one of them may say what a provider caches. Some integrations join them.
    blocks = there.content if isinstance(there.content, list) else [{"type": "text", "text": there.content}]
    content: list[str | dict[Any, Any]] = [*blocks, {"type": "text", "text": f"\n\n{recalled}"}]
    return request.override(system_message=there.model_copy(update={"content": content}))


def _over(request: Request, response: Response) -> bool:
    """Whether the agent asks the model no more after this answer, as far as the answer says."""
    answer = next((one for one in reversed(response.result) if isinstance(one, AIMessage)), None)
    if answer is None or not answer.tool_calls or response.structured_response is not None:
        return True
    direct = {tool.name for tool in request.tools if isinstance(tool, BaseTool) and tool.return_direct}
    return all(call["name"] in direct for call in answer.tool_calls)


def _marked(response: Response, name: str) -> Response:
    result = list(response.result)
    for number in range(len(result) - 1, -1, -1):
        if isinstance(result[number], AIMessage):
            result[number] = marked(result[number], name)
            break
    return replace(response, result=result)
