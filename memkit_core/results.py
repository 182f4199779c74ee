"""What memkit's verbs return: typed objects that also answer like dicts.

``result.results[0].memory`` and ``result["results"][0]["memory"]`` are the same. Times are aware datetimes
in UTC; scores and relevances say their range in each docstring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from .errors import MemkitError
from .markup import diff, joined, table
from .types import EventRecord, MemoryRecord, Support, Usage, to_datetime


class Result(BaseModel):
    """A typed result that can also be read with ``result["name"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __getitem__(self, name: str) -> Any:
        """A field by its name.

        Raises:
            KeyError: There is no such field.
        """
        if not isinstance(name, str) or name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.keys()

    @classmethod
    def made(cls, values: dict[str, Any]) -> Self:
        """A result of values that fit, all of them given: in half the time that ``model_construct`` takes.

        Args:
            values: By field; the result keeps the dict.
        """
        result = object.__new__(cls)
        object.__setattr__(result, "__dict__", values)
        object.__setattr__(result, "__pydantic_fields_set__", set(values))
        object.__setattr__(result, "__pydantic_extra__", None)
        object.__setattr__(result, "__pydantic_private__", None)
        return result

    def keys(self) -> list[str]:
        """The names of the fields."""
        return list(type(self).model_fields)

    def get(self, name: str, default: Any = None) -> Any:
        """A field by its name, or the default."""
        return getattr(self, name) if name in self else default

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        shown = {name: value for name, value in self.model_dump().items() if value not in (None, [], {}, "")}
        return table(type(self).__name__, list(shown), [list(shown.values())] if shown else [])


def _short(text: str | None, limit: int = 60) -> str:
    text = text or ""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


class MemoryItem(Result):
    """One memory as it stands.

    Attributes:
        memory: The remembered text.
        kind: What kind of fact it is, ``other`` if nobody said.
        origin: Where the text came from: user, image, assistant, tool, document or system.
        trust: ``trusted``, or ``untrusted`` if nobody of its owner's side said it.
        event_time: When it happened, if the text says so.
        valid_from: Since when it holds. ``valid_to``: until when; None while it is current.
        revision: 1 for the first version; grows with every update.
        sources: Ids of the messages it rests on.
        support: ``supported``: the messages it cites say so, word for word where it counts. ``doubtful``: a
            name, number, date or negation of it is not in them. ``unchecked``: nobody looked.
        attributes: What a kind of your own asks for beside the text.
    """

    id: str
    memory: str
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    actor_id: str | None = None
    kind: str = "other"
    memory_type: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    origin: str = "user"
    trust: str = "trusted"
    support: Support = "unchecked"
    attributes: dict[str, Any] = Field(default_factory=dict[str, Any])
    event_time: datetime | None = None
    valid_from: datetime
    valid_to: datetime | None = None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    revision: int = 1
    sources: list[str] = Field(default_factory=list[str])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_short(self.memory)}, id={self.id!r}, revision={self.revision})"

    __str__ = __repr__

    @classmethod
    def fields_of(cls, record: MemoryRecord) -> dict[str, Any]:
        """The public fields of a stored record."""
        return {
            "id": record.memory_id,
            "memory": record.text,
            "user_id": record.user_id,
            "agent_id": record.agent_id,
            "run_id": record.run_id,
            "actor_id": record.actor_id,
            "kind": record.kind,
            "memory_type": record.memory_type,
            "metadata": dict(record.metadata),
            "origin": record.origin,
            "trust": record.trust,
            "support": record.support,
            "attributes": dict(record.attributes),
            "event_time": _time(record.event_time),
            "valid_from": to_datetime(record.valid_from),
            "valid_to": _time(record.valid_to),
            "created_at": to_datetime(record.created_at),
            "updated_at": to_datetime(record.recorded_at),
            "expires_at": _time(record.expires_at),
            "revision": record.revision,
            "sources": list(record.sources),
        }

    @classmethod
    def of(cls, record: MemoryRecord) -> MemoryItem:
        """The public face of a stored record."""
        return cls.made(cls.fields_of(record))


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else to_datetime(micros)


