"""Figures that were said in words: years in two parts, and parts of large numbers."""

from __future__ import annotations

import pytest

from memkit_core.pipeline.grounding.check import doubts_about
from memkit_core.pipeline.grounding.evidence import Readings
from memkit_core.types import Fact, Message

SAID = (
    ("I was born in nineteen eighty-five", "Ana was born in 1985", "Ana was born in 1986"),
    ("I moved in twenty twenty-one", "Ana moved in 2021", "Ana moved in 2012"),
    ("I moved in twenty ten", "Ana moved in 2010", "Ana moved in 2011"),
    ("I was born in nineteen hundred and five", "Ana was born in 1905", "Ana was born in 1950"),
    ("I earn half a million", "Ana earns 500000", "Ana earns 50000"),
    ("I earn half a million", "Ana earns 500,000", "Ana earns 5,000,000"),
    ("It costs two and a half million euros", "It costs 2.5 million euros", "It costs 2 million euros"),
    ("It costs three quarters of a million", "It costs 750,000", "It costs 250,000"),
    ("It costs a quarter of a million", "It costs 250,000", "It costs 25,000"),
    ("A hundred thousand people came", "100,000 people came", "200,000 people came"),
    ("I ate half a dozen eggs", "Ana ate 6 eggs", "Ana ate 5 eggs"),
    ("Nací en mil novecientos ochenta y cinco", "Ana nació en 1985", "Ana nació en 1986"),
    ("Gano medio millón", "Ana gana 500000", "Ana gana 50000"),
    ("Costó dos millones y medio", "Costó 2,5 millones", "Costó 3,5 millones"),
    ("Compré media docena de huevos", "Ana compró 6 huevos", "Ana compró 7 huevos"),
    ("Ich verdiene eine halbe Million", "Ana verdient 500.000", "Ana verdient 50.000"),
    ("Es kostete anderthalb Millionen", "Es kostete 1,5 Millionen", "Es kostete 2,5 Millionen"),
    ("Es kostete zweieinhalb Millionen", "Es kostete 2.500.000", "Es kostete 3.500.000"),
    ("Es kostete eine Viertelmillion", "Es kostete 250.000", "Es kostete 240.000"),
    ("Zwei Millionen kamen", "2.000.000 kamen", "3.000.000 kamen"),
    ("Ich bin neunzehnhundertfünfundachtzig geboren", "Ana ist 1985 geboren", "Ana ist 1986 geboren"),
    ("我挣五十万", "安娜挣500000", "安娜挣50000"),
    ("我生于一九八五年", "安娜生于1985年", "安娜生于1986年"),
)


def doubts(said: str, fact: str) -> list[str]:
    message = Message(role="user", content=said, actor_id="Ana", observed_at=1_700_000_000_000_000)
    found = doubts_about(Fact(text=fact, cites=(0,)), Readings([message]).evidence((0,)))
    return [doubt for doubt in found if not doubt.startswith("name")]


@pytest.mark.parametrize(("said", "right", "wrong"), SAID)
def test_words_bear_out_their_figure_and_no_other(said: str, right: str, wrong: str) -> None:
    assert doubts(said, right) == []
    assert doubts(said, wrong)


@pytest.mark.parametrize(("words", "figure", "other"), SAID)
def test_figures_bear_out_their_words(words: str, figure: str, other: str) -> None:
    assert doubts(figure, words) == []


def test_two_numbers_side_by_side_stay_two_as_well() -> None:
    said = "There are twenty nineteen year olds in the course"
    assert doubts(said, "There are 20 people of 19 years in the course") == []
