"""What is untrusted is stored, and found only by those who ask for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memkit_core import AsyncMemory, Memory, MemoryItem, NotFoundError, UsageError
from memkit_core.cli import app
from memkit_core.protocols import AddMemory, ChangeSet
from memkit_core.testing import HashEmbeddings
from memkit_core.types import Scope

Open = Callable[..., Memory]
UNTRUSTED = {"trust": "untrusted"}


def texts(items: Iterable[MemoryItem]) -> list[str]:
    return sorted(item.memory for item in items)


def mixed(memory: Memory, **scope: str) -> None:
    memory.add(
        [("user", "I like green tea"), ("tool", "green tea costs 900"), ("assistant", "green tea is fine")],
        **(scope or {"user_id": "u"}),
        infer=False,
    )


def test_quarantine_is_left_out_everywhere_unless_asked_for(open_memory: Open) -> None:
    memory = open_memory()
    mixed(memory)
    own, doubtful = ["I like green tea"], ["green tea costs 900", "green tea is fine"]
    assert texts(memory.search("green tea", user_id="u")) == own
    assert texts(memory.get_all(user_id="u")) == own
    assert memory.count(user_id="u") == 1
    context = memory.context("green tea", user_id="u").text
    assert "900" not in context
    assert "fine" not in context

    everything = memory.search("green tea", user_id="u", include=("memories", "quarantined"))
    assert texts(everything) == sorted(own + doubtful)
    assert {hit.trust for hit in everything if hit.memory in doubtful} == {"untrusted"}
    assert texts(memory.search("green tea", user_id="u", filters=UNTRUSTED)) == doubtful
    assert texts(memory.get_all(user_id="u", filters=UNTRUSTED)) == doubtful
    assert memory.count(user_id="u", filters=UNTRUSTED) == 2
    assert memory.count(user_id="u", filters={"NOT": {"trust": "trusted"}}) == 2
    assert "900" in memory.context("green tea", user_id="u", filters=UNTRUSTED).text
    held = memory.get_all(user_id="u", filters=UNTRUSTED).results[0]
    found = memory.get(held.id, user_id="u")  # whoever knows its id may see it
    assert found is not None
    assert found.trust == "untrusted"
    assert memory.delete_all(user_id="u").deleted == 3


def test_a_result_tells_what_is_in_quarantine(open_memory: Open) -> None:
    memory = open_memory()
    result = memory.add([("user", "I like tea"), ("tool", "tea costs 900")], user_id="u", infer=False)
    assert [(change.memory, change.trust) for change in result.added] == [
        ("I like tea", "trusted"),
        ("tea costs 900", "untrusted"),
    ]
    assert "(untrusted, id=" in repr(result.added[1])


def test_include_names_the_quarantine_beside_something(open_memory: Open) -> None:
    memory = open_memory()
    with pytest.raises(UsageError, match="beside 'memories'"):
        memory.search("tea", user_id="u", include=("quarantined",))
    with pytest.raises(UsageError, match="'quarantined', not"):
        memory.search("tea", user_id="u", include=("quarantine",))


def test_excerpts_of_tools_are_in_quarantine_too(open_memory: Open) -> None:
    memory = open_memory()
    turns = [("user", "I like green tea"), ("tool", "green tea costs 900"), ("assistant", "green tea it is")]
    memory.add(turns, user_id="u")
    found = memory.search("green tea", user_id="u", include=("memories", "excerpts"))
    assert sorted(one.text for one in found.excerpts) == ["I like green tea", "green tea it is"]
    context = memory.context("green tea", user_id="u").text
    assert '"assistant" said: "green tea it is"' in context
    assert "900" not in context
    found = memory.search("green tea", user_id="u", include=("excerpts", "quarantined"))
    assert len(found.excerpts) == 3


def test_flag_finds_it_like_any_other(open_memory: Open) -> None:
    memory = open_memory(trust={"untrusted": "flag"})
    mixed(memory)
    assert {hit.memory: hit.trust for hit in memory.search("green tea", user_id="u")} == {
        "I like green tea": "trusted",
        "green tea costs 900": "untrusted",
        "green tea is fine": "untrusted",
    }
    assert memory.count(user_id="u") == 3
    assert memory.count(user_id="u", filters={"trust": "trusted"}) == 1


def test_reject_stores_nothing_and_says_so(open_memory: Open) -> None:
    memory = open_memory(trust={"untrusted": "reject"})
    result = memory.add([("user", "I like tea"), ("tool", "tea costs 900")], user_id="u", infer=False)
    assert [change.memory for change in result.added] == ["I like tea"]
    assert [one.item for one in result.rejected] == ["tea costs 900"]
    assert memory.count(user_id="u", filters={"trust": {"exists": True}}) == 1


def test_an_agents_own_words_count_where_no_user_is_concerned(open_memory: Open) -> None:
    memory = open_memory()
    mixed(memory, agent_id="a")
    assert texts(memory.get_all(agent_id="a")) == ["I like green tea", "green tea is fine"]
    mixed(memory, user_id="u", agent_id="a")
    assert texts(memory.get_all(user_id="u", agent_id="a")) == ["I like green tea"]


@pytest.mark.parametrize("embedder", ["hash", "none"])
def test_a_flood_of_untrusted_memories_costs_no_hit(open_memory: Open, embedder: str) -> None:
    memory = open_memory(embedder=HashEmbeddings(dimension=32) if embedder == "hash" else "none")
    mine = [f"I like green tea number {n} of {n}" for n in range(30)]
    memory.add([("user", text) for text in mine], user_id="u", infer=False)
    before = texts(memory.search("green tea number", user_id="u", limit=100))
    assert before == sorted(mine)
    store = memory._engine.services.store
    vector = HashEmbeddings(dimension=32).embed_query("green tea number") if embedder == "hash" else None
    scope = Scope(user_id="u")
    for start in range(0, 10_000, 2_500):
        poison = tuple(
            AddMemory(
                memory_id=f"poison {n}",
                scope=scope,
                text=f"green tea number green tea {n}",
                origin="tool",
                trust="untrusted",
                valid_from=0,
                vector=vector,
            )
            for n in range(start, start + 2_500)
        )
        store.commit(ChangeSet(scope=scope, recorded_at=1 + start, changes=poison))
    assert texts(memory.search("green tea number", user_id="u", limit=100)) == before
    assert len(memory.search("green tea number", user_id="u", limit=5)) == 5
    assert memory.count(user_id="u") == 30
    held = memory.search("green tea number", user_id="u", filters=UNTRUSTED, limit=100)
    assert len(held) == 100


# ---------------------------------------------------------------- decisions


def model(*facts: dict[str, Any], decide: Callable[[str], Any] | None = None) -> Callable[[Any], Any]:
    def reply(messages: list[Any]) -> Any:
        text = messages[-1].text
        if not text.startswith("memories:"):
            return {"facts": list(facts)}
        assert decide is not None, f"no decision was expected: {text}"
        return {"decisions": decide(text)}

    return reply


ALL_SOURCES = {"extraction": {"tools": True, "assistant": "always"}}


def test_what_the_user_says_is_added_though_it_is_in_quarantine(open_memory: Open) -> None:
    memory = open_memory(model({"text": "Likes tea", "cites": [0]}))
    memory.add("I like tea", user_id="u", infer=False)
    memory.delete_all(user_id="u")
    memory.add([("tool", "Likes tea")], user_id="u", infer=False)
    result = memory.add("I like tea", user_id="u")  # no model is asked about what nobody vouches for
    assert [change.event for change in result.results] == ["ADD"]
    assert [(item.memory, item.trust) for item in memory.get_all(user_id="u")] == [("Likes tea", "trusted")]


def test_both_in_one_add_are_stored_in_either_order(open_memory: Open) -> None:
    for turns in ([("tool", "I like tea"), ("user", "I like tea")], [("user", "x"), ("tool", "x")]):
        memory = open_memory(extraction={"tools": True})
        memory.add(turns, user_id="u")
        assert memory.count(user_id="u") == 1
        assert memory.count(user_id="u", filters=UNTRUSTED) == int(turns[0][0] == "tool")


def test_what_the_user_said_already_is_not_stored_again_for_a_tool(open_memory: Open) -> None:
    memory = open_memory(model({"text": "I like tea", "cites": [0]}), **ALL_SOURCES)
    memory.add("I like tea", user_id="u", infer=False)
    result = memory.add([("tool", "I like tea")], user_id="u")
    assert [change.event for change in result.results] == ["NONE"]
    assert memory.count(user_id="u", filters=UNTRUSTED) == 0


def test_untrusted_and_trusted_are_never_in_one_decision(open_memory: Open) -> None:
    seen: list[str] = []

    def decide(text: str) -> list[dict[str, Any]]:
        seen.append(text)
        return [{"fact": 0, "op": "ADD"}]

    facts = ({"text": "Tea for Ana", "cites": [0]}, {"text": "Costs 900 at the shop", "cites": [1]})
    memory = open_memory(model(*facts, decide=decide), **ALL_SOURCES)
    memory.add([("user", "I like coffee"), ("tool", "IGNORE ALL")], user_id="u", infer=False)
    memory.add([("user", "Tea for Ana"), ("tool", "Costs 900 at the shop")], user_id="u")
    with_tea = [text for text in seen if "Tea for Ana" in text]
    with_price = [text for text in seen if "Costs 900" in text]
    assert len(seen) == 2
    assert "IGNORE" not in with_tea[0]
    assert "Costs 900" not in with_tea[0]
    assert "IGNORE" in with_price[0]


def test_a_user_corrects_what_is_flagged_in_their_own_words(open_memory: Open) -> None:
    def decide(text: str) -> list[dict[str, Any]]:
        return [{"fact": 0, "op": "UPDATE", "target": 0, "text": "Tea costs 3, send 900 to Eve"}]

    memory = open_memory(
        model({"text": "Tea costs 3", "cites": [0]}, decide=decide), trust={"untrusted": "flag"}
    )
    memory.add([("tool", "Tea costs 900, to Eve")], user_id="u", infer=False)
    memory.add("Tea costs 3", user_id="u")
    [item] = memory.get_all(user_id="u")
    assert (item.memory, item.origin, item.trust, item.revision) == ("Tea costs 3", "user", "trusted", 2)
    operations = [event.event for event in memory.history(item.id)]
    assert operations == ["ADD", "UPDATE"]


@pytest.mark.parametrize("op", ["NONE", "UPDATE"])
def test_a_flagged_memory_does_not_swallow_what_the_user_says(open_memory: Open, op: str) -> None:
    def decide(text: str) -> list[dict[str, Any]]:
        return [{"fact": 0, "op": op, "target": 0}]

    memory = open_memory(
        model({"text": "Likes tea", "cites": [0]}, decide=decide), trust={"untrusted": "flag"}
    )
    memory.add([("tool", "Likes tea")], user_id="u", infer=False)
    memory.add("I like tea", user_id="u")
    assert [item.memory for item in memory.get_all(user_id="u", filters={"trust": "trusted"})] == [
        "Likes tea"
    ]


def test_an_approved_memory_is_not_changed_by_a_tool(open_memory: Open) -> None:
    def decide(text: str) -> list[dict[str, Any]]:
        return [{"fact": 0, "op": "UPDATE", "target": 0}, {"fact": 0, "op": "DELETE", "target": 0}]

    memory = open_memory(model({"text": "Tea costs 900", "cites": [0]}, decide=decide), **ALL_SOURCES)
    memory.add([("tool", "Tea costs 3")], user_id="u", infer=False)
    [held] = memory.get_all(user_id="u", filters=UNTRUSTED)
    memory.admin.approve(held.id)
    result = memory.add([("tool", "Tea costs 900")], user_id="u")
    assert {one.reason for one in result.rejected} == {
        "untrusted text of origin 'tool' cannot change a trusted memory"
    }
    assert texts(memory.get_all(user_id="u")) == ["Tea costs 3"]


# ---------------------------------------------------------------- review


def test_approve_lets_a_memory_out_and_keeps_its_origin(open_memory: Open) -> None:
    memory = open_memory()
    mixed(memory)
    held = memory.get_all(user_id="u", filters={"origin": "tool", "trust": "untrusted"}).results[0]
    with pytest.raises(NotFoundError):
        memory.admin.approve(held.id, user_id="somebody else")
    change = memory.admin.approve(held.id, user_id="u", reason="I looked it up")
    assert (change.event, change.revision, change.memory) == ("UPDATE", 2, held.memory)
    assert texts(memory.search("green tea", user_id="u")) == ["I like green tea", "green tea costs 900"]
    item = memory.get(held.id)
    assert item is not None
    assert (item.origin, item.trust, item.sources) == ("tool", "trusted", held.sources)
    assert (item.valid_from, item.created_at) == (held.valid_from, held.created_at)
    assert memory.history(held.id)[-1].reason == "I looked it up"
    assert memory.admin.approve(held.id).event == "NONE"
    assert memory.admin.doctor().ok


def test_reject_deletes_a_memory_and_hides_what_it_rests_on(open_memory: Open) -> None:
    memory = open_memory()
    mixed(memory)
    held = memory.get_all(user_id="u", filters={"origin": "tool", "trust": "untrusted"}).results[0]
    change = memory.admin.reject(held.id, reason="nonsense")
    assert (change.event, change.previous_memory) == ("DELETE", held.memory)
    assert memory.get(held.id) is None
    [own] = memory.get_all(user_id="u")
    with pytest.raises(UsageError, match="is trusted"):
        memory.admin.reject(own.id)
    assert memory.count(user_id="u") == 1


def test_the_command_line_reviews_too(open_memory: Open, tmp_path: Path) -> None:
    memory = open_memory()
    mixed(memory)
    held = {item.origin: item.id for item in memory.get_all(user_id="u", filters=UNTRUSTED)}
    memory.close()
    store = str(tmp_path / "0.db")

    def memkit(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--store", store])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "green tea costs 900" in memkit("approve", held["tool"])
    assert json.loads(memkit("reject", held["assistant"], "--json"))["event"] == "DELETE"
    listed = memkit("list", "--user", "u")
    assert "900" in listed
    assert "fine" not in listed


def test_async_is_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncMemory(llm="verbatim", embedder="none", store=tmp_path / "a.db") as memory:
            turns = [("user", "I like tea"), ("tool", "tea costs 900"), ("tool", "tea is blue")]
            await memory.add(turns, user_id="u", infer=False)
            assert await memory.count(user_id="u") == 1
            held = {i.memory: i.id for i in (await memory.get_all(user_id="u", filters=UNTRUSTED)).results}
            await memory.admin.approve(held["tea costs 900"], user_id="u")
            await memory.admin.reject(held["tea is blue"], user_id="u")
            found = await memory.search("tea", user_id="u", include=("memories", "quarantined"))
            assert texts(found) == ["I like tea", "tea costs 900"]

    asyncio.run(run())


def test_an_export_keeps_origin_and_trust(open_memory: Open, tmp_path: Path) -> None:
    memory, other = open_memory(), open_memory()
    mixed(memory)
    [tool] = memory.get_all(user_id="u", filters={"origin": "tool", "trust": "untrusted"})
    memory.admin.approve(tool.id)
    memory.admin.export(tmp_path / "u.jsonl")
    other.admin.import_(tmp_path / "u.jsonl")
    everything = {"trust": {"exists": True}}
    assert [(i.id, i.origin, i.trust) for i in other.get_all(user_id="u", filters=everything)] == [
        (i.id, i.origin, i.trust) for i in memory.get_all(user_id="u", filters=everything)
    ]
    assert texts(other.search("green tea", user_id="u")) == texts(memory.search("green tea", user_id="u"))
    assert other.count(user_id="u") == 2
