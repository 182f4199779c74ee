"""Medians, ratios, bars; as a table for people and as JSON."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .tokens import counted

_BESIDE = re.compile(r"(?P<what>add|search) beside (?P<rows>[\d,]+)\.cpu")
_MINE = "memkit"
_NO_COST = ("hits", "calls", "facts lost")


@dataclass(slots=True)
class Row:
    """One subject at one operation.

    Attributes:
        about: What holds for all its figures.
        note: Where this operation does not mean quite what memkit's does.
        figures: All samples by figure; ``.cpu`` and ``.wall`` are milliseconds.
        prompts: What a model saw: by way of asking, calls, parts as (role or "schema", text).
        problem: Why it could not be measured, or not further.
        failed: Whether that is a failure, and not only a limit of time.
        tokens: The prompts' tokens: by way, calls, parts as (role or "schema", tokens).
    """

    subject: str
    about: str
    note: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, list[list[tuple[str, str]]]] = field(default_factory=dict)
    tokens: dict[str, list[list[tuple[str, int]]]] = field(default_factory=dict)
    problem: str = ""
    failed: bool = False

    def take(self, taken: Mapping[str, Sequence[float]]) -> None:
        for name, values in taken.items():
            self.figures.setdefault(name, []).extend(values)

    def median(self, figure: str) -> float | None:
        values = self.figures.get(figure)
        return statistics.median(values) if values else None


@dataclass(slots=True)
class Outcome:
    """One operation, with the machine's load (one minute) at the start of each round."""

    name: str
    title: str
    bars: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def derive(self) -> None:
        """Figures that follow from others: tokens of prompts, growth from the fewest to the most rows."""
        for row in self.rows:
            row.tokens = counted(row.prompts)
            if row.tokens:  # with several ways to ask, the most expensive one counts
                row.figures["prompt tokens"] = [max(map(_total, row.tokens.values()))]
            for what, stages in _stages(row).items():
                least, most = (row.median(stages[rows]) for rows in (min(stages), max(stages)))
                if len(stages) > 1 and least and most is not None:
                    row.figures[f"{what}, most against fewest others"] = [most / least]


def _stages(row: Row) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for name in row.figures:
        match = _BESIDE.fullmatch(name)
        if match:
            found.setdefault(match["what"], {})[int(match["rows"].replace(",", ""))] = name
    return found


def _total(calls: Sequence[Sequence[tuple[str, int]]]) -> int:
    return sum(tokens for call in calls for _, tokens in call)


def machine() -> dict[str, Any]:
    return {"system": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()}


def as_json(outcomes: Sequence[Outcome], *, quick: bool) -> dict[str, Any]:
    """Everything, the samples and the prompts' tokens by part included; not the prompts themselves."""
    told: list[dict[str, Any]] = []
    for outcome in outcomes:
        whole = asdict(outcome)
        for row, held in zip(whole["rows"], outcome.rows, strict=True):
            del row["prompts"]
            row["medians"] = {name: held.median(name) for name in held.figures}
        told.append(whole)
    return {"machine": machine(), "quick": quick, "operations": told}


def as_markdown(outcomes: Sequence[Outcome], *, quick: bool) -> str:
    """A section for each operation: how it went on which machine, and what is not quite the same."""
    on = machine()
    lines = [f"{on['system']}, Python {on['python']}, {on['cpus']} CPUs."]
    if quick:
        lines.append("**A quick run with tiny sizes: it shows that everything works, not how fast it is.**")
    for outcome in outcomes:
        lines += ["", f"### {outcome.title} (`{outcome.name}`)", ""]
        lines += _aligned(_table(outcome))
        if outcome.loads:
            lines += ["", f"Machine load {min(outcome.loads):.1f} to {max(outcome.loads):.1f}."]
        remarks = list(_remarks(outcome))
        lines += ["", *remarks] if remarks else []
    about = {row.subject: row.about for outcome in outcomes for row in outcome.rows if row.about}
    lines += ["", "### The subjects", "", *(f"- {subject}: {text}." for subject, text in about.items())]
    versions = {name: v for o in outcomes for row in o.rows for name, v in row.versions.items()}
    lines += ["", ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + "."]
    return "\n".join(lines) + "\n"


def _remarks(outcome: Outcome) -> Iterable[str]:
    for row in outcome.rows:
        if row.note:
            yield f"- {row.subject}: {row.note}."
        if row.problem:
            yield f"- {row.subject} **was not measured (further)**: {row.problem.splitlines()[-1]}"
        if len(row.tokens) > 1:
            ways = ", ".join(f"{way} {_total(calls)}" for way, calls in row.tokens.items())
            yield f"- {row.subject}'s prompt tokens by the way of asking: {ways}."


def _table(outcome: Outcome) -> list[list[str]]:
    table = [["what", "", "CPU", "wall", "of memkit's CPU", "of memkit's wall", "samples", "bar"]]
    names = dict.fromkeys(name for row in outcome.rows for name in row.figures)
    for what in dict.fromkeys(re.sub(r"\.(cpu|wall)$", "", name) for name in names):
        mine = next((row for row in outcome.rows if row.subject == _MINE), None)
        for row in outcome.rows:
            timed = [row.median(f"{what}.{clock}") for clock in ("cpu", "wall")]
            plain = row.median(what)
            if plain is not None:
                shown = ["", f"{plain:,.4g}" if plain < 1_000 else f"{plain:,.0f}"]
                ratios = ["", _ratio(plain, mine.median(what) if mine else None)]
            elif any(value is not None for value in timed):
                shown = [_time(value) for value in timed]
                ratios = [
                    _ratio(value, mine.median(f"{what}.{clock}") if mine else None)
                    for value, clock in zip(timed, ("cpu", "wall"), strict=True)
                ]
            else:
                continue
            if row is mine or what in _NO_COST or what.endswith("others"):
                ratios = ["", ""]
            samples = next(len(row.figures[n]) for n in (what, f"{what}.wall") if row.figures.get(n))
            bar = _bar(outcome, row, what) if row is mine else ""
            table.append([what, row.subject, *shown, *ratios, str(samples), bar])
    return table


def _bar(outcome: Outcome, row: Row, what: str) -> str:
    told: list[str] = []
    for figure, limit in outcome.bars.items():
        value = row.median(figure)
        if value is not None and figure in (what, f"{what}.cpu", f"{what}.wall"):
            clock = figure.removeprefix(what).removeprefix(".")
            unit = f" ms {clock}" if clock else ""
            told.append(f"≤ {limit:,g}{unit}: {'met' if value <= limit else 'MISSED'}")
    return ", ".join(told)


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    if abs(milliseconds) >= 1_000:
        return f"{milliseconds / 1_000:.3g} s"
    return f"{milliseconds:.3g} ms" if abs(milliseconds) >= 0.1 else f"{milliseconds * 1_000:.3g} µs"


def _ratio(value: float | None, mine: float | None) -> str:
    return f"{value / mine:.3g} x" if value is not None and mine else ""


def _aligned(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    told = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [told[0], rule, *told[1:]]
