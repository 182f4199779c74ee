"""What the lines of an export are: the format, version 2.

One JSON object a line. First a header with what the file holds and how much of it, then owners, batches,
messages, versions of memories and events, each in the order they were stored, last the number of lines and
the SHA-256 of everything before it. Instants are microseconds since 1970 UTC; vectors are half precision,
little-endian, in base64. Keywords, statistics and sessions' totals are derived again by the importing store.
Nothing in it depends on what else the store holds: neither row numbers nor the numbers of events, which stand
in their order. Version 1 had these (``sequence``), and named the analyzer of the store that wrote it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ..pipeline.ingest import parse_metadata
from ..results import AddResult
from ..types import FIRST_MICROS, FLAG_ASKS, FLAG_QUESTION, FLAG_SMALLTALK, LAST_MICROS, check_id, check_text
from .jobs import Job, MemoryType

FORMAT: Final = "memkit-export"
VERSION: Final = 2
#: Most records of one kind that a file may hold.
MAX_RECORDS: Final = 1_000_000_000

Count = Annotated[int, Field(ge=0, le=MAX_RECORDS)]
Flag = Annotated[int, Field(ge=0, le=1)]
Micros = Annotated[int, Field(ge=FIRST_MICROS, le=LAST_MICROS)]
#: What joins a memory's versions may exceed what one call may bring, as every update may add keys.
MAX_METADATA_CHARS: Final = 1024 * 1024
MAX_SLOT_CHARS: Final = 1_024
#: All flags that a text can have, together.
_FLAGS: Final = FLAG_QUESTION | FLAG_SMALLTALK | FLAG_ASKS


def _said(text: str) -> str:
    if not check_text(text, "text").strip():
        raise ValueError("a text is empty")
    return text


Id = Annotated[str, AfterValidator(lambda value: check_id(value, "an id"))]
Text = Annotated[str, AfterValidator(_said)]
Remark = Annotated[str, AfterValidator(lambda value: check_text(value, "a remark", max_chars=65_536))]
Label = Annotated[
    str, Field(min_length=1), AfterValidator(lambda value: check_text(value, "a label", max_chars=256))
]
Metadata = Annotated[
    dict[str, Any], AfterValidator(lambda value: parse_metadata(value, max_chars=MAX_METADATA_CHARS))
]
Slot = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(lambda value: check_text(value, "a slot", max_chars=MAX_SLOT_CHARS)),
]
Origin = Literal["user", "assistant", "tool", "document", "system", "image"]
Flags = Annotated[int, Field(ge=0, le=_FLAGS)]


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a vector is base64") from None
    if base64.b64encode(raw).decode("ascii") != value:
        raise ValueError("a vector is base64 with nothing behind its last byte")
    _check_vector(raw)
    return raw


def _check_vector(raw: bytes) -> None:
    import numpy as np

    if not raw or len(raw) % 2:
        raise ValueError("a vector is made of halves")
    array = np.frombuffer(raw, dtype="<f2").astype(np.float64)
    if not 0.99 < float(np.dot(array, array)) < 1.01:  # also false for what is no number
        raise ValueError("a vector is finite and of unit length")


Vector = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(lambda raw: base64.b64encode(raw).decode("ascii"), when_used="json"),
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Identity(_Record):
    """The model that made the vectors."""

    model: Id
    dimension: Annotated[int, Field(ge=1, le=65_536)]


class Counts(_Record):
    """How many records of each kind follow."""

    owners: Count
    batches: Count
    messages: Count
    memories: Count
    events: Count

    @property
    def total(self) -> int:
        """All together."""
        return self.owners + self.batches + self.messages + self.memories + self.events


class Header(_Record):
    """The first line. ``embedding`` is there if any vector follows."""

    kind: Literal["header"]
    format: Literal["memkit-export"]
    version: Annotated[int, Field(ge=1, le=VERSION)]
    embedding: Identity | None
    counts: Counts


class HeaderV1(Header):
    """The first line of version 1."""

    analyzer: Label


class Owner(_Record):
    """Whose memories follow. ``revision`` counts its commits."""

    kind: Literal["owner"]
    of: Literal["user", "agent", "run"]
    value: Id
    revision: Count
    created_at: Micros


class _Scoped(_Record):
    user_id: Id | None
    agent_id: Id | None
    run_id: Id | None

    @model_validator(mode="after")
    def _check_owned(self) -> Self:
        if (self.user_id, self.agent_id, self.run_id) == (None, None, None):
            raise ValueError("user_id: one of user_id, agent_id and run_id says whose it is")
        return self


class Batch(_Scoped):
    """The messages of one ``add``; ``pending`` with its ``job`` if they still wait for extraction."""

    kind: Literal["batch"]
    uuid: Id
    pending: Flag
    size: Annotated[int, Field(ge=0, le=1_000_000)]
    recorded_at: Micros
    job: Job | None
    attempts: Annotated[int, Field(ge=0, lt=2**31)]
    not_before: Micros
    last_error: Remark | None
    idempotency_key: Id | None
    fingerprint: Label | None
    result: str | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.job is not None) != bool(self.pending):
            raise ValueError("job: a batch has one as long as it is pending")
        if self.idempotency_key is None and (self.fingerprint, self.result) != (None, None):
            raise ValueError("idempotency_key: only calls with one leave a fingerprint and a result")
        if self.result is not None:
            self._check_result(self.result)
        return self

    def _check_result(self, text: str) -> None:
        try:
            result = AddResult.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"result: it is none of an add: {first['msg']}") from None
        if self.pending or result.status == "pending" or result.pending or result.replayed:
            raise ValueError("result: a batch that is pending has none yet")
        ids = [f"{self.uuid}:{position}" for position in range(self.size)]
        if result.batch_id != self.uuid or result.message_ids != ids:
            raise ValueError("result: it is that of another batch")


class Message(_Record):
    """A message, in its batch and its session (sessions are numbered in the order they begin)."""

    kind: Literal["message"]
    batch: Id
    position: Count
    role: Literal["user", "assistant", "system", "tool"]
    actor_id: Id | None
    content: Text
    origin: Origin
    flags: Flags
    observed_at: Micros
    recorded_at: Micros
    indexed: Flag
    hidden_at: Micros | None
    session: Annotated[int, Field(ge=1, lt=2**62)]
    place: Count
    vector: Vector | None


class MemoryV1(_Scoped):
    """One version of a memory; ``sources`` are ``batch:position`` of the messages it rests on."""

    kind: Literal["memory"]
    memory_id: Id
    revision: Annotated[int, Field(ge=1, lt=2**62)]
    actor_id: Id | None
    text: Text
    memory_type: MemoryType
    metadata: Metadata
    origin: Origin
    trust: Literal["trusted", "untrusted"]
    event_time: Micros | None
    valid_from: Micros
    valid_to: Micros | None
    created_at: Micros
    recorded_at: Micros
    retired_at: Micros | None
    deleted_at: Micros | None
    superseded_by: Id | None
    expires_at: Micros | None
    flags: Flags
    kind_of_fact: Label
    sources: Annotated[list[str], Field(max_length=1_000_000)]
    vector: Vector | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.revision == 1 and self.created_at != self.recorded_at:
            raise ValueError("created_at: a first version is created when it is recorded")
        if self.retired_at is None:
            self._check_current()
        elif self.valid_to is None:
            raise ValueError("valid_to: a version that is no longer current has an end")
        elif self.deleted_at not in (None, self.retired_at):
            raise ValueError("deleted_at: a deleted version ends when it is deleted")
        elif not self._names_successor():
            raise ValueError(
                "superseded_by: an updated version names its own memory, a deleted one never does"
            )
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources: one is named twice")
        return self

    def _names_successor(self) -> bool:
        return (self.superseded_by == self.memory_id) == (self.deleted_at is None)

    def _check_current(self) -> None:
        for name in ("valid_to", "deleted_at", "superseded_by"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: a current version has neither an end nor a successor")


class Amendment(_Record):
    """Until this knowledge time a closed version was believed to end like that."""

    until: Micros
    valid_to: Micros
    superseded_by: Id | None


class Memory(MemoryV1):
    """The same, with what stands there only if it is set."""

    slot: Slot | None = None
    support: Literal["supported", "doubtful"] | None = None
    attributes: Metadata = Field(default_factory=dict[str, Any])
    amendments: Annotated[list[Amendment], Field(max_length=1_000_000)] = Field(
        default_factory=list[Amendment]
    )

    @model_validator(mode="after")
    def _check_amendments(self) -> Self:
        if not self.amendments:
            return self
        if self.retired_at is None or self.valid_to is None:
            raise ValueError("amendments: only a version that is no longer current has any")
        times = [one.until for one in self.amendments]
        ends = [*(one.valid_to for one in self.amendments), self.valid_to]
        if times != sorted(set(times)) or ends != sorted(ends, reverse=True) or ends[-1] < self.valid_from:
            raise ValueError("amendments: each lets the version hold for a shorter time, later known")
        return self

    def _names_successor(self) -> bool:
        # The first of them tells how it was closed.
        named = self.amendments[0].superseded_by if self.amendments else self.superseded_by
        if self.deleted_at is not None:
            return named != self.memory_id
        born_closed = self.revision == 1 and self.retired_at == self.recorded_at
        return born_closed or named == self.memory_id


class Event(_Record):
    """An entry of a memory's history."""

    kind: Literal["event"]
    memory_id: Id
    operation: Literal["ADD", "UPDATE", "DELETE", "AMEND", "RESTORE"]
    revision: Annotated[int, Field(ge=1, lt=2**62)]
    reason: Remark
    actor_id: Id | None
    recorded_at: Micros
    batch: Id | None


class EventV1(Event):
    """An entry of version 1, with its number in the store that wrote it."""

    sequence: Annotated[int, Field(ge=1, lt=2**62)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operation in ("AMEND", "RESTORE"):
            raise ValueError("operation: there was none of that name")
        return self


class End(_Record):
    """The last line."""

    kind: Literal["end"]
    lines: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Line = Header | Owner | Batch | Message | MemoryV1 | Event | End
_Line = Header | Owner | Batch | Message | Memory | Event | End
LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[_Line, Field(discriminator="kind")])
_LineV1 = HeaderV1 | Owner | Batch | Message | MemoryV1 | EventV1 | End
_LINE_V1: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[_LineV1, Field(discriminator="kind")])
#: How the lines of each version are read.
LINES: Final = {1: _LINE_V1, VERSION: LINE}
#: What a store's own clock wrote.
CLOCKED: Final = ("recorded_at", "created_at", "retired_at", "deleted_at", "hidden_at", "not_before")

#: Which kinds may follow one another, in this order.
ORDER: Final = ("header", "owner", "batch", "message", "memory", "event", "end")
