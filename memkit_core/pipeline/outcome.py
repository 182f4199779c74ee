"""What an ``add`` was asked, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..protocols import CommitReceipt, ItemPut, StoredBatch
from ..results import AddResult, Rejection, StageFailure
from ..types import Message, Micros, Scope, Usage
from .embed import Embedded
from .planned import Options, Plan

Mode = Literal["llm", "verbatim", "raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """A checked ``add`` call. ``prompt``: instructions for its extraction alone.

    ``beside``, ``beside_at``: see ``NewBatch``; only for what is left to the background.
    """

    scope: Scope
    messages: tuple[Message, ...]
    options: Options
    mode: Mode
    idempotency_key: str | None = None
    fingerprint: str | None = None
    prompt: str | None = None
    beside: tuple[ItemPut, ...] = ()
    beside_at: Micros = 0


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


def replayed(batch: StoredBatch) -> AddResult:
    """The stored result of an earlier call under the same idempotency key."""
    if batch.result is not None:
        return AddResult.model_validate_json(batch.result).model_copy(update={"replayed": True})
    if batch.state == "pending":
        return pending(batch.batch_id, len(batch.units)).model_copy(update={"replayed": True})
    # Its messages were deleted before anything was extracted from them.
    ids = message_ids(batch.batch_id, len(batch.units))
    return AddResult(mode="llm", batch_id=batch.batch_id, message_ids=ids, replayed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a commit will have done, to be told once it is known which changes were duplicates.

    Attributes:
        usage: What it cost until the commit.
        rejected_kept: What stands in place of ``rejected`` in a stored result; None: the same.
    """

    mode: Mode
    batch_id: str
    messages: int
    embedded: Embedded
    plan: Plan
    rejected: tuple[Rejection, ...] = ()
    usage: Usage
    rejected_kept: tuple[Rejection, ...] | None = None

    def result(
        self, receipt: CommitReceipt, index_failures: Sequence[StageFailure], usage: Usage
    ) -> AddResult:
        """The public result, with the whole bill."""
        return self._result(receipt.applied, index_failures, usage)

    def stored(self, applied: Sequence[Any]) -> str:
        """The same as JSON, to be kept under the idempotency key."""
        result = self._result(applied, (), self.usage)
        if self.rejected_kept is not None:
            result = result.model_copy(update={"rejected": list(self.rejected_kept)})
        return result.model_dump_json()

    def _result(
        self, applied: Sequence[Any], index_failures: Sequence[StageFailure], usage: Usage
    ) -> AddResult:
        failed = [*self.embedded.failed, *index_failures]
        return AddResult(
            results=self.plan.results(applied),
            status="partial" if failed or self.rejected else "complete",
            mode=self.mode,
            batch_id=self.batch_id,
            message_ids=message_ids(self.batch_id, self.messages),
            rejected=list(self.rejected),
            failed=failed,
            usage=usage,
        )


def message_vectors(messages: Sequence[Message], units: Sequence[int], embedded: Embedded) -> dict[int, Any]:
    """The vectors of those messages that have one, by unit."""
    vectors = embedded.vectors
    return {
        unit: vectors[message.content]
        for unit, message in zip(units, messages, strict=True)
        if message.content in vectors
    }
