"""What a question asks for: people, dates, terms."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core.pipeline.plan import plan
from memkit_core.types import to_datetime, to_micros

NOW = to_micros(datetime(2026, 11, 22, 15, tzinfo=UTC))
PEOPLE = ("Nadia", "Oskar", "Jane Doe", "小明", "user", "nadia@example.org", "Will", "James", "4f1c-aa", "Q")


def person(question: str) -> tuple[str | None, str]:
    found = plan(question, actors=PEOPLE, now=NOW)
    return found.named_actor, found.embed_text


def dates(question: str) -> list[tuple[str, str]]:
    found = plan(question, actors=(), now=NOW)
    return [(to_datetime(a).date().isoformat(), to_datetime(b).date().isoformat()) for a, b in found.between]


@pytest.mark.parametrize(
    ("question", "actor", "embedded"),
    [
        ("What is Nadia's hobby?", "Nadia", "What is my hobby?"),
        ("what does nadia like", "Nadia", "what does I like"),
        ("Where are NADIA’S keys?", "Nadia", "Where are my keys?"),
        ("Who walks James' dog?", "James", "Who walks my dog?"),
        ("What did Jane say?", "Jane Doe", "What did I say?"),
        ("What did Jane Doe say?", "Jane Doe", "What did I say?"),
        ("Did Nadia call Oskar?", None, "Did I call I?"),
        ("What about Nadiana and jane?", None, "What about Nadiana and jane?"),
        ("Nadia-like people", None, "Nadia-like people"),
        ("Will the user see nadia@example.net?", "Nadia", "Will the user see I@example.net?"),
        ("What does Q want?", None, "What does Q want?"),
        ("小明喜欢什么?", "小明", "小明喜欢什么?"),
        ("Nadia喜欢什么?", "Nadia", "Nadia喜欢什么?"),
        ("", None, ""),
    ],
)
def test_people(question: str, actor: str | None, embedded: str) -> None:
    assert person(question) == (actor, embedded)


def test_a_given_name_that_two_people_share_names_nobody() -> None:
    assert plan("What did Jane say?", actors=["Jane Doe", "Jane Roe"], now=NOW).named_actor is None


def test_the_longer_name_wins() -> None:
    assert plan("Where is Ana Maria?", actors=["Ana", "Ana Maria"], now=NOW).named_actor == "Ana Maria"


def test_without_actors_nothing_is_rewritten() -> None:
    assert plan("What is Nadia's hobby?", actors=(), now=NOW).embed_text == "What is Nadia's hobby?"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was on 2023-05-08?", [("2023-05-08", "2023-05-09")]),
        ("the meeting of 8 May 2023", [("2023-05-08", "2023-05-09")]),
        ("the 8th of May, 2023", [("2023-05-08", "2023-05-09")]),
        ("May 8, 2023", [("2023-05-08", "2023-05-09")]),
        ("Sept. 3rd 2023", [("2023-09-03", "2023-09-04")]),
        ("on 28.2.2024", [("2024-02-28", "2024-02-29")]),
        ("on 3/4/2024", [("2024-04-03", "2024-04-04"), ("2024-03-04", "2024-03-05")]),
        ("on 3/14/2024", [("2024-03-14", "2024-03-15")]),
        ("2023年5月8日做了什么", [("2023-05-08", "2023-05-09")]),
        ("in December 2022", [("2022-12-01", "2023-01-01")]),
        ("all of 2022", [("2022-01-01", "2023-01-01")]),
        ("in 2022 and 2023", [("2022-01-01", "2023-01-01"), ("2023-01-01", "2024-01-01")]),
        ("31 June 2023", []),
        ("yesterday", [("2026-11-21", "2026-11-22")]),
        ("this week", [("2026-11-16", "2026-11-23")]),
        ("last month", [("2026-10-01", "2026-11-01")]),
        ("last year", [("2025-01-01", "2026-01-01")]),
        ("may I march on?", []),
        ("it cost 2000.50 or $1999", []),
        ("What is the code 20231?", []),
    ],
)
def test_dates(question: str, expected: list[tuple[str, str]]) -> None:
    assert dates(question) == expected


def test_a_month_without_a_year_may_be_any_years() -> None:
    found = plan("Where did we go in May?", actors=(), now=NOW)
    assert found.months == {5}
    assert dates("Where did we go in May?") == [("2026-05-01", "2026-06-01")]
    assert dates("the december party") == [("2025-12-01", "2026-01-01")]


def test_a_day_without_a_year_is_looked_for_in_the_years_around_now() -> None:
    years = [start[:4] for start, _ in dates("on 8 May")]
    assert years == ["2027", "2026", "2025", "2024", "2023", "2022"]


PIECES = (
    *(
        "'s",
        "May",
        "30",
        "February",
        "2023",
        "-",
        "/",
        "13",
        "月",
        "年",
        "last",
        "week",
        " ",
        "\0",
        "99",
        ",",
    ),
    *("\ud800", "٣", ".", "of", "ß", "İ", "0000-00-00", "31/31/2023", "29 February 2023", "0", "in "),
)
HOSTILE = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from((*PEOPLE, *PIECES)),
        max_size=25,
    ).map("".join),
)


@settings(max_examples=5_000, deadline=None)
@given(
    question=HOSTILE, actors=st.lists(st.one_of(st.sampled_from(PEOPLE), st.text(max_size=12)), max_size=4)
)
def test_any_string_has_a_plan(question: str, actors: list[str]) -> None:
    found = plan(question, actors=actors, now=NOW)
    assert found.named_actor is None or found.named_actor in actors
    assert len(found.terms) <= 64
    assert all(start < end for start, end in found.between)
    assert found.months <= set(range(1, 13))
    assert found == plan(question, actors=actors, now=NOW)


@pytest.mark.parametrize(
    "piece", ["May ", "1 ", "a", "2023-", " ", "Nadia ", "Nadia'", "5月", "last ", "in "]
)
def test_a_very_long_question_is_planned_too(piece: str) -> None:
    assert plan(piece * (250_000 // len(piece)), actors=PEOPLE, now=NOW).terms is not None
