"""The write path: raw messages first, then facts, decisions and one commit."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import ConflictError, MemkitError, StorageError
from ..protocols import ChangeSet, CommitReceipt, NewBatch, Runtime, StoredBatch, Unembedded
from ..results import AddResult, Rejection, StageFailure
from ..types import Decision, Message, Scope, Usage
from .commit import Batch, Options, Plan, plan_commit, update_texts
from .decide import decide
from .embed import Embedded, embed
from .extract import Extracted, extract, raw_facts, verbatim_facts
from .index import index_committed
from .recall import recall
from .services import Services

Mode = Literal["llm", "verbatim", "raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """A checked ``add`` call."""

    scope: Scope
    messages: tuple[Message, ...]
    options: Options
    mode: Mode
    idempotency_key: str | None = None
    fingerprint: str | None = None


async def add(rt: Runtime, services: Services, request: AddRequest) -> AddResult:
    """Everything an ``add`` does. What it reports as done is durable.

    Raises:
        StorageError: The messages could not be stored. Nothing was changed.
        UsageError: The idempotency key was used for something else. Nothing was changed.
    """
    started = time.perf_counter()
    if request.mode == "llm" and request.idempotency_key is not None:
        # Calls under one key wait for the first one, and then tell its result.
        async with rt.exclusive((request.scope.owner, request.idempotency_key)):
            result = await settle(rt, services, await accept(rt, services, request), request)
    elif request.mode == "llm":
        result = await settle(rt, services, await accept(rt, services, request), request)
    else:
        result = await _add_as_it_is(rt, services, request)
    if result.replayed:
        return result
    milliseconds = (time.perf_counter() - started) * 1_000
    services.ledger.owe(request.scope.owner, "add", Usage(milliseconds=milliseconds))
    return result.model_copy(update={"usage": result.usage.timed(milliseconds)})


async def _commit(rt: Runtime, services: Services, changes: ChangeSet, usage: Usage) -> CommitReceipt:
    """The receipt; what it all cost is in the same transaction, with what the owner still owes."""
    owner = changes.scope.owner
    owed = services.ledger.take(owner)
    spent = {**owed, "add": owed.get("add", Usage()) + usage}
    try:
        receipt = await rt.call(lambda: services.store.commit(replace(changes, usage=spent)))
    except BaseException:  # even an interrupt must not lose what was spent before
        services.ledger.give_back(owner, owed)
        raise
    if receipt.batch is not None and receipt.batch.replayed:
        services.ledger.give_back(owner, owed)
    return receipt


async def accept(rt: Runtime, services: Services, request: AddRequest) -> StoredBatch:
    """The messages, durable and findable by keyword, with a job to extract them later if need be.

    From before they are stored until ``settle`` is done they count as in hand, so that no ``flush`` of this
    process takes them up.
    """
    options = request.options
    job = {
        "metadata": dict(options.metadata),
        "expires_at": options.expires_at,
        "memory_type": options.memory_type,
    }
    new = _new_batch(services, request, job=json.dumps(job, ensure_ascii=False), index=True)
    services.in_flight.enter(new.batch_id, new.recorded_at)
    try:
        batch = await rt.call(lambda: services.store.append(new))
    except BaseException:
        services.in_flight.leave(new.batch_id)
        raise
    if batch.replayed:
        services.in_flight.leave(new.batch_id)
    return batch


def options_of(batch: StoredBatch) -> Options:
    """The options that a stored job was asked with."""
    job: dict[str, Any] = json.loads(batch.job or "{}")
    return Options(
        metadata=job.get("metadata") or {},
        expires_at=job.get("expires_at"),
        memory_type=job.get("memory_type"),
    )


def _new_batch(services: Services, request: AddRequest, *, job: str | None, index: bool) -> NewBatch:
    return NewBatch(
        batch_id=services.new_id(),
        scope=request.scope,
        messages=request.messages,
        recorded_at=services.clock(),
        index=index,
        job=job,
        idempotency_key=request.idempotency_key,
        fingerprint=request.fingerprint,
    )


def message_ids(batch_id: str, count: int) -> list[str]:
    """The public ids of a batch's messages."""
    return [f"{batch_id}:{position}" for position in range(count)]


def pending(
    batch_id: str, count: int, *, failed: Sequence[StageFailure] = (), usage: Usage = Usage()
) -> AddResult:
    """The result of a batch that still waits for extraction."""
    ids = message_ids(batch_id, count)
    return AddResult(
        status="pending",
        mode="llm",
        batch_id=batch_id,
        message_ids=ids,
        pending=ids,
        failed=list(failed),
        usage=usage,
    )


# ---------------------------------------------------------------- without a chat model


