"""The user's own code between decisions and the commit: it keeps, edits or vetoes each change.

What is proposed is what the transaction would do, so that nothing comes between a hook and the store.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, cast

from .. import analysis
from ..errors import HookError, UsageError
from ..hooks import EDITABLE, Hook, Proposal, hook_name
from ..policies import KINDS
from ..protocols import AddMemory, AmendMemory, Change, CiteMemory, RetireMemory, Runtime, UpdateMemory
from ..results import Rejection, StageFailure
from ..types import MemoryRecord, Micros, check_text, parse_time, to_datetime
from .embed import embed
from .ingest import parse_metadata
from .planned import Batch, Plan
from .services import Services
from .vetoes import left_of, without_vetoed

_EDITED: Final = "edited by "
_UNQUOTED: Final = "left out, for hooks have not passed it"
_WORD: Final = re.compile(r"\w+")

_Proposed = AddMemory | UpdateMemory | RetireMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """The plan as the hooks leave it, what they vetoed, and embeddings of edited texts that failed.

    Attributes:
        removed: A hook has taken something out. What else a model wrote about the batch may quote it.
    """

    plan: Plan
    rejected: tuple[Rejection, ...] = ()
    failed: tuple[StageFailure, ...] = ()
    removed: bool = False

    def told(self, rejected: Sequence[Rejection], *, kept: bool = False) -> tuple[Rejection, ...]:
        """What was rejected before the hooks, and by them.

        Args:
            kept: For a stored result: no hook has seen a rejected fact, so that only their number is kept.
        """
        if self.removed or kept:
            rejected = [Rejection(item="left out", reason=_UNQUOTED) for _ in rejected]
        return (*rejected, *self.rejected)


async def run_hooks(rt: Runtime, services: Services, plan: Plan, batch: Batch, batch_id: str) -> Hooked:
    """Every change that adds, rewrites or retires a memory, shown to every hook in turn.

    A veto also takes back what would have made room for what was vetoed. An UPDATE that a hook edits back to
    the text that is there becomes a NONE, unless something else held in between.

    Raises:
        HookError: A hook raised, or answered what it may not. Nothing was changed.
    """
    targets = {memory.memory_id: memory for memory in plan.memories}
    if not services.hooks:
        return Hooked(plan=plan)

    def show(change: _Proposed) -> Proposal:
        return _proposal(_in_full(change, targets, plan), targets.get(change.memory_id), batch, batch_id)

    changes: list[Change | None] = []
    rejected: list[Rejection] = []
    vetoed: dict[int, str] = {}
    heirs: dict[str, str] = {}
    written: list[str] = []
    removed = False
    amended = {change.memory_id for change in plan.changes if isinstance(change, AmendMemory)}
    for number, change in enumerate(plan.changes):
        if not isinstance(change, _Proposed):
            changes.append(change)
            continue
        before = show(change)
        after, by = await _asked(rt, services, before)
        if after is None:
            # No text: the result may be stored under an idempotency key, and a veto means what it says.
            rejected.append(Rejection(item=f"{before.operation} {before.kind}", reason=f"vetoed by {by}"))
            vetoed[number] = by
            heirs[change.memory_id] = f"what would replace it was vetoed by {by}"
            removed = removed or not isinstance(change, RetireMemory)
            changes.append(None)
            continue
        removed = removed or _removes(before, after)
        if (
            isinstance(change, UpdateMemory)
            and change.memory_id not in amended
            and _undone(change, before, after, targets[change.memory_id])
        ):
            changes.append(CiteMemory(memory_id=change.memory_id, sources=change.sources))
            heirs[change.memory_id] = f"what would replace it stays as it was, by {by}"
        else:
            changes.append(
                change
                if after == before
                else _edited(change, _in_full(change, targets, plan), before, after, by)
            )
            if (after.text, after.attributes) != (before.text, before.attributes):
                written.append(after.text)
    changes = without_vetoed(plan, changes, vetoed)
    for number, planned in enumerate(changes):
        if isinstance(planned, RetireMemory):
            unseen = isinstance(plan.changes[number], AmendMemory)
            if veto := await _stays(rt, services, planned, heirs, show(planned) if unseen else None):
                rejected.append(Rejection(item="DELETE", reason=veto))
                changes[number] = None
    embedded = await embed(rt, services, written)
    left = left_of(plan, [_with_vector(change, embedded.vectors) for change in changes])
    return Hooked(
        plan=_unquoted(left, services.hooks) if removed else _without_grounds(left),
        rejected=tuple(rejected),
        failed=embedded.failed,
        removed=removed,
    )


async def _stays(
    rt: Runtime,
    services: Services,
    change: RetireMemory,
    heirs: Mapping[str, str],
    unseen: Proposal | None,
) -> str | None:
    """Why a memory that was to go stays, None if it goes.

    Args:
        heirs: Ids of the memories that will not be as planned, and why.
        unseen: The change, if no hook has seen it yet.
    """
    heir = change.superseded_by
    if heir is not None and heir in heirs:
        return heirs[heir]
    if unseen is None:
        return None
    after, by = await _asked(rt, services, unseen)
    return f"vetoed by {by}" if after is None else None


def _removes(before: Proposal, after: Proposal) -> bool:
    """Whether a hook has taken something out of a change, rather than only put something in."""
    return after.text != before.text or any(
        key not in new or new[key] != value
        for old, new in ((before.metadata, after.metadata), (before.attributes, after.attributes))
        for key, value in old.items()
    )


def _unquoted(plan: Plan, hooks: Sequence[Hook]) -> Plan:
    """The plan without the reasons and doubts of models, which may quote what a hook has taken out."""
    own = {f"{_EDITED}{hook_name(hook)}" for hook in hooks}
    decided = {number for number in plan.outcomes if number is not None}
    changes = [
        replace(change, reason=_UNQUOTED)
        if number in decided and isinstance(change, _Proposed) and change.reason not in own
        else change
        for number, change in enumerate(plan.changes)
    ]
    decisions = [
        replace(decision, reason=_UNQUOTED if number is None else _reason(changes[number]))
        for decision, number in zip(plan.decisions, plan.outcomes, strict=True)
    ]
    facts = tuple(replace(fact, doubts=()) for fact in plan.facts)
    return replace(plan, changes=tuple(changes), decisions=tuple(decisions), facts=facts)


def _without_grounds(plan: Plan) -> Plan:
    """The plan without the reasons of retractions.

    The fact that one may quote ("the card 4711 is lost") becomes no memory, so that no hook has seen it.
    """
    retracted = {
        number
        for number, change in enumerate(plan.changes)
        if isinstance(change, RetireMemory) and change.superseded_by is None and number in plan.outcomes
    }
    changes = [
        replace(change, reason=_UNQUOTED)
        if isinstance(change, RetireMemory) and number in retracted
        else change
        for number, change in enumerate(plan.changes)
    ]
    decisions = [
        replace(decision, reason=_UNQUOTED) if number in retracted else decision
        for decision, number in zip(plan.decisions, plan.outcomes, strict=True)
    ]
    return replace(plan, changes=tuple(changes), decisions=tuple(decisions)) if retracted else plan


def _reason(change: Change) -> str:
    return "" if isinstance(change, CiteMemory) else change.reason


def _in_full(change: _Proposed, targets: Mapping[str, MemoryRecord], plan: Plan) -> _Proposed:
    """A change with all that a hook may edit: new metadata of what was said again, with the memory's text."""
    if not isinstance(change, UpdateMemory) or change.text is not None:
        return change
    target = targets[change.memory_id]
    cited = (c.sources for c in plan.changes if isinstance(c, CiteMemory) and c.memory_id == target.memory_id)
    return replace(
        change,
        text=target.text,
        slot=target.slot,
        attributes=target.attributes,
        support=target.support,
        sources=next(cited),
    )


