"""What a memory should have learnt from a conversation, and how far it has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A remembered text and its speaker."""

    text: str
    actor_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one fact: ``memory`` is the text now, or the one that was retired."""

    event: str
    memory: Text
    previous: str | None = None
    event_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one ``add`` did, with what was remembered before and after it."""

    changes: Sequence[Change] = ()
    before: Sequence[Text] = ()
    after: Sequence[Text] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Words that tell a fact: each group needs one of its alternatives; a group with ``!`` must have none.

    Alternatives are divided by a bar and stand at the beginning of a word, whatever their case; behind a
    star, and in scripts without spaces, they may stand anywhere.
    """

    groups: tuple[str, ...]
    actor: str | None = None

    def fit(self, said: Text) -> bool:
        """Whether a text tells the fact."""
        text = _folded(said.text)
        if self.actor is not None and said.actor_id != self.actor and _folded(self.actor) not in text:
            return False
        return all(
            (_pattern(group.removeprefix("!")).search(text) is None) == group.startswith("!")
            for group in self.groups
        )

    def any_of(self, texts: Iterable[Text]) -> bool:
        """Whether any of the texts does."""
        return any(self.fit(text) for text in texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """A fact that an ``add`` should learn.

    Attributes:
        operations: Any of them is right.
        replaces: What tells the memory that it makes untrue.
        when: Days on which it may be said to have happened; empty if nothing is asked.
        or_gone: It is enough if the memory that it replaces is gone.
        retract: It only takes something back: nothing new is to be remembered.
    """

    keys: Keys
    operations: frozenset[str]
    replaces: Keys | None = None
    when: tuple[date, ...] = ()
    or_gone: bool = False
    retract: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Gold:
        """The fact as the data states it."""
        actor = row.get("actor")
        replaces = row.get("replaces")
        return cls(
            keys=Keys(groups=tuple(row["match"]), actor=actor),
            operations=frozenset(row.get("op", "ADD").split("|")),
            replaces=None if replaces is None else Keys(groups=tuple(replaces), actor=actor),
            when=tuple(date.fromisoformat(day) for day in row.get("when", ())),
            or_gone=row.get("or_gone", False),
            retract=row.get("retract", False),
        )

    def accepted(self, before: Sequence[Text]) -> frozenset[str]:
        """The right operations, given what was remembered: what an earlier add has missed is new."""
        if self.operations == {"NONE"} and not self.keys.any_of(before):
            return frozenset({"ADD"})
        if self.replaces is not None and not self.retract and not self.replaces.any_of(before):
            return self.operations | {"ADD"}
        return self.operations


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldAdd:
    """What one ``add`` should learn, what it may, and what it must not."""

    facts: tuple[Gold, ...]
    also: tuple[Keys, ...] = ()
    never: tuple[Keys, ...] = ()
    observed_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> GoldAdd:
        """The expectations as the data states them."""
        return cls(
            facts=tuple(Gold.of(fact) for fact in row["facts"]),
            also=tuple(Keys(groups=tuple(keys)) for keys in row.get("also", ())),
            never=tuple(Keys(groups=tuple(keys)) for keys in row.get("never", ())),
            observed_at=datetime.fromisoformat(row["observed_at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts, each right ones of all.

    Attributes:
        made: Memories written, by addition or update; ``made_right`` tell something that was to be, or might
            be, remembered, and that no other memory of the same add tells.
        forbidden: Memories written that must not be.
        wanted: Facts that should be learnt; ``found`` were.
        decided: Facts met while something was remembered, and decisions that nothing called for: to change
            a memory, or to take a fact for one that says something else.
        dated: Facts found whose day is known; ``dated_right`` have that day.
        states: What should hold, or no longer hold, at the end of a conversation.
        adds, failed: Calls, and those among them that the model gave no usable reply to.
    """

    made: int = 0
    made_right: int = 0
    forbidden: int = 0
    wanted: int = 0
    found: int = 0
    decided: int = 0
    decided_right: int = 0
    dated: int = 0
    dated_right: int = 0
    states: int = 0
    states_right: int = 0
    adds: int = 0
    failed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Tally)})


def score_add(gold: GoldAdd, seen: Seen) -> Tally:
    """What an ``add`` is worth."""
    made = [change for change in seen.changes if change.event in ("ADD", "UPDATE")]
    forbidden = [change for change in made if any(keys.fit(change.memory) for keys in gold.never)]
    wanted = [fact for fact in gold.facts if fact.operations != {"NONE"} and not fact.retract]
    taken = [
        operation in fact.accepted(seen.before)
        for fact in gold.facts
        if seen.before and (operation := _operation(fact, seen)) is not None
    ]
    dates = [on for fact in gold.facts if fact.when and (on := _dated(fact, gold, made)) is not None]
    return Tally(
        made=len(made),
        made_right=_right(gold, [change for change in made if change not in forbidden]),
        forbidden=len(forbidden),
        wanted=len(wanted),
        found=sum(_found(fact, seen) for fact in wanted),
        decided=len(taken) + _uncalled(gold, seen.changes),
        decided_right=sum(taken),
        dated=len(dates),
        dated_right=sum(dates),
        adds=1,
        failed=int(seen.failed),
    )