async def _add_as_it_is(rt: Runtime, services: Services, request: AddRequest) -> AddResult:
    """Statements or whole messages as memories: one embedding call, one transaction."""
    raw = request.mode == "raw"
    facts = raw_facts(request.messages) if raw else verbatim_facts(request.messages, request.scope)
    texts = [fact.text for fact in facts]
    if not raw:  # messages that a memory repeats word for word need no second entry in the indexes
        texts += [message.content for message in request.messages]
    embedded = await embed(rt, services, texts)
    new = _new_batch(services, request, job=None, index=not raw)
    batch = Batch(
        scope=request.scope,
        messages=request.messages,
        units=range(len(request.messages)),
        facts=facts,
        vectors=embedded.vectors,
        options=request.options,
        new_ids=[services.new_id() for _ in facts],
    )
    decisions = [Decision(fact=number, operation="ADD") for number in range(len(facts))]
    plan = plan_commit(batch, decisions, (), skip_duplicates=not raw)
    outcome = _Outcome(
        mode=request.mode, batch_id=new.batch_id, messages=len(request.messages), embedded=embedded, plan=plan
    )
    vectors = {} if raw else _message_vectors(request.messages, range(len(request.messages)), embedded)
    changes = ChangeSet(
        scope=request.scope,
        recorded_at=new.recorded_at,
        changes=plan.changes,
        batch=new,
        message_vectors=vectors,
        result=outcome.stored if request.idempotency_key is not None else None,
        indexes=services.indexes,
        embedding=services.identity,
    )
    receipt = await _commit(rt, services, changes, embedded.usage)
    if receipt.batch is not None and receipt.batch.replayed:
        return replayed(receipt.batch)
    return outcome.result(receipt, await index_committed(rt, services))


def _message_vectors(messages: Sequence[Message], units: Sequence[int], embedded: Embedded) -> dict[int, Any]:
    vectors = embedded.vectors
    return {
        unit: vectors[message.content]
        for unit, message in zip(units, messages, strict=True)
        if message.content in vectors
    }


def replayed(batch: StoredBatch) -> AddResult:
    """The stored result of an earlier call under the same idempotency key."""
    if batch.result is not None:
        return AddResult.model_validate_json(batch.result).model_copy(update={"replayed": True})
    if batch.state == "pending":
        return pending(batch.batch_id, len(batch.units)).model_copy(update={"replayed": True})
    # Its messages were deleted before anything was extracted from them.
    ids = message_ids(batch.batch_id, len(batch.units))
    return AddResult(mode="llm", batch_id=batch.batch_id, message_ids=ids, replayed=True)


# ---------------------------------------------------------------- with a chat model


async def settle(rt: Runtime, services: Services, batch: StoredBatch, request: AddRequest) -> AddResult:
    """Extract, decide and commit a stored batch; pending if a model or the store does not do its part."""
    if batch.replayed:
        if batch.state == "done":
            return replayed(batch)
        request, batch = await restore(rt, services, batch)
    services.in_flight.enter(batch.batch_id, batch.recorded_at)
    work = _Work(rt, services, batch, request)
    try:
        return await work.run()
    except MemkitError as error:
        return await work.give_back(error)
    finally:
        services.in_flight.leave(batch.batch_id)


async def restore(rt: Runtime, services: Services, batch: StoredBatch) -> tuple[AddRequest, StoredBatch]:
    """The call that stored a batch, as far as it still matters; messages deleted meanwhile are left out."""
    records = await rt.call(lambda: services.store.messages(batch.scope, batch.units))
    request = AddRequest(
        scope=batch.scope,
        messages=tuple(records),
        options=options_of(batch),
        mode="llm",
        idempotency_key=batch.batch_id,
    )
    return request, replace(batch, units=tuple(record.unit for record in records))


