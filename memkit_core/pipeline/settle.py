"""A stored batch on its way to a commit: extract, embed, recall, decide."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from ..errors import ConflictError, MemkitError, StorageError
from ..protocols import ChangeSet, CommitReceipt, Completion, Runtime, StoredBatch, Unembedded
from ..results import AddResult, Rejection, StageFailure
from ..types import Decision, Fact, Micros
from .account import Account
from .allowance import Allowance
from .commit import plan_commit, write, written_texts
from .decide import decide
from .earlier import earlier_messages
from .embed import Embedded, embed
from .extract import Extracted, extract
from .ground import ground, sound_updates
from .grounding.evidence import Reader
from .hooks import run_hooks
from .index import index_committed
from .job import options_of, read_job, zoned
from .joint import Part, join, shares
from .late import place_late
from .line import Slotted
from .mates import among_mates
from .moments import without_plans
from .outcome import AddRequest, Outcome, message_vectors, pending, replayed
from .planned import PROCEDURAL, Batch
from .procedural import record_run
from .recall import Recalled, SmallScope, recall
from .services import Services
from .slots import settle_by_slots
from .trust import screen
from .vision import describe, from_images, restored, waiting

#: How long a claim holds, in microseconds; after that the batch of a process that died is free again.
LEASE: Final[Micros] = 300_000_000


async def settle_within(
    account: Account, services: Services, batch: StoredBatch, request: AddRequest
) -> AddResult:
    """Extract, decide and commit a stored batch; pending if a model or the store does not do its part.

    What it cost is written by whichever transaction ends the attempt. The account's clock stops here.
    """
    if batch.replayed:
        if batch.state == "done":
            return replayed(batch)
        claimed = await account.call(partial(_claim, services, batch))
        if claimed is None:  # somebody else is at it, or has just done it
            stands = await account.call(lambda: services.store.batch(batch.batch_id))
            return replayed(stands or batch)
        request, batch = await restore(account, services, claimed)
    services.in_flight.enter(batch.batch_id, batch.recorded_at)
    work = Work(account, services, [Part(batch=batch, request=request)])
    try:
        return await work.run()
    except MemkitError as error:
        return await work.give_back(error)
    finally:
        services.in_flight.leave(batch.batch_id)


def _claim(services: Services, batch: StoredBatch) -> StoredBatch | None:
    """A batch that an earlier call has stored, with a lease; None if somebody else has one."""
    claimed = services.store.claim_batches(
        limit=1,
        now=services.clock(),
        lease_micros=LEASE,
        owner=batch.scope.owner,
        batch_ids=[batch.batch_id],
        early=True,
    )
    return claimed[0] if claimed else None


async def restore(rt: Runtime, services: Services, batch: StoredBatch) -> tuple[AddRequest, StoredBatch]:
    """The call that stored a batch, as far as it still matters; messages deleted meanwhile are left out."""
    records = await rt.call(lambda: services.store.messages(batch.scope, batch.units))
    job = read_job(batch.job)
    messages = restored(job.get("images", ()), [zoned(record, job) for record in records])
    request = AddRequest(
        scope=batch.scope,
        messages=messages,
        options=options_of(job),
        mode="llm",
        idempotency_key=batch.batch_id,
        prompt=job.get("prompt"),
    )
    return request, replace(batch, units=tuple(record.unit for record in records))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """What is to be committed beside the facts, and what it was decided on (None: on nothing)."""

    decisions: tuple[Decision, ...] = ()
    recalled: Recalled | None = None
    slotted: Slotted = field(default_factory=Slotted)
    since: Mapping[int, Micros] = field(default_factory=dict[int, Micros])
    twice: Mapping[int, int] = field(default_factory=dict[int, int])
    rejected: tuple[Rejection, ...] = ()


class Work:
    """One batch, or several that are extracted together, on the way from messages to one commit."""

    def __init__(self, account: Account, services: Services, parts: Sequence[Part]) -> None:
        self._account = account
        self._services = services
        self._parts = parts
        whole = join(parts)
        self._batch = whole.batch
        self._request = whole.request
        self._small = SmallScope(services, self._request.scope)
        self._stage = "extract"

    async def run(self) -> AddResult:
        """The result of the whole way; of several batches it tells everything, under the first one's name.

        Raises:
            ModelError: A model failed; the batches are still pending.
            StorageError: So did the store.
        """
        rt, services = self._account, self._services
        if self._request.options.memory_type == PROCEDURAL:
            self._stage = "commit"
            asked = read_job(self._batch.job).get("overview", True)
            return await record_run(rt, services, self._batch, self._request, overview=asked)
        undescribed = await self._describe_images()
        request = self._request
        extracted, failed = await self._draw(undescribed)
        facts = extracted.facts
        texts = [message.content for message in request.messages] + [fact.text for fact in facts]
        embedded = await embed(rt, services, texts)
        embedded = replace(embedded, failed=failed + embedded.failed)
        if not facts:
            receipt, outcome = await self._commit(extracted, embedded)
        else:
            async with rt.exclusive(request.scope.owner):
                receipt, outcome = await self._decide_and_commit(extracted, embedded)
        index_failures = await index_committed(rt, services)
        return outcome.result(receipt, index_failures, rt.bill.finish())

    async def _draw(self, undescribed: Sequence[Rejection]) -> tuple[Extracted, tuple[StageFailure, ...]]:
        """The facts that may be stored, and what failed of the checks.

        What the messages were taken apart into is let go here: it would outlast the calls that follow, for
        each of many adds at once.
        """
        rt, services, request = self._account, self._services, self._request
        earlier = await earlier_messages(rt, services, self._batch)
        reader = Reader()
        extracting = extract(
            rt,
            services,
            request.messages,
            request.scope,
            prompt=request.prompt,
            earlier=earlier,
            reader=reader,
        )
        extracted = await rt.beside(extracting, self._small.read_ahead, stored=True)
        drawn, untrusted = screen(
            from_images(extracted.facts, request.messages), request.scope, services.policies.trust
        )
        grounded = await ground(rt, services, drawn, request.messages, earlier=earlier, reader=reader)
        facts = without_plans(grounded.facts, request.messages)
        rejected = (*undescribed, *extracted.rejected, *untrusted, *grounded.rejected)
        return replace(extracted, facts=facts, rejected=rejected), grounded.failed

    async def _describe_images(self) -> tuple[Rejection, ...]:
        """Put descriptions in the places of images; returns those that could not be described."""
        services, rejected = self._services, tuple[Rejection, ...]()
        if services.policies.vision.images == "describe":
            self._stage = "describe"
            while waiting(self._request.messages):
                seen = await describe(self._account, services, self._batch, self._request.messages)
                self._request = replace(self._request, messages=seen.messages)
                rejected += seen.rejected
        self._stage = "extract"
        return rejected

    async def give_back(self, error: Exception, *, not_before: Micros = 0) -> AddResult:
        """What came of the batch: pending, with the reason, unless somebody else has finished it.

        Args:
            not_before: When it may be tried again, unless somebody asks for that.
        """
        failed = [StageFailure.of(self._stage, error)]
        batch, count, account = self._batch, len(self._request.messages), self._account
        try:
            name = type(error).__name__
            await account.call(lambda: self._release(name, not_before))
            stands = await account.call(lambda: self._services.store.batch(batch.batch_id))
            if len(self._parts) == 1 and stands is not None and stands.state == "done":
                usage = account.bill.finish()
                if stands.result is not None:
                    return replayed(stands).model_copy(update={"usage": usage})
                return pending(batch.batch_id, count, failed=failed, usage=usage).model_copy(
                    update={"status": "partial", "pending": []}
                )
            failed += await self._embed_messages()
        except StorageError as storage_error:  # the batch stays pending all the same
            failed.append(StageFailure.of("commit", storage_error))
        return pending(batch.batch_id, count, failed=failed, usage=account.bill.finish())

    def _release(self, error: str, not_before: Micros) -> None:
        """Let go of the batches; what the attempt cost is in the same transaction as the first of them."""
        if len(self._parts) > 1:  # which of them was to blame is not known
            error = f"{error} of several"
        for part in self._parts:
            batch = part.batch
            with self._account.bill.carrying() as spent:
                self._services.store.release_batch(
                    batch.batch_id, batch.lease, error=error, not_before=not_before, usage=spent
                )

    async def _embed_messages(self) -> Sequence[StageFailure]:
        """Make what waits for extraction findable by meaning too."""
        services, messages = self._services, self._request.messages
        embedded = await embed(self._account, services, [message.content for message in messages])
        vectors = [
            (
                Unembedded(space="turn", unit=unit, owner=self._request.scope.owner, text=message.content),
                vector,
            )
            for unit, message in zip(self._batch.units, messages, strict=True)
            if (vector := embedded.vectors.get(message.content)) is not None
        ]
        if vectors:
            await self._account.call(
                lambda: services.store.put_vectors(
                    vectors, indexes=services.indexes, embedding=services.identity
                )
            )
        return embedded.failed

    async def _decide_and_commit(
        self, extracted: Extracted, embedded: Embedded
    ) -> tuple[CommitReceipt, Outcome]:
        rt, services, facts = self._account, self._services, extracted.facts
        for attempt in range(services.settings.decide_attempts):
            self._stage = "decide"
            settled = await self._decide(facts, embedded)
            extra = await embed(rt, services, written_texts(facts, settled.decisions))
            whole = Embedded(
                vectors={**embedded.vectors, **extra.vectors}, failed=embedded.failed + extra.failed
            )
            facts_and_rejected = replace(extracted, rejected=extracted.rejected + settled.rejected)
            self._stage = "commit"
            try:
                return await self._commit(facts_and_rejected, whole, settled)
            except ConflictError:
                # Another process wrote to this owner since recall: what is true has changed, decide again.
                if attempt == services.settings.decide_attempts - 1:
                    raise
                await rt.sleep(random.uniform(0, 0.02) * 2**attempt)  # noqa: S311 - keeps two writers apart
        raise AssertionError("the loop returns or raises")

    async def _decide(self, facts: Sequence[Fact], embedded: Embedded) -> _Settled:
        """The facts against what is remembered by now, and against each other."""
        rt, services = self._account, self._services
        scope, messages = self._request.scope, self._request.messages
        vectors = [embedded.vectors[fact.text] for fact in facts] if embedded.vectors else None
        expires_at = self._request.options.expires_at
        sizes = [len(part.request.messages) for part in self._parts]
        allowance = Allowance(services.policies.decisions.max_destructive, facts, messages, sizes)
        recalled = await recall(rt, services, scope, facts, vectors, self._small)
        slotted, recalled = await settle_by_slots(
            rt, services, scope, facts, messages, recalled, allowance, expires_at=expires_at
        )
        decided = await decide(
            rt,
            services,
            facts,
            messages,
            recalled,
            scope=scope,
            expires_at=expires_at,
            slotted=slotted,
            allowance=allowance,
        )
        decisions, unsound = sound_updates(services, facts, decided.decisions, recalled.memories, messages)
        mated = await among_mates(
            rt,
            services,
            facts,
            messages,
            decisions,
            vectors,
            scope=scope,
            expires_at=expires_at,
            settled=slotted.facts | decided.until.keys(),
            allowance=allowance,
        )
        slotted = await place_late(
            rt, services, scope, facts, messages, mated.decisions, decided.until, slotted
        )
        begins = {heir: end for end, heir in slotted.until.values() if isinstance(heir, int)}
        return _Settled(
            decisions=mated.decisions,
            recalled=recalled,
            slotted=replace(slotted, until={**slotted.until, **mated.until}),
            since={**begins, **mated.since},
            twice=mated.twice,
            rejected=(*decided.rejected, *unsound, *mated.rejected),
        )

    async def _commit(
        self,
        extracted: Extracted,
        embedded: Embedded,
        settled: _Settled | None = None,
    ) -> tuple[CommitReceipt, Outcome]:
        request, services, stored = self._request, self._services, self._batch
        batch = Batch(
            scope=request.scope,
            messages=request.messages,
            units=stored.units,
            facts=extracted.facts,
            vectors=embedded.vectors,
            options=request.options,
            new_ids=[services.new_id() for _ in extracted.facts],
        )
        settled = settled or _Settled()
        recalled, slotted = settled.recalled, settled.slotted
        plan = plan_commit(
            batch,
            settled.decisions,
            () if recalled is None else recalled.memories,
            skip_duplicates=True,
            until=slotted.until,
            since=settled.since,
            twice=settled.twice,
            corrections=slotted.corrections,
            cuts=slotted.cuts,
        )
        self._stage = "hook"
        hooked = await run_hooks(self._account, services, plan, batch, stored.batch_id)
        plan = hooked.plan
        embedded = replace(embedded, failed=embedded.failed + hooked.failed)
        self._stage = "commit"
        outcome = Outcome(
            mode="llm",
            batch_id=stored.batch_id,
            messages=len(request.messages),
            embedded=embedded,
            plan=plan,
            rejected=hooked.told(extracted.rejected),
            rejected_kept=hooked.told(extracted.rejected, kept=bool(services.hooks)),
            usage=self._account.bill.total,
        )
        changes = ChangeSet(
            scope=request.scope,
            recorded_at=services.clock(),
            changes=plan.changes,
            expected_revision=None if recalled is None else recalled.revision,
            message_vectors=message_vectors(request.messages, stored.units, embedded),
            complete=self._completions(outcome, batch),
            indexes=services.indexes,
            embedding=services.identity,
        )
        return await write(self._account, services, changes), outcome

    def _completions(self, outcome: Outcome, batch: Batch) -> tuple[Completion, ...]:
        """All the batches, each to be done with what its own messages made."""
        told = shares(outcome, batch.facts, self._parts)
        return tuple(
            Completion(
                batch_id=part.batch.batch_id,
                lease=part.batch.lease,
                result=share.stored if part.request.idempotency_key is not None else None,
            )
            for part, share in zip(self._parts, told, strict=True)
        )