class SearchHit(MemoryItem):
    """A memory that answers a question.

    Attributes:
        score: Orders the hits of one search; higher is better; not comparable between searches.
        relevance: 0 to 1, absolute: does not depend on what else was found. ``threshold`` compares with it.
        explain: The parts of the score, if asked for.
    """

    score: float
    relevance: float
    explain: dict[str, float] | None = None

    def __repr__(self) -> str:
        return f"SearchHit({_short(self.memory)}, relevance={self.relevance:.2f}, id={self.id!r})"

    __str__ = __repr__


class Excerpt(Result):
    """A stored message that answers a question, word for word.

    Attributes:
        message_id: The id that memories cite in ``sources``.
        score, relevance: As in ``SearchHit``.
    """

    message_id: str
    text: str
    role: str
    actor_id: str | None = None
    observed_at: datetime
    score: float
    relevance: float
    explain: dict[str, float] | None = None

    def __repr__(self) -> str:
        return f"Excerpt({_short(self.text)}, relevance={self.relevance:.2f}, message_id={self.message_id!r})"

    __str__ = __repr__


class _Listing(Result):
    """A result whose main part is a list called ``results``."""

    def _items(self) -> list[Any]:
        items: list[Any] = self["results"]
        return items

    def __len__(self) -> int:
        return len(self._items())

    def __bool__(self) -> bool:
        return True  # an empty answer is still an answer: `if result` must not mean `if len(result)`

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # items, not pydantic's field pairs
        return iter(self._items())


class SearchResult(_Listing):
    """The answer to a search, best hits first.

    Attributes:
        results: Memories. ``excerpts``: messages, if ``include`` asked for them.
        degraded: What did not work and how the answer suffers; empty if all is well.
    """

    results: list[SearchHit] = Field(default_factory=list[SearchHit])
    excerpts: list[Excerpt] = Field(default_factory=list[Excerpt])
    degraded: list[str] = Field(default_factory=list[str])
    usage: Usage = Usage()

    def __repr__(self) -> str:
        lines = [f"  {h.relevance:.2f} {_short(h.memory, 80)}" for h in self.results]
        lines += [f"  {e.relevance:.2f} excerpt {_short(e.text, 80)}" for e in self.excerpts]
        lines += [f"  degraded: {text}" for text in self.degraded]
        return "\n".join(
            [f"SearchResult({len(self.results)} memories, {len(self.excerpts)} excerpts)", *lines]
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        hits = [(f"{h.relevance:.2f}", h.memory, h.kind, _day(h.valid_from), h.id) for h in self.results]
        notes = [f"degraded: {text}" for text in self.degraded]
        found = table(
            f"{len(hits)} memories found", ("relevance", "memory", "kind", "holds since", "id"), hits, notes
        )
        if not self.excerpts:
            return found
        said = [(f"{e.relevance:.2f}", e.text, e.role, _day(e.observed_at)) for e in self.excerpts]
        return joined(found, table(f"{len(said)} excerpts", ("relevance", "text", "role", "said"), said))


class MemoryPage(_Listing):
    """One page of memories, newest first.

    Attributes:
        next_cursor: Pass it as ``cursor=`` for the next page; None on the last page.
        degraded: What is damaged and had to be left out; empty if all is well.
    """

    results: list[MemoryItem] = Field(default_factory=list[MemoryItem])
    next_cursor: str | None = None
    degraded: list[str] = Field(default_factory=list[str])

    def __repr__(self) -> str:
        more = ", more follow: pass cursor=page.next_cursor" if self.next_cursor else ""
        return "\n".join(
            [
                f"MemoryPage({len(self.results)} memories{more})",
                *(f"  {m!r}" for m in self.results),
                *(f"  degraded: {text}" for text in self.degraded),
            ]
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [(m.memory, m.kind, _day(m.valid_from), _day(m.valid_to), m.revision, m.id) for m in self]
        notes = [f"degraded: {text}" for text in self.degraded]
        if self.next_cursor:
            notes.append("more follow: pass cursor=page.next_cursor")
        columns = ("memory", "kind", "holds since", "until", "revision", "id")
        return table(f"{len(rows)} memories", columns, rows, notes)


class StageFailure(Result):
    """Something that failed inside an operation that otherwise went on, or that will be tried again.

    Attributes:
        stage: describe (images), overview (of a run), extract, embed, decide, hook, commit or index.
        error_type, message: The name and text of the error.
        error: The error itself, None in a result that was stored and read back.
    """

    stage: str
    error_type: str
    message: str
    error: Exception | None = Field(default=None, exclude=True, repr=False)

    @classmethod
    def of(cls, stage: str, error: Exception) -> StageFailure:
        """The record of an error."""
        return cls(stage=stage, error_type=type(error).__name__, message=str(error), error=error)

    def __repr__(self) -> str:
        return f"{self.stage} failed: {self.error_type}: {_short(self.message, 200)}"

    __str__ = __repr__


class MemoryChange(Result):
    """What became of one fact, or of one memory.

    Attributes:
        event: ADD, UPDATE (also if only metadata was added), DELETE, NONE (it was known already; ``id`` is
            the memory that says it, None if that is one of the past), or AMEND (an earlier value held for a
            shorter time than was thought; ``revision`` says which, its text stays).
        previous_memory: The text before an UPDATE, DELETE or AMEND.
        support, trust: As in ``MemoryItem``. ``doubts``: what the messages that a new text cites do not bear
            out.
        held_until: Of an ADD that is history by now: until when it held. Only ``as_of`` finds it.
        failed: What did not work beside the change itself, such as embedding the new text; ``flush`` tries
            it again.
    """

    id: str | None
    memory: str
    event: Literal["ADD", "UPDATE", "DELETE", "NONE", "AMEND"]
    previous_memory: str | None = None
    revision: int = 1
    reason: str = ""
    sources: list[str] = Field(default_factory=list[str])
    support: Support = "unchecked"
    trust: str = "trusted"
    doubts: list[str] = Field(default_factory=list[str])
    held_until: datetime | None = None
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])

    def __repr__(self) -> str:
        before = f" was {_short(self.previous_memory)}" if self.event == "UPDATE" else ""
        before += "" if self.held_until is None else f" until {self.held_until:%Y-%m-%d}"
        kept = "" if self.trust == "trusted" else f"{self.trust}, "
        return f"{self.event} {_short(self.memory)}{before} ({kept}id={self.id!r})"

    __str__ = __repr__


