"""What an evaluation found, as a dict and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .locomo import SCORED
from .metrics import CUTS, Outcome, percentile, recalls

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LocomoReport:
    """Evidence recall on LoCoMo.

    Attributes:
        outcomes: One for each question that has evidence.
        skipped: Questions without any evidence in the conversation; they are not scored.
        unknown_evidence: Evidence ids that name no turn; they were dropped.
        bytes: Size of the store on disk after everything was added.
        ingest_seconds: Wall time of adding all sessions.
    """

    outcomes: tuple[Outcome, ...]
    conversations: int
    turns: int
    skipped: int
    unknown_evidence: int
    bytes: int
    ingest_seconds: float

    @property
    def scored(self) -> list[Outcome]:
        """The outcomes that count in the totals: categories 1 to 4."""
        return [one for one in self.outcomes if one.category in SCORED]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON: recall 0 to 100, latency in milliseconds, categories 1 to 4 in the totals."""
        times = [one.milliseconds for one in self.outcomes]
        categories = sorted({one.category for one in self.outcomes})
        return {
            **recalls(self.scored),
            "by_category": {
                str(category): {"questions": len(mine), **recalls(mine)}
                for category in categories
                for mine in [[one for one in self.outcomes if one.category == category]]
            },
            "latency_ms": {"p50": _rounded(percentile(times, 50)), "p95": _rounded(percentile(times, 95))},
            "bytes": self.bytes,
            "questions": len(self.scored),
            "skipped": self.skipped,
            "unknown_evidence": self.unknown_evidence,
            "conversations": self.conversations,
            "turns": self.turns,
            "ingest_seconds": round(self.ingest_seconds, 2),
        }

    def table(self) -> Table:
        """Recall by category and in total, for a terminal."""
        from rich.table import Table

        table = Table(title=f"LoCoMo evidence recall, {len(self.scored)} questions", caption=self._caption())
        table.add_column("")
        table.add_column("questions", justify="right")
        for heading in ("", "any ", "session "):
            for k in CUTS:
                table.add_column(f"{heading}R@{k}", justify="right")
        data = self.to_dict()
        for category, part in data["by_category"].items():
            label = f"category {category}" + ("" if int(category) in SCORED else " (not in the total)")
            table.add_row(label, str(part["questions"]), *_cells(part))
        table.add_section()
        table.add_row("total", str(data["questions"]), *_cells(data), style="bold")
        return table

    def _caption(self) -> str:
        latency = self.to_dict()["latency_ms"]
        return (
            f"{self.conversations} conversations, {self.turns:,} turns added in {self.ingest_seconds:.1f} s, "
            f"{self.bytes / 1_000_000:.1f} MB; search p50 {latency['p50']} ms, p95 {latency['p95']} ms"
        )


def _cells(part: dict[str, Any]) -> list[str]:
    rows = (part["turn"]["fractional"], part["turn"]["any"], part["session"]["any"])
    return ["-" if row[f"R@{k}"] is None else f"{row[f'R@{k}']:.1f}" for row in rows for k in CUTS]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
