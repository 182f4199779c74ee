"""What a LlamaIndex agent or chat engine takes as its memory."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, TypeVar

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory import BaseMemory
from pydantic import PrivateAttr

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import Lent, resolve_user
from memkit_core.errors import UsageError
from memkit_core.protocols import ItemStore

from .arguments import MOST, a_budget, a_count, a_switch, an_id, one_of
from .history import Entry, History, Known, calls_tools, text_of, told, written
from .links import Link

T = TypeVar("T")
#: An id for checks that ask for a second one.
_KEY: Final = "k"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """A turn that an answer ends.

    Attributes:
        after: When the last message before the answer was put.
        new: The messages with the answer, written.
        said: What is to be remembered of it.
        refused: Why a message is not among that.
        kept: The answer's key if it is in the history already.
    """

    after: int
    new: list[str]
    said: list[dict[str, str]]
    refused: UsageError | None
    kept: str | None


class MemkitMemory(BaseMemory):
    """A session's history, with what is remembered of the user in front, for any agent or chat engine.

    Every message is kept in memkit's own store, exactly, for whoever opens the session again. When the
    assistant has answered, what was said becomes part of the user's memories, which all sessions share.
    ``get`` recalls once per turn, for ``input`` or else for the last user message, fenced as data.

    It is JSON by its fields: a restored one (``Context.from_dict``) has its history still, and finds the open
    memory by ``store``, see ``attach``.

    Args:
        memory: The open memory, either face. None in a restored one.
        user_id: Whose memory and history; no model can choose it.
        session_id: Which conversation; by default a new one.
        agent_id: Only what this agent has learnt, and kept with what it learns.
        k: How many memories, and how many quotations, are recalled at most.
        token_budget: Longest recall in estimated tokens (at least 50).
        insert_method: ``"system"``: recall stands in the one leading system message, behind what is there.
            ``"user"``: in front of the last user message.
        last_messages: ``get`` returns at most so many, from a user's message on. None: all.
        remember: False: only the history is kept, and nothing becomes a memory.
        wait: True: the memories are extracted when ``put`` returns. False: soon after.
        on_error: ``"log"``: where recalling or remembering fails, the conversation goes on and a warning is
            logged; the next turn tries to remember the same again. The history's errors are raised always.
        store: The name of the memory's store, as ``attach`` returned it; in place of ``memory``.

    Raises:
        UsageError: An argument is wrong, there is neither memory nor store, or the memory keeps no items.
    """

    user_id: str
    session_id: str
    agent_id: str | None
    k: int
    token_budget: int
    insert_method: Literal["system", "user"]
    last_messages: int | None
    remember: bool
    wait: bool
    on_error: Literal["log", "raise"]
    store: str

    _link: Link = PrivateAttr()
    _history: History = PrivateAttr()
    _known: Known | None = PrivateAttr(default=None)
    _recalled: tuple[tuple[str, str], str] | None = PrivateAttr(default=None)

    def __init__(
        self,
        memory: Memory | AsyncMemory | None = None,
        *,
        user_id: str,
        session_id: str | None = None,
        agent_id: str | None = None,
        k: int = 6,
        token_budget: int = 1500,
        insert_method: Literal["system", "user"] = "system",
        last_messages: int | None = None,
        remember: bool = True,
        wait: bool = False,
        on_error: Literal["log", "raise"] = "log",
        store: str | None = None,
    ) -> None:
        user_id = an_id(resolve_user(explicit=user_id), "user_id")
        link = Link.of(memory, store)
        if memory is not None:
            _ = link.lent().items
        fields: dict[str, Any] = {
            "user_id": user_id,
            "session_id": uuid.uuid4().hex if session_id is None else an_id(session_id, "session_id"),
            "agent_id": None if agent_id is None else an_id(agent_id, "agent_id"),
            "k": a_count(k, "k", most=MOST),
            "token_budget": a_budget(token_budget),
            "insert_method": one_of(insert_method, "insert_method", ("system", "user")),
            "last_messages": None if last_messages is None else a_count(last_messages, "last_messages"),
            "remember": a_switch(remember, "remember"),
            "wait": a_switch(wait, "wait"),
            "on_error": one_of(on_error, "on_error", ("log", "raise")),
            "store": link.store,
        }
        super().__init__(**fields)
        self._link = link
        self._history = History(self.user_id, self.session_id)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex writes it down."""
        return "MemkitMemory"

    @classmethod
    def from_defaults(
        cls,
        chat_history: list[ChatMessage] | None = None,
        llm: object | None = None,  # noqa: ARG003 - chat engines hand it to every memory
        **kwargs: Any,
    ) -> MemkitMemory:
        """One made of the constructor's arguments, with a history to begin with."""
        made = cls(**kwargs)
        if chat_history:
            made.set(chat_history)
        return made

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002, ARG002 - LlamaIndex's
        """The history, with what is remembered about ``input``, or else the last user message, in front."""
        lent = self._link.lent()
        entries = self._read(lent.items).last(self.last_messages)
        turn = _turn(entries, input)
        if turn[1] and (self._recalled is None or self._recalled[0] != turn):
            try:
                self._recalled = (turn, str(lent.memory.context(turn[1], **self._asked())))
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the conversation
                self._failed("recall", error)
        return self._told(entries, turn)

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002, ARG002 - LlamaIndex's
        """See ``get``."""
        lent = self._link.lent()
        entries = (await _on(lent, self._read)).last(self.last_messages)
        turn = _turn(entries, input)
        if turn[1] and (self._recalled is None or self._recalled[0] != turn):
            try:
                self._recalled = (turn, str(await lent.amemory.context(turn[1], **self._asked())))
            except Exception as error:  # noqa: BLE001 - a memory that fails must not end the conversation
                self._failed("recall", error)
        return self._told(entries, turn)

    def get_all(self) -> list[ChatMessage]:
        """The whole history, and nothing else."""
        return told(self._read(self._link.lent().items).entries)

    async def aget_all(self) -> list[ChatMessage]:
        """See ``get_all``."""
        return told((await _on(self._link.lent(), self._read)).entries)

    def put(self, message: ChatMessage) -> None:
        """Keep a message. An assistant's answer ends the turn, which then becomes part of the memories."""
        self.put_messages([message])

    async def aput(self, message: ChatMessage) -> None:
        """See ``put``."""
        await self.aput_messages([message])

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Keep messages, all or none; see ``put``."""
        lent = self._link.lent()
        turn = self._begin(lent, messages)
        if turn is None:
            return
        failed, at_once = None, bool(turn.said) and not self.wait and lent.extracts
        try:
            if at_once:
                puts, now = self._history.appending(turn.new, after=turn.after, remembered=True)
                lent.add_beside(turn.said, puts, now=now, user_id=self.user_id, agent_id=self.agent_id)
            elif turn.said:
                lent.memory.add(turn.said, **self._added())
        except Exception as error:  # noqa: BLE001 - a memory that fails must not end the conversation
            failed = error
        self._end(lent, turn, failed, kept=at_once and failed is None)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """See ``put_messages``."""
        lent = self._link.lent()
        if not self.wait and lent.extracts:
            # No model is asked now: three changes of threads would cost more than what is done there.
            await lent.call(lambda: self.put_messages(messages))
            return
        turn = await lent.call(lambda: self._begin(lent, messages))
        if turn is None:
            return
        failed = None
        try:
            if turn.said:
                await lent.amemory.add(turn.said, **self._added())
        except Exception as error:  # noqa: BLE001 - a memory that fails must not end the conversation
            failed = error
        except asyncio.CancelledError:
            # The answer is there. Whether it is remembered is not known: the next turn takes it along.
            if turn.kept is None:
                await lent.call(lambda: self._history.append(lent.items, turn.new, after=turn.after))
            raise
        await lent.call(lambda: self._end(lent, turn, failed))

    def set(self, messages: list[ChatMessage]) -> None:
        """Put another history in the place of this one. None of it becomes a memory."""
        self._history.replace(self._link.lent().items, [written(message) for message in messages])

    async def aset(self, messages: list[ChatMessage]) -> None:
        """See ``set``."""
        new = [written(message) for message in messages]
        await _on(self._link.lent(), lambda items: self._history.replace(items, new))

    def reset(self) -> None:
        """Forget this session's history. The user's memories stay."""
        self.set([])

    async def areset(self) -> None:
        """See ``reset``."""
        await self.aset([])

    def _read(self, items: ItemStore) -> Known:
        self._known = known = self._history.read(items, self._known)
        return known

    def _begin(self, lent: Lent, messages: Sequence[ChatMessage]) -> _Turn | None:
        """Keep messages; of those that end a turn, what is to be remembered."""
        items = lent.items
        new = [written(message) for message in messages]
        if not self._ends(messages):
            known = self._known
            self._history.append(items, new, after=None if known is None else known.changed_at)
            return None
        known = self._read(items)
        said, refused = self._fit(lent, _said([*told(known.unremembered()), *messages]))
        # Extraction takes its time, in which an answer is not lost. Where nobody waits for it, the answer is
        # stored behind, with the mark that it is remembered: one write.
        kept = self._history.append(items, new, after=known.changed_at) if self.wait else None
        return _Turn(after=known.changed_at, new=new, said=said, refused=refused, kept=kept)

    def _end(self, lent: Lent, turn: _Turn, failed: Exception | None, *, kept: bool = False) -> None:
        """Keep the answer, unless it was kept with what it ends, and tell what failed."""
        if turn.kept is None and not kept:
            self._history.append(lent.items, turn.new, after=turn.after, remembered=failed is None)
        elif turn.kept is not None and failed is None:
            self._history.mark(lent.items, turn.kept)
        if failed is not None:
            self._failed("remember", failed)
        elif turn.refused is not None:
            self._failed("remember all", turn.refused)

    def _fit(self, lent: Lent, said: list[dict[str, str]]) -> tuple[list[dict[str, str]], UsageError | None]:
        """What memory takes, and why the last other one is out: too long for instance, now and later."""
        fit: list[dict[str, str]] = []
        refused = None
        for message in said:
            try:
                lent.check_add([message], user_id=self.user_id, key=_KEY, metadata=None, infer=True)
            except UsageError as error:
                refused = error
            else:
                fit.append(message)
        return fit, refused

    def _asked(self) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "agent_id": self.agent_id,
            "limit": self.k,
            "token_budget": self.token_budget,
        }

    def _added(self) -> dict[str, Any]:
        return {"user_id": self.user_id, "agent_id": self.agent_id, "wait": self.wait}

    def _ends(self, messages: Sequence[ChatMessage]) -> bool:
        return self.remember and any(
            message.role == MessageRole.ASSISTANT and text_of(message) and not calls_tools(message)
            for message in messages
        )

    def _told(self, entries: Sequence[Entry], turn: tuple[str, str]) -> list[ChatMessage]:
        known = self._recalled[1] if self._recalled is not None and self._recalled[0] == turn else ""
        # Providers take one system message, in front.
        leading: list[ChatMessage] = []
        others = told(entries)
        if any(entry.role is MessageRole.SYSTEM for entry in entries):
            both, others = others, []
            for entry, message in zip(entries, both, strict=True):
                (leading if entry.role is MessageRole.SYSTEM else others).append(message)
        if known and self.insert_method == "user":
            asked = (n for n in reversed(range(len(others))) if others[n].role is MessageRole.USER)
            last = next(asked, None)
            if last is not None:
                others[last] = _joined([_system(known), others[last]], MessageRole.USER)
                known = ""
        if known:
            leading.append(_system(known))
        if len(leading) > 1:
            leading = [_joined(leading, MessageRole.SYSTEM)]
        return [*leading, *others]

    def _failed(self, what: str, error: Exception) -> None:
        if self.on_error == "raise":
            raise error
        _log.warning("the memory could not %s, the conversation goes on: %s", what, type(error).__name__)
        _log.debug("why the memory could not %s", what, exc_info=error)


async def _on(lent: Lent, function: Callable[[ItemStore], T]) -> T:
    items = lent.items
    return await lent.call(lambda: function(items))


def _turn(entries: Sequence[Entry], asked: str | None) -> tuple[str, str]:
    """Which turn it is, by its user message's key, and what to recall for."""
    users = (entry for entry in reversed(entries) if entry.role is MessageRole.USER)
    last = next(users, None)
    if last is None:
        return ("", (asked or "").strip())
    behind = chain([last], users)
    query = (asked or "").strip() or next((text for e in behind if (text := text_of(e.told()))), "")
    return (last.key, query)


def _said(messages: Iterable[ChatMessage]) -> list[dict[str, str]]:
    roles = (MessageRole.USER, MessageRole.ASSISTANT)
    return [
        {"role": message.role.value, "content": text}
        for message in messages
        if message.role in roles and (text := text_of(message)) and not calls_tools(message)
    ]


def _system(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.SYSTEM, blocks=[TextBlock(text=text)])


def _joined(messages: Sequence[ChatMessage], role: MessageRole) -> ChatMessage:
    return ChatMessage(
        role=role,
        blocks=[block for message in messages for block in message.blocks],
        additional_kwargs=messages[-1].additional_kwargs | messages[0].additional_kwargs,
    )
