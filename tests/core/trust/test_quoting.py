"""Text in prompts: it cannot close its fence, begin a line, or pose as another's."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memkit_core.pipeline.context import FENCE_CLOSE, FENCE_OPEN, context
from memkit_core.prompts import decide, extract
from memkit_core.prompts.quoting import inline, quoted
from memkit_core.results import Excerpt, SearchHit, SearchResult
from memkit_core.types import Fact, MemoryRecord, Message

DAY = datetime(2026, 5, 1, tzinfo=UTC)
MICROS = int(DAY.timestamp()) * 1_000_000
PIECES = (
    *("</memories>", "<memories>", "\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"),
    *('"', '\\"', "\\", "\\n", "\\u003c", "<", ">", "＜/memories＞", "‹/memories›", "\u202e", "\ufeff"),
    *(
        "```",
        "---",
        "user: ",
        "system: ",
        "assistant said: ",
        "0 2026-05-01: ",
        "1 Fri 2026-05-01 00:00 user: ",
    ),
    *("facts:", "memories:", "messages:", "- ", " (2026-05-01)", "\t", "\u200b", "é", "東京", "🙂"),
)
HOSTILE = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
    min_size=1,
    max_size=8,
).map("".join)
PAIRS = st.lists(st.tuples(HOSTILE, st.none() | HOSTILE), min_size=1, max_size=4)
Pairs = list[tuple[str, str | None]]
DECIDE_LINE = re.compile(r'\d+( \d{4}-\d\d-\d\d)?( by (?P<actor>"(?:[^"\\]|\\.)*"))?: (?P<text>".*")')
EXTRACT_LINE = re.compile(
    r'\d+ \w{3} \d{4}-\d\d-\d\d \d\d:\d\d \w+( (?P<actor>"(?:[^"\\]|\\.)*"))?: (?P<text>".*")'
)


def unquoted(body: str) -> str:
    """The text that ``inline`` was given."""
    text: str = json.loads('"' + re.sub('"', r"\"", body) + '"')
    return text


@given(HOSTILE)
@example("\\")
@example('\\"')
@example("\ud800")
def test_a_quotation_is_one_line_without_brackets_and_gives_the_text_back(text: str) -> None:
    for line, back in ((quoted(text), json.loads), (inline(text), unquoted)):
        assert len(line.splitlines()) <= 1
        assert not re.search("[<>‹›＜＞\ud800-\udfff]", line)
        assert back(line) == text


@pytest.mark.parametrize(
    "text",
    [
        "I like tea",
        'She said "yes".',
        "naïve café",
        "私は東京に住んでいます",
        "👨‍👩‍👧 at 5\tpm",
        "a\nb",
        "می‌خواهم",
    ],
)
def test_harmless_text_stands_as_json_writes_it(text: str) -> None:
    assert quoted(text) == json.dumps(text, ensure_ascii=False)


def record(text: str, actor: str | None) -> MemoryRecord:
    return MemoryRecord(
        unit=1,
        memory_id="m",
        revision=1,
        user_id="u",
        agent_id=None,
        run_id=None,
        actor_id=actor,
        text=text,
        kind="other",
        memory_type=None,
        metadata={},
        origin="user",
        trust="trusted",
        event_time=None,
        valid_from=MICROS,
        valid_to=None,
        created_at=MICROS,
        recorded_at=MICROS,
        retired_at=None,
        deleted_at=None,
        superseded_by=None,
        expires_at=None,
    )  # type: ignore[arg-type]


@given(PAIRS, HOSTILE)
def test_what_goes_into_decide_can_be_read_back(pairs: Pairs, fact: str) -> None:
    (_, _), (_, text) = decide.build([Fact(text=fact, actor_id="a")], [record(*pair) for pair in pairs])
    lines = text.splitlines()
    assert len(lines) == len(pairs) + 3
    assert (lines[0], lines[-2]) == ("memories:", "facts:")
    read = [DECIDE_LINE.fullmatch(line) for line in (*lines[1:-2], lines[-1])]
    found = [(json.loads(m["text"]), m["actor"] and json.loads(m["actor"])) for m in read if m]
    assert found == [*pairs, (fact, "a")]


@given(PAIRS, st.lists(HOSTILE, max_size=2))
def test_what_goes_into_extract_can_be_read_back(pairs: Pairs, before: list[str]) -> None:
    messages = [
        (n, Message(role="user", content=text, actor_id=actor, observed_at=MICROS))
        for n, (text, actor) in enumerate(pairs)
    ]
    earlier = [Message(role="assistant", content=text, observed_at=MICROS) for text in before]
    (_, _), (_, text) = extract.build(messages, sources=["user"], earlier=earlier)
    lines = text.splitlines()
    if earlier:
        assert lines[0] == "earlier, for context only:"
        assert [json.loads(line.partition("assistant: ")[2]) for line in lines[1 : 1 + len(before)]] == before
        assert lines[1 + len(before)] == "messages:"
        lines = lines[2 + len(before) :]
    read = [EXTRACT_LINE.fullmatch(line) for line in lines]
    found = [(json.loads(m["text"]), m["actor"] and json.loads(m["actor"])) for m in read if m]
    assert found == pairs


@given(st.lists(HOSTILE, max_size=4), st.lists(st.tuples(HOSTILE, HOSTILE), max_size=3))
def test_what_goes_into_a_context_can_be_read_back(facts: list[str], said: list[tuple[str, str]]) -> None:
    hits = [
        SearchHit(
            id=str(n),
            memory=text,
            valid_from=DAY,
            created_at=DAY,
            updated_at=DAY,
            score=1.0,
            relevance=1.0,
        )  # type: ignore[arg-type]
        for n, text in enumerate(facts)
    ]
    excerpts = [
        Excerpt(
            message_id=str(n),
            text=text,
            role="user",
            actor_id=actor,
            observed_at=DAY,
            score=1.0,
            relevance=1.0,
        )  # type: ignore[arg-type]
        for n, (actor, text) in enumerate(said)
    ]
    found = context(SearchResult(results=hits, excerpts=excerpts), token_budget=100_000).text
    if not facts and not said:
        assert found == ""
        return
    lines = found.splitlines()
    assert (lines[0], lines[-1]) == (FENCE_OPEN, FENCE_CLOSE)
    assert found.count(FENCE_OPEN) == found.count(FENCE_CLOSE) == 1
    read_facts: list[str] = []
    read_said: list[tuple[str, str]] = []
    for line in lines[2:-1]:
        if line.endswith(" (2026-05-01)"):
            read_facts.append(unquoted(line[2:].removesuffix(" (2026-05-01)")))
        else:
            match = re.fullmatch(r'- 2026-05-01 ("(?:[^"\\]|\\.)*") said: ("(?:[^"\\]|\\.)*")', line)
            assert match
            read_said.append((json.loads(match[1]), json.loads(match[2])))
    once = list(dict.fromkeys((actor or "user", text) for actor, text in said))
    assert (read_facts, read_said) == (facts, once)
