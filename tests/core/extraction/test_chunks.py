"""Long messages in portions: nothing is lost, and no border stands inside a word or a number that fits."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memkit_core.analysis import estimate_tokens
from memkit_core.pipeline.borders import pieces, sentences, word_start
from memkit_core.pipeline.chunks import chunks, halves
from memkit_core.types import Message

WORDS = st.text("abcdefghijklmnopqrstuvwxyzäéñ0123456789.,-@/'", min_size=1, max_size=30)
LATIN = st.lists(WORDS, min_size=1, max_size=120).map(" ".join)
HAN = st.text("我住在巴黎昨天买了书，。！0123456789三十百", min_size=1, max_size=400)
ANY = st.text(max_size=400)


def parts_of(text, tokens):
    message = Message(role="user", content=text, observed_at=0)
    found = chunks([message], earlier=(), chunk_tokens=tokens, carry_tokens=0)
    return [piece.content for chunk in found for _, piece in chunk.pieces]


def borders(parts):
    return list(accumulate(map(len, parts)))[:-1]


@given(LATIN, st.integers(40, 300))
def test_words_and_numbers_stay_whole(text, tokens):
    parts = parts_of(text, tokens)
    assert "".join(parts) == text
    assert all(estimate_tokens(part) <= tokens for part in parts)
    for at in borders(parts):
        assert text[at - 1].isspace(), text[at - 10 : at + 10]


@given(HAN, st.integers(20, 100))
@example("我在" + "1234567890" * 3 + "年" * 60, 40)
def test_numbers_in_text_without_spaces_stay_whole(text, tokens):
    parts = parts_of(text, tokens)
    assert "".join(parts) == text
    assert all(estimate_tokens(part) <= tokens for part in parts)
    number = r"[0-9三十百]+"
    inside = {
        at
        for run in re.finditer(number, text)
        if len(run[0]) <= tokens
        for at in range(run.start() + 1, run.end())
    }
    assert not inside & set(borders(parts))


@given(ANY, st.integers(1, 60))
def test_nothing_is_lost_of_any_text(text, limit):
    assert "".join(sentences(text)) == text
    cut = list(pieces(text, limit))
    assert "".join(cut) == text
    assert all(0 < len(piece) <= limit for piece in cut)
    kept = "".join(parts_of(text, limit))
    assert "".join(kept.split()) == "".join(text.split())
    assert 0 <= word_start(text, min(limit, len(text))) <= len(text)


@pytest.mark.parametrize(
    "one",
    [
        "e\u0301\u0323",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f44d\U0001f3fd",
        "\u0e01\u0e33\u0e49",
    ],
)
def test_what_a_reader_sees_as_one_character_stays_whole(one):
    text = one * 40
    for piece in pieces(text, 3 * len(one) + 1):
        assert not unicodedata.category(piece[0]).startswith("M")
        assert piece[0] not in "\u200d\U0001f3fd"
        assert not piece.endswith("\u200d")


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("Ana lives in Rome since 1998", 12, ["Ana lives ", "in Rome ", "since 1998"]),
        ("我住在巴黎，我喜欢喝茶。", 8, ["我住在巴黎，", "我喜欢喝茶。"]),
        ("价格是12345元整", 6, ["价格是", "12345元", "整"]),
        ("a" * 10, 4, ["aaaa", "aaaa", "aa"]),
        ("1" * 10, 4, ["1111", "1111", "11"]),
        ("in\u00a02024 or", 8, ["in\u00a02024 ", "or"]),
    ],
)
def test_where_a_long_sentence_is_cut(text, limit, expected):
    assert list(pieces(text, limit)) == expected


def test_a_point_in_a_number_or_a_name_ends_no_sentence():
    text = 'Pi is 3.14159. See example.com/a.b? He said "no." Then!  她走了。我来了。'
    assert [s.strip() for s in sentences(text)] == [
        *("Pi is 3.14159.", "See example.com/a.b?", 'He said "no."', "Then!", "她走了。", "我来了。"),
    ]


def test_a_long_row_of_points_takes_no_time():
    assert len(list(sentences("." * 200_000))) == 1


def test_what_was_said_before_begins_with_a_word():
    before = Message(role="user", content="I moved to Rotterdam with extraordinary happiness", observed_at=0)
    now = Message(role="user", content="Yes", observed_at=1)
    for carry in range(17, 60):
        (chunk,) = chunks([now], earlier=[before], chunk_tokens=100, carry_tokens=carry)
        for shown in chunk.earlier:
            assert f" {shown.content.removeprefix('…')}" in f" {before.content}"


def test_halves_cut_between_words_too():
    text = " ".join(f"word{n}" for n in range(400))
    (chunk,) = chunks(
        [Message(role="user", content=text, observed_at=0)], earlier=(), chunk_tokens=2_000, carry_tokens=0
    )
    first, second = halves(chunk)
    told = [piece.content for half in (first, second) for _, piece in half.pieces]
    assert "".join(told) == text
    assert all(part.endswith(" ") for part in told[:-1])