class Rejection(Result):
    """Something a model proposed that was not carried out.

    Attributes:
        item: The fact or operation as proposed. ``reason``: why not.
    """

    item: str
    reason: str

    def __repr__(self) -> str:
        return f"Rejection({_short(self.item)}: {self.reason})"

    __str__ = __repr__


class AddResult(_Listing):
    """What an ``add`` did. The messages are stored and searchable whatever the status says.

    Attributes:
        results: One entry per fact, in order: ADD, UPDATE, DELETE or NONE. Then one for every other memory
            that was changed to make room in time: DELETE, or AMEND for an earlier version.
        status: ``complete``: all done. ``partial``: done, but see ``rejected`` or ``failed``. ``pending``:
            the messages wait for extraction; ``flush()`` or the next opening of the store takes it up again.
        mode: ``llm``: a model extracted and decided. ``verbatim``: no model, statements kept as they are.
            ``raw``: ``infer=False``, every message kept as it is.
        batch_id, message_ids: What was stored.
        pending: Ids of the messages that still wait for extraction.
        replayed: This is the stored result of an earlier call with the same idempotency key.
    """

    results: list[MemoryChange] = Field(default_factory=list[MemoryChange])
    status: Literal["complete", "partial", "pending"] = "complete"
    mode: Literal["llm", "verbatim", "raw"]
    batch_id: str
    message_ids: list[str] = Field(default_factory=list[str])
    pending: list[str] = Field(default_factory=list[str])
    rejected: list[Rejection] = Field(default_factory=list[Rejection])
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])
    usage: Usage = Usage()
    replayed: bool = False

    def _of(self, event: str) -> list[MemoryChange]:
        return [change for change in self.results if change.event == event]

    @property
    def added(self) -> list[MemoryChange]:
        """The new memories."""
        return self._of("ADD")

    @property
    def updated(self) -> list[MemoryChange]:
        """The memories that have a new version."""
        return self._of("UPDATE")

    @property
    def deleted(self) -> list[MemoryChange]:
        """The memories that no longer hold."""
        return self._of("DELETE")

    @property
    def unchanged(self) -> list[MemoryChange]:
        """The facts that were known already."""
        return self._of("NONE")

    @property
    def ok(self) -> bool:
        """Whether everything was done: nothing pending, nothing failed."""
        return self.status != "pending" and not self.failed

    def raise_for_failures(self) -> AddResult:
        """This result itself, if ``ok``.

        Raises:
            MemkitError: The first failure, as it happened. What the result reports stays done.
        """
        for failure in self.failed:
            raise failure.error or MemkitError(str(failure))
        return self

    def __repr__(self) -> str:
        lines = [f"AddResult({self.status}, mode={self.mode!r}, {len(self.results)} facts)"]
        lines += [f"  {change!r}" for change in self.results]
        lines += [f"  {rejection!r}" for rejection in self.rejected]
        lines += [f"  {failure!r}" for failure in self.failed]
        if self.pending:
            lines.append(f"  {len(self.pending)} messages wait for extraction: call flush()")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [
            (
                one.event,
                diff(one.previous_memory, one.memory) if one.event == "UPDATE" else one.memory,
                "; ".join([one.support, *one.doubts]),
                one.reason,
                one.id,
            )
            for one in self.results
        ]
        notes: list[object] = [*self.rejected, *self.failed]
        if self.pending:
            notes.append(f"{len(self.pending)} messages wait for extraction: call flush()")
        columns = ("event", "memory", "support", "reason", "id")
        return table(f"add: {self.status}, mode {self.mode!r}, {len(rows)} facts", columns, rows, notes)


