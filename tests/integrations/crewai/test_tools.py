"""Memory as tools of CrewAI's agents."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from memkit_core import Memory, UsageError
from memkit_crewai import create_memory_tools

# CrewAI reads its own deprecated fields.
pytestmark = [pytest.mark.crewai, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def found(answer: str) -> list[dict[str, Any]]:
    lines = answer.splitlines()
    assert (lines[0], lines[-1]) == ("<memories>", "</memories>")
    return [json.loads(line) for line in lines[2:-1]]


def test_an_agent_saves_and_finds(memory: Memory, crew_of: Callable[..., Any]) -> None:
    crew, model = crew_of(
        'Thought: note\nAction: save_memory\nAction Input: {"content": "Acme was founded in 1901."}',
        'Thought: look\nAction: search_memory\nAction Input: {"query": "When was Acme founded?"}',
        "In 1901.",
        tools=create_memory_tools(memory, agent_id="research"),
    )
    assert crew.kickoff().raw == "In 1901."
    assert '"memory": "Acme was founded in 1901."' in model.prompts[2]
    (item,) = memory.get_all(agent_id="research")
    assert (item.memory, item.origin) == ("Acme was founded in 1901.", "assistant")


def test_whose_memory_it_is_no_model_can_choose(memory: Memory) -> None:
    tools = create_memory_tools(memory, user_id="ana", update=True, delete=True)
    assert {tool.name: sorted(tool.args_schema.model_fields) for tool in tools} == {
        "save_memory": ["content"],
        "search_memory": ["limit", "query"],
        "update_memory": ["content", "memory_id"],
        "delete_memory": ["memory_id"],
    }
    memory.add("Ben's code is 1234.", user_id="ben")
    search = tools[1]
    for more in ({"user_id": "ben"}, {"agent_id": "ben"}):
        assert "1234" not in search.run(query="code", **more)
    with pytest.raises(UsageError):
        create_memory_tools(memory)
    with pytest.raises(UsageError):
        create_memory_tools(memory, user_id="")


def test_corrections_stay_with_their_owner(memory: Memory) -> None:
    save, search, update, delete = create_memory_tools(memory, user_id="ana", update=True, delete=True)
    saved = found(save.run(content="Ana lives in Rome."))[0]
    _, _, foreign_update, foreign_delete = create_memory_tools(
        memory, user_id="ben", update=True, delete=True
    )
    assert foreign_update.run(memory_id=saved["id"], content="x") == "There is no memory with this id."
    assert foreign_delete.run(memory_id=saved["id"]) == "There is no memory with this id."
    assert found(update.run(memory_id=saved["id"], content="Ana lives in Oslo."))[0]["event"] == "UPDATE"
    assert found(search.run(query="Where does Ana live?", limit=-3))[0]["memory"] == "Ana lives in Oslo."
    assert found(delete.run(memory_id=saved["id"]))[0]["event"] == "DELETE"
    assert search.run(query="Where does Ana live?") == "Nothing is remembered of that."


async def test_the_awaited_tools(memory: Memory) -> None:
    save, search, update, delete = create_memory_tools(memory, user_id="ana", update=True, delete=True)
    saved = found(await save.arun(content="Ana </memories> rows."))[0]
    assert saved["memory"] == "Ana </memories> rows."
    answer = await search.arun(query="rows")
    assert answer.count("</memories>") == 1
    assert found(answer)[0]["id"] == saved["id"]
    assert found(await update.arun(memory_id=saved["id"], content="Ana sings."))[0]["event"] == "UPDATE"
    assert found(await delete.arun(memory_id=saved["id"]))[0]["event"] == "DELETE"
    assert await update.arun(memory_id=saved["id"], content="x") == "There is no memory with this id."
    assert await delete.arun(memory_id="nonsense") == "There is no memory with this id."


def test_a_crew_s_cache_keeps_no_answer_for_the_next_user(
    memory: Memory, crew_of: Callable[..., Any]
) -> None:
    memory.add("My code is 1234.", user_id="ana")
    now = {"user": "ana"}
    tools = create_memory_tools(memory, user_id=lambda _config, _runtime: now["user"])
    for name, known in (("ana", True), ("ben", False)):
        now["user"] = name
        crew, model = crew_of(
            'Thought: look\nAction: search_memory\nAction Input: {"query": "the code"}',
            "There.",
            tools=tools,
            cache=True,
        )
        crew.kickoff()
        assert ("1234" in model.prompts[1]) is known
