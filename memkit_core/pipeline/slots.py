"""What can have one value at a time ("lives in", "works at"), resolved in code: no model decides here.

A slot is a line of time. Each version of a memory in it holds over an interval, and so does each new fact:
from its own time until something later is known. Whatever the order in which things are learned, the line
comes out the same: at any instant the value is the one that began to hold last, of two that began together
the one that was recorded last. Only what is trusted takes part; values that merely resemble each other are
never merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .. import analysis
from ..protocols import Query, Runtime
from ..results import Rejection
from ..types import Decision, Fact, MemoryRecord, Message, Micros, Scope
from .allowance import Allowance
from .ground import doubts_beside
from .known import outlasts
from .line import Line, Slotted
from .moments import begins_beside, holds_from, is_constant, may_follow, positions, said_at
from .recall import Recalled
from .services import Services
from .trust import TRUSTED, forbidden, trust_of
from .wording import amends, holds_now, holds_still, says_more


async def settle_by_slots(
    rt: Runtime,
    services: Services,
    scope: Scope,
    facts: Sequence[Fact],
    messages: Sequence[Message],
    recalled: Recalled,
    allowance: Allowance,
    *,
    expires_at: Micros | None,
) -> tuple[Slotted, Recalled]:
    """What slots settle, and what was recalled with the memories that are targets of it.

    Args:
        allowance: What the facts' adds may change; what is done here is taken from it.
        expires_at: When the facts will expire.
    """
    news: dict[int, tuple[Fact, Micros]] = {}
    for number, fact in enumerate(facts) if services.policies.decisions.slots else ():
        if fact.slot is not None and _settles(fact, scope):
            since = said_at if is_constant(fact.slot) else holds_from
            news[number] = (fact, since(fact, messages))
    if not news:
        return Slotted(), recalled
    keys = list(dict.fromkeys(str(fact.slot) for fact, _ in news.values()))
    query = Query(scope=scope, now=services.clock())
    found = await rt.call(lambda: services.store.slots(query, keys, history=True))
    versions = {slot: counting(rows, query.now) for slot, rows in found.items()}
    told_of = Counter(fact.slot for fact, _ in news.values())
    news = {
        number: (fact, since)
        for number, (fact, since) in news.items()
        if not any(
            forbidden(fact, row)
            or outweighs(row, fact)
            or _disputes(fact, since, row, messages, alone=told_of[fact.slot] == 1)
            for row in versions.get(str(fact.slot), ())
        )
    }
    news = {number: (fact, _since(number, news, versions, messages)) for number, (fact, _) in news.items()}
    news = _in_order(news, messages)
    slotted = settle_slots(news, versions, allowance, scope=scope, expires_at=expires_at)
    return _joined(slotted, recalled)


def _since(
    number: int,
    news: Mapping[int, tuple[Fact, Micros]],
    versions: Mapping[str, Sequence[MemoryRecord]],
    messages: Sequence[Message],
) -> Micros:
    """Since when a fact holds beside what else is known of its slot, and told of it at once."""
    fact, since = news[number]
    if is_constant(fact.slot):
        return since
    for row in versions.get(str(fact.slot), ()):
        if row.retired_at is None:
            named = row.event_time is not None
            since = max(since, begins_beside(fact, messages, row.valid_from, named=named))
    said = said_at(fact, messages)
    for other, begun in news.values():
        if other.slot != fact.slot or other is fact:
            continue
        named = other.event_time is not None
        since = max(since, begins_beside(fact, messages, begun, named=named))
        if since == begun and said > said_at(other, messages) and other.text != fact.text:
            since = said  # "today", and later that day "today" again
    return since


def _in_order(
    news: Mapping[int, tuple[Fact, Micros]], messages: Sequence[Message]
) -> dict[int, tuple[Fact, Micros]]:
    """Facts that hold since one instant, one behind the other if messages told them one after the other."""

    def place(number: int) -> int:
        return max(positions(news[number][0], messages), default=0)

    ordered = dict(news)
    last: dict[str | None, tuple[Micros, int]] = {}
    for number in sorted(news, key=lambda number: (news[number][1], place(number))):
        fact, since = news[number]
        before, told = last.get(fact.slot, (since - 1, 0))
        if since <= before and place(number) > told:
            since = before + 1
        ordered[number] = fact, since
        last[fact.slot] = since, place(number)
    return ordered


def _settles(fact: Fact, scope: Scope) -> bool:
    """Whether code may settle a fact about a slot: it is believed, and says one thing only."""
    trusted = trust_of(fact.origin, user_id=scope.user_id) == TRUSTED
    return trusted and not says_more(fact.text)


def outweighs(row: MemoryRecord, fact: Fact) -> bool:
    """Whether what holds is borne out by its messages, and the fact not by its own nor by what holds."""
    if row.retired_at is not None or row.support != "supported" or fact.support != "doubtful":
        return False
    return bool(doubts_beside(fact, row))


def _disputes(
    fact: Fact, since: Micros, row: MemoryRecord, messages: Sequence[Message], *, alone: bool
) -> bool:
    """Whether a fact may be a correction of what holds, rather than what was before it.

    "In Rome since 2019", said when "in Paris since 2020" held already: the dates do not tell which. Nor do
    they if "moved to Rome today" is said on the day on which Paris was. With others of its slot told at once
    (not ``alone``) it goes by the order in which they were said: the model could change what holds only once.
    """
    if row.retired_at is not None or not since < row.valid_from <= said_at(fact, messages):
        return False
    if analysis.text_key(fact.text) == analysis.text_key(row.text):
        return False
    value = frozenset(analysis.query_terms(fact.text)).difference(analysis.query_terms(row.text))
    said = [messages[position].content for position in fact.cites]
    within = may_follow(fact, messages, row.valid_from, named=row.event_time is not None)
    if holds_still(fact.text) or (within and alone):
        return True
    return any(amends(text) or holds_now(text, value) for text in said)


def counting(rows: Iterable[MemoryRecord], now: Micros) -> list[MemoryRecord]:
    """The versions that say something of their slot."""
    return [row for row in rows if _counts(row, now)]


def _counts(row: MemoryRecord, now: Micros) -> bool:
    """Whether a version says something of its slot: not if it was taken back, or has expired."""
    if row.trust != TRUSTED or (row.expires_at is not None and row.expires_at <= now):
        return False
    return row.retired_at is None or row.superseded_by is not None


def _joined(slotted: Slotted, recalled: Recalled) -> tuple[Slotted, Recalled]:
    """Both with one numbering of memories."""
    memories = list(recalled.memories)
    place = {memory.memory_id: number for number, memory in enumerate(memories)}
    for memory in slotted.memories:
        if memory.memory_id not in place:
            place[memory.memory_id] = len(memories)
            memories.append(memory)
    decisions = tuple(
        decision
        if decision.target is None
        else replace(decision, target=place[slotted.memories[decision.target].memory_id])
        for decision in slotted.decisions
    )
    return replace(slotted, decisions=decisions), replace(recalled, memories=tuple(memories))


def settle_slots(
    facts: Mapping[int, tuple[Fact, Micros]],
    versions: Mapping[str, Sequence[MemoryRecord]],
    allowance: Allowance | None = None,
    *,
    scope: Scope | None = None,
    expires_at: Micros | None,
) -> Slotted:
    """The facts of a batch against all that is known of their slots.

    Args:
        facts: By number in the batch, each with its slot and the instant from which it holds.
        versions: By slot: every trusted version, closed ones included.
        allowance: A slot that needs more is left alone, and its facts are added. None: no limit.
        scope: What the facts are told for; None: all that is known was told for it.
        expires_at: When the facts will expire.
    """
    lines: dict[str, list[tuple[int, Fact, Micros]]] = {}
    for number, (fact, since) in facts.items():
        lines.setdefault(str(fact.slot), []).append((number, fact, since))
    whole = Slotted()
    for slot, news in lines.items():
        known = versions.get(slot, ())
        if not known and len(news) == 1:
            continue  # a memory without a slot may say the same: the model compares them
        current = [row for row in known if row.retired_at is None]
        if (
            len(_lasting(_borne_out(current))) > 1
            or _at_once(news)
            or _sooner_gone(news, current, expires_at)
        ):
            continue  # several values stand side by side: this is no matter of time alone
        line = Line(known, scope)
        for number, fact, since in sorted(news, key=lambda item: (item[2], item[0])):
            line.insert(number, fact, since)
        told = line.told()
        if allowance is not None:
            numbers = [number for number, _, _ in news]
            if told.destructive and not allowance.covers(numbers, told.destructive):
                told = _left_alone(news)
            allowance.spend(numbers, told.destructive)
        whole = _both(whole, told)
    return whole


def _at_once(news: Sequence[tuple[int, Fact, Micros]]) -> bool:
    """Whether different values begin at one instant: two addresses in one breath, not one after another."""
    return len({since for _, _, since in news}) < len({analysis.text_key(fact.text) for _, fact, _ in news})


def _borne_out(rows: Sequence[MemoryRecord]) -> Sequence[MemoryRecord]:
    """Those that are not doubtful, if there are any: a doubtful value beside them is no second one."""
    return [row for row in rows if row.support != "doubtful"] or rows


def _lasting(rows: Sequence[MemoryRecord]) -> set[bytes]:
    """The values of those that expire last."""
    longest = (row for row in rows if not any(outlasts(other.expires_at, row.expires_at) for other in rows))
    return {analysis.text_key(row.text) for row in longest}


def _sooner_gone(
    news: Sequence[tuple[int, Fact, Micros]], rows: Sequence[MemoryRecord], expires_at: Micros | None
) -> bool:
    """Whether a value would end one that it expires before: what is told for a time ends nothing lasting."""
    for row in rows:
        key = analysis.text_key(row.text)
        for _, fact, since in news:
            if since < row.valid_from:
                if outlasts(expires_at, row.expires_at):
                    return True
            elif outlasts(row.expires_at, expires_at) and analysis.text_key(fact.text) != key:
                return True
    return False


def _left_alone(news: Sequence[tuple[int, Fact, Micros]]) -> Slotted:
    reason = "too many updates and deletions in one call"
    return Slotted(
        decisions=tuple(Decision(fact=number, operation="ADD", reason=reason) for number, _, _ in news),
        rejected=tuple(Rejection(item=f"UPDATE by {fact.text}", reason=reason) for _, fact, _ in news),
    )


def _both(one: Slotted, other: Slotted) -> Slotted:
    first = len(one.memories)
    moved = tuple(
        decision if decision.target is None else replace(decision, target=first + decision.target)
        for decision in other.decisions
    )
    return Slotted(
        decisions=one.decisions + moved,
        memories=one.memories + other.memories,
        corrections=one.corrections + other.corrections,
        until={**one.until, **other.until},
        cuts={**one.cuts, **other.cuts},
        rejected=one.rejected + other.rejected,
        destructive=one.destructive + other.destructive,
    )
