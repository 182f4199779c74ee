"""Statements and what was said, in four languages: which are borne out, and which are not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memkit_core.pipeline.grounding.check import doubts_about
from memkit_core.pipeline.grounding.evidence import Readings
from memkit_core.types import Fact, Message, parse_time, to_micros

HERE = Path(__file__).parent
SAID = to_micros(datetime(2024, 5, 10, 12, tzinfo=UTC))


def read(name: str) -> list[tuple[str, bool, list[Message], Fact]]:
    cases: list[tuple[str, bool, list[Message], Fact]] = []
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        language, sign, said, text, *when = (part.strip() for part in line.split(" | "))
        messages = [spoken(part.strip()) for part in said.split("//")]
        last = len(messages) - 1
        fact = Fact(
            text=text,
            cites=(last,),
            context=(0, len(messages)),
            event_time=parse_time(when[0], "when") if when else None,
            actor_id=messages[-1].actor_id,
        )
        cases.append((language, sign == "+", messages, fact))
    return cases


def spoken(part: str) -> Message:
    name, found, text = part.partition(": ")
    if not found or " " in name:
        name, text = "Ana", part
    if name == "assistant":
        return Message(role="assistant", content=text, observed_at=SAID, origin="assistant")
    return Message(role="user", content=text, actor_id=name, observed_at=SAID)


def doubts(messages: list[Message], fact: Fact) -> tuple[str, ...]:
    return doubts_about(fact, Readings(messages).evidence(fact.cites))


def figures(name: str) -> dict[str, Any]:
    good = [bool(doubts(messages, fact)) for _, borne, messages, fact in read(name) if borne]
    bad = [bool(doubts(messages, fact)) for _, borne, messages, fact in read(name) if not borne]
    return {"good": len(good), "alarms": sum(good), "bad": len(bad), "caught": sum(bad)}


@pytest.mark.parametrize(
    ("borne", "messages", "fact"),
    [
        pytest.param(*case[1:], id=f"{case[0]}-{case[3].text}")
        for case in (*read("tuned.txt"), *read("second.txt"))
    ],
)
def test_the_table(borne: bool, messages: list[Message], fact: Fact) -> None:
    found = doubts(messages, fact)
    assert bool(found) != borne, found


def test_what_the_documentation_says_of_cases_that_nothing_was_tuned_for(source_root: Path) -> None:
    told = (source_root / "docs" / "howto" / "grounding.md").read_text(encoding="utf-8")
    for name, label in (("tuned.txt", "tuned"), ("second.txt", "second"), ("held_out.txt", "held out")):
        found = figures(name)
        row = f"| {label} | {found['alarms']} of {found['good']} | {found['caught']} of {found['bad']} |"
        assert row in told, row
