"""The memory of a crew, an agent or a flow, with memkit in the place of CrewAI's own pipeline."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Sequence
from typing import Any, Final, Literal, NoReturn

from crewai.memory.types import MemoryMatch, MemoryRecord
from crewai.memory.unified_memory import Memory as CrewMemory
from pydantic import PrivateAttr

from memkit_core import AddResult, AsyncMemory, Memory, SearchHit, clean_text
from memkit_core.adapting import UserSource, fenced_text
from memkit_core.errors import NotFoundError, UsageError

from .events import asking, saving
from .kept import KeptMemories
from .matching import all_of, believed, below, in_categories, shown_to
from .records import SCOPE, joined, metadata_of, record_of
from .whose import Ids, Whose

#: What CrewAI hands over when a task or a kickoff is done. Its end counts: what was asked may hold a text
#: that looks like one.
_RUN: Final = re.compile(
    r"(?P<asked>(?:Task|Input): .*)\nAgent: (?P<agent>[^\n]*)\n(?:Expected result: (?P<expected>.*?)\n)?"
    r"Result: (?P<result>.*)",
    re.DOTALL,
)
#: Of a task's text, as a question and as context of its answer. It may hold whole documents.
_TASK_CHARS: Final = 16_384
_MOST: Final = 1_000


class Recalled(MemoryMatch):
    """A memory that was found. In prompts it stands between memkit's marks, as data."""

    def format(self) -> str:
        """The line for a prompt."""
        told = f" ({self.record.created_at:%Y-%m-%d}, relevance {self.score:.2f})"
        return f"- {fenced_text(self.record.content, told)}"


class _NoModel:
    """In the place of CrewAI's models: a memory of memkit's asks its own."""

    def call(self, *_: object, **__: object) -> NoReturn:
        raise UsageError("memkit's own models extract and decide; CrewAI's have no part in a MemkitMemory")

    def __call__(self, *_: object) -> NoReturn:
        self.call()


