"""A small conversation of our own in the layouts that LoCoMo files come in."""

from __future__ import annotations

from typing import Any

import pytest


def _turn(turn_id: str, speaker: str, text: str, **more: str) -> dict[str, Any]:
    return {"dia_id": turn_id, "speaker": speaker, "text": text, **more}


@pytest.fixture
def dialogue() -> dict[str, Any]:
    """Two people, two sessions, and a session that never took place."""
    return {
        "speaker_a": "Ilse",
        "speaker_b": "Tomas",
        "session_1_date_time": "9:05 am on 3 March, 2024",
        "session_1": [
            _turn("D1:1", "Ilse", "Good morning! Did anything happen at the workshop?"),
            _turn("D1:2", "Tomas", "I finally restored the old cello, it took eleven weeks."),
            _turn("D1:3", "Ilse", "Well done. My beehives survived the winter, all four of them."),
            _turn("D1:4", "Tomas", "", blip_caption="a cello on a wooden bench"),
        ],
        "session_2_date_time": "7:40 pm on 12 June, 2024",
        "session_2": [
            _turn("D2:1", "Tomas", "We moved to Brno last week because of the new concert hall."),
            _turn("D2:2", "Ilse", "How exciting! I was stung twice while harvesting lavender honey."),
            _turn("D2:3", "Tomas", "Ouch. I am teaching my niece to play the violin."),
        ],
        "session_3_date_time": "1:00 pm on 1 July, 2024",
        "session_10_date_time": "1:00 pm on 2 September, 2024",
        "session_10": [_turn("D10:1", "Ilse", "I sold nine jars at the autumn market.")],
    }


@pytest.fixture
def questions() -> list[dict[str, Any]]:
    """One of every kind of evidence."""
    return [
        {"question": "Which instrument did Tomas restore?", "category": 4, "evidence": ["D1:2"]},
        {"question": "When did Tomas move to Brno?", "category": 2, "evidence": ["D02:01"]},
        {"question": "What has Ilse done with honey?", "category": 1, "evidence": ["D2:2; D10:1", "D1:3"]},
        {"question": "Where do Tomas's instruments stand?", "category": 3, "evidence": ["1 : 4", "D77:1"]},
        {"question": "Which harp did Ilse restore?", "category": 5, "evidence": ["D1:2"]},
        {"question": "What is nowhere in it?", "category": 4, "evidence": []},
    ]


@pytest.fixture
def sample(dialogue: dict[str, Any], questions: list[dict[str, Any]]) -> dict[str, Any]:
    """The official layout of one sample."""
    return {"sample_id": "bees", "conversation": dialogue, "qa": questions}


@pytest.fixture
def flat(dialogue: dict[str, Any], questions: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything at the top level, with more that does not matter."""
    return {**dialogue, "events_session_1": {"Ilse": []}, "qa": questions}