def score_state(current: Sequence[Keys], gone: Sequence[Keys], after: Sequence[Text]) -> Tally:
    """How much of what should hold at the end, and no longer hold, is so."""
    right = sum(keys.any_of(after) for keys in current) + sum(not keys.any_of(after) for keys in gone)
    return Tally(states=len(current) + len(gone), states_right=right)


def _right(gold: GoldAdd, made: Sequence[Change]) -> int:
    """Memories that tell something allowed which none before them tells."""
    allowed = [*(fact.keys for fact in gold.facts if not fact.retract), *gold.also]
    told: set[Keys] = set()
    right = 0
    for change in made:
        new = {keys for keys in allowed if keys.fit(change.memory)} - told
        told |= new
        right += bool(new)
    return right


def _found(fact: Gold, seen: Seen) -> bool:
    made = any(c.event in ("ADD", "UPDATE") and fact.keys.fit(c.memory) for c in seen.changes)
    return made or (fact.or_gone and _gone(fact, seen))


def _gone(fact: Gold, seen: Seen) -> bool:
    """Whether the memory that a fact makes untrue was there and is not any more."""
    replaces = fact.replaces
    return replaces is not None and replaces.any_of(seen.before) and not replaces.any_of(seen.after)


def _operation(fact: Gold, seen: Seen) -> str | None:
    """What was done about a fact; None if it was not met, ``wrong`` for an update of another memory."""
    made = [c for c in seen.changes if c.event in ("ADD", "UPDATE") and fact.keys.fit(c.memory)]
    gone = _gone(fact, seen)
    if made and not fact.retract:
        updates = [change for change in made if change.event == "UPDATE"]
        if updates:
            hit = fact.replaces is None or fact.replaces.any_of(_old(change) for change in updates)
            return "UPDATE" if hit else "wrong"
        return "DELETE" if gone else "ADD"
    if gone:
        return "DELETE"
    if fact.operations == {"NONE"} and fact.keys.any_of(seen.before):
        return "NONE" if fact.keys.any_of(seen.after) else "wrong"
    missed = fact.retract and fact.replaces is not None and fact.replaces.any_of(seen.before)
    return "NONE" if missed else None


def _old(change: Change) -> Text:
    """The text that a change has put out of force."""
    text = change.memory.text if change.previous is None else change.previous
    return Text(text=text, actor_id=change.memory.actor_id)


def _uncalled(gold: GoldAdd, changes: Sequence[Change]) -> int:
    """Memories rewritten, retired, or taken to say what they do not."""
    targets = [fact.replaces for fact in gold.facts if fact.replaces is not None]
    count = 0
    for change in changes:
        if change.event == "DELETE":
            count += not any(keys.fit(_old(change)) for keys in targets)
        elif change.event == "UPDATE":
            count += not any(fact.keys.fit(change.memory) for fact in gold.facts)
        elif change.event == "NONE":
            count += not _known(gold, change.memory)
    return count


def _known(gold: GoldAdd, memory: Text) -> bool:
    """Whether a memory says a fact of this add already; unnamed, it is enough that there is such a fact."""
    if not memory.text:
        return any("NONE" in fact.operations for fact in gold.facts)
    return any(keys.fit(memory) for keys in (*(fact.keys for fact in gold.facts), *gold.also))


def _dated(fact: Gold, gold: GoldAdd, made: Sequence[Change]) -> bool | None:
    """Whether a fact that was found has its day, in the speaker's zone or UTC; None if it was not found."""
    times = [change.event_time for change in made if fact.keys.fit(change.memory)]
    if not times:
        return None
    zone = gold.observed_at.tzinfo
    days = {time.astimezone(tz).date() for time in times if time is not None for tz in (UTC, zone)}
    return bool(days & set(fact.when))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


@lru_cache(maxsize=1_024)
def _pattern(group: str) -> re.Pattern[str]:
    return re.compile("|".join(_alternative(_folded(one)) for one in group.split("|")))


def _alternative(text: str) -> str:
    """A key at the beginning of a word, or anywhere behind a star; a number ends where its digits do."""
    anywhere = text.startswith("*")
    text = text.removeprefix("*")
    letters = "a-z0-9\u00df-\u024f"
    start = "" if anywhere or not re.match(f"[{letters}]", text) else f"(?<![{letters}])"
    return start + re.escape(text) + (r"(?!\d)" if text[-1].isdigit() else "")
