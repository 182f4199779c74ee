"""A store that keeps warm copies finds exactly what one without finds, whoever changed the file and how."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core import analysis
from memkit_core.errors import IntegrityError
from memkit_core.filters import parse_filter
from memkit_core.protocols import (
    AddMemory,
    Candidates,
    Change,
    ChangeSet,
    NewBatch,
    Query,
    RetireMemory,
    SearchRequest,
    UpdateMemory,
)
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.storage.sqlite.changes import FORGOTTEN_AT_ONCE, KEPT_TAGS
from memkit_core.types import Message, Ref, Scope

T0 = 1_700_000_000_000_000
HOUR = 3_600_000_000
WORDS = "red green blue house garden river".split()
_owners = count()

Stores = tuple[SqliteStore, SqliteStore, SqliteStore]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Two with warm copies and one without, on one file, as two processes would have it."""
    path = tmp_path_factory.mktemp("cache") / "memkit.db"
    with (
        open_sqlite(path, durability="relaxed") as one,
        open_sqlite(path, durability="relaxed") as two,
        open_sqlite(path, durability="relaxed", cache_bytes=0) as plain,
    ):
        yield one, two, plain


def _vector(rng: random.Random) -> list[float]:
    """Of unit length, and with sums that are exact in any order."""
    if rng.random() < 0.3:
        one = [0.0] * 4
        one[rng.randrange(4)] = rng.choice((1.0, -1.0))
        return one
    return [rng.choice((0.5, -0.5)) for _ in range(4)]


