"""Messages to facts: one structured model call per chunk, or the statements themselves without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import analysis
from ..errors import UsageError
from ..models.structured import ask
from ..prompts import extract as prompt
from ..protocols import Runtime
from ..results import Rejection
from ..types import FLAG_QUESTION, FLAG_SMALLTALK, Fact, Message, Micros, Scope, clean_text, parse_time
from .services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The facts of a batch; ``Fact.cites`` are positions in the batch."""

    facts: tuple[Fact, ...] = ()
    rejected: tuple[Rejection, ...] = ()


def source_roles(messages: Sequence[Message], scope: Scope) -> tuple[str, ...]:
    """Whose messages make facts: the user's; an agent's own where no user is concerned."""
    users = any(message.role == "user" for message in messages)
    if users and scope.user_id is not None:
        return ("user",)
    return ("user", "assistant") if users else ("assistant",)


def verbatim_facts(messages: Sequence[Message], scope: Scope) -> tuple[Fact, ...]:
    """Every statement as it stands; questions and greetings make no facts."""
    roles = source_roles(messages, scope) if scope.user_id is None else ("user",)
    return tuple(
        Fact(
            text=message.content.strip(),
            cites=(position,),
            event_time=None,
            actor_id=message.actor_id,
            origin=message.origin,
        )
        for position, message in enumerate(messages)
        if message.role in roles
        and not analysis.text_flags(message.content) & (FLAG_QUESTION | FLAG_SMALLTALK)
    )


def raw_facts(messages: Sequence[Message]) -> tuple[Fact, ...]:
    """Every message as it stands."""
    return tuple(
        Fact(text=message.content, cites=(position,), actor_id=message.actor_id, origin=message.origin)
        for position, message in enumerate(messages)
    )


async def extract(rt: Runtime, services: Services, messages: Sequence[Message], scope: Scope) -> Extracted:
    """The facts that the chat model finds.

    Raises:
        ModelError: A call failed or its answer could not be used. Nothing was changed; no chunk's facts are
            returned, so that a later attempt starts from the same messages.
    """
    roles = source_roles(messages, scope)
    spans = [
        (start, end)
        for start, end in _chunks(messages, 4 * services.policies.extraction.chunk_tokens)
        if any(message.role in roles for message in messages[start:end])
    ]
    parts = await rt.gather(
        *(_extract_chunk(rt, services, _Chunk(messages[start:end], start, roles)) for start, end in spans)
    )
    return Extracted(
        facts=tuple(fact for part in parts for fact in part.facts),
        rejected=tuple(rejection for part in parts for rejection in part.rejected),
    )


def _chunks(messages: Sequence[Message], limit: int) -> list[tuple[int, int]]:
    """Spans of whole messages of at most ``limit`` characters each, or of one longer message."""
    spans: list[tuple[int, int]] = []
    start = size = 0
    for position, message in enumerate(messages):
        if position > start and size + len(message.content) > limit:
            spans.append((start, position))
            start, size = position, 0
        size += len(message.content)
    spans.append((start, len(messages)))
    return spans


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What one call sees: messages, where the first one stands in the batch, whose make facts."""

    messages: Sequence[Message]
    offset: int
    roles: Sequence[str]


async def _extract_chunk(rt: Runtime, services: Services, chunk: _Chunk) -> Extracted:
    answer = await ask(
        rt,
        services.chat,
        prompt.Extraction,
        prompt.build(chunk.messages, sources=chunk.roles),
        item_field="facts",
        name="memkit.extract",
    )
    facts: list[Fact] = []
    rejected = [Rejection(item=item, reason="not a fact of the expected shape") for item in answer.rejected]
    for item in answer.value.facts:
        text = clean_text(item.text).strip()
        if not text:
            rejected.append(Rejection(item=item.text, reason="the fact has no text"))
            continue
        facts.append(_grounded(item, text, chunk))
    return Extracted(facts=tuple(facts), rejected=tuple(rejected))


def _grounded(item: prompt.ExtractedFact, text: str, chunk: _Chunk) -> Fact:
    """The fact with only those citations that exist, and what follows from the cited messages."""
    cites = sorted({number for number in item.cites if 0 <= number < len(chunk.messages)})
    cited = [chunk.messages[number] for number in cites]
    actors = {message.actor_id for message in cited}
    return Fact(
        text=text,
        kind=clean_text(item.kind).strip().lower() or "other",
        cites=tuple(chunk.offset + number for number in cites),
        context=(chunk.offset, chunk.offset + len(chunk.messages)),
        event_time=_event_time(item.when),
        actor_id=actors.pop() if len(actors) == 1 else None,
        origin=_origin(cited or chunk.messages, all_of_them=not cited),
    )


def _origin(messages: Sequence[Message], *, all_of_them: bool) -> str:
    """Where a fact comes from: it is the user's word only if nothing less trusted may be behind it."""
    origins = {message.origin for message in messages}
    for doubtful in ("document", "tool"):
        # Without citations, anything in the chunk may have been the source.
        if doubtful in origins and (all_of_them or "user" not in origins):
            return doubtful
    if "user" in origins:
        return "user"
    return "assistant" if "assistant" in origins else messages[0].origin


def _event_time(when: str | None) -> Micros | None:
    """The instant of an ISO date, None if the model wrote something else."""
    if not when:
        return None
    for text in (
        when.strip(),
        f"{when.strip()}-01-01"[:10],
    ):  # a bare year or month begins with its first day
        try:
            return parse_time(text, "when")
        except UsageError:
            continue
    return None
