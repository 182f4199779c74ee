"""The record of an agent's run: one memory that grows with it, exact steps below a model's overview."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import ConflictError, ModelError, UsageError
from ..filters import And, Eq, Exists, Filter, Not
from ..models.structured import ask
from ..prompts import procedural as prompt
from ..protocols import AddMemory, ChangeSet, Completion, Query, StoredBatch, UpdateMemory
from ..results import AddResult, StageFailure
from ..types import MAX_TEXT_CHARS, Decision, MemoryRecord, MessageRecord, Operation, Scope, Usage
from .account import Account
from .commit import write
from .embed import Embedded, embed
from .index import index_committed
from .outcome import AddRequest, Outcome, message_ids, message_vectors
from .planned import PROCEDURAL, Plan
from .runs import told_again, turn_of
from .services import Services
from .trail import Step, cut_overview, head, overview_text, steps_of, trail

#: How much of a record's beginning is embedded: where the overview stands.
_EMBEDDED_CHARS: Final = 4_000
_OTHER_TYPES: Final = ("semantic_memory", "episodic_memory")


def check_memory_type(memory_type: object, scope: Scope) -> str | None:
    """The memory type that an ``add`` may have.

    Raises:
        UsageError: There is no such type, or no agent whose run is recorded.
    """
    if memory_type is None:
        return None
    if memory_type != PROCEDURAL:
        why = "memkit finds out by itself what is said" if memory_type in _OTHER_TYPES else "no such type"
        raise UsageError(f"memory_type is {PROCEDURAL!r} or left out, not {memory_type!r:.40}: {why}")
    if scope.agent_id is None:
        raise UsageError(f"{PROCEDURAL} records what an agent did: give its agent_id")
    return PROCEDURAL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run as the store has it.

    Attributes:
        revision: The owner revision that was read.
        record: The memory that records it so far, None at its first ``add``.
        messages: What was said and done, earlier calls first; nothing twice. ``missing``: deleted since.
    """

    revision: int
    record: MemoryRecord | None
    messages: tuple[MessageRecord, ...]
    steps: tuple[Step, ...]
    missing: int

    @property
    def attributes(self) -> Mapping[str, Any]:
        return {} if self.record is None else self.record.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overview:
    """What a model says of a run: the overview and how many steps it knew; why there is no newer one."""

    body: Mapping[str, Any] | None = None
    steps: int = 0
    failed: tuple[StageFailure, ...] = ()


async def record_run(
    rt: Account, services: Services, batch: StoredBatch, request: AddRequest, *, overview: bool
) -> AddResult:
    """Add a stored batch to the record of its run, which is made if need be.

    If the model fails, the steps are recorded all the same, and the batch stays pending for the overview.

    Args:
        overview: Whether a model is asked.

    Raises:
        StorageError: The record could not be written; the batch is still pending.
    """
    async with rt.exclusive(request.scope.owner):
        known: tuple[Sequence[Step], _Overview] | None = None
        for attempt in range(services.settings.decide_attempts):
            run = await _read_run(rt, services, batch)
            if known is None or list(known[0]) != list(run.steps):
                known = run.steps, await _overview(rt, services, request, run, asked=overview)
            try:
                return await _commit(rt, services, batch, request, run, known[1])
            except ConflictError:
                # Another process wrote to this owner; the model is asked again only about new steps.
                if attempt == services.settings.decide_attempts - 1:
                    raise
                await rt.sleep(random.uniform(0, 0.02) * 2**attempt)  # noqa: S311 - keeps two writers apart
    raise AssertionError("the loop returns or raises")


# ---------------------------------------------------------------- what is there


def _of_this_run(scope: Scope) -> Filter:
    conditions: list[Filter] = [Eq("memory_type", PROCEDURAL)]
    for name, value in (("agent_id", scope.agent_id), ("run_id", scope.run_id)):
        conditions.append(Not(Exists(name)) if value is None else Eq(name, value))
    return And(*conditions)


async def _read_run(rt: Account, services: Services, batch: StoredBatch) -> _Run:
    store, scope = services.store, batch.scope
    query = Query(scope=scope, where=_of_this_run(scope), now=services.clock())
    state = await rt.call(lambda: store.owner_state(scope.owner))
    found = await rt.call(lambda: store.scan(query, limit=1))
    record = found[0] if found else None
    cited: set[str] = set() if record is None else set(record.sources)
    units: set[int] = set()
    for batch_id in dict.fromkeys(source.rpartition(":")[0] for source in cited):
        earlier = await rt.call(lambda: store.batch(batch_id))  # noqa: B023 - called before the loop goes on
        if earlier is not None:
            units.update(earlier.units)
    messages = await rt.call(lambda: store.messages(scope, units | set(batch.units)))
    there = {message.message_id for message in messages}
    kept = _without_repetition([m for m in messages if m.message_id in cited or m.unit in batch.units], batch)
    return _Run(
        revision=state.revision,
        record=record,
        messages=kept,
        steps=tuple(steps_of([(message.message_id, turn_of(message)) for message in kept])),
        missing=len(cited - there) + (0 if record is None else record.attributes.get("missing", 0)),
    )


def _without_repetition(messages: Sequence[MessageRecord], batch: StoredBatch) -> tuple[MessageRecord, ...]:
    """The run's messages in order, without those of a batch that only repeat what the run has told."""
    new = [message for message in messages if message.unit in batch.units]
    old = [message for message in messages if message.unit not in batch.units]
    before = [message for message in old if not new or message.unit < new[0].unit]
    again = told_again(before, new)
    kept = [*old, *(message for number, message in enumerate(new) if number not in again)]
    return tuple(sorted(kept, key=lambda message: message.unit))


# ---------------------------------------------------------------- the overview


