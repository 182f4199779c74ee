"""What an UPDATE takes over from the memory that it changes, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def fact(text: str, slot: str | None = None) -> dict[str, Any]:
    more = {} if slot is None else {"slot": slot, "about": "Ana"}
    return {"facts": [{"text": text, "cites": [0], **more}]}


def updates(text: str | None = None) -> dict[str, Any]:
    return {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": text, "reason": "asked"}]}


def opened(path: Any, *replies: Any) -> tuple[Memory, ScriptedChatModel]:
    model = ScriptedChatModel(list(replies))
    return Memory(llm=model, embedder="none", store=path / "m.db"), model


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Ana split up with Bo.", ["Ana lives in Oslo.", "Ana split up with Bo."]),
        ("Ana lives in Rome with Bo and a dog.", ["Ana lives in Oslo."]),
        ("Ana lives in Bonn with Bo.", ["Ana lives in Oslo."]),
        ("Ana works in Rome with Bo.", ["Ana lives in Oslo.", "Ana works in Rome with Bo."]),
        (
            "Ana no longer lives in Bonn with Bo.",
            ["Ana lives in Oslo.", "Ana no longer lives in Bonn with Bo."],
        ),
        ("Bo lives in Rome.", ["Ana lives in Oslo.", "Bo lives in Rome."]),
    ],
)
def test_the_slot_goes_with_what_it_was_of(tmp_path, text, left):
    replies = [fact("Ana lives in Rome with Bo.", "lives_in"), fact(text), updates(text)]
    replies += [fact("Ana lives in Oslo.", "lives_in"), {"decisions": []}]
    memory, _ = opened(tmp_path, *replies)
    with memory:
        memory.add("I live in Rome with Bo", user_id="u", observed_at="2026-01-01")
        memory.add(text, user_id="u", observed_at="2026-02-01")
        memory.add("I live in Oslo", user_id="u", observed_at="2026-03-01")
        assert sorted(item.memory for item in memory.get_all(user_id="u")) == left


HOME = [fact(f"Ana lives in {place}.", "lives_in") for place in ("Paris", "Rome")]


def seen(memory: Memory, **ids: Any) -> list[tuple[str, str | None]]:
    return sorted((item.memory, item.run_id) for item in memory.get_all(user_id="u", **ids))


@pytest.mark.parametrize("replies", [HOME, [fact("Ana drinks tea."), fact("Ana drinks milk."), updates()]])
def test_what_is_told_for_all_runs_stays_in_none(tmp_path, replies):
    memory, _ = opened(tmp_path, *replies)
    old, new = (reply["facts"][0]["text"] for reply in replies[:2])
    with memory:
        memory.add(old, user_id="u", run_id="r1", observed_at="2026-01-01", metadata={"a": 1})
        result = memory.add(new, user_id="u", observed_at="2026-02-01", metadata={"b": 2})
        assert [(change.event, change.memory) for change in result.results] == [("ADD", new), ("DELETE", old)]
        assert seen(memory) == [(new, None)]
        assert seen(memory, as_of="2026-01-15") == [(old, "r1")]
        assert memory.get_all(user_id="u").results[0].metadata == {"a": 1, "b": 2}
        memory.delete_all(user_id="u", run_id="r1")
        assert seen(memory) == [(new, None)]


def test_an_update_inside_a_run_stays_there(tmp_path):
    memory, _ = opened(tmp_path, *HOME)
    with memory:
        memory.add("I live in Paris", user_id="u", run_id="r1", observed_at="2026-01-01")
        result = memory.add("I live in Rome", user_id="u", run_id="r1", observed_at="2026-02-01")
        assert [change.event for change in result.results] == ["UPDATE"]
        assert seen(memory) == [("Ana lives in Rome.", "r1")]


def test_what_completes_a_run_s_memory_for_all_runs_says_all_of_it(tmp_path):
    whole = "Ana has a dog called Rex."
    memory, _ = opened(tmp_path, fact("Ana has a dog."), fact("The dog is called Rex."), updates(whole))
    with memory:
        memory.add("I have a dog", user_id="u", run_id="r1", observed_at="2026-01-01")
        memory.add("The dog is called Rex", user_id="u", observed_at="2026-02-01")
        assert seen(memory) == [(whole, None)]


def between(path: Any, hooks: list[Any]) -> Memory:
    """Paris in a run from 2020 on; then, for all runs, Oslo from 2021 and Rome from 2022 on."""
    when = {"Paris": "2020-01-01", "Oslo": "2021-01-01", "Rome": "2022-01-01"}
    home = {"cites": [0], "slot": "lives_in", "about": "Ana"}
    told = [{"text": f"Ana lives in {place}.", "when": day, **home} for place, day in when.items()]
    model = ScriptedChatModel([{"facts": told[:1]}, {"facts": told[1:]}])
    memory = Memory(llm=model, embedder="none", store=path / "m.db", hooks=hooks)
    memory.add("I live in Paris", user_id="u", run_id="r1", observed_at="2026-01-01")
    memory.add("Then in Oslo, then in Rome", user_id="u", observed_at="2026-02-01")
    return memory


@pytest.mark.parametrize(
    ("vetoed", "line"),
    [
        (None, ["Paris", "Oslo", "Rome"]),
        ("Oslo", ["Paris", "Paris", "Rome"]),
        ("Rome", ["Paris", "Oslo", "Oslo"]),
    ],
)
def test_what_lay_between_is_put_between(tmp_path, vetoed, line):
    with between(tmp_path, [lambda p: None if vetoed and vetoed in p.text else p]) as memory:
        days = ("2020-06-01", "2021-06-01", "2022-06-01")
        found = [[text for text, _ in seen(memory, as_of=day)] for day in days]
        assert found == [[f"Ana lives in {place}."] for place in line]
        assert [text for text, _ in seen(memory)] == [f"Ana lives in {line[-1]}."]


def test_a_veto_leaves_the_run_its_memory(tmp_path):
    replies = [*HOME]
    model = ScriptedChatModel(replies)
    hooks = [lambda p: None if "Rome" in p.text else p]
    with Memory(llm=model, embedder="none", store=tmp_path / "m.db", hooks=hooks) as memory:
        memory.add("I live in Paris", user_id="u", run_id="r1", observed_at="2026-01-01")
        memory.add("I live in Rome", user_id="u", observed_at="2026-02-01")
        assert seen(memory) == [("Ana lives in Paris.", "r1")]
