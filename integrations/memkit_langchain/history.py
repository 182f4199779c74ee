"""A session's messages for LangChain's chains, which are kept for good and remembered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, messages_from_dict
from langchain_core.runnables.config import ensure_config, set_config_context

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import LogPage, SessionLog, answered, asked, lend, resolve_user, unseen
from memkit_core.errors import KeyReusedError, UsageError, VisionUnsupportedError

OnError: TypeAlias = Literal["log", "raise"]
_log = logging.getLogger(__name__)
#: By another object of the same session, or before this could be noted.
_BEFORE: Final = "an exchange was remembered before, with another answer"


class MemoryChatMessageHistory(BaseChatMessageHistory):
    """The messages of one user's session, durable in the memory's file; what is said becomes memories, once.

    For chains with ``RunnableWithMessageHistory`` and for code that was written against LangChain's
    histories. Messages come back as they were put, in their order. A message is stored before it is
    remembered; what could not be remembered is tried again with the next message.

    Args:
        memory: Either face; the history works in both.
        session_id: Which of the user's sessions.
        user_id: Whose session, and whose memories: fixed, for a model has no say in it.
        agent_id: Kept with what is remembered: what this agent has learnt of the user.
        remember: False: messages are kept, and no memories are made.
        wait: True: the memories are there when a message has been put. False: they are extracted in the
            background.
        on_error: ``"log"``: a memory that fails keeps nobody from going on, a warning is logged.

    Raises:
        UsageError: An argument is wrong.
    """

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        session_id: str,
        user_id: str,
        agent_id: str | None = None,
        remember: bool = True,
        wait: bool = False,
        on_error: OnError = "log",
    ) -> None:
        if on_error not in ("log", "raise"):
            raise UsageError(f"on_error is 'log' or 'raise', not {on_error!r}")
        if not isinstance(cast("object", session_id), str) or not session_id:
            raise UsageError(f"session_id is a non-empty text, not {session_id!r}")
        if callable(user_id):
            raise UsageError("a history is one user's: user_id is an id, not a function")
        self.user_id = resolve_user(explicit=user_id)
        self.session_id = session_id
        self._lent = lend(memory)
        self._agent_id, self._remembers, self._wait, self._on_error = agent_id, remember, wait, on_error
        self._session = SessionLog("memkit_langchain", self.user_id, session_id)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """All messages, in order; every access reads them.

        Raises:
            StorageError: They cannot be read.
        """
        return _messages(self._session.page(self._lent.items))

    async def aget_messages(self) -> list[BaseMessage]:
        """See ``messages``."""
        return await self._lent.call(lambda: self.messages)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Put messages behind those that are there, and remember what was said.

        Raises:
            UsageError: One is no message, or holds what is no JSON. None of them was put.
            StorageError: None of them was put.
        """
        before = self._put(messages)
        try:
            for new in _exchanges(before):
                self._save(new)
        except Exception as error:  # noqa: BLE001 - the messages are kept; the next ones take these along
            self._failed(error)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """See ``add_messages``."""
        before = await self._lent.call(lambda: self._put(messages))
        try:
            for new in _exchanges(before):
                await self._asave(new)
        except Exception as error:  # noqa: BLE001 - as in add_messages
            self._failed(error)

    def clear(self) -> None:
        """Remove the messages. What was remembered of them stays: ``memory.delete_all`` forgets it."""
        self._session.replace(self._lent.items, [])

    async def aclear(self) -> None:
        """See ``clear``."""
        await self._lent.call(self.clear)

    def _put(self, messages: Sequence[BaseMessage]) -> dict[str, BaseMessage]:
        """Put messages; those that are to be remembered, by their keys."""
        items, texts = self._lent.items, [_written(message) for message in messages]
        if not texts:
            return {}
        last = self._session.append(items, texts, remembered=not self._remembers)
        if not self._remembers:
            return {}
        page = self._session.page(items)
        # Somebody else may have noted more than is in it: what is put here is remembered in any case.
        own = last.rpartition("-")[0]
        new = sorted(key for key in page.stored if key > page.remembered or key.startswith(own))
        return {key: _read(page.stored[key].value) for key in new}

    def _save(self, new: Mapping[str, BaseMessage]) -> None:
        last, said = _said(new)
        if said:
            how = self._added(new)
            with set_config_context(unseen(ensure_config())) as context:
                try:
                    context.run(lambda: self._lent.memory.add(said, **how))
                except KeyReusedError:
                    _log.debug(_BEFORE)
                except (UsageError, VisionUnsupportedError) as refusal:
                    if fit := self._fit(said, refusal):
                        context.run(lambda: self._lent.memory.add(fit, **how))
        self._session.mark(self._lent.items, last)

    async def _asave(self, new: Mapping[str, BaseMessage]) -> None:
        last, said = _said(new)
        if said:
            how = self._added(new)
            with set_config_context(unseen(ensure_config())) as context:
                add = self._lent.amemory.add
                try:
                    await asyncio.create_task(add(said, **how), context=context)
                except KeyReusedError:
                    _log.debug(_BEFORE)
                except (UsageError, VisionUnsupportedError) as refusal:
                    if fit := self._fit(said, refusal):
                        await asyncio.create_task(add(fit, **how), context=context)
        await self._lent.call(lambda: self._session.mark(self._lent.items, last))

    def _added(self, new: Mapping[str, BaseMessage]) -> dict[str, Any]:
        key = f"history:{self.session_id}:{next(iter(new))}"
        return {
            "user_id": self.user_id,
            "agent_id": self._agent_id,
            "wait": self._wait,
            "idempotency_key": key,
        }

    def _fit(self, said: Sequence[BaseMessage], refusal: Exception) -> list[BaseMessage]:
        """The messages without those that memory refuses, one that is too long for instance."""
        fit, refused = self._lent.acceptable(said, user_id=self.user_id)
        if fit == list(said):
            raise refusal
        if left := len(said) - len(fit):
            _log.warning("%d messages of a session that memory refuses are not remembered", left)
        _log.debug("why a message of a session is not remembered", exc_info=refused)
        return fit

    def _failed(self, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        _log.warning(
            "messages of a session are not remembered yet, the next one tries again: %s", type(error).__name__
        )
        _log.debug("why messages of a session are not remembered", exc_info=error)


def _messages(page: LogPage) -> list[BaseMessage]:
    return [_read(page.stored[key].value) for key in sorted(page.stored)]


def _written(message: BaseMessage) -> str:
    if not isinstance(cast("object", message), BaseMessage):
        raise UsageError(f"a history takes LangChain's messages, not {type(message).__name__}")
    try:
        return json.dumps({"type": message.type, "data": message.model_dump()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"a message must be JSON to be kept: {error}. Nothing was put") from error


def _read(value: str) -> BaseMessage:
    return messages_from_dict([json.loads(value)])[0]


def _exchanges(new: Mapping[str, BaseMessage]) -> list[dict[str, BaseMessage]]:
    """The messages from each question of the user to the next."""
    groups: list[dict[str, BaseMessage]] = []
    for key, message in new.items():
        if not groups or asked(message):
            groups.append({})
        groups[-1][key] = message
    return groups


def _said(new: Mapping[str, BaseMessage]) -> tuple[str, list[BaseMessage]]:
    """The last one's key, and what people and models have said."""
    said = [one for one in new.values() if asked(one) or (answered(one) and one.text.strip())]
    return list(new)[-1], [one for one in said if one.content]
