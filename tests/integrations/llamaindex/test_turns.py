"""``MemkitMemory``: turns become memories, once, whatever fails, and each user's alone."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from memkit_core import MemkitError, Memory, StorageError, UsageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_llamaindex import MemkitMemory


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def answer(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def system(messages: list[ChatMessage]) -> str:
    return "".join(m.content or "" for m in messages if m.role == MessageRole.SYSTEM)


def test_a_turn_is_remembered_when_it_is_answered(memory: Memory) -> None:
    made = MemkitMemory(memory, user_id="ann", wait=True)
    made.put(user("I live in Berlin."))
    assert memory.count(user_id="ann") == 0
    call = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"id": "1", "name": "f"}]})
    result = ChatMessage(role="tool", content="res", additional_kwargs={"tool_call_id": "1"})
    made.put_messages([call, result, answer("Noted.")])
    assert "I live in Berlin." in [m.memory for m in memory.get_all(user_id="ann")]
    other = MemkitMemory(memory, user_id="ann")
    other.put(user("Where do I live? In Berlin?"))
    assert "I live in Berlin." in system(other.get())


def test_twenty_short_turns_are_all_remembered_once(memory: Memory) -> None:
    made = MemkitMemory(memory, user_id="ann")
    for n in range(20):
        made.put(user(f"My friend number {n} is called Name{n}."))
        made.get()
        made.put(answer(f"Ok {n}"))
    memory.flush()
    told = [m.memory for m in memory.get_all(user_id="ann")]
    assert all(sum(f"Name{n}." in text for text in told) == 1 for n in range(20))


@pytest.mark.parametrize("wait", [False, True])
def test_one_object_for_each_request_remembers_each_turn_once(memory: Memory, wait: bool) -> None:
    for n in range(12):

        def mine() -> MemkitMemory:
            return MemkitMemory(memory, user_id="ann", session_id="s", wait=wait)

        mine().put(user(f"My friend number {n} is called Name{n}."))
        assert len(mine().get_all()) == 2 * n + 1
        mine().put(answer(f"Ok {n}"))
    memory.flush()
    said = memory.search("friend", user_id="ann", limit=50, include=("memories", "excerpts"))
    for n in range(12):
        assert sum(f"Name{n}." in hit.memory for hit in said.results) == 1
        assert sum(f"Name{n}." in excerpt.text for excerpt in said.excerpts) <= 1
    assert memory.count(user_id="ann") == len({m.memory for m in memory.get_all(user_id="ann")})


@pytest.mark.parametrize("refused", ["x" * 300_000, "a NUL \0 character"])
def test_what_memory_refuses_keeps_nothing_else_out(
    memory: Memory, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    made = MemkitMemory(memory, user_id="ann", session_id="s")
    with caplog.at_level(logging.WARNING, "memkit_llamaindex"):
        made.put_messages([user("I live in Berlin."), user(refused)])
        assert [m.content for m in made.get() if m.role == MessageRole.USER] == ["I live in Berlin.", refused]
        made.put(answer("Noted."))
    assert "could not remember all" in caplog.text
    caplog.clear()
    made.put(user("I work in Potsdam."))
    made.put(answer("Noted too."))
    assert "could not" not in caplog.text
    told = [m.memory for m in memory.get_all(user_id="ann")]
    assert [sum(place in text for text in told) for place in ("Berlin", "Potsdam")] == [1, 1]
    strict = MemkitMemory(memory, user_id="ann", session_id="strict", on_error="raise")
    strict.put_messages([user("I own a boat."), user(refused)])
    with pytest.raises(UsageError):
        strict.put(answer("Nice."))
    assert "I own a boat." in [m.memory for m in memory.get_all(user_id="ann")]
    strict.put(answer("Nice."))
    assert len(strict.get_all()) == 4


@contextmanager
def refusing(path: Path, table: str) -> Iterator[None]:
    """A database that takes no new rows in one of its tables, as a full disk might."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            f"CREATE TRIGGER refusing BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        yield
        connection.execute("DROP TRIGGER refusing")