@dataclass
class _World:
    """One owner's fate: what it does is random, with the same seed always the same."""

    stores: Stores
    rng: random.Random
    user: str = field(default_factory=lambda: f"user {next(_owners)}")
    now: int = T0
    memories: list[str] = field(default_factory=list)

    def scope(self, *, narrow: bool = True) -> Scope:
        agent = self.rng.choice((None, "a", "b")) if narrow else None
        return Scope(
            user_id=self.user, agent_id=agent, run_id=self.rng.choice((None, "r")) if narrow else None
        )

    def text(self) -> str:
        return " ".join(self.rng.choices(WORDS, k=self.rng.randint(1, 5)))

    def maybe_vector(self) -> list[float] | None:
        return _vector(self.rng) if self.rng.random() < 0.7 else None

    def batch(self, scope: Scope, size: int) -> NewBatch:
        messages = tuple(
            Message(role="user", content=self.text(), observed_at=self.now + n * HOUR // 4)
            for n in range(size)
        )
        return NewBatch(
            batch_id=str(uuid.uuid4()),
            scope=scope,
            messages=messages,
            recorded_at=self.now,
            index=self.rng.random() < 0.8,
        )

    def add(self, scope: Scope, sources: tuple[int, ...] = ()) -> AddMemory:
        name = str(uuid.uuid4())
        self.memories.append(name)
        return AddMemory(
            memory_id=name,
            scope=scope,
            text=self.text(),
            valid_from=self.now - self.rng.randrange(3) * HOUR,
            metadata={"k": self.rng.choice((0, 1, True, "1", None))},
            actor_id=self.rng.choice((None, "Ann", "Bob")),
            event_time=self.rng.choice((None, self.now, T0 + HOUR)),
            expires_at=self.rng.choice((None, None, self.now + 2 * HOUR)),
            vector=self.maybe_vector(),
            sources=sources,
        )

    def commit(self, store: SqliteStore, *changes: Change, **more: Any) -> None:
        whole = Scope(user_id=self.user)
        store.commit(ChangeSet(scope=whole, recorded_at=self.now, changes=changes, **more))

    def step(self, action: str, store: SqliteStore) -> None:
        self.now += HOUR
        rng = self.rng
        if action == "add":
            batch = self.batch(self.scope(), rng.randint(1, 3))
            changes = [self.add(self.scope(), (0,)) for _ in range(rng.randint(0, 2))]
            vectors = {n: _vector(rng) for n in range(len(batch.messages)) if rng.random() < 0.5}
            self.commit(store, *changes, batch=batch, message_vectors=vectors)
        elif action == "many":
            scope = self.scope()
            self.commit(store, *(self.add(scope) for _ in range(50)))
        elif action == "append":
            store.append(self.batch(self.scope(), rng.randint(1, 4)))
        elif action == "update":
            for name in self.some(store):
                text = rng.choice((None, self.text()))
                vector = self.maybe_vector()
                self.commit(
                    store, UpdateMemory(memory_id=name, text=text, vector=vector, valid_from=self.now)
                )
        elif action == "retire":
            names = self.some(store)
            hide = rng.random() < 0.5
            self.commit(
                store, *(RetireMemory(memory_id=n, valid_to=self.now, hide_sources=hide) for n in names)
            )
        elif action == "retire_all":
            where = parse_filter({"k": rng.choice((0, 1, "1"))}) if rng.random() < 0.7 else None
            query = Query(scope=self.scope(narrow=rng.random() < 0.7), now=self.now, where=where)
            store.retire_all(query, recorded_at=self.now, reason="", hide_messages=rng.random() < 0.3)
        else:
            missing = [one for one in store.missing_vectors(limit=10_000) if one.owner.value == self.user]
            chosen = rng.sample(missing, len(missing) // 2)
            store.put_vectors([(one, _vector(rng)) for one in chosen])

    def some(self, store: SqliteStore) -> list[str]:
        """Up to three memories that are there."""
        there = [name for name in self.memories if store.get(name) is not None]
        return self.rng.sample(there, min(len(there), self.rng.randint(1, 3)))

    def questions(self) -> list[SearchRequest]:
        rng = self.rng
        query = Query(scope=Scope(user_id=self.user), now=self.now)
        narrow = replace(query, scope=self.scope(), where=parse_filter({"k": rng.choice((0, 1, True, "1"))}))
        past = replace(
            query, valid_at=T0 + rng.randrange(6) * HOUR, known_at=rng.choice((None, self.now - HOUR))
        )
        refs = tuple(Ref("memory", name, rng.randint(1, 2)) for name in self.memories[-3:])
        terms = analysis.query_terms(self.text())
        return [
            SearchRequest(query=query, spaces=("memory", "turn"), terms=terms, vector=_vector(rng)),
            SearchRequest(query=narrow, spaces=("turn", "memory"), terms=terms, vector=_vector(rng), pool=2),
            SearchRequest(query=narrow, terms=terms, pool=3, proposed=refs),
            SearchRequest(
                query=past if rng.random() < 0.5 else replace(past, where=narrow.where),
                spaces=("memory", "turn"),
                terms=terms,
                vector=_vector(rng),
                pool=3,
                between=((T0, T0 + 2 * HOUR),),
            ),
        ]

    def compare(self) -> None:
        one, two, plain = self.stores
        for question in self.questions():
            expected = _sorted(plain.search(question))
            assert _sorted(one.search(question)) == expected
            assert _sorted(two.search(question)) == expected


def _sorted(found: Candidates) -> Candidates:
    return replace(found, scored=tuple(sorted(found.scored, key=lambda s: (s.space, s.unit))))


actions = st.sampled_from("add add many append update update retire retire retire_all vectors".split())
steps = st.lists(st.tuples(actions, st.integers(0, 1), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(taken=steps, seed=st.integers(0, 2**16))
def test_warm_copies_are_exact(stores: Stores, taken: list[tuple[str, int, bool]], seed: int) -> None:
    world = _World(stores, random.Random(seed))
    for action, writer, look in [("add", 0, True), *taken]:
        world.step(action, stores[writer])
        if look:
            world.compare()
    world.compare()


def test_a_long_life(stores: Stores) -> None:
    world = _World(stores, random.Random(5))
    choices = "add add add many append update update retire retire vectors".split()
    for n in range(150):
        world.step(world.rng.choice(choices), stores[n % 2])
        world.compare()
        if n % 40 == 39:
            world.step("retire_all", stores[n % 2])
            world.compare()


def test_only_changes_are_read(tmp_path: Path) -> None:
    with open_sqlite(tmp_path / "memkit.db", durability="relaxed") as store:
        world = _World((store, store, store), random.Random(3))
        world.commit(store, *(world.add(Scope(user_id=world.user)) for _ in range(500)))
        question = SearchRequest(
            query=Query(scope=Scope(user_id=world.user), now=T0), vector=_vector(world.rng)
        )
        store.search(question)
        cache = store._cache
        assert cache is not None
        loads = cache.loads
        for action in ["add", "update", "retire", "vectors"] * 5:
            world.step(action, store)
            store.search(question)
        assert cache.loads == loads
        assert cache.updates >= 15
        for _ in range(2 * KEPT_TAGS):
            world.step("add", store)
        store.search(question)
        assert cache.loads == loads + 1
        tags = store._pool.take()
        logged = tags.execute(
            "SELECT count(DISTINCT tag) FROM space_changes GROUP BY owner, space"
        ).fetchall()
        store._pool.give_back(tags)
        assert max(number for (number,) in logged) < KEPT_TAGS + FORGOTTEN_AT_ONCE


def test_a_tag_without_a_note_means_everything(stores: Stores) -> None:
    one, two, _ = stores
    world = _World(stores, random.Random(9))
    world.step("add", one)
    world.step("add", two)
    world.compare()

    def rewrite(connection: Any) -> None:  # as a program does that keeps no log
        connection.execute("UPDATE unit_stats SET tag = tag + 1")
        connection.execute("UPDATE messages SET flags = 4")
        connection.execute("UPDATE memories SET flags = 4")

    two._writer.run(rewrite)
    world.step("add", one)
    world.compare()


@pytest.mark.parametrize(
    "damage", ["ranges = '[]'", "ranges = x'00'", "tag = tag + 1000", "owner = owner + 1000"]
)
def test_damage_of_the_log_hides_no_change(stores: Stores, damage: str) -> None:
    one, two, _ = stores
    world = _World(stores, random.Random(4))
    for _ in range(3):
        world.step("add", one)
    world.compare()
    world.step("update", two)
    world.step("add", two)
    one._writer.run(lambda connection: connection.execute(f"UPDATE space_changes SET {damage}"))
    world.compare()


def test_threads_that_search_while_others_write(stores: Stores) -> None:
    one, _, plain = stores
    world = _World(stores, random.Random(11))
    world.step("many", one)
    errors: list[BaseException] = []
    agreed = count()
    stop = threading.Event()

    def search(seed: int) -> None:
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                question = SearchRequest(
                    query=Query(scope=Scope(user_id=world.user), now=T0),
                    terms=("red", "hous"),
                    vector=_vector(rng),
                    pool=5,
                )
                before, found, after = plain.search(question), one.search(question), plain.search(question)
                if before.revision == found.revision == after.revision:
                    assert _sorted(found) == _sorted(before)
                    next(agreed)
        except BaseException as error:  # noqa: BLE001 - raised below, on the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for n in range(120):
        world.step(("add", "update", "retire")[n % 3], one)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert next(agreed) > 10


def test_any_vectors_agree_closely(stores: Stores) -> None:
    one, _, plain = stores
    rng = np.random.default_rng(1)
    scope = Scope(user_id="any vectors")
    for n in range(40):
        changes = tuple(
            AddMemory(
                memory_id=str(uuid.uuid4()),
                scope=scope,
                text="x",
                valid_from=T0,
                vector=rng.standard_normal(4).tolist(),
            )
            for _ in range(1 + n % 7)
        )
        one.commit(ChangeSet(scope=scope, recorded_at=T0, changes=changes))
        question = SearchRequest(
            query=Query(scope=scope, now=T0), vector=rng.standard_normal(4).tolist(), pool=1_000
        )
        found, expected = one.search(question), plain.search(question)
        assert [s.unit for s in found.scored] == [s.unit for s in expected.scored]
        assert [s.cosine for s in found.scored] == pytest.approx(
            [s.cosine for s in expected.scored], abs=1e-6
        )


def test_damage_among_the_changes_is_noticed(tmp_path: Path) -> None:
    with open_sqlite(tmp_path / "memkit.db", durability="relaxed") as store:
        world = _World((store, store, store), random.Random(1))
        world.step("many", store)
        question = SearchRequest(
            query=Query(scope=Scope(user_id=world.user), now=T0), vector=_vector(world.rng)
        )
        found = store.search(question)
        world.commit(store, replace(world.add(Scope(user_id=world.user)), vector=[1.0, 0.0, 0.0, 0.0]))
        store._writer.run(
            lambda connection: connection.execute(
                "UPDATE vectors SET data = zeroblob(8) WHERE unit = (SELECT max(unit) FROM vectors)"
            )
        )
        with pytest.raises(IntegrityError):
            store.search(question)
        world.step("retire_all", store)
        assert found.scored
