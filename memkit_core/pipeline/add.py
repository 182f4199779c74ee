"""The write path: raw messages first, then facts, decisions and one commit."""

from __future__ import annotations

import json
from dataclasses import replace

from ..protocols import ChangeSet, NewBatch, Runtime, StoredBatch
from ..results import AddResult
from ..types import Decision
from .account import Account
from .commit import plan_commit, write
from .embed import embed
from .extract import raw_facts, verbatim_facts
from .hooks import run_hooks
from .index import index_committed
from .job import job_of
from .outcome import AddRequest, Outcome, message_vectors, replayed
from .parts import own_text
from .planned import Batch
from .services import Services
from .settle import settle_within
from .trust import screen
from .vision import job_of as images_of


async def add(rt: Runtime, services: Services, request: AddRequest) -> AddResult:
    """Everything an ``add`` does. What it reports as done is durable.

    Raises:
        StorageError: The messages could not be stored. Nothing was changed.
        KeyReusedError: The idempotency key was used for something else. Nothing was changed.
    """
    async with Account(rt, services, request.scope.owner, "add") as account:
        if request.mode != "llm" and request.options.memory_type is None:
            return await _add_as_it_is(account, services, request)
        if request.idempotency_key is None:
            return await settle_within(account, services, await accept(account, services, request), request)
        # Calls under one key wait for the first one, and then tell its result.
        async with rt.exclusive((request.scope.owner, request.idempotency_key)):
            return await settle_within(account, services, await accept(account, services, request), request)


async def accept(rt: Runtime, services: Services, request: AddRequest) -> StoredBatch:
    """The messages, durable and findable by keyword, with a job to extract them later if need be.

    From before they are stored until ``settle`` is done they count as in hand, so that no ``flush`` of this
    process takes them up.
    """
    job = job_of(request.options, request.prompt, request.messages)
    if request.mode == "llm" and (images := images_of(request.messages)):
        job["images"] = images
    if request.mode != "llm":  # a record without an overview
        job["overview"] = False
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
        beside=request.beside,
        beside_at=request.beside_at,
    )


async def _add_as_it_is(account: Account, services: Services, request: AddRequest) -> AddResult:
    """Statements or whole messages as memories: one embedding call, one transaction."""
    raw = request.mode == "raw"
    policy = services.policies.extraction
    said = raw_facts(request.messages) if raw else verbatim_facts(request.messages, request.scope, policy)
    facts, untrusted = screen(said, request.scope, services.policies.trust)
    if not raw:  # an image that no model has seen states nothing
        facts = tuple(fact for fact in facts if own_text(request.messages[fact.cites[0]]).strip())
    texts = [fact.text for fact in facts]
    if not raw:  # messages that a memory repeats word for word need no second entry in the indexes
        texts += [message.content for message in request.messages]
    embedded = await embed(account, services, texts)
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
    planned = plan_commit(batch, decisions, (), skip_duplicates=not raw)
    hooked = await run_hooks(account, services, planned, batch, new.batch_id)
    outcome = Outcome(
        mode=request.mode,
        batch_id=new.batch_id,
        messages=len(request.messages),
        embedded=replace(embedded, failed=embedded.failed + hooked.failed),
        plan=hooked.plan,
        rejected=hooked.told(untrusted),
        rejected_kept=hooked.told(untrusted, kept=bool(services.hooks)),
        usage=account.bill.total,
    )
    vectors = {} if raw else message_vectors(request.messages, range(len(request.messages)), embedded)
    changes = ChangeSet(
        scope=request.scope,
        recorded_at=new.recorded_at,
        changes=hooked.plan.changes,
        batch=new,
        message_vectors=vectors,
        result=outcome.stored if request.idempotency_key is not None else None,
        indexes=services.indexes,
        embedding=services.identity,
    )
    receipt = await write(account, services, changes)
    if receipt.batch is not None and receipt.batch.replayed:
        return replayed(receipt.batch)
    index_failures = await index_committed(account, services)
    return outcome.result(receipt, index_failures, account.bill.finish())
