"""What ``memory.admin`` returns."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from .markup import joined, table
from .results import Result, StageFailure
from .types import Usage


class ReindexResult(Result):
    """What ``reindex`` made anew.

    Attributes:
        units: Texts whose keywords were derived: versions and messages.
        embedded: Texts that were given a vector now. ``embedding_calls``: what that took.
        index: The derived index that was rebuilt, None if there is none. ``indexed``: how many refs it was
            given, or is still to be given if ``failed`` says so.
        failed: What did not work; the rest is done. Another ``reindex`` tries again. ``flush`` does as well,
            unless it was the index that could not be cleared.
    """

    units: int
    embedded: int = 0
    embedding_calls: int = 0
    indexed: int = 0
    index: str | None = None
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])

    @property
    def ok(self) -> bool:
        """Whether everything was done."""
        return not self.failed

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index {self.index!r}: {self.indexed} refs"
        lines = [f"ReindexResult(keywords of {self.units} texts, {self.embedded} new vectors{index})"]
        return "\n".join([*lines, *(f"  {failure!r}" for failure in self.failed)])

    __str__ = __repr__


class RollbackItem(Result):
    """What a rollback did to one memory.

    Attributes:
        action: ``retire``: it was added later. ``revert``: it was changed later, if only in what it said of
            the past. ``restore``: it was deleted later.
        memory: What it says now, or of the past; None if it is retired. ``previous_memory``: what it said
            before the rollback; None if it was deleted.
    """

    id: str
    action: Literal["retire", "revert", "restore"]
    memory: str | None
    previous_memory: str | None

    def __repr__(self) -> str:
        text = self.previous_memory if self.memory is None else self.memory
        return f"{self.action} {text!r:.80} (id={self.id!r})"

    __str__ = __repr__


class RollbackResult(Result):
    """What a rollback did, or would do.

    Attributes:
        to: The time whose knowledge counts again.
        dry_run: Nothing was changed.
        items: Every memory that is concerned, in the order of their ids.
        waiting: Batches of messages that still wait for extraction: what is drawn from them comes on top.
        failed: What of a derived index is behind; it catches up by itself, or by ``flush``.
    """

    to: datetime
    dry_run: bool = False
    items: list[RollbackItem] = Field(default_factory=list[RollbackItem])
    waiting: int = 0
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])

    def _counted(self, action: str) -> int:
        return sum(item.action == action for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        done = "would be" if self.dry_run else "were"
        return (
            f"RollbackResult({len(self.items)} memories {done} brought back to {self.to.isoformat()}: "
            f"{self._counted('retire')} retired, {self._counted('revert')} reverted, "
            f"{self._counted('restore')} restored)"
        )

    __str__ = __repr__


class Finding(Result):
    """One thing that ``doctor`` found to be wrong.

    Attributes:
        kind: ``truth``: a part of the record that nothing else says. ``derived``: made from the record.
            ``file``: the database's own structure. ``index``: a derived index differs from the record.
        table, key: Where, as far as it can be told.
        problem: What is wrong. ``remedy``: what to do about it.
        repaired: It is not there any more.
        given_up: It was lost, or was removed or replaced as ``accept_loss`` asks for.
    """

    kind: Literal["truth", "derived", "file", "index", "unreachable"]
    table: str
    key: str
    problem: str
    remedy: str
    repaired: bool = False
    given_up: bool = False

    def __repr__(self) -> str:
        where = " ".join(part for part in (self.table, self.key) if part)
        after = "given up" if self.given_up else "repaired" if self.repaired else self.remedy
        return f"{where or self.kind}: {self.problem} ({after})"

    __str__ = __repr__


class DoctorReport(Result):
    """What ``doctor`` found, and what it repaired.

    Attributes:
        findings: The first thousand. ``total``: how many there are, ``remaining``: how many of them are not
            repaired.
        notes: What is no damage but still to be done: texts without vectors, pending batches and index work.
        checked: How many texts were looked at: versions and messages.
    """

    findings: list[Finding] = Field(default_factory=list[Finding])
    total: int = 0
    remaining: int = 0
    notes: list[str] = Field(default_factory=list[str])
    checked: int = 0

    @property
    def ok(self) -> bool:
        """Whether no damage remains."""
        return not self.remaining

    def __repr__(self) -> str:
        state = "sound" if not self.total else f"{self.total} findings, {self.remaining} remain"
        lines = [f"DoctorReport({state}, {self.checked} texts checked)"]
        lines += [f"  {finding!r}" for finding in self.findings[:20]]
        if len(self.findings) > 20:
            lines.append(f"  … {self.total - 20} more")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    __str__ = __repr__


class ExportResult(Result):
    """What an export file holds.

    Attributes:
        bytes: Its size on disk. ``sha256``: of its lines before the last, uncompressed.
        versions: Versions of memories, closed ones included.
        left_out: With ``skip_damaged``, what of the store is damaged and not in the file: the first thousand.
    """

    path: str
    bytes: int
    sha256: str
    owners: int
    versions: int
    messages: int
    events: int
    left_out: list[str] = Field(default_factory=list[str])

    def __repr__(self) -> str:
        told = (
            f"ExportResult({self.path!r}: {self.owners} owners, {self.versions} versions of memories, "
            f"{self.messages} messages, {self.events} events, {self.bytes:,} bytes)"
        )
        return "\n".join([told, *(f"  left out: {text}" for text in self.left_out[:20])])

    __str__ = __repr__


class ImportResult(Result):
    """What an import brought.

    Attributes:
        versions: Versions of memories, closed ones included.
        failed: Why the derived index is behind, if it is; its work stays pending.
    """

    path: str
    owners: int
    versions: int
    messages: int
    events: int
    failed: list[StageFailure] = Field(default_factory=list[StageFailure])

    def __repr__(self) -> str:
        return (
            f"ImportResult({self.path!r}: {self.owners} owners, {self.versions} versions of memories, "
            f"{self.messages} messages, {self.events} events)"
        )

    __str__ = __repr__


class ResetResult(Result):
    """What became of the derived index when everything was removed. The record store is empty.

    Attributes:
        failed: Why the index could not be emptied, if it could not; what it holds is never proposed, and the
            next ``flush`` or opening tries again.
    """

    failed: list[StageFailure] = Field(default_factory=list[StageFailure])

    @property
    def ok(self) -> bool:
        """Whether nothing is left anywhere."""
        return not self.failed

    def __repr__(self) -> str:
        return "ResetResult(everything is removed)" if self.ok else f"ResetResult({self.failed[0]})"

    __str__ = __repr__


class OwnerUsage(Result):
    """What one kind of operation cost for one owner; no id at all: nobody's in particular.

    Attributes:
        cost: Money by the present prices, None without prices.
    """

    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    operation: str
    usage: Usage
    cost: float | None = None

    def __repr__(self) -> str:
        return f"{_who(self)!r} {self.operation}: {_cost(self.usage)}{_money(self.cost)}"

    __str__ = __repr__


class UsageReport(Result):
    """What operations cost: calls, tokens and milliseconds, as their results reported them.

    Attributes:
        total: Everything together. ``operations``: by operation.
        owners: By owner and operation, the costliest first, at most a thousand.
        omitted: How many rows ``owners`` leaves out.
        cost, costs: Money by the prices that the configuration has now, of all and by operation; None and
            empty without prices.
    """

    total: Usage
    operations: dict[str, Usage] = Field(default_factory=dict[str, Usage])
    owners: list[OwnerUsage] = Field(default_factory=list[OwnerUsage])
    omitted: int = 0
    cost: float | None = None
    costs: dict[str, float] = Field(default_factory=dict[str, float])

    def __repr__(self) -> str:
        lines = [f"UsageReport({_cost(self.total)}{_money(self.cost)})"]
        for name, usage in self.operations.items():
            lines.append(f"  {name}: {_cost(usage)}{_money(self.costs.get(name))}")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        spent = [(name, *_cells(usage, self.costs.get(name))) for name, usage in self.operations.items()]
        shown = table("usage", ("operation", *_SPENT), [*spent, ("total", *_cells(self.total, self.cost))])
        if not self.owners:
            return shown
        rows = [(_who(one), one.operation, *_cells(one.usage, one.cost)) for one in self.owners]
        notes = [f"{self.omitted} more are left out of the report"] if self.omitted else []
        return joined(shown, table("by owner", ("owner", "operation", *_SPENT), rows, notes))


_SPENT: Final = ("chat calls", "embedding calls", "input tokens", "output tokens", "ms", "cost")


def _cells(usage: Usage, cost: float | None) -> tuple[object, ...]:
    """The cells of a row in a notebook, as ``_SPENT`` names them."""
    return (
        usage.chat_calls,
        usage.embedding_calls,
        f"{usage.input_tokens:,}",
        f"{usage.output_tokens:,}",
        f"{usage.milliseconds:,.0f}",
        "" if cost is None else f"{cost:.6g}",
    )


def _who(row: OwnerUsage) -> str:
    return row.user_id or row.agent_id or row.run_id or "nobody"


def _money(cost: float | None) -> str:
    return "" if cost is None else f", costs {cost:.6g}"


def _cost(usage: Usage) -> str:
    return (
        f"{usage.chat_calls} chat calls, {usage.embedding_calls} embedding calls, "
        f"{usage.total_tokens} tokens, {usage.milliseconds:.0f} ms"
    )


class HealthCheck(Result):
    """One part and whether it works; ``detail`` says what is known of it."""

    name: str
    ok: bool
    detail: str = ""

    def __repr__(self) -> str:
        return f"{self.name}: {'ok' if self.ok else 'NOT OK'}{', ' if self.detail else ''}{self.detail}"

    __str__ = __repr__


class HealthReport(Result):
    """Whether the parts of a memory work, each looked at for itself."""

    checks: list[HealthCheck]

    @property
    def ok(self) -> bool:
        """Whether all of them do."""
        return all(check.ok for check in self.checks)

    def __repr__(self) -> str:
        state = "ok" if self.ok else "NOT OK"
        return "\n".join([f"HealthReport({state})", *(f"  {check!r}" for check in self.checks)])

    __str__ = __repr__


class StoreStats(Result):
    """How much a store holds.

    Attributes:
        memories: Current ones. ``versions``: closed ones included.
        bytes: On disk, journal included.
        tables: Rows by table, as far as they are quickly counted.
    """

    location: str
    owners: int
    memories: int
    versions: int
    messages: int
    vectors: int
    bytes: int
    tables: dict[str, int]

    def __repr__(self) -> str:
        return (
            f"StoreStats({self.location}: {self.owners} owners, {self.memories} memories in {self.versions} "
            f"versions, {self.messages} messages, {self.vectors} vectors, {self.bytes:,} bytes)"
        )

    __str__ = __repr__
