"""Any text: the checks never raise, and a statement is borne out by itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core.pipeline.grounding.check import doubts_about, foreign_to
from memkit_core.pipeline.grounding.evidence import Readings
from memkit_core.pipeline.grounding.numbers import readings
from memkit_core.types import FIRST_MICROS, LAST_MICROS, Fact, Message

PIECES = st.sampled_from(
    (
        "not no never 1.500 1,5 12:30 2024-02-30 31.12. May 5 next last Friday ago in 3 weeks years "
        "不 没有 三 万 上周五 去年 Ana Oslo I'm nicht kein ya no hace vor zwei Tagen ? . , ( ) $ % 岁 "
        "٣ ½ ﷺ 99999999999 '"
    ).split()
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map(" ".join))
TIMES = st.integers(FIRST_MICROS, LAST_MICROS)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS, TIMES, st.none() | TIMES, st.integers(-840, 840))
def test_nothing_raises(said: str, claimed: str, when: int, event: int | None, zone: int) -> None:
    message = Message(role="user", content=said, observed_at=when, zone=zone)
    evidence = Readings([message], [message]).evidence((0,))
    doubts = doubts_about(Fact(text=claimed, cites=(0,), event_time=event), evidence)
    assert all(isinstance(doubt, str) and len(doubt) < 200 for doubt in doubts)
    foreign_to(claimed, (said, ""), evidence)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TIMES)
def test_numbers_and_names_of_a_text_are_in_it(said: str, when: int) -> None:
    message = Message(role="user", content=said, observed_at=when)
    doubts = doubts_about(Fact(text=said, cites=(0,)), Readings([message]).evidence((0,)))
    assert not [doubt for doubt in doubts if doubt.startswith(("number", "name"))]


@given(st.integers(0, 10**12))
def test_a_number_is_read_in_every_common_writing(value: int) -> None:
    for mark in (",", ".", "'", " "):
        assert str(value) in readings(f"{value:,}".replace(",", mark))


def test_no_message_at_all_bears_out_no_number() -> None:
    assert doubts_about(Fact(text="Ana has 3 cats"), Readings([]).evidence(())) != ()
