"""The retriever in a chain that answers from what it finds, with excerpts, metadata and citations."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from memkit_core import Memory
from memkit_langchain import MemoryRetriever

PROMPT = ChatPromptTemplate.from_template("Known:\n{known}\n\nQuestion: {question}")


def numbered(documents: list[Document]) -> str:
    lines: list[str] = []
    for number, one in enumerate(documents, 1):
        topic = one.metadata.get("metadata", {}).get("topic")
        lines.append(f"[{number}] {one.metadata['type']} {one.page_content} ({topic})")
    return "\n".join(lines)


@pytest.mark.parametrize("face", ["invoke", "ainvoke", "stream", "abatch"])
async def test_a_chain_answers_from_memories_and_excerpts(memory: Memory, face: str) -> None:
    memory.add("I keep bees in Oslo.", user_id="ann", metadata={"topic": "garden"}, observed_at="2026-01-01")
    memory.add("My bees sting.", user_id="ann", metadata={"topic": "health"}, observed_at="2026-02-01")
    memory.add("I keep bees in Rome.", user_id="bob", metadata={"topic": "garden"})
    retriever = MemoryRetriever(
        memory=memory, user_id="ann", k=2, excerpts=True, filters={"metadata.topic": "garden"}
    )
    shown: list[str] = []

    def see(prompt: Any) -> Any:
        shown.append(prompt.to_string())
        return prompt

    answer = PROMPT | RunnableLambda(see) | FakeListChatModel(responses=["In Oslo [1]."]) | StrOutputParser()
    chain: Any = {"question": RunnablePassthrough(), "sources": retriever} | RunnablePassthrough.assign(
        known=lambda given: numbered(given["sources"])
    ).assign(answer=answer)
    question = "Where do I keep bees?"
    if face == "invoke":
        told = chain.invoke(question)
    elif face == "ainvoke":
        told = await chain.ainvoke(question)
    elif face == "stream":
        told = dict[str, Any]()
        for part in chain.stream(question):
            for key, value in part.items():
                told[key] = told.get(key, "") + value if isinstance(value, str) else value
    else:
        (told,) = await chain.abatch([question])
    assert "[1] memory I keep bees in Oslo. (garden)" in shown[0]
    assert "excerpt I keep bees in Oslo." in shown[0]
    assert "Rome" not in shown[0]
    assert "(health)" not in shown[0]
    assert told["answer"] == "In Oslo [1]."
    first = told["sources"][0]
    (item,) = (item for item in memory.get_all(user_id="ann") if item.id == first.id)
    assert first.metadata["valid_from"].startswith("2026-01-01")
    assert first.metadata["sources"] == list(item.sources)
