"""What results look like in a notebook: tables of escaped text, no scripts, changes of words marked."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit_core import Memory, Usage
from memkit_core.markup import MAX_CELL, MAX_ROWS, diff, escaped, table
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

EVIL = "<script>alert('x')</script> & <img src=x onerror=alert(1)> \"quoted\""
ALLOWED = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "ins", "del"}


class Page(HTMLParser):
    """Which elements a page has, whether they are closed in order, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(data for _, data in self.texts)

    def inside(self, *tags: str) -> str:
        return "".join(data for tag, data in self.texts if tag in tags)


def shown(value: Any) -> Page:
    """The page of a value, which holds nothing but tables."""
    page = Page(value._repr_html_())
    assert set(page.tags) <= ALLOWED
    assert page.names <= {"style", "class"}
    return page


@pytest.fixture
def memory(tmp_path):
    model = ScriptedChatModel(
        [
            {"facts": [{"text": f"Mara lives in Berlin. {EVIL}", "cites": [0]}]},
            {"facts": [{"text": f"Mara lives in Madrid. {EVIL}", "cites": [0]}]},
            {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": "moved <b>"}]},
        ]
    )
    with Memory(llm=model, embedder=HashEmbeddings(), store=tmp_path / "m.db") as opened:
        opened.add(f"I live in Berlin. {EVIL}", user_id="<u>")
        yield opened


def test_every_view_shows_what_people_said_and_runs_none_of_it(memory):
    added = memory.add(f"I moved to Madrid. {EVIL}", user_id="<u>")
    found = memory.search("Madrid", user_id="<u>", include=("memories", "excerpts"))
    (one,) = memory.get_all(user_id="<u>")
    told = memory.history(one.id, user_id="<u>")
    for value in (added, found, memory.get_all(user_id="<u>"), told, told[0], one, found.results[0]):
        assert EVIL in shown(value).inside("td", "ins", "del"), type(value)
    assert "<u>" in shown(memory.admin.usage()).text
    assert "1 memories found" in shown(found).text
    assert "2 excerpts" in shown(found).text


def test_an_update_shows_which_words_changed(memory):
    added = memory.add("I moved to Madrid.", user_id="<u>")
    told = memory.history(added.updated[0].id, user_id="<u>")
    page = shown(added)
    assert (page.inside("del"), page.inside("ins")) == ("Berlin", "Madrid")
    page = shown(told)
    assert page.inside("del") == "Berlin"
    assert page.inside("ins").endswith("Madrid")
    assert "moved <b>" in page.text


def test_a_history_is_a_list_of_its_events(memory):
    (one,) = memory.get_all(user_id="<u>")
    told = memory.history(one.id, user_id="<u>")
    assert isinstance(told, list)
    assert told == list(told)
    memory.delete(one.id)
    ended = shown(memory.history(one.id, user_id="<u>"))
    assert EVIL in ended.inside("del")
    assert "no history" in shown(memory.history("unknown", user_id="<u>")).text


def test_what_went_wrong_is_shown_too(tmp_path):
    with Memory(llm=ScriptedChatModel([]), embedder="none", store=tmp_path / "m.db") as memory:
        page = shown(memory.add("I like tea.", user_id="u"))
        assert "ScriptExhaustedError" in page.text
        assert "1 messages wait for extraction" in page.text
        assert "degraded" not in shown(memory.search("tea", user_id="u")).text


def test_a_long_list_and_a_long_text_are_cut(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        memory.add([("user", f"{n} " + "x" * 10 * MAX_CELL) for n in range(60)], user_id="u", infer=False)
        page = memory.get_all(user_id="u", limit=60)
        html = page._repr_html_()
        assert html.count("<tr>") == MAX_ROWS + 1
        assert "… 10 more" in html
        assert len(html) < MAX_ROWS * (MAX_CELL + 600)
        assert "more follow" in memory.get_all(user_id="u", limit=1)._repr_html_()


def test_usage_is_a_row():
    page = shown(Usage(chat_calls=2, input_tokens=12_345))
    assert "12,345" in page.text


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_diff_tells_both_texts(old, new):
    page = Page(diff(old, new))
    assert set(page.tags) <= {"ins", "del"}
    told = [(tag, data) for tag, data in page.texts]
    assert same("".join(data for tag, data in told if tag != "ins"), old)
    assert same("".join(data for tag, data in told if tag != "del"), new)


def same(shown_text: str, said: str) -> bool:
    """Whether they are one text to a reader of HTML, who sees neither NUL nor kinds of line ends."""
    return re.sub(r"[\x00\r\ufffd]", "", shown_text) == re.sub(r"[\x00\r\ufffd]", "", said)


def test_a_diff_of_chinese_marks_characters_not_the_sentence():
    page = Page(diff("我住在柏林", "我住在马德里"))
    assert (page.inside("del"), page.inside("ins")) == ("柏林", "马德里")


def test_long_texts_are_told_one_after_the_other():
    page = Page(diff("a " * MAX_CELL, "b"))
    assert page.inside("ins") == "b"
    assert len(page.inside("del")) == MAX_CELL


def test_no_row_no_table():
    assert "<table>" not in table("nothing", ("one",), [], ["a note"])
    assert escaped(None) == ""
