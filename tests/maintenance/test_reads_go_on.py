"""One damaged row costs that row: all else is answered, and the answer says what it lacks."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from memkit_core import IntegrityError, Memory
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

LEFT_OUT = ["1 damaged memory was left out: run memory.admin.doctor()"]
#: Ways in which a row can be damaged: another text, no Unicode, no text, metadata that are none.
DAMAGE = (
    "text = text || '!'",
    "text = CAST(x'ff' || text AS TEXT)",
    "text = CAST(text AS BLOB)",
    "metadata = '{'",
    "trust = 'x'",
)


def opened(path: Path, embedder: Any = None, **more: Any) -> Memory:
    return Memory(llm="verbatim", embedder=embedder or "none", store=path, **more)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with opened(tmp_path / "m.db", HashEmbeddings(32)) as memory:
        memory.add([f"I like tea number {n}" for n in range(9)], user_id="ana", infer=False)
        memory.add("I like tea too", user_id="bob", infer=False)
    return tmp_path / "m.db"


@pytest.mark.parametrize("how", DAMAGE)
def test_reads_leave_out_a_damaged_memory_and_say_so(path: Path, how: str) -> None:
    with opened(path) as memory:
        (broken,) = (item.id for item in memory.get_all(user_id="ana") if item.memory.endswith("4"))
    change(path, f"UPDATE memories SET {how} WHERE memory_id = '{broken}'")
    with opened(path) as memory:
        found = memory.search("tea", user_id="ana", limit=20)
        assert (len(found), found.degraded) == (8, LEFT_OUT)
        assert len(memory.search("tea", user_id="ana", limit=8)) == 8
        text = memory.context("tea", user_id="ana")
        assert text.degraded == LEFT_OUT
        assert "number 5" in text.text
        page = memory.get_all(user_id="ana")
        assert (len(page), page.degraded) == (8, LEFT_OUT)
        assert "left out" in repr(page)
        items, cursor, told = [], None, []
        while True:
            part = memory.get_all(user_id="ana", limit=3, cursor=cursor)
            items += part.results
            told += part.degraded
            if (cursor := part.next_cursor) is None:
                break
        assert len({item.id for item in items}) == len(items) == 8
        assert set(told) == set(LEFT_OUT)
        for verb in (memory.get, memory.history):
            with pytest.raises(IntegrityError, match="doctor"):
                verb(broken, user_id="ana")
        with pytest.raises(IntegrityError, match="doctor"):
            memory.update(broken, "I like coffee", user_id="ana")
        assert memory.search("tea", user_id="bob").degraded == []
        assert memory.get_all(user_id="bob").degraded == []
        assert memory.add("I like tea number 50", user_id="ana").status == "complete"


def test_a_damaged_memory_keeps_no_model_from_deciding(path: Path) -> None:
    change(path, "UPDATE memories SET text = 'I like beer' WHERE unit = 3")
    model = ScriptedChatModel(
        replies=['{"facts": [{"text": "Lives in Oslo", "sources": [1]}]}', '{"decisions": []}'] * 3
    )
    with Memory(llm=model, embedder="none", store=path) as memory:
        added = memory.add("I live in Oslo", user_id="ana")
        assert "IntegrityError" not in str(added.failed), added
    assert all("beer" not in str(call) for call in model.calls)


def test_a_damaged_message_is_left_out_of_excerpts(path: Path) -> None:
    with opened(path) as memory:
        memory.add(
            [{"role": "user", "content": f"Is there any jasmine, {n}?"} for n in range(5)], user_id="ana"
        )
        assert len(memory.search("jasmine", user_id="ana", include=("excerpts",)).excerpts) == 5
    change(path, "UPDATE messages SET content = content || '!' WHERE content LIKE '%jasmine, 3%'")
    with opened(path) as memory:
        found = memory.search("jasmine", user_id="ana", include=("excerpts",))
        assert len(found.excerpts) == 4
        assert found.degraded == ["1 damaged message was left out: run memory.admin.doctor()"]


def test_damaged_vectors_and_keywords_cost_one_way_of_finding(path: Path) -> None:
    change(path, "UPDATE vectors SET data = zeroblob(length(data)) WHERE unit = 3")
    with opened(path, HashEmbeddings(32)) as memory:
        found = memory.search("tea", user_id="ana", limit=20)
        assert len(found) == 9
        assert len(found.degraded) == 1
        assert found.degraded[0].startswith("keywords only")
        assert memory.admin.doctor(repair=True).ok
        assert memory.search("tea", user_id="ana").degraded == []
    change(path, "UPDATE postings SET tf = x'00' WHERE unit = 3 AND term = 'tea'")
    with opened(path, HashEmbeddings(32)) as memory:
        found = memory.search("tea", user_id="ana", limit=20)
        assert len(found) == 9
        assert found.degraded[0].startswith("by meaning only")
    with opened(path) as memory, pytest.raises(IntegrityError, match="keyword"):
        memory.search("tea", user_id="ana")  # nothing else is there to find by
