"""An agent that saves, searches and forgets by its own choice, for two users in two sessions.

Needs the extra `langchain`. The agent's model is scripted, so that it runs anywhere; the environment variable
EXAMPLE_MODEL names a real one (`openai:gpt-5-mini`). Whose memory it is, the run says, never the model.

    python examples/agent_with_tools.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel
from memkit_langchain import create_memory_tools

PROMPT = "Save what users ask you to remember. Search your memory before you answer a question about them."

#: Who says what; a session is a process of its own, later.
SESSIONS = (
    (
        ("ana", "Remember: I am allergic to peanuts."),
        ("ben", "Remember: I am learning Dutch."),
    ),
    (
        ("ana", "What do you know about me?"),
        ("ben", "What do you know about me?"),
        ("ben", "Forget: {ana}"),
        ("ana", "Forget: {ana}"),
        ("ana", "What do you know about me?"),
    ),
)


def speak(messages: Sequence[BaseMessage]) -> AIMessage:
    """What a real chat model would do: call a tool, then say what came of it."""
    last = messages[-1]
    if isinstance(last, ToolMessage):
        # Between its two marks and the note, a tool tells one memory a line.
        lines = [json.loads(line) for line in last.text.splitlines() if line.startswith("{")]
        known = "; ".join(line["memory"] for line in lines if "event" not in line)
        events = "; ".join(f"{line['event']} done." for line in lines if "event" in line)
        return AIMessage(known or events or last.text)
    what, _, text = last.text.partition(": ")
    if what == "Remember":
        return call("save_memory", content=text)
    return call("delete_memory", memory_id=text) if what == "Forget" else call("search_memory", query=what)


def call(tool: str, **arguments: str) -> AIMessage:
    """An answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": "1", "type": "tool_call"}])


def model() -> str | BaseChatModel:
    """The one that EXAMPLE_MODEL names, else the scripted one."""
    return os.environ.get("EXAMPLE_MODEL") or ScriptedChatModel(speak, tools=True)


def session(store: Path, turns: Sequence[tuple[str, str]]) -> None:
    """One agent serves both users; every turn is a thread of its own, only the memory stays."""
    with Memory(llm="verbatim", store=store) as memory:
        tools = create_memory_tools(memory, delete=True)
        agent: Any = create_agent(  # pyright: ignore[reportUnknownVariableType]
            model(), tools=tools, system_prompt=PROMPT
        )
        for user, text in turns:
            said = HumanMessage(text.format(ana=known_id(memory, "ana")))
            state = agent.invoke({"messages": [said]}, {"configurable": {"user_id": user}})
            print(f"{user}: {text}\n    agent: {state['messages'][-1].text}")


def known_id(memory: Memory, user: str) -> str:
    """The id of what a user has saved, as somebody may have seen it in a log."""
    found = memory.get_all(user_id=user).results
    return found[0].id if found else "none"


def main() -> None:
    """Two sessions over one file, then what is left of each user."""
    with TemporaryDirectory() as folder:
        store = Path(folder, "agent.db")
        for number, turns in enumerate(SESSIONS, start=1):
            print(f"session {number}")
            session(store, turns)
        with Memory(llm="verbatim", store=store) as memory:
            for user in ("ana", "ben"):
                print(f"left of {user}: {[item.memory for item in memory.get_all(user_id=user)]}")


if __name__ == "__main__":
    main()
