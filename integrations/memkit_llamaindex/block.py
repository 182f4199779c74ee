"""Memories as a block of LlamaIndex's own ``Memory``."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemoryBlock
from pydantic import PrivateAttr

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import resolve_user

from .arguments import MOST, a_budget, a_count, a_switch, an_id
from .history import calls_tools, text_of
from .links import Link


class MemkitMemoryBlock(BaseMemoryBlock[str]):
    """What is remembered of a user, as one block of LlamaIndex's stock ``Memory``.

    The stock memory hands its blocks only the messages that no longer fit its own history, after some twenty
    thousand tokens: a short conversation is never remembered. ``MemkitMemory`` remembers every turn.

    Args:
        memory: The open memory, either face. None in a restored one, see ``attach``.
        user_id: Whose memory.
        agent_id: Only what this agent has learnt, and kept with what it learns.
        k: How many memories, and how many quotations, at most.
        token_budget: Longest text in estimated tokens (at least 50).
        wait: False: what is handed over is durable at once, and extracted in the background.
        name, description, priority, accept_short_term_memory: As LlamaIndex has them.
        store: The name of the memory's store, as ``attach`` returned it; in place of ``memory``.

    Raises:
        UsageError: An argument is wrong, or there is neither memory nor store.
    """

    user_id: str
    agent_id: str | None
    k: int
    token_budget: int
    wait: bool
    store: str

    _link: Link = PrivateAttr()

    def __init__(
        self,
        memory: Memory | AsyncMemory | None = None,
        *,
        user_id: str,
        agent_id: str | None = None,
        k: int = 6,
        token_budget: int = 1500,
        wait: bool = False,
        name: str = "memkit",
        description: str | None = "What is remembered of the user.",
        priority: int = 0,
        accept_short_term_memory: bool = True,
        store: str | None = None,
    ) -> None:
        link = Link.of(memory, store)
        fields: dict[str, Any] = {
            "name": name,
            "description": description,
            "priority": priority,
            "accept_short_term_memory": accept_short_term_memory,
            "user_id": an_id(resolve_user(explicit=user_id), "user_id"),
            "agent_id": None if agent_id is None else an_id(agent_id, "agent_id"),
            "k": a_count(k, "k", most=MOST),
            "token_budget": a_budget(token_budget),
            "wait": a_switch(wait, "wait"),
            "store": link.store,
        }
        super().__init__(**fields)
        self._link = link

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:  # noqa: ARG002 - LlamaIndex's
        asked = (text_of(m) for m in reversed(messages or []) if m.role == MessageRole.USER)
        query = next((text for text in asked if text), "")
        if not query:
            return ""
        found = await self._link.lent().amemory.context(
            query, user_id=self.user_id, agent_id=self.agent_id, limit=self.k, token_budget=self.token_budget
        )
        return str(found)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        roles = (MessageRole.USER, MessageRole.ASSISTANT)
        said = [
            {"role": message.role.value, "content": text}
            for message in messages
            if message.role in roles and (text := text_of(message)) and not calls_tools(message)
        ]
        if said:
            await self._link.lent().amemory.add(
                said, user_id=self.user_id, agent_id=self.agent_id, wait=self.wait
            )