@pytest.mark.parametrize("wait", [False, True])
def test_what_could_not_be_remembered_is_with_the_next_turn(
    memory: Memory, tmp_path: Path, caplog: pytest.LogCaptureFixture, wait: bool
) -> None:
    made = MemkitMemory(memory, user_id="ann", wait=wait)
    made.put(user("I live in Berlin."))
    with refusing(tmp_path / "llama.db", "batches"):
        made.put(answer("Noted."))
    assert "could not remember" in caplog.text
    assert [m.content for m in made.get_all()] == ["I live in Berlin.", "Noted."]
    assert memory.count(user_id="ann") == 0
    made.put_messages([user("I work in Potsdam."), answer("Noted too.")])
    told = [m.memory for m in memory.get_all(user_id="ann")]
    assert [sum(place in text for text in told) for place in ("Berlin", "Potsdam")] == [1, 1]


@pytest.mark.parametrize("wait", [False, True])
async def test_a_history_that_cannot_be_written_is_an_error(
    memory: Memory, tmp_path: Path, wait: bool
) -> None:
    made = MemkitMemory(memory, user_id="ann", session_id="s", wait=wait)
    made.put(user("I live in Berlin."))
    with refusing(tmp_path / "llama.db", "items"):
        for message in (user("a"), answer("Noted.")):
            with pytest.raises(StorageError):
                made.put(message)
            with pytest.raises(StorageError):
                await made.aput(message)
    assert made.get_all() == [user("I live in Berlin.")]
    made.put(answer("Noted."))
    assert made.get_all() == [user("I live in Berlin."), answer("Noted.")]
    told = [m.memory for m in memory.get_all(user_id="ann")]
    assert sum("Berlin" in text for text in told) == 1


class Slow(HashEmbeddings):
    """Embeddings that take until they are cancelled."""

    begun = asyncio.Event()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.begun.set()
        return await asyncio.Future()


@pytest.mark.parametrize("wait", [False, True])
async def test_an_answer_whose_put_is_cancelled_is_kept(tmp_path: Path, wait: bool) -> None:
    slow = Slow()
    slow.begun = asyncio.Event()
    with Memory(llm="verbatim", embedder=slow, store=f"sqlite:///{tmp_path}/slow.db") as memory:
        made = MemkitMemory(memory, user_id="ann", wait=wait)
        await made.aput(user("I live in Berlin."))
        put = asyncio.create_task(made.aput(answer("Noted.")))
        await slow.begun.wait()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        assert made.get_all() == [user("I live in Berlin."), answer("Noted.")]
        assert memory.count(user_id="ann") == 0
        made.put(answer("And more."))
        assert "I live in Berlin." in [m.memory for m in memory.get_all(user_id="ann")]


def test_what_is_set_becomes_no_memory_and_reset_keeps_memories(memory: Memory) -> None:
    made = MemkitMemory(memory, user_id="ann", session_id="s", wait=True)
    made.set([user("I own a boat."), answer("Nice.")])
    made.put(user("I own a horse."))
    made.put(answer("Nice too."))
    told = [m.memory for m in memory.get_all(user_id="ann")]
    assert "I own a horse." in told
    assert "I own a boat." not in told
    made.reset()
    assert made.get_all() == []
    assert [m.memory for m in memory.get_all(user_id="ann")] == told
    assert MemkitMemory(memory, user_id="ann", session_id="s").get_all() == []


def test_without_remembering_only_the_history_is_kept(memory: Memory) -> None:
    made = MemkitMemory(memory, user_id="ann", remember=False, wait=True)
    made.put_messages([user("I live in Berlin."), answer("Noted.")])
    assert memory.count(user_id="ann") == 0
    assert len(made.get_all()) == 2