async def _overview(
    rt: Account, services: Services, request: AddRequest, run: _Run, *, asked: bool
) -> _Overview:
    """The overview of all steps; the earlier one if no model is asked, or it fails."""
    attributes = run.attributes
    before = _Overview(body=attributes.get("overview"), steps=attributes.get("overview_steps", 0))
    if not asked or services.chat is None or not run.steps:
        return before
    if before.body is not None and before.steps == len(run.steps):
        return before  # nothing has happened since
    shown = trail(run.steps, 4 * services.policies.extraction.chunk_tokens)
    body = None if before.body is None else dict(before.body)
    try:
        answer = await ask(
            rt,
            services.chat,
            prompt.Overview,
            prompt.build(shown, earlier=body, instructions=request.prompt),
            item_field=None,
            name="memkit.procedural",
        )
    except ModelError as error:
        return replace(before, failed=(StageFailure.of("overview", error),))
    return _Overview(body=cut_overview(answer.value.model_dump()), steps=len(run.steps))


# ---------------------------------------------------------------- the commit


def _text(scope: Scope, run: _Run, overview: _Overview) -> str:
    """The record in at most ``MAX_TEXT_CHARS`` characters."""
    parts = [head(scope, run.steps, run.missing)]
    if overview.body is not None:
        parts.append(overview_text(overview.body, overview.steps, len(run.steps)))
    room = MAX_TEXT_CHARS - sum(len(part) + 2 for part in parts) - len("Steps\n")
    return "\n\n".join([*parts, f"Steps\n{trail(run.steps, room)}"])


def _change(
    services: Services, batch: StoredBatch, request: AddRequest, run: _Run, overview: _Overview
) -> AddMemory | UpdateMemory | None:
    """What becomes of the record, None if it says everything already."""
    text, scope, options = _text(batch.scope, run, overview), batch.scope, request.options
    attributes: dict[str, Any] = {"steps": len(run.steps), "errors": sum(step.failed for step in run.steps)}
    if run.missing:
        attributes["missing"] = run.missing
    if overview.body is not None:
        attributes |= {"overview": dict(overview.body), "overview_steps": overview.steps}
    said = max(message.observed_at for message in run.messages)
    sources = tuple(message.unit for message in run.messages)
    record = run.record
    if record is None:
        return AddMemory(
            memory_id=services.new_id(),
            scope=scope,
            text=text,
            kind="activity",
            memory_type=PROCEDURAL,
            metadata=options.metadata,
            origin="assistant",
            valid_from=said,
            expires_at=options.expires_at,
            sources=sources,
            attributes=attributes,
            reason="recorded",
        )
    metadata = {**record.metadata, **options.metadata}
    same = (text, attributes, metadata) == (record.text, dict(record.attributes), dict(record.metadata))
    if same and options.expires_at in (None, record.expires_at):
        return None
    return UpdateMemory(
        memory_id=record.memory_id,
        expected_revision=record.revision,
        text=text,
        metadata=metadata,
        valid_from=max(said, record.valid_from),
        expires_at=options.expires_at,
        sources=sources,
        attributes=attributes,
        reason="the run went on",
    )


def _outcome(
    batch: StoredBatch,
    request: AddRequest,
    run: _Run,
    changes: tuple[AddMemory | UpdateMemory, ...],
    embedded: Embedded,
) -> Outcome:
    """What the commit will have done; its cost is filled in by the caller."""
    decision = Decision(fact=0, operation="NONE", target=0 if run.record else None, reason="nothing new")
    if changes:
        operation: Operation = "ADD" if run.record is None else "UPDATE"
        decision = Decision(fact=0, operation=operation, reason=changes[0].reason)
    return Outcome(
        mode=request.mode,
        batch_id=batch.batch_id,
        messages=len(request.messages),
        embedded=embedded,
        plan=Plan(
            changes=changes,
            decisions=(decision,),
            outcomes=(0 if changes else None,),
            memories=() if run.record is None else (run.record,),
        ),
        usage=Usage(),
    )


async def _commit(
    rt: Account,
    services: Services,
    batch: StoredBatch,
    request: AddRequest,
    run: _Run,
    overview: _Overview,
) -> AddResult:
    change = _change(services, batch, request, run, overview) if run.messages else None
    beginning = "" if change is None or change.text is None else change.text[:_EMBEDDED_CHARS]
    embedded = await embed(
        rt, services, [message.content for message in request.messages] + ([beginning] if beginning else [])
    )
    changes: tuple[AddMemory | UpdateMemory, ...] = ()
    if change is not None:
        changes = (replace(change, vector=embedded.vectors.get(beginning)),)
    told = replace(embedded, failed=embedded.failed + overview.failed)
    outcome = replace(_outcome(batch, request, run, changes, told), usage=rt.bill.total)
    done = not overview.failed
    receipt = await write(
        rt,
        services,
        ChangeSet(
            scope=request.scope,
            recorded_at=services.clock(),
            changes=changes,
            expected_revision=run.revision,
            message_vectors=message_vectors(request.messages, batch.units, embedded),
            complete=(
                Completion(
                    batch_id=batch.batch_id,
                    lease=batch.lease,
                    result=outcome.stored if request.idempotency_key is not None else None,
                ),
            )
            if done
            else (),
            indexes=services.indexes,
            embedding=services.identity,
        ),
    )
    if not done:  # the overview is still owed; until then the steps stand for themselves
        error = overview.failed[0].error_type
        await rt.call(
            lambda: services.store.release_batch(batch.batch_id, batch.lease, error=error, not_before=0)
        )
    index_failures = await index_committed(rt, services)
    result = outcome.result(receipt, index_failures, rt.bill.finish())
    if done:
        return result
    ids = message_ids(batch.batch_id, len(request.messages))
    return result.model_copy(update={"status": "pending", "pending": ids})
