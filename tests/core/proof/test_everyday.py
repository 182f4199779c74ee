"""Ordinary calls in whatever order: what was told is there, for nobody else, and stays sound."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from memkit_core import AsOf, AsyncMemory, Memory, MemoryConfig
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

SAID = (
    "I like tea",
    "i like  tea.",
    "I like tea and my dog is called Rex",
    "My dog is called Rex",
    "I live in Bern",
    "I live in Oslo now",
    "I do not like tea any more",
    "我喜欢喝茶",
    "Ich wohne in Köln 🙂",
    "Remember that I like tea. I live in Bern. My dog is called Rex.",
    "hello",
    "x" * 3_000,
)
USERS = ("u1", "u2")


class Whim:
    """A model that draws some of what it reads as facts, and decides by chance."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def __call__(self, messages: list[Any]) -> Any:
        text = messages[-1].text
        if "memories:\n" in text:
            return {
                "decisions": [
                    {
                        "fact": self.rng.randrange(3),
                        "op": self.rng.choice(("ADD", "UPDATE", "DELETE", "NONE")),
                        "target": self.rng.randrange(4),
                    }
                    for _ in range(self.rng.randrange(4))
                ]
            }
        count = self.rng.randrange(4)
        return {"facts": [{"text": self.rng.choice(SAID), "cites": [0]} for _ in range(count)]}


class Everyday:
    """One store, and for each user what is told to be there: texts by id."""

    def __init__(self, seed: int, face: Any, scopes: bool) -> None:
        self.rng = random.Random(seed)
        self.face = face
        self.scopes = scopes
        self.there: dict[str, dict[str, str]] = {user: {} for user in USERS}
        self.then: list[tuple[datetime, dict[str, dict[str, str]]]] = []

    def scope(self) -> dict[str, str]:
        scope = {"user_id": self.rng.choice(USERS)}
        if self.scopes:
            for name in ("agent_id", "run_id"):
                if self.rng.random() < 0.3:
                    scope[name] = "a"
        return scope

    def step(self) -> None:
        calls = (self.add, self.add, self.add, self.update, self.delete, self.search, self.past, self.back)
        self.rng.choice(calls)()
        for user in USERS:
            self.check(user)

    def check(self, user: str) -> None:
        told, cursor = {}, None
        while True:
            page = self.face.get_all(user_id=user, limit=self.rng.choice((1, 3, 100)), cursor=cursor)
            told.update({item.id: item.memory for item in page})
            cursor = page.next_cursor
            if cursor is None:
                break
        assert told == self.there[user]
        assert self.face.count(user_id=user) == len(told)

    def note(self, user: str, changes: Any) -> None:
        """Apply what a result tells."""
        there = self.there[user]
        before = set(there)
        for change in changes:
            if change.event == "DELETE":
                there.pop(change.id, None)
            elif change.event == "ADD" and change.held_until is not None:
                continue
            elif change.event in ("ADD", "UPDATE") and change.trust == "trusted":
                there[change.id] = change.memory  # else it is in quarantine
        known = [change for change in changes if change.event == "NONE" and change.trust == "trusted"]
        assert {change.id for change in known} <= {None, *before, *there}

    def add(self) -> None:
        scope = self.scope()
        said = self.rng.choices(SAID, k=self.rng.choice((1, 1, 2, 3)))
        given: Any = said[0] if len(said) == 1 else said
        if self.rng.random() < 0.3:
            given = [{"role": self.rng.choice(("user", "user", "assistant")), "content": one} for one in said]
        options: dict[str, Any] = {}
        if self.rng.random() < 0.3:
            options["metadata"] = {"topic": self.rng.choice(("tea", "dog"))}
        if self.rng.random() < 0.2:
            options["observed_at"] = self.rng.choice(("2025-01-01", "2026-05-05T10:00:00+02:00"))
        if self.rng.random() < 0.2:
            options["actor_id"] = self.rng.choice(("Ana", "Bo"))
        if self.rng.random() < 0.3:
            options["infer"] = False
        result = self.face.add(given, **scope, **options)
        assert result.failed == []
        assert result.pending == []
        self.note(scope["user_id"], result.results)

    def update(self) -> None:
        user = self.rng.choice(USERS)
        if not self.there[user]:
            return
        memory_id = self.rng.choice(sorted(self.there[user]))
        options: dict[str, Any] = {}
        if self.rng.random() < 0.5:
            options["metadata"] = {"topic": "cat"}
        text = self.rng.choice((*SAID, *self.there[user].values()))
        if options and self.rng.random() < 0.3:
            text = None
        change = self.face.update(memory_id, text, user_id=user, **options)
        assert change.id == memory_id
        self.note(user, [change])
        assert self.face.get(memory_id, user_id=user).memory == (text or self.there[user][memory_id])

    def delete(self) -> None:
        user = self.rng.choice(USERS)
        if self.rng.random() < 0.1:
            self.face.delete_all(user_id=user)
            self.there[user] = {}
        elif self.there[user]:
            memory_id = self.rng.choice(sorted(self.there[user]))
            self.note(user, [self.face.delete(memory_id, user_id=user)])
            assert self.face.get(memory_id, user_id=user) is None
            assert self.face.history(memory_id, user_id=user)

    def search(self) -> None:
        user = self.rng.choice(USERS)
        limit = self.rng.choice((1, 5, 100))
        filters = {"topic": self.rng.choice(("tea", "dog", "cat"))} if self.rng.random() < 0.3 else None
        if filters is not None and not any(item.metadata for item in self.face.get_all(user_id=user)):
            filters = None
        query = self.rng.choice((*SAID, "Where do I live?", "tea"))
        found = self.face.search(
            query, user_id=user, limit=limit, filters=filters, include=("memories", "excerpts")
        )
        assert len(found.results) <= limit
        assert all(self.there[user][hit.id] == hit.memory for hit in found.results)
        assert found.degraded == []
        self.face.context(query, user_id=user)

    def past(self) -> None:
        """Keep what is there now, for later."""
        time.sleep(0.001)
        self.then.append((datetime.now(UTC), {user: dict(there) for user, there in self.there.items()}))
        time.sleep(0.001)

    def back(self) -> None:
        """What was known at an earlier time; now and then everything is brought back to it."""
        if not self.then:
            return
        user = self.rng.choice(USERS)
        when, then = self.rng.choice(self.then)
        now = self.face.get_all(user_id=user, as_of=AsOf(known=when, valid=when), limit=1_000)
        if self.rng.random() < 0.5:
            assert {item.id: item.memory for item in now} == then[user]
            return
        self.face.admin.rollback(user_id=user, to=when)
        self.there[user] = dict(then[user])


class Awaited:
    """The asynchronous face, called as the other one is."""

    def __init__(self, memory: AsyncMemory, runner: asyncio.Runner) -> None:
        self._memory, self._runner = memory, runner
        self.admin = memory.admin if isinstance(memory, Memory) else _Awaited(memory.admin, runner)

    def __getattr__(self, name: str) -> Any:
        return _run(getattr(self._memory, name), self._runner)


class _Awaited:
    def __init__(self, admin: Any, runner: asyncio.Runner) -> None:
        self._admin, self._runner = admin, runner

    def __getattr__(self, name: str) -> Any:
        return _run(getattr(self._admin, name), self._runner)


def _run(verb: Any, runner: asyncio.Runner) -> Any:
    async def call(*args: Any, **options: Any) -> Any:
        return await verb(*args, **options)

    return lambda *args, **options: runner.run(call(*args, **options))


def everyday(seed: int, store: str, *, model: bool, scopes: bool = False, awaited: bool = False) -> None:
    rng = random.Random(-seed - 1)
    config = MemoryConfig(store=store)
    parts: dict[str, Any] = {
        "llm": ScriptedChatModel(Whim(rng)) if model else "verbatim",
        "embedder": HashEmbeddings(16),
        "config": config,
    }
    with asyncio.Runner() as runner:
        memory = AsyncMemory(**parts) if awaited else Memory(**parts)
        face = Awaited(memory, runner) if awaited else memory
        days = Everyday(seed, face, scopes)
        for _ in range(days.rng.randint(5, 30)):
            days.step()
        assert face.admin.doctor().ok
        face.close()


@pytest.mark.parametrize("model", [False, True], ids=["verbatim", "model"])
@pytest.mark.parametrize("start", range(0, 120, 20))
def test_what_was_told_is_there(start, model):
    for seed in range(start, start + 20):
        everyday(seed, "sqlite://:memory:", model=model)


@pytest.mark.parametrize("model", [False, True], ids=["verbatim", "model"])
def test_for_agents_and_runs(model):
    for seed in range(200, 230):
        everyday(seed, "sqlite://:memory:", model=model, scopes=True)


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_in_a_file(tmp_path, awaited):
    for seed in range(300, 308):
        everyday(seed, f"sqlite:///{tmp_path}/{seed}.db", model=seed % 2 == 0, awaited=awaited)


@pytest.mark.slow
def test_many_more():
    for seed in range(1_000, 4_000):
        everyday(seed, "sqlite://:memory:", model=seed % 2 == 0, scopes=seed % 3 == 0)