@contextmanager
def broken(path: Path) -> Iterator[None]:
    """A database whose memories are gone for a while. Its items are there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE memories RENAME TO gone")
        yield
        connection.execute("ALTER TABLE gone RENAME TO memories")


@pytest.mark.parametrize("wait", [False, True])
async def test_a_failing_memory_does_not_end_the_conversation(
    memory: Memory, tmp_path: Path, caplog: pytest.LogCaptureFixture, wait: bool
) -> None:
    memory.add("I am allergic to peanuts.", user_id="ann")
    made = MemkitMemory(memory, user_id="ann", wait=wait)
    strict = MemkitMemory(memory, user_id="ann", on_error="raise", wait=wait)
    with broken(tmp_path / "llama.db"):
        made.put(user("secret words"))
        assert [m.content for m in made.get()] == ["secret words"]
        assert [m.content for m in await made.aget("secret questions")] == ["secret words"]
        made.put(answer("ok"))
        await made.aput_messages([user("more words"), answer("ok")])
        assert len(made.get_all()) == 4
        strict.put(user("a"))
        with pytest.raises(MemkitError):
            strict.get()
        with pytest.raises(MemkitError):
            strict.put(answer("b"))
        with pytest.raises(MemkitError):
            await strict.aput(answer("c"))
        assert len(strict.get_all()) == 3
    assert "could not recall" in caplog.text
    assert "could not remember" in caplog.text
    assert "secret" not in caplog.text
    made.put(user("What about peanuts?"))
    assert "allergic to peanuts" in system(made.get())
    made.put(answer("None of them."))
    assert {"secret words", "more words"} <= {m.memory for m in memory.get_all(user_id="ann")}


def _interleave(memory: Memory, turns: int) -> int:
    """How many turns of two users show something of the other one."""
    leaks = 0
    names = {"ann": "Anaconda", "bob": "Bobsleigh"}
    for n in range(turns):
        who, other = ("ann", "bob") if n % 2 else ("bob", "ann")
        made = MemkitMemory(memory, user_id=who, session_id=f"session {n // 20}")
        made.put(user(f"My password {n} is {names[who]}{n}. What is the password?"))
        told = str([m.content for m in made.get()])
        leaks += names[other] in told
        assert names[who] in told
        made.put(answer("Noted."))
    memory.flush()
    for who, other in (("ann", "bob"), ("bob", "ann")):
        page = memory.get_all(user_id=who, limit=1000)
        leaks += sum(names[other] in item.memory for item in page)
    return leaks


@pytest.mark.parametrize(
    "turns", [500, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_two_users_in_one_process_see_nothing_of_each_other(memory: Memory, turns: int) -> None:
    assert _interleave(memory, turns) == 0


async def test_an_answer_and_what_is_to_be_extracted_of_it_are_kept_together(tmp_path: Path) -> None:
    """Whatever write fails, a turn is never handed over twice, nor marked without being handed over."""
    model = ScriptedChatModel(lambda _messages: {"facts": []})
    with Memory(llm=model, embedder="none", store=f"sqlite:///{tmp_path}/m.db") as memory:
        made = MemkitMemory(memory, user_id="ann", session_id="s")
        await made.aput(user("I live in Berlin."))
        with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as other:
            before = {table: _count(other, table) for table in ("batches", "items")}
            other.execute(
                "CREATE TRIGGER no_batch BEFORE INSERT ON batches BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
            await made.aput(answer("Noted."))
            # The history goes on without the memory, unmarked.
            assert _count(other, "batches") == before["batches"]
            assert _count(other, "items") == before["items"] + 1
            other.execute("DROP TRIGGER no_batch")
            other.execute(
                "CREATE TRIGGER no_item BEFORE INSERT ON items BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
            with pytest.raises(MemkitError):
                await made.aput(answer("Noted again."))
            assert _count(other, "batches") == before["batches"]
            other.execute("DROP TRIGGER no_item")
            await made.aput(answer("At last."))
            assert _count(other, "batches") == before["batches"] + 1
        memory.flush()
        said = memory.search("Berlin", user_id="ann", include=("excerpts",)).excerpts
        assert [one.text for one in said].count("I live in Berlin.") == 1
        assert [message.content for message in made.get_all()] == ["I live in Berlin.", "Noted.", "At last."]
        assert memory.admin.doctor().ok


def _count(connection: sqlite3.Connection, table: str) -> int:
    found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found
