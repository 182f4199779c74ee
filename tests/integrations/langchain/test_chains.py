"""Recalling and remembering in plain chains."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import UsageError
from memkit_core.testing import ScriptedChatModel
from memkit_langchain import create_recall, create_remember

ANN: Any = {"configurable": {"user_id": "ann"}}
BOB: Any = {"configurable": {"user_id": "bob"}}


@pytest.fixture
def known(memory: Memory) -> Memory:
    memory.add("Ann keeps bees.", user_id="ann")
    memory.add("Bob keeps goats.", user_id="bob")
    return memory


async def test_what_is_recalled_is_the_users_and_fenced(known: Memory) -> None:
    recall = create_recall(known)
    for told in (recall.invoke("Who keeps bees?", ANN), await recall.ainvoke("Who keeps bees?", ANN)):
        assert told.startswith("<memories>")
        assert "Ann keeps bees." in told
        assert "goats" not in told
    assert "goats" in recall.invoke("Who keeps goats?", BOB)
    ann, bob = recall.batch(["Who keeps bees?"] * 2, [ANN, BOB])
    assert "bees" in ann
    assert "Ann" not in bob
    assert "".join(recall.stream("Who keeps bees?", ANN)) == ann
    assert await recall.abatch(["Who keeps bees?"] * 2, [ANN, BOB]) == [ann, bob]
    assert "".join([part async for part in recall.astream("Who keeps bees?", ANN)]) == ann


@pytest.mark.parametrize(
    "question",
    [
        HumanMessage("Who keeps bees?"),
        [HumanMessage("Who keeps bees?"), AIMessage("Hm.")],
        ChatPromptTemplate.from_template("Who keeps {what}?").invoke({"what": "bees"}),
    ],
)
def test_a_question_has_many_forms(known: Memory, question: Any) -> None:
    assert "bees" in create_recall(known, user_id="ann").invoke(question)
    assert "bees" in create_recall(known, user_id="ann", input_key="q").invoke({"q": question})


def test_nothing_asked_recalls_nothing(known: Memory) -> None:
    recall = create_recall(known, user_id="ann")
    assert recall.invoke("") == recall.invoke([]) == ""


async def test_a_chain_recalls_and_remembers(known: Memory) -> None:
    prompt = ChatPromptTemplate.from_template("{recalled}\n\n{question}")
    model = FakeListChatModel(responses=["Bees, you said.", "And a fern."])
    chain: Any = (
        {"question": RunnablePassthrough(), "recalled": create_recall(known)}
        | RunnablePassthrough.assign(answer=prompt | model | StrOutputParser())
        | create_remember(known, wait=True)
    )
    first = chain.invoke("I have a fern. Which animals do I keep?", ANN)
    assert "Ann keeps bees." in first["recalled"]
    assert first["answer"] == "Bees, you said."
    second = await chain.ainvoke("What plant, a fern?", ANN)
    assert "I have a fern." in second["recalled"]
    assert all("fern" not in item.memory for item in known.get_all(user_id="bob"))


async def test_a_batch_is_remembered_run_by_run(known: Memory) -> None:
    remember = create_remember(known, wait=True)
    given = [{"question": f"I own {what}.", "answer": "Noted."} for what in ("a boat", "a kite")]
    assert remember.batch(given, [ANN, BOB]) == given
    more = [{"question": f"I lost {what}.", "answer": "Sorry."} for what in ("a boat", "a kite")]
    assert await remember.abatch(more, [ANN, BOB]) == more
    for user, what in (("ann", "a boat"), ("bob", "a kite")):
        texts = {item.memory for item in known.get_all(user_id=user)}
        assert {f"I own {what}.", f"I lost {what}."} <= texts
        assert not any(other in text for text in texts for other in {"a boat", "a kite"} - {what})


def test_a_run_for_nobody_is_refused(known: Memory) -> None:
    with pytest.raises(UsageError, match="no user id"):
        create_recall(known).invoke("bees")
    with pytest.raises(UsageError, match="no user id"):
        create_remember(known).invoke({"question": "I am vegan.", "answer": "Noted."})


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_a_memory_that_fails_ends_no_chain(
    known: Memory, caplog: pytest.LogCaptureFixture, face: str
) -> None:
    recall, remember = create_recall(known, user_id="ann"), create_remember(known, user_id="ann")
    strict = create_recall(known, user_id="ann", on_error="raise")
    known.close()
    given = {"question": "I am vegan.", "answer": "Noted."}
    if face == "sync":
        told = recall.invoke("bees"), remember.invoke(given)
    else:
        told = await recall.ainvoke("bees"), await remember.ainvoke(given)
    assert told == ("", given)
    assert "cannot recall" in caplog.text
    assert "cannot remember" in caplog.text
    with pytest.raises(UsageError, match="closed"):
        strict.invoke("bees")


def test_what_memory_refuses_keeps_nothing_else_out(known: Memory) -> None:
    create_remember(known, user_id="ann", wait=True).invoke({"question": "I am vegan.", "answer": "x\0y"})
    assert "I am vegan." in [item.memory for item in known.get_all(user_id="ann")]


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (create_recall, {"k": 0}),
        (create_recall, {"threshold": 2}),
        (create_recall, {"on_error": "ignore"}),
        (create_recall, {"user_id": ""}),
        (create_remember, {"on_error": "ignore"}),
    ],
)
def test_wrong_arguments_are_told(memory: Memory, make: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(memory, **wrong)


def test_wrong_inputs_are_told(known: Memory) -> None:
    with pytest.raises(UsageError, match="'q'"):
        create_recall(known, user_id="ann", input_key="q").invoke("bees")
    with pytest.raises(UsageError, match="a text or LangChain's messages"):
        create_recall(known, user_id="ann").invoke(7)
    with pytest.raises(UsageError, match="'question'"):
        create_remember(known, user_id="ann").invoke({"answer": "x"})


async def test_the_memorys_own_tokens_are_in_no_stream(tmp_path: Any) -> None:
    own = ScriptedChatModel(lambda _: {"facts": [{"text": "SECRET extraction", "cites": [0]}]})
    async with AsyncMemory(llm=own, embedder="none", store=tmp_path / "m.db") as memory:
        model = GenericFakeChatModel(messages=iter([AIMessage("Noted indeed.")]))
        chain: Any = (
            RunnablePassthrough.assign(answer=(lambda given: given["question"]) | model | StrOutputParser())
        ) | create_remember(memory, user_id="ann", wait=True)
        told = [
            event["data"]["chunk"].text
            async for event in chain.astream_events({"question": "I am vegan."}, version="v2")
            if event["event"] == "on_chat_model_stream" and "nostream" not in event["tags"]
        ]
        assert "".join(told) == "Noted indeed."
        assert [item.memory for item in (await memory.get_all(user_id="ann")).results] == [
            "SECRET extraction"
        ]
