"""Conformance of record stores: changes of one set come to what they come to one after the other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from ..protocols import AddMemory, AmendMemory, Change, CiteMemory, RecordStore, RetireMemory, UpdateMemory
from ..types import MemoryRecord, Scope
from .record_helpers import ANN, MINUTE, T0, add_of, batch_of, commit, everything, query, remember, search

_BOB: Final = Scope(user_id="bob")
_TEXTS: Final = ("likes tea", "likes coffee", "lives in Bern")


class SetsConformance:
    """Several changes in one transaction, some of the same memory."""

    def test_what_is_cited_can_be_said_again_in_the_same_set(self, store: RecordStore) -> None:
        units = store.append(batch_of(["tea", "tea again", "and again"])).units
        there = remember(store, "likes tea", sources=units[:1])
        again = [add_of("likes  tea.", sources=units[n : n + 1], skip_duplicate=True) for n in (1, 2)]
        cited = CiteMemory(memory_id=there.memory_id, sources=units[1:2])
        assert [one.outcome for one in commit(store, cited, *again).applied] == ["duplicate"] * 3
        (now,) = everything(store, query())
        assert (now.memory_id, len(now.sources)) == (there.memory_id, 3)

    def test_what_is_added_may_say_what_something_was_changed_to(self, store: RecordStore) -> None:
        there = remember(store, "likes tea")
        update = UpdateMemory(memory_id=there.memory_id, text="likes coffee", valid_from=T0 + MINUTE)
        receipt = commit(store, update, add_of("likes coffee", skip_duplicate=True), at=T0 + MINUTE)
        assert [one.outcome for one in receipt.applied] == ["applied", "duplicate"]
        assert [now.memory_id for now in everything(store, query())] == [there.memory_id]

    @pytest.mark.parametrize("seed", range(40))
    def test_one_set_comes_to_what_its_changes_come_to(self, store: RecordStore, seed: int) -> None:
        rng = random.Random(seed)
        for scope in (ANN, _BOB):
            store.append(batch_of(["one", "two", "three"], scope))
        own = {scope: _units(store, scope) for scope in (ANN, _BOB)}
        made: list[Change] = []
        for _ in range(rng.randint(3, 10)):
            change = _change(rng, store, made)
            commit(store, _of(change, _BOB, own[_BOB]), scope=_BOB, at=T0 + 9 * MINUTE)
            made.append(change)
        mine = [_of(change, ANN, own[ANN]) for change in made]
        alone = rng.randint(0, len(mine) // 2)
        for change in mine[:alone]:
            commit(store, change, at=T0 + 9 * MINUTE)
        commit(store, *mine[alone:], at=T0 + 9 * MINUTE)
        for memory_id in {change.memory_id for change in made}:
            assert _versions(store, ANN, memory_id) == _versions(store, _BOB, memory_id)
        for word in ("tea", "coffee", "bern", "likes"):
            found = [_found(store, word, scope) for scope in (ANN, _BOB)]
            assert found[0] == found[1]


def _units(store: RecordStore, scope: Scope) -> Sequence[int]:
    return store.append(batch_of(["four", "five", "six"], scope)).units


def _change(rng: random.Random, store: RecordStore, made: Sequence[Change]) -> Change:
    """A change that can be made after the others, of the second owner; ids and units without an owner."""
    current = everything(store, query(_BOB))
    sources = tuple(rng.sample(range(3), k=rng.randint(0, 3)))
    what = rng.choice(("add", "add", "update", "retire", "cite", "amend"))
    begins = T0 + rng.randint(0, 5) * MINUTE
    if current and what != "add" and what != "amend":
        one = rng.choice(current)
        name = one.memory_id.removeprefix("bob ")
        if what == "update":
            text = rng.choice(_TEXTS)
            return UpdateMemory(
                memory_id=name, text=text, valid_from=one.valid_from + MINUTE, sources=sources
            )
        if what == "retire":
            return RetireMemory(memory_id=name, valid_to=one.valid_from + MINUTE, reason="over")
        return CiteMemory(memory_id=name, sources=sources)
    closed = [
        row for change in made for row in _rows(store, _BOB, change.memory_id) if row.valid_to is not None
    ]
    if what == "amend" and closed:
        row = rng.choice(closed)
        name = row.memory_id.removeprefix("bob ")
        return AmendMemory(memory_id=name, revision=row.revision, valid_to=row.valid_from, reason="sooner")
    return AddMemory(
        memory_id=f"m{len(made)}",
        scope=_BOB,
        text=rng.choice(_TEXTS),
        valid_from=begins,
        sources=sources,
        skip_duplicate=True,
        valid_to=begins + MINUTE if rng.random() < 0.2 else None,
    )


def _of(change: Change, scope: Scope, units: Sequence[int]) -> Any:
    """The change for an owner, with its ids and messages."""
    more: dict[str, Any] = {"memory_id": f"{scope.user_id} {change.memory_id}"}
    if isinstance(change, AddMemory):
        more["scope"] = scope
    if isinstance(change, AddMemory | UpdateMemory | CiteMemory):
        more["sources"] = tuple(units[number] for number in change.sources)
    return replace(change, **more)


def _rows(store: RecordStore, scope: Scope, name: str) -> Sequence[MemoryRecord]:
    name = f"{scope.user_id} {name}"
    pages = store.changed_since(scope, 0, memory_ids=frozenset((name,)))
    return [row for page in pages for changed in page for row in changed.now]


def _versions(store: RecordStore, scope: Scope, name: str) -> list[tuple[Any, ...]]:
    return [
        (row.text, row.revision, row.valid_from, row.valid_to, row.retired_at is None, len(row.sources))
        for row in _rows(store, scope, name)
    ]


def _found(store: RecordStore, word: str, scope: Scope) -> list[tuple[Any, ...]]:
    found = search(store, word, scope=scope)
    rows = {row.unit: row for row in everything(store, query(scope))}
    return sorted(
        (rows[one.unit].text, len(rows[one.unit].sources)) for one in found.scored if one.unit in rows
    )