def _undone(change: UpdateMemory, before: Proposal, after: Proposal, target: MemoryRecord) -> bool:
    """Whether a hook has edited an UPDATE back to the text that is there, and nothing else of it.

    Trusted words that say what is in quarantine still vouch for it.
    """
    if after.text == before.text or replace(after, text=before.text) != before:
        return False
    same = analysis.text_key(after.text) == analysis.text_key(target.text)
    as_before = change.trust == target.trust and _expires_at(change, target) == target.expires_at
    return same and as_before


def _expires_at(change: UpdateMemory, target: MemoryRecord) -> Micros | None:
    """When the new version expires."""
    kept = None if change.lasting else target.expires_at
    return kept if change.expires_at is None else change.expires_at


def _proposal(change: _Proposed, target: MemoryRecord | None, batch: Batch, batch_id: str) -> Proposal:
    """A change as a hook sees it."""
    scope = batch.scope
    units = () if isinstance(change, RetireMemory) else change.sources
    positions = [batch.units.index(unit) for unit in units]
    common: dict[str, Any] = {
        "user_id": scope.user_id,
        "agent_id": scope.agent_id,
        "run_id": scope.run_id,
        "sources": tuple(
            getattr(batch.messages[position], "message_id", f"{batch_id}:{position}")
            for position in positions
        ),
        "cited": tuple(batch.messages[position].content for position in positions),
        "reason": change.reason,
    }
    if isinstance(change, AddMemory):
        return Proposal(
            operation="ADD",
            text=change.text,
            kind=change.kind,
            metadata=change.metadata,
            attributes=change.attributes,
            expires_at=None if change.expires_at is None else to_datetime(change.expires_at),
            event_time=None if change.event_time is None else to_datetime(change.event_time),
            actor_id=change.actor_id,
            origin=change.origin,
            support=change.support,
            **common,
        )
    assert target is not None  # what changes a memory was decided against it
    held: dict[str, Any] = {
        "memory_id": target.memory_id,
        "actor_id": target.actor_id,
        "origin": target.origin,
    }
    if isinstance(change, RetireMemory):
        return Proposal(
            operation="DELETE",
            text=target.text,
            kind=target.kind,
            metadata=target.metadata,
            attributes=target.attributes,
            support=target.support,
            **held,
            **common,
        )
    expires = _expires_at(change, target)
    return Proposal(
        operation="UPDATE",
        text=target.text if change.text is None else change.text,
        previous_text=target.text,
        kind=target.kind if change.kind is None else change.kind,
        metadata=target.metadata if change.metadata is None else change.metadata,
        attributes=change.attributes,
        expires_at=None if expires is None else to_datetime(expires),
        event_time=None if change.event_time is None else to_datetime(change.event_time),
        support=change.support,
        **held,
        **common,
    )


