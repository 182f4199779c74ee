"""Messages to facts: one structured model call per chunk, or the statements themselves without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from .. import analysis
from ..errors import PromptTooLongError
from ..models.structured import ask
from ..models.ways import found_too_long, room_of
from ..policies import KINDS, ExtractionPolicy
from ..prompts import extract as prompts
from ..protocols import Runtime
from ..results import Rejection
from ..types import FLAG_QUESTION, FLAG_SMALLTALK, Fact, Message, Micros, Scope, Usage, clean_text
from .attributes import problem_with
from .chunks import Chunk, chunks, halves
from .echo import drop_echoes, without_recalled
from .grounding.evidence import Reader
from .halving import in_halves
from .services import Services
from .subjects import slot_key
from .voices import Voices
from .when import event_time

_NO_STATEMENT: Final = FLAG_QUESTION | FLAG_SMALLTALK
#: What a fact can do without, if a model gives it in a wrong shape.
_SPARE: Final = ("kind", "cites", "when", "slot", "about", "attributes")
_LEFT_OUT: Final = "not of the expected shape: the fact is kept without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The facts of a batch; ``Fact.cites`` are positions in the batch."""

    facts: tuple[Fact, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    usage: Usage = Usage()


def source_roles(messages: Sequence[Message], scope: Scope, policy: ExtractionPolicy) -> tuple[str, ...]:
    """Whose messages make facts: the user's; an agent's own where no user is concerned; tools' by policy."""
    users = any(message.role == "user" for message in messages)
    assistant = policy.assistant == "always" or (
        policy.assistant == "auto" and (scope.user_id is None or not users)
    )
    roles = [("user", users), ("assistant", assistant), ("tool", policy.tools)]
    return tuple(role for role, counts in roles if counts)


def verbatim_facts(messages: Sequence[Message], scope: Scope, policy: ExtractionPolicy) -> tuple[Fact, ...]:
    """Every statement as it stands, without recalled text; questions and greetings make no facts."""
    roles = source_roles(messages, scope, policy)
    if scope.user_id is not None and policy.assistant == "auto":
        # No model tells a fact from a turn of phrase here: an assistant counts only where policy says so.
        roles = tuple(role for role in roles if role != "assistant")
    shown, _ = without_recalled(messages)
    return tuple(
        Fact(
            text=message.content.strip(),
            cites=(position,),
            event_time=None,
            actor_id=message.actor_id,
            origin=message.origin,
        )
        for position, message in enumerate(shown)
        if message.role in roles
        and message.content.strip()
        and not analysis.text_flags(message.content) & _NO_STATEMENT
    )


def raw_facts(messages: Sequence[Message]) -> tuple[Fact, ...]:
    """Every message as it stands."""
    return tuple(
        Fact(text=message.content, cites=(position,), actor_id=message.actor_id, origin=message.origin)
        for position, message in enumerate(messages)
    )


async def extract(
    rt: Runtime,
    services: Services,
    messages: Sequence[Message],
    scope: Scope,
    *,
    prompt: str | None = None,
    earlier: Sequence[Message] = (),
    reader: Reader | None = None,
) -> Extracted:
    """The facts that the chat model finds.

    Args:
        rt: The runtime.
        services: The engine's services.
        messages: The batch.
        scope: Whose memory it is for.
        prompt: Instructions for this batch alone, in place of the configured ones or memkit's.
        earlier: What was said before the batch, for context alone.
        reader: Takes messages and facts apart, for this stage and others.

    Raises:
        ModelError: A call failed or its answer could not be used. Nothing was changed; no chunk's facts are
            returned, so that a later attempt starts from the same messages.
    """
    policies = services.policies
    policy = policies.extraction
    shown, recalled = without_recalled(messages)
    before, _ = without_recalled(earlier)
    work = _Work(
        messages=shown,
        before=before,
        roles=source_roles(messages, scope, policy),
        policy=policy,
        instructions=prompt or policies.custom_fact_extraction_prompt,
        now=services.clock(),
        reader=reader or Reader(),
    )
    room = room_of(services.chat, policy.chunk_tokens)
    carry = policy.carry_tokens if room == policy.chunk_tokens else min(policy.carry_tokens, room // 4)
    portions = chunks(shown, earlier=before, chunk_tokens=room, carry_tokens=carry)
    extract_one = partial(_extract_chunk, rt, services, work)
    rows = await rt.gather(*(in_halves(rt, chunk, extract_one, halves) for chunk in portions))
    parts = [part for row in rows for part in row]
    facts, echoes = drop_echoes([fact for part in parts for fact in part.facts], recalled)
    return Extracted(
        facts=facts,
        rejected=(*(rejection for part in parts for rejection in part.rejected), *echoes),
        usage=sum((part.usage for part in parts), Usage()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all chunks of a batch share: its messages without recalled text, whose make facts."""

    messages: Sequence[Message]
    before: Sequence[Message]
    roles: Sequence[str]
    policy: ExtractionPolicy
    instructions: str | None
    now: Micros
    reader: Reader

    @property
    def fields(self) -> dict[str, Mapping[str, Any]]:
        """JSON schema of the attributes, of those kinds of the user's own that have any."""
        return {name: kind.fields for name, kind in self.policy.kinds.items() if kind.fields is not None}

    def states(self, position: int) -> bool:
        """Whether a message can be what a fact rests on: it says something, or answers a question."""
        flags = self.reader.reading(self.messages[position]).flags
        if flags & FLAG_QUESTION:
            return False
        if not flags & FLAG_SMALLTALK:
            return True
        previous = self.messages[position - 1] if position else (self.before[-1] if self.before else None)
        if previous is None or (previous.role, previous.actor_id) == (
            self.messages[position].role,
            self.messages[position].actor_id,
        ):
            return False
        # "Yes." after somebody else's "Do you still live in Rome?" says a lot.
        return bool(self.reader.reading(previous).flags & ~FLAG_SMALLTALK)


async def _extract_chunk(rt: Runtime, services: Services, work: _Work, chunk: Chunk) -> Extracted:
    """What one call finds; none is made about messages that make no facts."""
    if not any(message.role in work.roles for _, message in chunk.pieces):
        return Extracted()
    first, _ = chunk.span
    fields = work.fields
    voices = Voices([*((-1, message) for message in chunk.earlier), *chunk.pieces], work.reader)
    asked = ask(
        rt,
        services.chat,
        prompts.schema(fields),
        prompts.build(
            [(position - first, message) for position, message in chunk.pieces],
            sources=work.roles,
            earlier=chunk.earlier,
            kinds={name: kind.description for name, kind in work.policy.kinds.items()},
            attributes={name: list(shape.get("properties", {})) for name, shape in fields.items()},
            instructions=work.instructions,
        ),
        item_field="facts",
        spare=_SPARE,
        name="memkit.extract",
    )
    try:
        answer = await rt.beside(asked, voices.read)
    except PromptTooLongError:
        found_too_long(services.chat, chunk.tokens)
        raise
    rejected = [Rejection(item=item, reason="not a fact of the expected shape") for item in answer.rejected]
    rejected += [Rejection(item=item, reason=_LEFT_OUT) for item in answer.left_out]
    facts, problems = await rt.compute(lambda: _facts(answer.value.facts, work, chunk, voices))
    return Extracted(facts=facts, rejected=(*rejected, *problems), usage=answer.usage)


def _facts(
    items: Sequence[prompts.ExtractedFact], work: _Work, chunk: Chunk, voices: Voices
) -> tuple[tuple[Fact, ...], tuple[Rejection, ...]]:
    """What the model states, taken apart, and what of it cannot be used."""
    facts: list[Fact] = []
    rejected: list[Rejection] = []
    for item in items:
        fact, problems = _fact(item, work, chunk, voices)
        rejected += [Rejection(item=item.text, reason=problem) for problem in problems]
        if fact is not None:
            facts.append(fact)
    return tuple(facts), tuple(rejected)


def _fact(
    item: prompts.ExtractedFact, work: _Work, chunk: Chunk, voices: Voices
) -> tuple[Fact | None, list[str]]:
    """What the model states with what follows from the cited messages, and what is wrong with it."""
    text = clean_text(item.text).strip()
    if not text:
        return None, ["the fact has no text"]
    positions = {position for position, _ in chunk.pieces}
    cites = sorted({chunk.span[0] + number for number in item.cites} & positions) or _likely_sources(
        text, work, chunk
    )
    sources = [position for position in cites if work.messages[position].role in work.roles]
    if cites and not sources:
        return None, ["it rests only on messages that make no facts here"]
    if sources and not any(work.states(position) for position in sources):
        return None, ["the messages it cites only ask or greet"]
    cited = [work.messages[position] for position in cites]
    speakers = {work.messages[position].actor_id for position in sources}
    actor = speakers.pop() if len(speakers) == 1 else None
    when = event_time(item.when, text, cited or [message for _, message in chunk.pieces], now=work.now)
    kind = clean_text(item.kind).strip().lower()
    attributes, problem = _attributes(kind, item.given_attributes, work)
    fact = Fact(
        text=text,
        kind=kind if kind in KINDS or kind in work.policy.kinds else "other",
        cites=tuple(cites),
        context=chunk.span,
        event_time=when.time,
        actor_id=actor,
        origin=voices.origin(text, cites),
        assented=voices.assented(text, cites),
        slot=slot_key(
            item.slot,
            item.about,
            actor,
            cited=[work.messages[position] for position in sources],
            shown=[*chunk.earlier, *(message for _, message in chunk.pieces)],
        ),
        attributes=attributes,
    )
    return fact, [found for found in (when.problem, problem) if found is not None]


def _likely_sources(text: str, work: _Work, chunk: Chunk) -> list[int]:
    """The messages that share most words with a fact which cites none; none if there is no such message.

    A small model may leave the numbers out. Without any, whatever is in the chunk may have been the source.
    """
    terms = set(analysis.query_terms(text))
    shared = {
        position: len(terms & work.reader.reading(message).terms)
        for position, message in chunk.pieces
        if message.role in work.roles
    }
    most = max(shared.values(), default=0)
    return sorted(position for position, count in shared.items() if most and count == most)


def _attributes(kind: str, given: Mapping[str, Any], work: _Work) -> tuple[dict[str, Any], str | None]:
    """The attributes of a fact of a kind that has some, and why they cannot be used."""
    own = work.policy.kinds.get(kind)
    if own is None or own.fields is None:
        return {}, None
    problem = problem_with(given, own.fields)
    if problem is not None:
        return {}, f"its attributes do not fit the kind {kind!r} ({problem}): kept without them"
    return dict(given), None
