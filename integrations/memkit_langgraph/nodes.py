"""Nodes for graphs of one's own: one that recalls before the model speaks, one that remembers afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from langchain_core.messages import (
    BaseMessage,
    RemoveMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import set_config_context
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import (
    Lent,
    UserSource,
    answered,
    asked,
    behind_mark,
    check_settings,
    last_question,
    lend,
    marked,
    resolve_user,
    thread_of,
    unseen,
)
from memkit_core.errors import UsageError, VisionUnsupportedError

from .fitting import fitting

OnError: TypeAlias = Literal["log", "raise"]
#: What a node returns: changes to the graph's state.
Update: TypeAlias = dict[str, Any]

_log = logging.getLogger(__name__)


def create_recall_node(
    memory: Memory | AsyncMemory,
    *,
    user_id: UserSource | None = None,
    agent_id: str | None = None,
    k: int = 6,
    token_budget: int = 1500,
    into: str = "messages",
    messages_key: str = "messages",
    on_error: OnError = "log",
    name: str = "recall",
) -> Runnable[Any, Update]:
    """A node that puts what is remembered about the last human message into the graph's state.

    As ``memory.context`` writes it, fenced as data. In the messages it is one system message behind the
    leading ones, which the next run replaces; in a key of its own it is a text, empty if nothing was found.

    Args:
        memory: Either face; the node has both and works under ``invoke`` and ``ainvoke``.
        user_id: Whose memory: an id, or a function of the run's config and runtime. None: the run says it,
            see ``resolve_user``.
        agent_id: Only what this agent has learnt of the user.
        k: How many memories, and how many quotations, at most.
        token_budget: Longest text in estimated tokens (at least 50).
        into: ``messages_key``, or a key of the state for the text.
        messages_key: The state's messages; their reducer is ``add_messages``.
        on_error: ``"log"``: a run whose memory fails goes on without it, also without what an earlier run
            recalled, and a warning is logged.
        name: The node's name, also in the id of its message.

    Raises:
        UsageError: An argument is wrong. A run for nobody raises it as well, whatever ``on_error`` says.
    """
    _check(on_error, name)
    check_settings(user_id=user_id, agent_id=agent_id, k=k, token_budget=token_budget)
    return _Recall(
        lent=lend(memory),
        user_id=user_id,
        agent_id=agent_id,
        messages_key=messages_key,
        on_error=on_error,
        name=name,
        k=k,
        token_budget=token_budget,
        into=into,
    ).node()


def create_remember_node(
    memory: Memory | AsyncMemory,
    *,
    user_id: UserSource | None = None,
    agent_id: str | None = None,
    wait: bool = False,
    metadata: Mapping[str, Any] | None = None,
    messages_key: str = "messages",
    on_error: OnError = "log",
    name: str = "remember",
) -> Runnable[Any, Update]:
    """A node that hands the thread's new human and assistant messages to ``memory.add``, each one once.

    It marks the last one in its ``response_metadata``, so that the next run begins behind it: on every branch
    of a thread, in its copies, and after older messages were removed. A node that runs again, after a crash
    or an interrupt, adds nothing twice. Without a thread (no checkpointer) only the last human message and
    what came behind it is new.

    Args:
        memory: Either face; the node has both and works under ``invoke`` and ``ainvoke``.
        user_id: Whose memory: an id, or a function of the run's config and runtime. None: the run says it,
            see ``resolve_user``.
        agent_id: Kept with the memories, as which agent has learnt them.
        wait: False: the messages are durable when the node is done, and are extracted in the background.
        metadata: A JSON object kept with every memory.
        messages_key: The state's messages; their reducer is ``add_messages``.
        on_error: ``"log"``: a run whose memory fails goes on, a warning is logged, and the next run tries the
            same messages again.
        name: The node's name; two nodes in one graph that save to two memories have two.

    Raises:
        UsageError: An argument is wrong. A run for nobody raises it as well, whatever ``on_error`` says.
    """
    _check(on_error, name)
    check_settings(user_id=user_id, agent_id=agent_id, metadata=metadata, wait=wait)
    return _Remember(
        lent=lend(memory),
        user_id=user_id,
        agent_id=agent_id,
        messages_key=messages_key,
        on_error=on_error,
        name=name,
        wait=wait,
        metadata=metadata,
    ).node()


def _check(on_error: str, name: str) -> None:
    if on_error not in ("log", "raise"):
        raise UsageError(f"on_error is 'log' or 'raise', not {on_error!r}")
    if not name:
        raise UsageError("a node has a name")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    lent: Lent
    user_id: UserSource | None
    agent_id: str | None
    messages_key: str
    on_error: OnError
    name: str

    def node(self) -> Runnable[Any, Update]:
        return RunnableLambda(self.run, self.arun, name=self.name)

    def run(self, state: Any, config: RunnableConfig) -> Update:
        user = self._user(config)
        with set_config_context(unseen(config)) as context:
            try:
                return context.run(lambda: self.work(state, config, user))
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
                self._failed(error)
        return self.without(state)

    async def arun(self, state: Any, config: RunnableConfig) -> Update:
        user = self._user(config)
        with set_config_context(unseen(config)) as context:
            try:
                return await asyncio.create_task(self.awork(state, config, user), context=context)
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
                self._failed(error)
        return self.without(state)

    def work(self, state: Any, config: RunnableConfig, user: str) -> Update:
        raise NotImplementedError

    async def awork(self, state: Any, config: RunnableConfig, user: str) -> Update:
        raise NotImplementedError

    def without(self, state: Any) -> Update:  # noqa: ARG002 - for those who override it
        """What a run that goes on without the memory leaves in the state."""
        return {}

    def messages(self, state: Any) -> list[BaseMessage]:
        found: object = getattr(state, self.messages_key, None)
        if isinstance(state, Mapping):
            found = cast("Mapping[str, object]", state).get(self.messages_key)
        return convert_to_messages(cast("Sequence[Any]", found or ()))

    def _user(self, config: RunnableConfig) -> str:
        return resolve_user(cast("Mapping[str, Any]", config), None, self.user_id)

    def _failed(self, error: Exception) -> None:
        if self.on_error == "raise":
            raise error
        _log.warning("the node %r failed, the run goes on: %s", self.name, type(error).__name__)
        _log.debug("why the node %r failed", self.name, exc_info=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recall(_Node):
    k: int
    token_budget: int
    into: str

    def work(self, state: Any, config: RunnableConfig, user: str) -> Update:  # noqa: ARG002 - as its base
        query = self._question(state)
        return self._update(state, str(self.lent.memory.context(query, **self._asked(user))) if query else "")

    async def awork(self, state: Any, config: RunnableConfig, user: str) -> Update:  # noqa: ARG002 - its base's
        query = self._question(state)
        found = str(await self.lent.amemory.context(query, **self._asked(user))) if query else ""
        return self._update(state, found)

    def without(self, state: Any) -> Update:
        """Nothing recalled: what is left of an earlier run may be another user's."""
        return self._update(state, "")

    def _question(self, state: Any) -> str:
        message = last_question(self.messages(state))
        return "" if message is None else message.text.strip()

    def _asked(self, user: str) -> dict[str, Any]:
        return {
            "user_id": user,
            "agent_id": self.agent_id,
            "limit": self.k,
            "token_budget": self.token_budget,
        }

    def _update(self, state: Any, text: str) -> Update:
        if self.into != self.messages_key:
            return {self.into: text}
        messages, mine = self.messages(state), f"memkit-{self.name}"
        there = [message.id for message in messages]
        if not text:
            return {self.into: [RemoveMessage(id=mine)]} if mine in there else {}
        recalled = SystemMessage(text, id=mine)
        leading = _leading(messages)
        if mine in there[:leading]:
            return {self.into: [recalled]}
        # A reducer can replace and append, but not insert; providers want system messages in front.
        others = [message for message in messages if message.id != mine]
        leading = _leading(others)
        return {
            self.into: [
                RemoveMessage(id=REMOVE_ALL_MESSAGES),
                *others[:leading],
                recalled,
                *others[leading:],
            ]
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remember(_Node):
    wait: bool
    metadata: Mapping[str, Any] | None

    def work(self, state: Any, config: RunnableConfig, user: str) -> Update:
        new = self._new(state, config)
        if new:
            try:
                self.lent.memory.add(new, **self._added(user, config, new))
            except (UsageError, VisionUnsupportedError) as refusal:
                fit = self._fit(new, user, refusal)
                self.lent.memory.add(fit, **self._added(user, config, fit))
        return self._marked(new)

    async def awork(self, state: Any, config: RunnableConfig, user: str) -> Update:
        new = self._new(state, config)
        if new:
            try:
                await self.lent.amemory.add(new, **self._added(user, config, new))
            except (UsageError, VisionUnsupportedError) as refusal:
                fit = self._fit(new, user, refusal)
                await self.lent.amemory.add(fit, **self._added(user, config, fit))
        return self._marked(new)

    def _fit(self, new: Sequence[BaseMessage], user: str, refusal: Exception) -> list[BaseMessage]:
        fit = fitting(self.lent, new, user, refusal)
        if not fit:
            raise refusal
        return fit

    def _new(self, state: Any, config: RunnableConfig) -> list[BaseMessage]:
        messages = self.messages(state)
        start = behind_mark(messages, self.name)
        if start == 0 and thread_of(config) is None:
            start = max((n for n, message in enumerate(messages) if asked(message)), default=0)
        said = (message for message in messages[start:] if asked(message) or answered(message))
        return [message for message in said if message.text.strip()]

    def _added(self, user: str, config: RunnableConfig, new: Sequence[BaseMessage]) -> dict[str, Any]:
        ids = [message.id for message in new]
        key = None
        if all(ids):
            told = json.dumps([self.name, thread_of(config), ids])
            key = f"langgraph:{hashlib.sha256(told.encode()).hexdigest()}"
        return {
            "user_id": user,
            "agent_id": self.agent_id,
            "metadata": self.metadata,
            "wait": self.wait,
            "idempotency_key": key,
        }

    def _marked(self, new: Sequence[BaseMessage]) -> Update:
        if not new or new[-1].id is None:
            return {}
        return {self.messages_key: [marked(new[-1], self.name)]}


def _leading(messages: Sequence[BaseMessage]) -> int:
    """How many system messages there are in front."""
    return next(
        (n for n, message in enumerate(messages) if not isinstance(message, SystemMessage)), len(messages)
    )
