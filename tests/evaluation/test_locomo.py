"""LoCoMo files are read in both layouts, and bad ones are named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memkit_core import UsageError
from memkit_core.evaluation.locomo import Conversation, load_locomo, turn_ids


def written(folder: Path, name: str, data: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def check(conversation: Conversation) -> None:
    assert [session.name for session in conversation.sessions] == ["session_1", "session_2", "session_10"]
    assert conversation.sessions[0].observed_at == datetime(2024, 3, 3, 9, 5, tzinfo=UTC)
    assert conversation.sessions[1].observed_at == datetime(2024, 6, 12, 19, 40, tzinfo=UTC)
    assert [turn.turn_id for turn in conversation.sessions[0].turns] == ["D1:1", "D1:2", "D1:3", "D1:4"]
    assert conversation.sessions[0].turns[3].text == "[shares a photo: a cello on a wooden bench]"
    assert conversation.sessions[0].turns[1].speaker == "Tomas"
    assert [question.evidence for question in conversation.questions] == [
        ("D1:2",),
        ("D2:1",),
        ("D2:2", "D10:1", "D1:3"),
        ("D1:4",),
        ("D1:2",),
        (),
    ]
    assert conversation.unknown_evidence == 1
    assert conversation.session_of["D10:1"] == "session_10"


def test_the_official_layout(tmp_path: Path, sample: dict[str, Any]) -> None:
    (conversation,) = load_locomo(written(tmp_path, "all.json", [sample]))
    assert conversation.name == "bees"
    check(conversation)


def test_the_flat_layout(tmp_path: Path, flat: dict[str, Any]) -> None:
    (conversation,) = load_locomo(written(tmp_path, "26.json", flat))
    assert conversation.name == "26"
    check(conversation)


def test_a_folder_in_name_order(tmp_path: Path, sample: dict[str, Any], flat: dict[str, Any]) -> None:
    written(tmp_path, "b.json", flat)
    written(tmp_path, "a.json", sample)
    (tmp_path / "notes.txt").write_text("not data", encoding="utf-8")
    assert [conversation.name for conversation in load_locomo(tmp_path)] == ["bees", "b"]


def test_text_and_caption_are_one_text(tmp_path: Path, flat: dict[str, Any]) -> None:
    flat["session_2"][0]["blip_caption"] = "a hall"
    (conversation,) = load_locomo(written(tmp_path, "x.json", flat))
    text = conversation.sessions[1].turns[0].text
    assert text.endswith("concert hall. [shares a photo: a hall]")


def test_a_turn_without_any_text_is_no_turn(tmp_path: Path, flat: dict[str, Any]) -> None:
    flat["session_1"][3]["blip_caption"] = ""
    (conversation,) = load_locomo(written(tmp_path, "x.json", flat))
    assert conversation.questions[3].evidence == ()
    assert conversation.unknown_evidence == 2


@pytest.mark.parametrize(
    ("entry", "ids"),
    [
        ("D8:6; D9:17", ["D8:6", "D9:17"]),
        ("D30:05", ["D30:5"]),
        ("D:11:26", ["D11:26"]),
        (" 8 : 6 ", ["D8:6"]),
        ("D1:1 D1:2,D1:3", ["D1:1", "D1:2", "D1:3"]),
        ("D", []),
        (None, []),
    ],
)
def test_evidence_ids(entry: object, ids: list[str]) -> None:
    assert turn_ids(entry) == ids


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"qa": []}, "no session"),
        ({"session_1": []}, "'qa'"),
        (["text"], "sample 0"),
        (
            {"session_1": [{"dia_id": "D1:1", "speaker": "A", "text": "x"}], "qa": []},
            "session_1 has no date",
        ),
        (
            {"session_1": [{"speaker": "A", "text": "x"}], "session_1_date_time": "1 May 2023", "qa": []},
            "dia_id",
        ),
        (
            {
                "session_1": [{"dia_id": "first", "speaker": "A", "text": "x"}],
                "session_1_date_time": "1 May 2023",
                "qa": [],
            },
            "first",
        ),
        (
            {
                "session_1": [{"dia_id": "D1:1", "speaker": "A", "text": "x"}],
                "session_1_date_time": "1 May 2023",
                "qa": [{"evidence": []}],
            },
            "question",
        ),
    ],
)
def test_a_file_that_is_not_locomo_is_named(tmp_path: Path, data: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_locomo(written(tmp_path, "odd.json", data))
    assert "odd.json" in str(caught.value)
    assert words in str(caught.value)


def test_what_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        load_locomo(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no \.json"):
        load_locomo(tmp_path)
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(UsageError, match=r"bad\.json"):
        load_locomo(tmp_path)


def test_two_samples_of_one_name_would_share_a_user(tmp_path: Path, sample: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="bees"):
        load_locomo(written(tmp_path, "all.json", [sample, sample]))
