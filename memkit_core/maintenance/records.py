"""What the lines of an export are: the format, version 1.

One JSON object a line. First a header with what the file holds and how much of it, then owners, batches,
messages, versions of memories and events, each in the order they were stored, last the number of lines and
the SHA-256 of everything before it. Instants are microseconds since 1970 UTC; vectors are half precision,
little-endian, in base64. Keywords, statistics and sessions' totals are derived again by the importing store.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter

from ..types import MAX_ID_CHARS, MAX_TEXT_CHARS

FORMAT: Final = "memkit-export"
VERSION: Final = 1

Count = Annotated[int, Field(ge=0, lt=2**63)]
Flag = Annotated[int, Field(ge=0, le=1)]
Micros = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a vector is base64") from None
    if not raw or len(raw) % 2:
        raise ValueError("a vector is made of halves")
    return raw


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
    """The first line."""

    kind: Literal["header"]
    format: Literal["memkit-export"] = "memkit-export"
    version: Count = VERSION
    embedding: Identity | None
    analyzer: str
    counts: Counts


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


class Batch(_Scoped):
    """The messages of one ``add``; ``pending`` with its ``job`` if they still wait for extraction."""

    kind: Literal["batch"]
    uuid: Id
    pending: Flag
    size: Annotated[int, Field(ge=0, le=1_000_000)]
    recorded_at: Micros
    job: str | None
    attempts: Count
    not_before: Micros
    last_error: str | None
    idempotency_key: Id | None
    fingerprint: str | None
    result: str | None


class Message(_Record):
    """A message, in its batch and its session (sessions are numbered in the order they begin)."""

    kind: Literal["message"]
    batch: Id
    position: Count
    role: Literal["user", "assistant", "system", "tool"]
    actor_id: Id | None
    content: Text
    origin: str
    flags: Count
    observed_at: Micros
    recorded_at: Micros
    indexed: Flag
    hidden_at: Micros | None
    session: Annotated[int, Field(ge=1, lt=2**62)]
    place: Count
    vector: Vector | None


class Memory(_Scoped):
    """One version of a memory; ``sources`` are ``batch:position`` of the messages it rests on."""

    kind: Literal["memory"]
    memory_id: Id
    revision: Annotated[int, Field(ge=1, lt=2**62)]
    actor_id: Id | None
    text: Text
    memory_type: str | None
    metadata: dict[str, Any]
    origin: str
    trust: str
    event_time: Micros | None
    valid_from: Micros
    valid_to: Micros | None
    created_at: Micros
    recorded_at: Micros
    retired_at: Micros | None
    deleted_at: Micros | None
    superseded_by: Id | None
    expires_at: Micros | None
    flags: Count
    kind_of_fact: str
    sources: list[str]
    vector: Vector | None


class Event(_Record):
    """An entry of a memory's history."""

    kind: Literal["event"]
    sequence: Annotated[int, Field(ge=1, lt=2**62)]
    memory_id: Id
    operation: Literal["ADD", "UPDATE", "DELETE"]
    revision: Annotated[int, Field(ge=1, lt=2**62)]
    reason: str
    actor_id: Id | None
    recorded_at: Micros
    batch: Id | None


class End(_Record):
    """The last line."""

    kind: Literal["end"]
    lines: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Line = Header | Owner | Batch | Message | Memory | Event | End
LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])

#: Which kinds may follow one another, in this order.
ORDER: Final = ("header", "owner", "batch", "message", "memory", "event", "end")