class _Work:
    """One batch on its way from messages to a commit."""

    def __init__(self, rt: Runtime, services: Services, batch: StoredBatch, request: AddRequest) -> None:
        self._rt = rt
        self._services = services
        self._batch = batch
        self._request = request
        self._stage = "extract"
        self._usage = Usage()

    async def run(self) -> AddResult:
        """The result of the whole way.

        Raises:
            ModelError: A model failed; the batch is still pending.
            StorageError: So did the store.
        """
        request, rt, services = self._request, self._rt, self._services
        extracted = await extract(rt, services, request.messages, request.scope)
        self._usage += extracted.usage
        facts = extracted.facts
        texts = [message.content for message in request.messages] + [fact.text for fact in facts]
        embedded = await embed(rt, services, texts)
        self._usage += embedded.usage
        if not facts:
            receipt, outcome = await self._commit(extracted, embedded, (), (), None)
        else:
            async with rt.exclusive(request.scope.owner):
                receipt, outcome = await self._decide_and_commit(extracted, embedded)
        return outcome.result(receipt, await index_committed(rt, services))

    async def give_back(self, error: MemkitError) -> AddResult:
        """What came of the batch: pending, with the reason, unless somebody else has finished it."""
        failed = [StageFailure.of(self._stage, error)]
        usage = self._usage + (getattr(error, "usage", None) or Usage())
        self._services.ledger.owe(self._request.scope.owner, "add", usage)
        batch, count = self._batch, len(self._request.messages)
        try:
            stands = await self._rt.call(lambda: self._services.store.batch(batch.batch_id))
            if stands is not None and stands.state == "done":
                if stands.result is not None:
                    return replayed(stands).model_copy(update={"usage": usage})
                return pending(batch.batch_id, count, failed=failed, usage=usage).model_copy(
                    update={"status": "partial", "pending": []}
                )
            await self._rt.call(
                lambda: self._services.store.release_batch(
                    batch.batch_id, batch.lease, error=type(error).__name__, not_before=0
                )
            )
            failed += await self._embed_messages()
        except StorageError as storage_error:  # the batch stays pending all the same
            failed.append(StageFailure.of("commit", storage_error))
        return pending(batch.batch_id, count, failed=failed, usage=usage)

    async def _embed_messages(self) -> Sequence[StageFailure]:
        """Make what waits for extraction findable by meaning too."""
        services, messages = self._services, self._request.messages
        embedded = await embed(self._rt, services, [message.content for message in messages])
        vectors = [
            (
                Unembedded(space="turn", unit=unit, owner=self._request.scope.owner, text=message.content),
                vector,
            )
            for unit, message in zip(self._batch.units, messages, strict=True)
            if (vector := embedded.vectors.get(message.content)) is not None
        ]
        if vectors:
            await self._rt.call(
                lambda: services.store.put_vectors(
                    vectors, indexes=services.indexes, embedding=services.identity
                )
            )
        return embedded.failed

    async def _decide_and_commit(
        self, extracted: Extracted, embedded: Embedded
    ) -> tuple[CommitReceipt, _Outcome]:
        rt, services, facts = self._rt, self._services, extracted.facts
        vectors = [embedded.vectors[fact.text] for fact in facts] if embedded.vectors else None
        for attempt in range(services.settings.decide_attempts):
            self._stage = "decide"
            recalled = await recall(rt, services, self._request.scope, facts, vectors)
            expires_at = self._request.options.expires_at
            decided = await decide(rt, services, facts, recalled, expires_at=expires_at)
            self._usage += decided.usage
            extra = await embed(rt, services, update_texts(facts, decided.decisions))
            self._usage += extra.usage
            whole = Embedded(
                vectors={**embedded.vectors, **extra.vectors}, failed=embedded.failed + extra.failed
            )
            facts_and_rejected = replace(extracted, rejected=extracted.rejected + decided.rejected)
            self._stage = "commit"
            try:
                return await self._commit(
                    facts_and_rejected, whole, decided.decisions, recalled.memories, recalled.revision
                )
            except ConflictError:
                # Another process wrote to this owner since recall: what is true has changed, decide again.
                if attempt == services.settings.decide_attempts - 1:
                    raise
                await rt.sleep(random.uniform(0, 0.02) * 2**attempt)  # noqa: S311 - keeps two writers apart
        raise AssertionError("the loop returns or raises")

    async def _commit(
        self,
        extracted: Extracted,
        embedded: Embedded,
        decisions: Sequence[Decision],
        memories: Sequence[Any],
        revision: int | None,
    ) -> tuple[CommitReceipt, _Outcome]:
        request, services, stored = self._request, self._services, self._batch
        self._stage = "commit"
        batch = Batch(
            scope=request.scope,
            messages=request.messages,
            units=stored.units,
            facts=extracted.facts,
            vectors=embedded.vectors,
            options=request.options,
            new_ids=[services.new_id() for _ in extracted.facts],
        )
        plan = plan_commit(batch, decisions, memories, skip_duplicates=True)
        outcome = _Outcome(
            mode="llm",
            batch_id=stored.batch_id,
            messages=len(request.messages),
            embedded=embedded,
            plan=plan,
            rejected=extracted.rejected,
            usage=self._usage,
        )
        changes = ChangeSet(
            scope=request.scope,
            recorded_at=services.clock(),
            changes=plan.changes,
            expected_revision=revision,
            message_vectors=_message_vectors(request.messages, stored.units, embedded),
            complete=stored.batch_id,
            lease=stored.lease,
            result=outcome.stored if request.idempotency_key is not None else None,
            indexes=services.indexes,
            embedding=services.identity,
        )
        return await _commit(self._rt, services, changes, self._usage), outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a commit will have done, to be told once it is known which changes were duplicates."""

    mode: Mode
    batch_id: str
    messages: int
    embedded: Embedded
    plan: Plan
    rejected: tuple[Rejection, ...] = ()
    usage: Usage | None = None

    def result(self, receipt: CommitReceipt, index_failures: Sequence[StageFailure]) -> AddResult:
        """The public result."""
        return self._result(receipt.applied, index_failures)

    def stored(self, applied: Sequence[Any]) -> str:
        """The same as JSON, to be kept under the idempotency key."""
        return self._result(applied, ()).model_dump_json()

    def _result(self, applied: Sequence[Any], index_failures: Sequence[StageFailure]) -> AddResult:
        failed = [*self.embedded.failed, *index_failures]
        return AddResult(
            results=self.plan.results(applied),
            status="partial" if failed or self.rejected else "complete",
            mode=self.mode,
            batch_id=self.batch_id,
            message_ids=message_ids(self.batch_id, self.messages),
            rejected=list(self.rejected),
            failed=failed,
            usage=self.embedded.usage if self.usage is None else self.usage,
        )
