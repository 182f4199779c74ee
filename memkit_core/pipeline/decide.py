"""Facts against memories: ADD, UPDATE, DELETE or NONE.

The model sees numbers, never ids. Whatever it proposes is checked (``proposals``). What can have one value at
a time is settled in code (``slots``), before the model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from .. import analysis
from ..models.structured import ask
from ..models.ways import room_of
from ..prompts import decide as prompt
from ..protocols import Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope, clean_text
from .allowance import Allowance
from .anew import said_anew
from .halving import in_halves
from .known import is_narrower, lasts
from .line import Slotted
from .portions import Portion, halves, portions
from .proposals import ONLY_NARROWER, Check
from .recall import Recalled
from .services import Services
from .trust import forbidden, stands_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Valid decisions: every fact has at least one, no memory is the target of two.

    Attributes:
        until: For facts that what is remembered has made untrue since: from when on, and the memory's id.
    """

    decisions: tuple[Decision, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    until: Mapping[int, tuple[Micros, str]] = field(default_factory=dict[int, tuple[Micros, str]])


async def decide(
    rt: Runtime,
    services: Services,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    recalled: Recalled,
    *,
    scope: Scope,
    expires_at: Micros | None,
    slotted: Slotted,
    allowance: Allowance,
) -> Decided:
    """What to do with each fact. Calls the model only about facts that may concern a memory.

    Args:
        scope: For whom the facts are told. What is known of one agent or run of it alone is no news there
            only: they are added for the whole scope.
        expires_at: When what is added now will expire.
        slotted: What is settled already, with targets among ``recalled.memories``.
        allowance: What the facts' adds may change beside what is settled.

    Raises:
        ModelError: A call failed or its answer could not be used. Nothing was changed.
    """
    settled = list(slotted.decisions)
    open_facts: list[int] = []
    key = cache(analysis.text_key)  # the same memories are offered for many facts
    narrower = frozenset(n for n, memory in enumerate(recalled.memories) if is_narrower(memory, scope))
    for number, fact in enumerate(facts):
        if number in slotted.facts:
            continue
        offered = recalled.offered[number]
        alike = [n for n in offered if repeats(fact, expires_at, recalled.memories[n], key)]
        own = [n for n in alike if n not in narrower]
        same = next((n for n in own if lasts(recalled.memories[n], expires_at)), next(iter(own), None))
        if same is not None:
            settled.append(
                Decision(fact=number, operation="NONE", target=same, reason="remembered word for word")
            )
        elif len(alike) == len(offered):
            reason = ONLY_NARROWER if alike else ""
            settled.append(Decision(fact=number, operation="ADD", reason=reason))
        else:
            open_facts.append(number)
    answers = await ask_about(rt, services, facts, recalled, open_facts)
    check = Check(facts, messages, recalled, slotted, allowance, expires_at, narrower)
    for answer in answers:
        check.rejected += answer.rejected
    valid = check.run([decision for answer in answers for decision in answer.decisions], open_facts)
    decisions = sorted([*settled, *valid], key=lambda decision: decision.fact)
    return Decided(
        decisions=said_anew(decisions, facts, messages, recalled.memories, slotted),
        rejected=tuple(check.rejected),
        until=check.until,
    )


async def ask_about(
    rt: Runtime, services: Services, facts: Sequence[Fact], recalled: Recalled, numbers: Sequence[int]
) -> list[Decided]:
    """What the model proposes about facts, in as few calls as have room for them.

    Args:
        numbers: The facts in question.

    Raises:
        ModelError: As ``decide`` does.
    """
    policies = services.policies
    calls = portions(
        numbers,
        facts,
        recalled,
        most=policies.decisions.max_candidates,
        most_tokens=room_of(services.chat, policies.extraction.chunk_tokens),
    )
    ask_one, cut = partial(_ask, rt, services, facts, recalled), partial(halves, recalled)
    rows = await rt.gather(*(in_halves(rt, call, ask_one, cut) for call in calls))
    return [answer for row in rows for answer in row]


def repeats(fact: Fact, expires_at: Micros | None, memory: MemoryRecord, key: Callable[[str], bytes]) -> bool:
    """Whether a memory says a fact already: same words, same speaker, believed as much.

    It lasts as long, or the fact may have it last longer.
    """
    if memory.actor_id != fact.actor_id or not stands_for(memory, fact):
        return False
    if not lasts(memory, expires_at) and forbidden(fact, memory) is not None:
        return False
    return key(memory.text) == key(fact.text)


async def _ask(
    rt: Runtime, services: Services, facts: Sequence[Fact], recalled: Recalled, portion: Portion
) -> Decided:
    """The model's proposals on one portion, with the batch's own numbers."""
    memories = sorted(portion.memories)
    answer = await ask(
        rt,
        services.chat,
        prompt.Decisions,
        prompt.build(
            [facts[n] for n in portion.facts],
            [recalled.memories[n] for n in memories],
            instructions=services.policies.custom_update_memory_prompt,
        ),
        item_field="decisions",
        name="memkit.decide",
    )
    return Decided(
        decisions=tuple(_decision(item, portion.facts, memories) for item in answer.value.decisions),
        rejected=tuple(
            Rejection(item=item, reason="not a decision of the expected shape") for item in answer.rejected
        ),
    )


def _own(number: int | None, numbers: Sequence[int]) -> int | None:
    """What the model calls ``number``, in the batch's own numbers; -1 if it made the number up."""
    if number is None:
        return None
    return numbers[number] if 0 <= number < len(numbers) else -1


def _decision(item: prompt.ProposedDecision, facts: Sequence[int], memories: Sequence[int]) -> Decision:
    return Decision(
        fact=facts[item.fact] if 0 <= item.fact < len(facts) else -1,
        operation=item.op,
        target=_own(item.target, memories),
        text=clean_text(item.text).strip() if item.text and item.op == "UPDATE" else None,
        reason=clean_text(item.reason).strip(),
        retract=item.retract,
    )
