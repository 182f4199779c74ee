"""Whose word a fact is, and what it may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from memkit_core.filters import parse_filter
from memkit_core.pipeline.trust import hides_untrusted, least_trusted, screen, trust_of
from memkit_core.pipeline.voices import Voices
from memkit_core.policies import TrustPolicy
from memkit_core.types import Fact, Message, Scope


def said(*turns: tuple[str, str]) -> list[tuple[int, Message]]:
    roles = {"document": "tool", "image": "user"}
    return [
        (n, Message(role=roles.get(origin, origin), content=text, observed_at=0, origin=origin))  # type: ignore[arg-type]
        for n, (origin, text) in enumerate(turns)
    ]


@pytest.mark.parametrize(
    ("origin", "user", "without"),
    [
        ("user", "trusted", "trusted"),
        ("image", "trusted", "trusted"),
        ("assistant", "untrusted", "trusted"),
        ("system", "untrusted", "trusted"),
        ("tool", "untrusted", "untrusted"),
        ("document", "untrusted", "untrusted"),
        ("something new", "untrusted", "untrusted"),
    ],
)
def test_trust_goes_by_origin_and_scope(origin: str, user: str, without: str) -> None:
    assert trust_of(origin, user_id="u") == user
    assert trust_of(origin, user_id=None) == without


def test_the_least_trusted_origin_decides() -> None:
    assert least_trusted(["user", "image", "tool", "assistant"]) == "tool"
    assert least_trusted(["user", "document", "tool"]) == "document"
    assert least_trusted(["tool", "something new"]) == "something new"


@pytest.mark.parametrize(
    ("fact", "cites", "turns", "origin"),
    [
        ("Ana lives in Rome", [0], [("user", "I live in Rome")], "user"),
        ("Ana lives in Rome", [0, 1], [("user", "I live in Rome"), ("tool", "Rome: sunny")], "tool"),
        ("Ana lives in Rome", [], [("user", "I live in Rome"), ("assistant", "Nice!")], "assistant"),
        ("Ana lives in Rome", [], [("user", "Hi"), ("document", "x"), ("tool", "y")], "document"),
        # An answer is its user's, also where the question has the words.
        ("Ana lives in Rome", [1], [("assistant", "Do you live in Rome?"), ("user", "Yes")], "user"),
        ("Ana lives in Rome", [0, 1], [("assistant", "Do you live in Rome?"), ("user", "Yes")], "user"),
        ("Ana lives in Rome", [0, 1], [("assistant", "You live in Rome."), ("user", "Ok")], "assistant"),
        ("Ana lives in Rome", [1], [("tool", "Does Ana live in Rome?"), ("user", "Yes")], "tool"),
        # Citations may be false.
        ("Ana owes Eve 900", [0], [("user", "Look it up"), ("tool", "Ana owes Eve 900")], "tool"),
        ("Ana owes Eve 900", [0], [("user", "Look it up"), ("document", "Ana owes Eve 900")], "document"),
        ("Ana owes Eve 900", [0], [("user", "Hm"), ("assistant", "Ana owes Eve 900")], "assistant"),
        ("Ana owes Eve 900", [0], [("user", "I, Ana, owe Eve 900"), ("tool", "Ana owes Eve 900")], "user"),
        # An assistant that says again, in other words, what its user said is no source.
        (
            "Ana moved to Lyon for a job",
            [0],
            [("user", "I relocated to Lyon, new job"), ("assistant", "So you moved to Lyon for a job, Ana!")],
            "user",
        ),
    ],
)
def test_origin(fact: str, cites: list[int], turns: list[tuple[str, str]], origin: str) -> None:
    assert Voices(said(*turns)).origin(fact, cites) == origin


def test_what_was_said_before_can_be_a_source_too() -> None:
    before = [(-1, message) for _, message in said(("tool", "Ana owes Eve 900"))]
    voices = Voices([*before, *said(("user", "Look it up"))])
    assert voices.origin("Ana owes Eve 900", [0]) == "tool"


def cases(name: str) -> list[tuple[str, bool, list[tuple[str, str]], int]]:
    """A fact, whether it is its user's, what was said, and the message it cites."""
    found: list[tuple[str, bool, list[tuple[str, str]], int]] = []
    for line in (Path(__file__).parent / "citations.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, sign, turns, fact = line.split(" | ")
        parts = [part.partition(": ") for part in turns.split(" // ")]
        (cited,) = (n for n, part in enumerate(parts) if part[0].startswith(">"))
        if kind == name:
            found.append((fact, sign == "+", [(one.lstrip(">"), text) for one, _, text in parts], cited))
    return found


@pytest.mark.parametrize(("fact", "own", "turns", "cited"), cases("tuned"))
def test_false_citations(fact: str, own: bool, turns: list[tuple[str, str]], cited: int) -> None:
    assert (Voices(said(*turns)).origin(fact, [cited]) == "user") == own


def test_what_the_documentation_says_of_false_citations(source_root: Path) -> None:
    told = (source_root / "docs" / "howto" / "trust.md").read_text(encoding="utf-8")
    for name, label in (("tuned", "tuned"), ("held", "held out")):
        seen = [
            (own, Voices(said(*turns)).origin(fact, [cited]) == "user")
            for fact, own, turns, cited in cases(name)
        ]
        alarms, mine = sum(own and not kept for own, kept in seen), sum(own for own, _ in seen)
        caught, theirs = sum(not own and not kept for own, kept in seen), sum(not own for own, _ in seen)
        assert f"| {label} | {alarms} of {mine} | {caught} of {theirs} |" in told


def test_an_own_word_in_another_message_of_the_user_is_no_borrowed_one() -> None:
    turns = said(
        ("user", "My sister is called Clara"), ("user", "She marries in May"), ("tool", "Clara: 5 hits")
    )
    assert Voices(turns).origin("Ana's sister Clara marries in May", [1]) == "user"


def test_a_filter_on_trust_asks_for_what_is_untrusted() -> None:
    quarantine, flag, reject = (TrustPolicy(untrusted=name) for name in ("quarantine", "flag", "reject"))  # type: ignore[arg-type]
    assert hides_untrusted(quarantine, None)
    assert hides_untrusted(reject, None)
    assert not hides_untrusted(flag, None)
    assert not hides_untrusted(quarantine, None, asked=True)
    assert hides_untrusted(quarantine, parse_filter({"metadata.trust": "untrusted"}))
    assert not hides_untrusted(quarantine, parse_filter({"OR": [{"kind": "plan"}, {"NOT": {"trust": "x"}}]}))
    assert not hides_untrusted(quarantine, parse_filter({"trust": {"exists": True}}))


def test_reject_reports_what_it_leaves_out() -> None:
    facts = (Fact(text="a"), Fact(text="b", origin="tool"), Fact(text="c", origin="assistant"))
    kept, rejected = screen(facts, Scope(user_id="u"), TrustPolicy(untrusted="reject"))
    assert [fact.text for fact in kept] == ["a"]
    assert [one.item for one in rejected] == ["b", "c"]
    kept, rejected = screen(facts, Scope(agent_id="a"), TrustPolicy(untrusted="reject"))
    assert [fact.text for fact in kept] == ["a", "c"]
    assert screen(facts, Scope(user_id="u"), TrustPolicy()) == (facts, ())
