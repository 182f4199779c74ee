"""The values that travel between memkit's rooms.

Instants are integers: microseconds since 1970-01-01 UTC (``Micros``); public results turn them into
aware datetimes. Vectors are anything numpy reads as a one-dimensional float array; a store keeps them
at unit length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from .checks import FIRST_MICROS as FIRST_MICROS
from .checks import LAST_MICROS as LAST_MICROS
from .checks import MAX_ID_CHARS as MAX_ID_CHARS
from .checks import MAX_TEXT_CHARS as MAX_TEXT_CHARS
from .checks import check_id as check_id
from .checks import check_text as check_text
from .checks import clean_text as clean_text
from .checks import parse_time as parse_time
from .checks import to_datetime as to_datetime
from .checks import to_micros as to_micros
from .checks import zone_of as zone_of
from .errors import UsageError
from .images import Image as Image
from .markup import table
from .moments import AsOf as AsOf

if TYPE_CHECKING:
    from numpy.typing import NDArray

Micros: TypeAlias = int
Vector: TypeAlias = "NDArray[Any] | Sequence[float]"
OwnerKind: TypeAlias = Literal["user", "agent", "run"]
Role: TypeAlias = Literal["user", "assistant", "system", "tool"]
Space: TypeAlias = Literal["memory", "turn", "retired"]
Operation: TypeAlias = Literal["ADD", "UPDATE", "DELETE", "NONE"]
BatchState: TypeAlias = Literal["pending", "done"]
Support: TypeAlias = Literal["supported", "doubtful", "unchecked"]

FLAG_QUESTION: Final = 1  # the unit only asks: it seldom answers anything
FLAG_SMALLTALK: Final = 2  # greeting, thanks, farewell
FLAG_ASKS: Final = 4  # states something, then ends with a question: the answer is likelier elsewhere
FLAG_UNTRUSTED: Final = 8  # an untrusted memory, or what a tool or document said: derived, never stored


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """Whose row it is: the partition that no call ever crosses."""

    kind: OwnerKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Who a call speaks for. At least one id; ids are compared byte by byte.

    The owner is the user if one is given, else the agent, else the run. The remaining ids narrow
    inside that owner; an id that is not given matches anything.
    """

    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None

    def __post_init__(self) -> None:
        given = False
        for name in ("user_id", "agent_id", "run_id"):
            value = getattr(self, name)
            if value is not None:
                check_id(value, name)
                given = True
        if not given:
            raise UsageError("give at least one of user_id, agent_id, run_id: memkit has no 'everybody'")

    @property
    def owner(self) -> OwnerKey:
        """The partition this scope lives in."""
        if self.user_id is not None:
            return OwnerKey("user", self.user_id)
        if self.agent_id is not None:
            return OwnerKey("agent", self.agent_id)
        assert self.run_id is not None  # __post_init__ saw to it
        return OwnerKey("run", self.run_id)

    @property
    def narrowing(self) -> dict[str, str]:
        """The ids that filter inside the owner, by column name."""
        ids = {"agent_id": self.agent_id, "run_id": self.run_id}
        if self.user_id is None:
            ids.pop("agent_id" if self.agent_id is not None else "run_id")
        return {name: value for name, value in ids.items() if value is not None}

    def admits(self, *, user_id: str | None, agent_id: str | None, run_id: str | None) -> bool:
        """Whether a row with these ids is inside this scope.

        An agent's scope admits no row of a user, a run's none of a user or an agent.
        """
        if self.user_id is not None:
            if user_id != self.user_id:
                return False
        elif user_id is not None:
            return False
        if self.agent_id is not None:
            if agent_id != self.agent_id:
                return False
        elif self.user_id is None and agent_id is not None:
            return False
        return self.run_id is None or run_id == self.run_id

    def __str__(self) -> str:
        ids = {"user_id": self.user_id, "agent_id": self.agent_id, "run_id": self.run_id}
        return ", ".join(f"{name}={value!r}" for name, value in ids.items() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation as the pipeline sees it.

    Attributes:
        actor_id: Who speaks (a name or id in a group chat), None if the role says enough.
        observed_at: When it was said. ``zone``: the speaker's clock, in minutes east of UTC.
        origin: Where the text comes from: user, assistant, tool, document or system.
        images: The images whose marks, or descriptions, stand in the text.
    """

    role: Role
    content: str
    actor_id: str | None = None
    observed_at: Micros
    origin: str = "user"
    zone: int = 0
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord(Message):
    """A stored message. ``message_id`` is ``batch_id:position`` and public."""

    unit: int
    message_id: str
    user_id: str | None
    agent_id: str | None
    run_id: str | None
    session: int
    recorded_at: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One statement worth remembering, as extracted or said.

    Attributes:
        cites: Positions (0-based) of the batch's messages that support it; empty if nobody said which.
        context: The span of positions (start, end) that it was drawn from.
        event_time: When it happened or began to hold, None if the text does not say.
        slot: Names what can have one value at a time, and of whom ("lives in" of Ana); None: not such a fact.
        attributes: What a kind of the user's own asks for beside the text.
        support: Whether the cited messages bear it out. ``doubts``: what they do not.
        assented: Its speaker has only said yes to a question that was not about themselves.
    """

    text: str
    kind: str = "other"
    cites: tuple[int, ...] = ()
    context: tuple[int, int] | None = None
    event_time: Micros | None = None
    actor_id: str | None = None
    origin: str = "user"
    slot: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    support: Support = "unchecked"
    doubts: tuple[str, ...] = ()
    assented: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with one fact. ``target`` indexes the candidates that were offered, never an id."""

    fact: int
    operation: Operation
    target: int | None = None
    text: str | None = None
    reason: str = ""
    retract: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """One version of a memory as the record store holds it.

    Attributes:
        unit: The version's number in the indexes; new with every revision.
        revision: 1 for the first version, one more with every change.
        valid_from, valid_to: When it holds in the world (``valid_to`` None: still).
        recorded_at, retired_at: When memkit knew it (``retired_at`` None: the current version).
        deleted_at: Set if the memory was deleted by the user or by a decision.
        superseded_by: The memory id that replaced it, which is its own id after an update.
        metadata: The user's JSON object.
        slot, attributes, support: As in ``Fact``.
    """

    unit: int
    memory_id: str
    revision: int
    user_id: str | None
    agent_id: str | None
    run_id: str | None
    actor_id: str | None
    text: str
    kind: str
    memory_type: str | None
    metadata: Mapping[str, Any]
    origin: str
    trust: str
    event_time: Micros | None
    valid_from: Micros
    valid_to: Micros | None
    created_at: Micros
    recorded_at: Micros
    retired_at: Micros | None
    deleted_at: Micros | None
    superseded_by: str | None
    expires_at: Micros | None
    flags: int = 0
    sources: tuple[str, ...] = ()
    slot: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    support: Support = "unchecked"

    def live(self, now: Micros) -> bool:
        """Whether it is part of the current truth at ``now``."""
        return self.retired_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One entry of a memory's history, in the order it was committed."""

    sequence: int
    memory_id: str
    operation: Literal["ADD", "UPDATE", "DELETE", "AMEND", "RESTORE"]
    revision: int
    old_text: str | None
    new_text: str | None
    reason: str
    actor_id: str | None
    recorded_at: Micros
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class Ref:
    """What a derived index holds: which text, in which version. Never the text."""

    space: Space
    id: str
    revision: int = 1

    @property
    def key(self) -> str:
        """One string, unique over all spaces."""
        return f"{self.space}/{self.id}/{self.revision}"

    @classmethod
    def from_key(cls, key: str) -> Ref:
        """The ref that ``key`` was made from.

        Raises:
            UsageError: It is not such a key.
        """
        space, _, rest = key.partition("/")
        ident, _, revision = rest.rpartition("/")
        if (
            space not in ("memory", "turn", "retired")
            or not ident
            or not revision.isascii()
            or not revision.isdigit()
        ):
            raise UsageError(f"not a ref key: {key[:80]!r}")
        return cls(space, ident, int(revision))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A typed edge between two named entities, for an entity graph."""

    source: str
    relation: str
    target: str
    source_type: str = "entity"
    target_type: str = "entity"


@dataclass(frozen=True, slots=True)
class EmbeddingIdentity:
    """Which model made the vectors of a store. Vectors of two identities are never compared."""

    model: str
    dimension: int


class EmbeddingCalls(Protocol):
    """What a runtime needs of an embedder."""

    def portions(self, texts: list[str]) -> list[list[str]]:
        """The texts as they go into single calls of the model."""
        ...

    def calls(self, texts: int) -> int:
        """How many calls of the model it takes to embed so many texts."""
        ...

    def embed_documents(self, texts: list[str]) -> Any:
        """Vectors of shape (len(texts), dim), float32, unit length."""
        ...

    def embed_query(self, text: str) -> Any:
        """A vector of shape (dim,), float32, unit length."""
        ...

    async def aembed_documents(self, texts: list[str]) -> Any:
        """See ``embed_documents``."""
        ...

    async def aembed_query(self, text: str) -> Any:
        """See ``embed_query``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an operation cost: calls to models, and the tokens they reported."""

    chat_calls: int = 0
    embedding_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    milliseconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            chat_calls=self.chat_calls + other.chat_calls,
            embedding_calls=self.embedding_calls + other.embedding_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            milliseconds=self.milliseconds + other.milliseconds,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @property
    def called(self) -> bool:
        """Whether a model was called."""
        return bool(self.chat_calls or self.embedding_calls)

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        names = ("chat_calls", "embedding_calls", "input_tokens", "output_tokens", "milliseconds")
        row = [f"{getattr(self, name):,.0f}" for name in names]
        return table("usage", [name.replace("_", " ") for name in names], [row])

    def timed(self, milliseconds: float) -> Usage:
        """The same usage with the wall time of the whole operation."""
        return replace(self, milliseconds=milliseconds)


def period_of(period: str, moment: Micros) -> str:
    """The day (``2026-03-01``) or month (``2026-03``) of an instant in UTC; ``""`` for ``ever``."""
    if period == "ever":
        return ""
    return to_datetime(moment).strftime("%Y-%m-%d" if period == "day" else "%Y-%m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that did not work inside an operation that otherwise went on.

    Attributes:
        stage: Where: extract, embed, decide, commit or index.
        error: The typed error itself.
        item: What it concerns (a fact's text, an index's name), empty for the whole stage.
    """

    stage: str
    error: Exception = field(repr=False)
    item: str = ""

    def __str__(self) -> str:
        return f"{self.stage}: {type(self.error).__name__}: {self.error}"
