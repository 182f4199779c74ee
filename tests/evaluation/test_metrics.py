"""Evidence recall, by hand."""

from __future__ import annotations

import pytest

from memkit_core.evaluation.metrics import Outcome, at_least_one, fractional, percentile, recalls


def outcome(gold: tuple[str, ...], ranked: tuple[str | None, ...], category: int = 4) -> Outcome:
    return Outcome(
        category=category,
        gold=gold,
        gold_sessions=frozenset(turn.split(":")[0] for turn in gold),
        ranked=ranked,
        ranked_sessions=tuple(None if turn is None else turn.split(":")[0] for turn in ranked),
        milliseconds=1.0,
    )


def test_one_question() -> None:
    ranked = ("D1:9", None, "D1:2", "D3:1", "D4:1", "D1:1")
    assert fractional(("D1:1", "D1:2"), ranked, 5) == 0.5
    assert fractional(("D1:1", "D1:2"), ranked, 6) == 1.0
    assert at_least_one(("D1:1", "D1:2"), ranked, 2) == 0.0
    assert at_least_one(("D1:1", "D1:2"), ranked, 3) == 1.0


def test_a_mean_over_questions_in_percent() -> None:
    half = outcome(("D1:1", "D2:1"), ("D1:1", "D9:9"))
    late = outcome(("D5:5",), (*["D7:1"] * 7, "D5:9", "D5:5"))
    found = recalls([half, late])
    assert found["turn"]["fractional"] == {"R@5": 25.0, "R@10": 75.0, "R@20": 75.0}
    assert found["turn"]["any"] == {"R@5": 50.0, "R@10": 100.0, "R@20": 100.0}
    assert found["session"]["any"] == {"R@5": 50.0, "R@10": 100.0, "R@20": 100.0}


def test_no_question_has_no_recall() -> None:
    assert recalls([])["turn"]["any"] == {"R@5": None, "R@10": None, "R@20": None}


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 95, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(100)], 95, 94.0),
    ],
)
def test_percentiles(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected
