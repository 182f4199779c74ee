"""What an async add reads of its owner's memories while it waits for the model is true when it decides."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from memkit_core import AsyncMemory, Memory
from memkit_core.errors import StorageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

HOUR = 3600 * 1_000_000
FACT = {"facts": [{"text": "Kai drinks green tea", "cites": [0]}]}


class WaitingChatModel(ScriptedChatModel):
    """Does something else before its first answer, when others have had time to read ahead."""

    meanwhile: Any = None

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await asyncio.sleep(0.1)
            meanwhile()
        return await super()._agenerate(*args, **kwargs)


def decided(model):
    """What the second call showed."""
    assert len(model.calls) == 2
    return model.calls[1].text


async def test_what_another_process_writes_meanwhile_is_decided_on(tmp_path):
    store, embedder = tmp_path / "m.db", HashEmbeddings(dimension=16)
    other = Memory(embedder=embedder, store=store)
    other.add("Kai drinks coffee", user_id="u", infer=False)
    model = WaitingChatModel([FACT, {"decisions": [{"fact": 0, "op": "ADD"}]}])
    model.meanwhile = lambda: other.add("Kai drinks black tea", user_id="u", infer=False)
    async with AsyncMemory(llm=model, embedder=embedder, store=store) as memory:
        result = await memory.add("I drink green tea", user_id="u")
    assert [change.memory for change in result.added] == ["Kai drinks green tea"]
    assert "Kai drinks coffee" in decided(model)
    assert "Kai drinks black tea" in decided(model)
    other.close()


async def test_what_was_deleted_meanwhile_is_no_candidate(tmp_path):
    store, embedder = tmp_path / "m.db", HashEmbeddings(dimension=16)
    other = Memory(embedder=embedder, store=store)
    (coffee,) = other.add("Kai drinks coffee", user_id="u", infer=False).added
    other.add("Kai drinks black tea", user_id="u", infer=False)
    model = WaitingChatModel([FACT, {"decisions": [{"fact": 0, "op": "ADD"}]}])
    model.meanwhile = lambda: other.delete(coffee.id)
    async with AsyncMemory(llm=model, embedder=embedder, store=store) as memory:
        await memory.add("I drink green tea", user_id="u")
    assert "Kai drinks coffee" not in decided(model)
    assert "Kai drinks black tea" in decided(model)
    other.close()


async def test_what_has_expired_meanwhile_is_no_candidate(tmp_path):
    embedder = HashEmbeddings(dimension=16)
    model = WaitingChatModel([FACT, {"decisions": [{"fact": 0, "op": "ADD"}]}])
    async with AsyncMemory(llm=model, embedder=embedder, store=tmp_path / "m.db") as memory:
        await memory.add("Kai drinks coffee", user_id="u", infer=False)
        services = memory._engine.services
        soon = datetime.now().astimezone() + timedelta(hours=1)
        await memory.add("Kai drinks black tea", user_id="u", infer=False, expires_at=soon)
        now = services.clock
        model.meanwhile = lambda: object.__setattr__(services, "clock", lambda: now() + 2 * HOUR)
        await memory.add("I drink green tea", user_id="u")
    assert "Kai drinks coffee" in decided(model)
    assert "Kai drinks black tea" not in decided(model)


async def test_a_store_that_cannot_be_read_ahead_is_read_when_it_is_needed(tmp_path, monkeypatch):
    embedder = HashEmbeddings(dimension=16)
    model = WaitingChatModel([FACT, {"decisions": [{"fact": 0, "op": "ADD"}]}])
    async with AsyncMemory(llm=model, embedder=embedder, store=tmp_path / "m.db") as memory:
        await memory.add("Kai drinks coffee", user_id="u", infer=False)
        store, failed = memory._engine.services.store, []
        read = store.scan

        def scan(*args, **kwargs):
            if not failed:
                failed.append(1)
                raise StorageError("the disk is busy")
            return read(*args, **kwargs)

        monkeypatch.setattr(store, "scan", scan)
        model.meanwhile = lambda: None
        result = await memory.add("I drink green tea", user_id="u")
    assert failed
    assert result.status == "complete"
    assert "Kai drinks coffee" in decided(model)


async def test_a_small_scope_is_read_once(tmp_path, monkeypatch):
    embedder = HashEmbeddings(dimension=16)
    model = WaitingChatModel([FACT, {"decisions": [{"fact": 0, "op": "ADD"}]}])
    async with AsyncMemory(llm=model, embedder=embedder, store=tmp_path / "m.db") as memory:
        await memory.add("Kai drinks coffee", user_id="u", infer=False)
        store, read = memory._engine.services.store, []
        scan = store.scan
        monkeypatch.setattr(store, "scan", lambda *args, **kwargs: (read.append(1), scan(*args, **kwargs))[1])
        seen = []
        model.meanwhile = lambda: seen.extend(read)
        await memory.add("I drink green tea", user_id="u")
    assert seen == read == [1]
