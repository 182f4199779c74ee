"""When something happened: against the message's own clock, never against the day of an import."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit_core import Memory
from memkit_core.pipeline.when import event_time
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_core.types import FIRST_MICROS, LAST_MICROS, Message, to_datetime, to_micros

SAID = datetime(2024, 5, 8, 14, 30, tzinfo=UTC)  # a Wednesday
NOW = to_micros(datetime(2026, 11, 22, 12, tzinfo=UTC))


def message(text="…", said=SAID, zone=0):
    return Message(role="user", content=text, observed_at=to_micros(said), zone=zone)


def day(said="", text="A fact", *messages):
    found = event_time(said, text, messages or (message(),), now=NOW)
    return found.time if found.time is None else to_datetime(found.time)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        (" 2024-05-07 ", datetime(2024, 5, 7, tzinfo=UTC)),
        ("2024-05-07T10:15", datetime(2024, 5, 7, 10, 15, tzinfo=UTC)),
        ("2024-05-07T10:15:00+02:00", datetime(2024, 5, 7, 8, 15, tzinfo=UTC)),
        ("2024-05-07/2024-05-09", datetime(2024, 5, 7, tzinfo=UTC)),
        ("2024-05-07 to 2024-05-09", datetime(2024, 5, 7, tzinfo=UTC)),
        ("", None),
        ("soon", None),
        ("2024-13-40", None),
        ("9999-12-31T23:59:00-23:00", None),
    ],
)
def test_what_a_model_writes(said, expected):
    assert day(said) == expected


def test_an_hour_without_a_zone_is_by_the_speakers_clock():
    assert day("2024-05-07T10:15", "x", message(zone=540)) == datetime(2024, 5, 7, 1, 15, tzinfo=UTC)
    assert day("2024-05-07", "x", message(zone=540)) == datetime(2024, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Moved yesterday", date(2024, 5, 7)),
        ("Met Bo the day before yesterday", date(2024, 5, 6)),
        ("Leaves tomorrow", date(2024, 5, 9)),
        ("Broke a leg three weeks ago", date(2024, 4, 17)),
        ("Married last friday", date(2024, 5, 3)),
        ("Flies next Monday", date(2024, 5, 13)),
        ("Moves next month", date(2024, 6, 1)),
        ("Vorgestern umgezogen", date(2024, 5, 6)),
        ("Ist vor drei Tagen angekommen", date(2024, 5, 5)),
        ("Hat letzte Woche gekündigt", date(2024, 4, 29)),
        ("Ayer se mudó", date(2024, 5, 7)),
        ("Se casó hace dos años", date(2022, 5, 8)),
        ("Empezó la semana pasada", date(2024, 4, 29)),
        ("Llegó el lunes pasado", date(2024, 5, 6)),
        ("昨天搬家了", date(2024, 5, 7)),
        ("上周五去了北京", date(2024, 5, 3)),
        ("三天前到的", date(2024, 5, 5)),
        ("去年结婚", date(2023, 1, 1)),
        ("Moves to Rome in three weeks", date(2024, 5, 29)),
        ("Will be back in twelve days", date(2024, 5, 20)),
        ("Has an exam in a week", date(2024, 5, 15)),
        ("Flies home eleven days from now", date(2024, 5, 19)),
        ("Came twelve months ago", date(2023, 5, 8)),
        ("Zieht in drei Wochen um", date(2024, 5, 29)),
        ("Hat in zwölf Tagen eine Prüfung", date(2024, 5, 20)),
        ("Kam vor elf Tagen an", date(2024, 4, 27)),
        ("Se muda dentro de tres semanas", date(2024, 5, 29)),
        ("Llegó hace tres días", date(2024, 5, 5)),
        ("三周后搬家", date(2024, 5, 29)),
        ("十二天以前到的", date(2024, 4, 26)),
        ("两个月之后考试", date(2024, 7, 8)),
        ("Learned Dutch in three weeks", None),
        ("Runs 50 km in a week", None),
        ("Can read a book in two days", None),
        ("Hat in drei Wochen Deutsch gelernt", None),
        ("三周后他离开了", None),
        ("Came twenty two days ago", None),
        ("Moves in a few weeks", None),
        ("Left a couple of weeks ago", None),
        ("二十三天前到的", None),
        ("Lived there for two years in three towns", None),
        ("Gets up early in the morning", None),
        ("Corre por la mañana", None),
        ("Came yesterday and leaves tomorrow", None),
    ],
)
def test_clear_expressions_are_worked_out_in_code(text, expected):
    found = day("", text)
    assert (found and found.date()) == expected
    if expected is not None:
        wrong = day("2026-11-22", text)
        assert wrong.date() == expected


def test_a_models_date_within_what_is_meant_stays():
    assert day("2024-05-01", "Started last week").date() == date(2024, 5, 1)


def test_yesterday_just_before_midnight_in_tokyo_is_tokyos_yesterday():
    late = datetime(2024, 5, 8, 14, 30, tzinfo=UTC)  # 23:30 in Tokyo, the 8th
    early = datetime(2024, 5, 8, 15, 30, tzinfo=UTC)  # 0:30, the 9th
    assert day("", "Moved yesterday", message(said=late, zone=540)).date() == date(2024, 5, 7)
    assert day("", "Moved yesterday", message(said=early, zone=540)).date() == date(2024, 5, 8)


def test_the_day_of_processing_is_not_believed_of_an_old_message():
    old = message("I saw it on Tuesday")
    found = event_time("2026-11-22", "Saw it", [old], now=NOW)
    assert found.time is None
    assert "processing" in found.problem
    assert day("2026-11-22", "Saw it", message("I saw it yesterday")).date() == date(2024, 5, 7)
    assert day("2026-11-22", "Will fly", message("I fly on 22 November 2026")).date() == date(2026, 11, 22)
    recent = message(said=datetime(2026, 11, 22, 8, tzinfo=UTC))
    assert day("2026-11-22", "Saw it", recent).date() == date(2026, 11, 22)


@given(
    st.text(max_size=40)
    | st.sampled_from(["9999 years ago", "vor 999 Jahren", "last year", "nächsten Montag"]),
    st.text(max_size=30),
    st.integers(FIRST_MICROS, LAST_MICROS),
    st.integers(-1439, 1439),
)
def test_nothing_that_is_said_raises(text, said, at, zone):
    event_time(said, text, [Message(role="user", content=text, observed_at=at, zone=zone)], now=NOW)


@pytest.mark.parametrize(
    "text", ["I moved to Rome yesterday", "Me mudé ayer", "昨天我搬家了", "Gestern umgezogen"]
)
def test_an_import_of_old_conversations_never_yields_todays_dates(tmp_path, text):
    today = datetime.now(UTC).date().isoformat()
    chat = ScriptedChatModel(
        [
            {
                "facts": [
                    {"text": "Moved", "cites": [0], "when": today},
                    {"text": text, "cites": [0], "when": today},
                ]
            }
        ]
    )
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=32), store=tmp_path / "m.db") as memory:
        memory.add({"role": "user", "content": text, "observed_at": "2023-05-07T23:30:00+09:00"}, user_id="u")
        items = memory.get_all(user_id="u").results
        assert {item.event_time.date() for item in items} == {date(2023, 5, 6)}
        assert {item.valid_from.date() for item in items} == {date(2023, 5, 6)}