class HistoryEvent(Result):
    """One entry of a memory's history, oldest first.

    Attributes:
        event: ADD, UPDATE, DELETE, RESTORE (an earlier version came back) or AMEND (a closed version held for
            a shorter time than was thought; its text is both old and new).
        created_at: When it was recorded.
    """

    id: int
    memory_id: str
    event: Literal["ADD", "UPDATE", "DELETE", "AMEND", "RESTORE"]
    old_memory: str | None = None
    new_memory: str | None = None
    revision: int
    reason: str = ""
    actor_id: str | None = None
    created_at: datetime
    batch_id: str | None = None

    @classmethod
    def of(cls, record: EventRecord) -> HistoryEvent:
        """The public face of a stored event."""
        return cls.model_construct(
            id=record.sequence,
            memory_id=record.memory_id,
            event=record.operation,
            old_memory=record.old_text,
            new_memory=record.new_text,
            revision=record.revision,
            reason=record.reason,
            actor_id=record.actor_id,
            created_at=to_datetime(record.recorded_at),
            batch_id=record.batch_id,
        )

    def __repr__(self) -> str:
        when = self.created_at.isoformat(sep=" ", timespec="seconds")
        if self.event == "UPDATE":
            return f"{when} UPDATE {_short(self.old_memory)} -> {_short(self.new_memory)}"
        return f"{when} {self.event} {_short(self.old_memory if self.event == 'DELETE' else self.new_memory)}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return _told([self])


class History(list[HistoryEvent]):
    """What happened to a memory, oldest first: a list whose table in notebooks shows each change of words."""

    def _repr_html_(self) -> str:
        return _told(self)


def _told(events: Sequence[HistoryEvent]) -> str:
    """Events of one memory as a table."""
    columns = ("revision", "event", "memory", "reason", "by", "recorded")
    rows = [
        (
            one.revision,
            one.event,
            diff(one.old_memory, one.new_memory),
            one.reason,
            one.actor_id,
            one.created_at.isoformat(sep=" ", timespec="seconds"),
        )
        for one in events
    ]
    return table(f"history of {events[0].memory_id}" if events else "no history", columns, rows)


class ContextResult(Result):
    """Text for an agent's prompt: what is known, then what was said. ``str(context)`` is the text.

    Attributes:
        tokens: Estimated length, four characters to a token (one for Chinese, Japanese and Korean script).
        memory_ids, message_ids: What the text was made of.
    """

    text: str
    tokens: int
    memory_ids: list[str] = Field(default_factory=list[str])
    message_ids: list[str] = Field(default_factory=list[str])
    degraded: list[str] = Field(default_factory=list[str])

    def __str__(self) -> str:
        return self.text


class DeleteAllResult(Result):
    """How many memories ``delete_all`` took out of the current truth."""

    deleted: int


class FlushResult(Result):
    """What ``flush`` did.

    Attributes:
        completed: Batches that were extracted while it ran, as far as it has heard of them. Those that the
            background had finished when it was called are not among them: 0 and nothing pending is all done.
        pending: Batches that still wait, or are being extracted.
        failed: Why, for those that were tried.
        timed_out: Whether ``timeout`` was over before all was tried. What still runs goes on: flush again.
    """

    completed: int = 0
    pending: int = 0
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])
    timed_out: bool = False
