"""A session's messages: kept as they were put, apart from all others, and remembered once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import StorageError, UsageError
from memkit_langchain import MemoryChatMessageHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with Memory(llm="verbatim", embedder="none", store=path) as opened:
        yield opened


def of(memory: Memory | AsyncMemory, session: str = "s1", user: str = "ann", **more: Any) -> Any:
    return MemoryChatMessageHistory(memory, session_id=session, user_id=user, **more)


def heard(path: Path, user: str = "ann") -> list[str]:
    """What the memory was given, in order."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT content FROM messages WHERE user_id = ? ORDER BY unit", (user,))
        return [text for (text,) in found]
    finally:
        connection.close()


CALL = {"name": "weather", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}
MESSAGES = [
    SystemMessage("Be kind.", id="0"),
    HumanMessage([{"type": "text", "text": "How is Oslo?"}], id="1", name="ann"),
    AIMessage("", id="2", tool_calls=[CALL], usage_metadata=None, additional_kwargs={"n": [1, {"a": None}]}),
    ToolMessage("Sunny", tool_call_id="c1", id="3", status="success", artifact={"x": 1}),
    AIMessage("It is sunny.", id="4", response_metadata={"finish_reason": "stop"}),
]


def test_messages_come_back_whole_in_another_process_too(memory: Memory, path: Path) -> None:
    of(memory).add_messages(MESSAGES)
    assert of(memory).messages == MESSAGES
    memory.close()
    with Memory(llm="verbatim", embedder="none", store=path) as again:
        assert of(again).messages == MESSAGES
        of(again).add_user_message("Thanks")
        assert [message.text for message in of(again).messages][-2:] == ["It is sunny.", "Thanks"]


async def test_both_faces_do_the_same(path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder="none", store=path) as memory:
        history = of(memory)
        await history.aadd_messages(MESSAGES)
        assert await history.aget_messages() == MESSAGES == history.messages
        assert heard(path) == ["How is Oslo?", "It is sunny."]
        await history.aclear()
        assert await history.aget_messages() == []


def test_users_and_sessions_never_see_each_other(memory: Memory, path: Path) -> None:
    places = [("ann", "s1"), ("ann", "s2"), ("bob", "s1"), ("ann/s1", "x"), ("ann", "s1/x"), ("a.b", "%2E")]
    for user, session in places:
        of(memory, session, user).add_messages([HumanMessage(f"{user} in {session}"), AIMessage("Noted.")])
    for user, session in places:
        assert [m.text for m in of(memory, session, user).messages] == [f"{user} in {session}", "Noted."]
    of(memory, "s1", "ann").clear()
    assert of(memory, "s1", "ann").messages == []
    assert len(of(memory, "s2", "ann").messages) == len(of(memory, "s1", "bob").messages) == 2
    assert heard(path, "bob") == ["bob in s1", "Noted."]


def test_each_exchange_is_remembered_once(memory: Memory, path: Path) -> None:
    history = of(memory, wait=True)
    history.add_user_message("I am vegan.")
    history.add_ai_message("Noted.")
    of(memory, wait=True).add_messages(
        [HumanMessage("I live in Oslo."), AIMessage("Nice."), HumanMessage("Bye")]
    )
    assert heard(path) == ["I am vegan.", "Noted.", "I live in Oslo.", "Nice.", "Bye"]
    assert {item.memory for item in memory.get_all(user_id="ann")} >= {"I am vegan.", "I live in Oslo."}


def test_forgetting_the_messages_forgets_no_memory(memory: Memory) -> None:
    history = of(memory, wait=True)
    history.add_user_message("I am vegan.")
    history.clear()
    history.add_ai_message("Hello again.")
    assert [message.text for message in history.messages] == ["Hello again."]
    assert [item.memory for item in memory.get_all(user_id="ann")] == ["I am vegan."]


def test_without_remembering_it_is_a_history(memory: Memory, path: Path) -> None:
    of(memory, remember=False).add_user_message("I am vegan.")
    assert heard(path) == []
    of(memory).add_user_message("I live in Oslo.")
    assert heard(path) == ["I live in Oslo."]


@pytest.mark.parametrize("refused", ["a pasted\0text", "x" * 300_000], ids=["nul", "long"])
def test_a_refused_message_is_kept_and_keeps_no_other_one_out(
    memory: Memory, path: Path, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    of(memory).add_messages([HumanMessage("I am vegan."), AIMessage(refused)])
    of(memory).add_messages([HumanMessage("I live in Oslo."), AIMessage("Nice.")])
    assert [message.text for message in of(memory).messages][1] == refused
    assert heard(path) == ["I am vegan.", "I live in Oslo.", "Nice."]
    assert "refuses" in caplog.text


class _Failing:
    """A memory's face that cannot add for a while."""

    def __init__(self, face: Any) -> None:
        self._face, self.fails = face, True

    def add(self, *args: Any, **kwargs: Any) -> Any:
        if self.fails:
            raise StorageError("the disk is full")
        return self._face.add(*args, **kwargs)


def test_what_fails_is_remembered_with_the_next_message(
    memory: Memory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = of(memory)
    face = _Failing(history._lent.memory)
    object.__setattr__(history._lent, "memory", face)
    history.add_messages([HumanMessage("I am vegan."), AIMessage("Noted.")])
    assert "tries again" in caplog.text
    assert (len(history.messages), heard(path)) == (2, [])
    face.fails = False
    history.add_messages([HumanMessage("I live in Oslo."), AIMessage("Nice.")])
    assert heard(path) == ["I am vegan.", "Noted.", "I live in Oslo.", "Nice."]


def test_failures_are_raised_if_wanted(memory: Memory) -> None:
    history = of(memory, on_error="raise")
    object.__setattr__(history._lent, "memory", _Failing(None))
    with pytest.raises(StorageError, match="full"):
        history.add_user_message("I am vegan.")
    assert len(of(memory).messages) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"session": ""}, "session_id"),
        ({"user": ""}, "user_id"),
        ({"user": lambda config, runtime: "ann"}, "not a function"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_wrong_arguments_are_told(memory: Memory, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        of(memory, **wrong)


def test_what_is_no_message_or_no_json_is_not_put(memory: Memory) -> None:
    for wrong in ("hello", HumanMessage("x", additional_kwargs={"f": {1, 2}})):
        with pytest.raises(UsageError):
            of(memory).add_messages([HumanMessage("first"), wrong])
    assert of(memory).messages == []


@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
@pytest.mark.parametrize("face", ["sync", "async"])
async def test_a_chain_with_history_does_as_with_langchains_own(
    memory: Memory, path: Path, face: str
) -> None:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    stores: dict[str, Any] = {}

    def mine(session_id: str) -> Any:
        return of(memory, session_id)

    def theirs(session_id: str) -> Any:
        return stores.setdefault(session_id, InMemoryChatMessageHistory())

    told = []
    for histories in (mine, theirs):
        chain = RunnableWithMessageHistory(
            prompt | FakeListChatModel(responses=["one", "two"]),
            histories,
            input_messages_key="question",
            history_messages_key="history",
        )
        for question in ("I am vegan.", "I live in Oslo."):
            run: Any = {"configurable": {"session_id": "s1"}}
            if face == "sync":
                chain.invoke({"question": question}, run)
            else:
                await chain.ainvoke({"question": question}, run)
        told.append([(message.type, message.text) for message in histories("s1").messages])
    assert told[0] == told[1]
    assert heard(path) == [text for _, text in told[0]]