async def _asked(rt: Runtime, services: Services, proposal: Proposal) -> tuple[Proposal | None, str]:
    """What all hooks make of a proposal, and who edited it last or vetoed it."""
    by = ""
    for hook in services.hooks:
        name = hook_name(hook)
        answer = await _call(rt, hook, name, proposal)
        if answer is None:
            return None, name
        if answer == proposal:
            continue
        proposal, by = _checked(services, proposal, answer, name), name
    return proposal, by


async def _call(rt: Runtime, hook: Hook, name: str, proposal: Proposal) -> Proposal | None:
    try:
        answer: object = await rt.call(lambda: hook(proposal))
        if inspect.isawaitable(answer):
            answer = (await rt.gather(_awaited(answer)))[0]
    except Exception as error:  # whatever a user's code raises becomes one typed error
        raise HookError(f"the hook {name} failed: {type(error).__name__}") from error
    if answer is not None and not isinstance(answer, Proposal):
        raise HookError(f"the hook {name} returned {type(answer).__name__}: a Proposal or None is expected")
    return answer


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer


def _checked(services: Services, before: Proposal, after: Proposal, name: str) -> Proposal:
    """The edited copy, if only what may change has changed, and to something that can be stored."""
    editable = () if before.operation == "DELETE" else EDITABLE
    wrong = [
        f.name
        for f in fields(Proposal)
        if f.name not in editable and getattr(after, f.name) != getattr(before, f.name)
    ]
    if wrong:
        may = f"only {', '.join(editable)} may be" if editable else "a DELETE is kept or vetoed"
        raise HookError(f"the hook {name} changed {', '.join(wrong)}: {may}")
    if after.kind not in KINDS and after.kind not in services.policies.extraction.kinds:
        raise HookError(f"the hook {name} made up a kind")
    if before.operation == "UPDATE" and after.expires_at is None and before.expires_at is not None:
        raise HookError(f"the hook {name} took an expiry away: it can be moved only")
    try:
        if not check_text(after.text, "text").strip():
            raise UsageError("text is empty: return None to veto")
        metadata = parse_metadata(after.metadata)
        attributes = parse_metadata(after.attributes)
        expires = (
            None if after.expires_at is None else to_datetime(parse_time(after.expires_at, "expires_at"))
        )
    except UsageError as error:
        raise HookError(f"the hook {name} returned what cannot be stored: {error}") from error
    return replace(after, metadata=metadata, attributes=attributes, expires_at=expires)


def _edited(planned: _Proposed, change: _Proposed, before: Proposal, after: Proposal, by: str) -> Change:
    """The change with what a hook edited.

    Args:
        planned: As it was planned. ``change``: the same in full.
    """
    assert not isinstance(change, RetireMemory)  # nothing of a DELETE can be edited
    same = after.text == before.text
    expires = change.expires_at
    if after.expires_at != before.expires_at:
        expires = None if after.expires_at is None else parse_time(after.expires_at, "expires_at")
    values: dict[str, Any] = {
        "text": after.text,
        "kind": after.kind,
        "metadata": after.metadata,
        "attributes": after.attributes,
        "expires_at": expires,
        "flags": analysis.text_flags(after.text),
        "vector": change.vector if same else None,
        "slot": change.slot if same else _slot_of(change.slot, before, after),
        # The model's reason may quote what a hook has taken out.
        "reason": f"{_EDITED}{by}" if _removes(before, after) else change.reason,
    }
    if planned is not change and same and after.attributes == before.attributes:
        values |= {"text": None, "sources": ()}  # the text stays, with what it rests on
    return cast("Change", replace(change, **values))


def _slot_of(slot: str | None, before: Proposal, after: Proposal) -> str | None:
    """The slot of an edited text; none if it is of somebody whom the text does not name any more."""
    subject = "" if slot is None else slot.rpartition("\x1f")[2]
    speaker = (before.actor_id or "user").casefold()
    if subject == speaker or set(_WORD.findall(subject)) <= set(_WORD.findall(after.text.casefold())):
        return slot
    return None


def _with_vector(change: Change | None, vectors: Mapping[str, Any]) -> Change | None:
    """The change with the vector of the text that a hook wrote."""
    if not isinstance(change, AddMemory | UpdateMemory) or change.text is None or change.vector is not None:
        return change
    return replace(change, vector=vectors.get(change.text))
