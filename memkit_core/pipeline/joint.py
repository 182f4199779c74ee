"""Several waiting batches as one extraction: joined before it, told apart in its outcome. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..analysis import estimate_tokens
from ..protocols import StoredBatch
from ..types import Fact, Scope, Usage
from .chunks import LINE_TOKENS
from .job import read_job
from .moments import positions
from .outcome import AddRequest, Outcome

#: What a job may say without its batch being apart from others that say the same.
_COMMON: Final = frozenset({"metadata", "expires_at", "memory_type", "prompt", "zones"})
#: After such a failure a batch is tried by itself, so that no other one has to suffer for it again.
_BY_ITSELF: Final = frozenset({"ModelOutputError"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One batch, and the call that stored it."""

    batch: StoredBatch
    request: AddRequest

    @property
    def tokens(self) -> int:
        """Estimated tokens of its messages."""
        return tokens_of(message.content for message in self.request.messages)


def tokens_of(texts: Iterable[str]) -> int:
    """Estimated tokens of messages in a prompt."""
    return sum(LINE_TOKENS + estimate_tokens(text) for text in texts)


def join(parts: Sequence[Part]) -> Part:
    """All their messages in order, as if one call had stored them; it goes by the first one's name."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    units = tuple(unit for part in parts for unit in part.batch.units)
    messages = tuple(message for part in parts for message in part.request.messages)
    return Part(batch=replace(first.batch, units=units), request=replace(first.request, messages=messages))


def groups(parts: Sequence[Part], *, budget: int) -> list[list[Part]]:
    """Which parts are extracted together, in the order in which they are.

    Together go those of one scope that were asked for in the same way. One that another scope's memories
    might matter to stays behind that scope's earlier parts.

    Args:
        parts: Of one owner, in the order they were said.
        budget: Estimated tokens of one group; a part that is longer is by itself.
    """
    found: list[list[Part]] = []
    sizes: list[int] = []
    for part in parts:
        key = _key(part.batch)
        place = None
        for number in range(len(found) - 1, -1, -1):
            other = found[number][0].batch
            if key is not None and key == _key(other):
                place = number if sizes[number] + part.tokens <= budget else None
                break
            if not _apart(part.batch.scope, other.scope):
                break
        if place is None:
            found.append([part])
            sizes.append(part.tokens)
        else:
            found[place].append(part)
            sizes[place] += part.tokens
    return found


def _key(batch: StoredBatch) -> tuple[Scope, str] | None:
    """What batches have in common that can be joined; None for one that cannot."""
    job = read_job(batch.job)
    if job.keys() - _COMMON or job.get("memory_type") is not None or batch.last_error in _BY_ITSELF:
        return None
    asked = {name: job.get(name) for name in ("metadata", "expires_at", "prompt")}
    return batch.scope, json.dumps(asked, sort_keys=True)


def _apart(one: Scope, other: Scope) -> bool:
    """Whether neither of two scopes of one owner sees the other's memories."""
    pairs = ((one.agent_id, other.agent_id), (one.run_id, other.run_id))
    return any(mine is not None and its is not None and mine != its for mine, its in pairs)


def shares(outcome: Outcome, facts: Sequence[Fact], parts: Sequence[Part]) -> list[Outcome]:
    """The outcome for each part: the decisions on what its own messages say, and its share of the cost.

    A fact from messages of several parts stands in each of them. So does what was rejected or failed, and
    what slots changed beside.
    """
    if len(parts) == 1:
        return [outcome]
    messages = [message for part in parts for message in part.request.messages]
    told: list[Outcome] = []
    start = 0
    for number, part in enumerate(parts):
        own = range(start, start + len(part.request.messages))
        start = own.stop
        pairs = [
            (decision, place)
            for decision, place in zip(outcome.plan.decisions, outcome.plan.outcomes, strict=True)
            if any(position in own for position in positions(facts[decision.fact], messages))
        ]
        plan = replace(
            outcome.plan,
            decisions=tuple(decision for decision, _ in pairs),
            outcomes=tuple(place for _, place in pairs),
        )
        told.append(
            replace(
                outcome,
                batch_id=part.batch.batch_id,
                messages=len(own),
                plan=plan,
                usage=_share(outcome.usage, number, len(parts)),
            )
        )
    return told


def _share(usage: Usage, number: int, count: int) -> Usage:
    """One of ``count`` shares that are about equal and together the whole."""

    def part(total: int) -> int:
        return total * (number + 1) // count - total * number // count

    return Usage(
        chat_calls=part(usage.chat_calls),
        embedding_calls=part(usage.embedding_calls),
        input_tokens=part(usage.input_tokens),
        output_tokens=part(usage.output_tokens),
        milliseconds=usage.milliseconds / count,
    )