class MemkitMemory(CrewMemory):
    """A memory for ``Crew(memory=…)``, ``Agent(memory=…)`` and flows, in which memkit extracts, decides and
    searches; CrewAI's analysing models and its vector store are not used.

    What a task's agent answered is saved as that agent's words; recalling searches all that is known of the
    owner, also what others have told memkit. The memories that CrewAI saved are listed, counted and reset.

    Args:
        memory: Either face. Whoever opened it closes it.
        user_id: Whose memory: an id, or a function that returns it and is asked for each call; both its
            arguments are None, since CrewAI hands its runs no context. None: the agent's own.
        agent_id: The crew or agent, whose own memory it is without a user. With a user it narrows, as
            everywhere, to what this agent has learnt of the user.
        root_scope: The path below which this object saves and reads. None: everything that is known.
        read_only: True: nothing is saved.
        threshold: Lowest relevance of what is recalled.
        trusted_only: True: of a user's memories those that agents have saved are not recalled. memkit does
            not take an agent's word for the user's: nobody else finds them without asking for them.

    Raises:
        UsageError: An argument is wrong, or there is neither user nor agent.
    """

    _whose: Whose = PrivateAttr()
    _threshold: float | None = PrivateAttr(default=None)
    _trusted_only: bool = PrivateAttr(default=False)
    _waiting: bool = PrivateAttr(default=False)
    _draining: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        user_id: UserSource | None = None,
        agent_id: str | None = None,
        root_scope: str | None = None,
        read_only: bool = False,
        threshold: float | None = None,
        trusted_only: bool = False,
    ) -> None:
        whose = Whose.of(memory, user_id, agent_id)
        none = _NoModel()
        super().__init__(
            storage=KeptMemories(whose), llm=none, embedder=none, root_scope=root_scope, read_only=read_only
        )
        # What crews write of themselves when they are copied or saved. Read back without this object, it has
        # no model and no vectors, and says so, instead of being another memory in silence.
        self.llm, self.storage, self.embedder = "memkit", None, {"provider": "memkit"}
        self._whose = whose
        self._threshold = threshold
        self._trusted_only = trusted_only

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> MemkitMemory:
        # One open store stays one, however often a crew is copied.
        return self

    def extract_memories(self, content: str) -> list[str]:
        """The text itself: memkit extracts when it is remembered, in its context. Nothing, if a task's agent
        answered nothing.
        """
        run = _RUN.fullmatch(content)
        said = content.strip() if run is None else _answered(run)
        return [content] if said else []

    def remember(
        self,
        content: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> MemoryRecord | None:
        """Remember a text, and wait for what becomes of it.

        Returns:
            The first memory that says it, new or known before. If none does yet, because a model failed or
            found no fact in it, a record of the text whose id is no memory's. None if ``read_only``.

        Raises:
            UsageError: An argument is wrong. Nothing was saved.
        """
        if self.read_only:
            return None
        ids = self._whose.ids()
        kept = metadata_of(
            scope=joined(self.root_scope if root_scope is None else root_scope, scope),
            categories=categories,
            metadata=metadata,
            importance=importance,
            source=source,
            private=private,
        )
        with saving(self, content, metadata, agent_role):
            result = self._add([content], ids, kept, agent_role, wait=True)
        return self._record(result, content, ids, kept)

    def remember_many(
        self,
        contents: list[str],
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> list[MemoryRecord]:
        """Remember texts: they are durable when this returns, and are extracted in the background.

        Returns:
            Nothing yet; the next ``recall`` waits for them.

        Raises:
            UsageError: An argument is wrong. Nothing was saved.
        """
        if not contents or self.read_only:
            return []
        kept = metadata_of(
            scope=joined(self.root_scope if root_scope is None else root_scope, scope),
            categories=categories,
            metadata=metadata,
            importance=importance,
            source=source,
            private=private,
        )
        with saving(self, f"{len(contents)} texts", metadata, agent_role):
            result = self._add(contents, self._whose.ids(), kept, agent_role, wait=False)
            self._waiting = self._waiting or result.status == "pending"
        return []

    def recall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Literal["shallow", "deep"] = "deep",  # noqa: ARG002 - CrewAI's; memkit searches one way
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """The memories that answer a question, best first; their score is the relevance from 0 to 1.

        It waits for what ``remember_many`` has taken. Of a question, which may be a whole task, the first
        16,384 characters count; 1,000 memories are the most that come.

        Raises:
            UsageError: An argument is wrong.
        """
        ids = self._whose.ids()
        self.drain_writes()
        where = all_of(
            believed() if ids["user_id"] is not None and not self._trusted_only else None,
            below(joined(self.root_scope, scope)),
            in_categories(categories),
            None if include_private else shown_to(source),
        )
        with asking(self, query, limit) as matches:
            found = self._whose.lent.memory.search(
                clean_text(query[:_TASK_CHARS]),
                limit=min(limit, _MOST),
                threshold=self._threshold,
                filters=where,
                **ids,
            )
            matches += [_match(hit) for hit in found.results]
        return matches

    def update(
        self,
        record_id: str,
        content: str | None = None,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
    ) -> MemoryRecord:
        """Give a memory another text, path or metadata; the old version stays in its history.

        Raises:
            ValueError: The owner has no memory with this id.
            UsageError: An argument is wrong. Nothing was changed.
        """
        ids = self._whose.ids()
        item = self._whose.lent.memory.get(record_id, **ids)
        if item is None:
            raise ValueError(f"Record not found: {record_id}")
        known = record_of(item)
        if self.read_only:
            return known
        kept: dict[str, Any] | None = None
        if any(given is not None for given in (scope, categories, metadata, importance)):
            kept = metadata_of(
                scope=known.scope if scope is None else scope,
                categories=known.categories if categories is None else categories,
                metadata=known.metadata if metadata is None else metadata,
                importance=known.importance if importance is None else importance,
                source=known.source,
                private=known.private,
            )
        try:
            self._whose.lent.memory.update(record_id, content, metadata=kept, **ids)
        except NotFoundError as error:
            raise ValueError(f"Record not found: {record_id}") from error
        item = self._whose.lent.memory.get(record_id, **ids)
        return known if item is None else record_of(item)

    async def aremember(
        self,
        content: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
    ) -> MemoryRecord | None:
        """See ``remember``."""
        return await asyncio.to_thread(
            self.remember, content, scope, categories, metadata, importance, source, private
        )

    async def aremember_many(
        self,
        contents: list[str],
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
    ) -> list[MemoryRecord]:
        """See ``remember_many``."""
        return await asyncio.to_thread(
            self.remember_many, contents, scope, categories, metadata, importance, source, private, agent_role
        )

    async def arecall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Literal["shallow", "deep"] = "deep",
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """See ``recall``."""
        return await asyncio.to_thread(
            self.recall, query, scope, categories, limit, depth, source, include_private
        )

    def drain_writes(self) -> None:
        """Wait until what ``remember_many`` has taken is extracted, or has failed and waits for a model."""
        # Whoever comes while another one waits, waits as well.
        with self._draining:
            if self._waiting:
                self._waiting = False
                self._whose.lent.memory.flush()

    def _add(
        self, contents: Sequence[str], ids: Ids, kept: dict[str, Any], role: str | None, *, wait: bool
    ) -> AddResult:
        said = [message for text in contents for message in _messages(text, role, ids["user_id"] is not None)]
        return self._whose.lent.memory.add(said, metadata=kept, wait=wait, **ids)

    def _record(self, result: AddResult, content: str, ids: Ids, kept: dict[str, Any]) -> MemoryRecord:
        for change in result.results:
            item = None if change.id is None else self._whose.lent.memory.get(change.id, **ids)
            if item is not None:
                return record_of(item)
        return MemoryRecord(id=f"pending:{result.batch_id}", content=content, scope=kept[SCOPE])


def _messages(text: str, role: str | None, of_user: bool) -> list[dict[str, str]]:
    """A task's end as what was asked (for context, never a source of facts) and what the agent answered; any
    other text as a statement that an agent or the flow made.
    """
    run = _RUN.fullmatch(text)
    if run is not None and (answered := _answered(run)):
        asked = run["asked"] + (f"\nExpected result: {run['expected']}" if run["expected"] else "")
        context = clean_text(asked[:_TASK_CHARS])
        answer = {"role": "assistant", "content": answered, "name": role or run["agent"]}
        return [
            {"role": "system", "content": context},
            {key: value for key, value in answer.items() if value},
        ]
    # Somebody wants just this to be remembered, but in a user's memory it is not the user who says it.
    statement = {"role": "user" if of_user else "assistant", "origin": "assistant", "content": text}
    return [{**statement, "name": role} if role else statement]


def _answered(run: re.Match[str]) -> str:
    # An agent without native tools thinks aloud before it answers.
    return clean_text(run["result"].rpartition("Final Answer:")[2]).strip()


def _match(hit: SearchHit) -> MemoryMatch:
    return Recalled(record=record_of(hit), score=hit.relevance, match_reasons=["semantic"])
