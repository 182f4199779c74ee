"""When a fact was said, whether it was still to come then, and since when it holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from dateutil.relativedelta import relativedelta

from ..types import Fact, Message, Micros, to_datetime, to_micros
from .when import local_day

_DAY: Final[Micros] = 86_400_000_000
#: What is said by so much sooner is not late: the clocks of two machines differ a little.
SKEW: Final[Micros] = 2_000_000
#: What somebody has all along: the date in such a fact says nothing about since when it holds.
_CONSTANT: Final = frozenset(("name", "birthday"))


def positions(fact: Fact, messages: Sequence[Message]) -> Sequence[int]:
    """The messages a fact rests on: those cited, else all that it was drawn from."""
    if fact.cites:
        return fact.cites
    return range(*fact.context) if fact.context is not None else range(len(messages))


def said_at(fact: Fact, messages: Sequence[Message]) -> Micros:
    """When a fact was last said."""
    return _last(fact, messages).observed_at


def _last(fact: Fact, messages: Sequence[Message]) -> Message:
    return max((messages[position] for position in positions(fact, messages)), key=lambda m: m.observed_at)


def was_ahead(time: Micros, fact: Fact, messages: Sequence[Message]) -> bool:
    """Whether a time lay ahead when a fact was last said.

    A day is stored as its midnight in UTC, whatever the zone: it is held against the day by the speaker's
    clock. "Today" is not ahead in Tokyo, where UTC is still at yesterday.
    """
    last = _last(fact, messages)
    if time % _DAY:
        return time > last.observed_at
    day = local_day(last)
    return time > to_micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


def is_late(fact: Fact, messages: Sequence[Message], begun: Micros) -> bool:
    """Whether a fact was said before something began to hold."""
    return said_at(fact, messages) + SKEW < begun


def may_follow(fact: Fact, messages: Sequence[Message], begun: Micros, *, named: bool) -> bool:
    """Whether a fact may have come about after something that began within its own day.

    A day is kept as its midnight: "I moved today" says nothing of the hour. The first of a month, or of a
    year, may stand for the whole of it.

    Args:
        begun: When the other began.
        named: Whether somebody named that time; a midnight is then a day of its own, and comes by the dates.
    """
    if fact.event_time is None or fact.event_time % _DAY or (named and not begun % _DAY):
        return False
    first = to_datetime(fact.event_time)
    length = relativedelta(days=1)
    if first.day == 1:
        length = relativedelta(years=1) if first.month == 1 else relativedelta(months=1)
    try:
        end = to_micros(first + length)
    except (OverflowError, ValueError):  # the calendar's last
        return False
    # "Now" is the day by the speaker's clock, and what it is kept as is that of UTC: either may be meant.
    shift = _last(fact, messages).zone * 60_000_000
    return min(fact.event_time, fact.event_time - shift) <= begun < max(end, end - shift)


def begins_beside(
    fact: Fact, messages: Sequence[Message], begun: Micros, *, named: bool, skew: Micros = 0
) -> Micros:
    """Since when a fact holds that comes after something else.

    It may have come about within the day in which the other began, which was true when it was said: what is
    said then holds since it was said.

    Args:
        begun: When the other began.
        named: See ``may_follow``.
        skew: Said sooner by so much it is not before the other.
    """
    since, said = holds_from(fact, messages), said_at(fact, messages)
    if since < begun <= said and may_follow(fact, messages, begun, named=named):
        return said
    return begun if fact.event_time is None and since < begun <= since + skew else since


def lies_ahead(fact: Fact, messages: Sequence[Message]) -> bool:
    """Whether a fact was still to come when it was said: a plan."""
    return fact.event_time is not None and was_ahead(fact.event_time, fact, messages)


def holds_from(fact: Fact, messages: Sequence[Message]) -> Micros:
    """Since when a fact holds: when it happened, at the latest when it was last said."""
    said = said_at(fact, messages)
    if fact.event_time is None or lies_ahead(fact, messages):
        return said
    return min(said, fact.event_time)


def without_plans(facts: Sequence[Fact], messages: Sequence[Message]) -> tuple[Fact, ...]:
    """The facts, of which those that were still to come fill no slot: where somebody will live is a plan."""
    return tuple(
        replace(fact, slot=None) if fact.slot is not None and is_plan(fact, messages) else fact
        for fact in facts
    )


def is_plan(fact: Fact, messages: Sequence[Message]) -> bool:
    """Whether a fact says what was still to come; a birthday that is still to come says what holds."""
    return lies_ahead(fact, messages) and not is_constant(fact.slot)


def is_constant(slot: str | None) -> bool:
    """Whether a slot is of what somebody has all along."""
    return slot is not None and slot.partition("\x1f")[0] in _CONSTANT
