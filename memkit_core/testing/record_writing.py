"""Conformance of record stores: what writing does, and what it never does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from ..errors import ConflictError, EmbeddingMismatchError, KeyReusedError, NotFoundError, UsageError
from ..filters import parse_filter
from ..protocols import (
    ChangeSet,
    ItemGet,
    ItemPut,
    ItemStore,
    RecordStore,
    RetireMemory,
    StoredBatch,
    StoredItem,
    UpdateMemory,
)
from ..types import EmbeddingIdentity, Ref, Scope
from .record_helpers import (
    ANN,
    MINUTE,
    T0,
    add_of,
    batch_of,
    commit,
    everything,
    query,
    remember,
    search,
    texts_of,
)


class WritingConformance:
    """Changes, versions, conflicts, messages and batches."""

    def test_update_keeps_history(self, store: RecordStore) -> None:
        first = remember(store, "lives in Berlin", metadata={"topic": "home"}, kind="place")
        receipt = commit(
            store,
            UpdateMemory(
                memory_id=first.memory_id, text="lives in Madrid", valid_from=T0 + MINUTE, reason="moved"
            ),
            at=T0 + 2 * MINUTE,
        )
        second = receipt.applied[0].record
        assert (second.revision, second.text, second.kind) == (2, "lives in Madrid", "place")
        assert (second.created_at, second.recorded_at) == (T0, T0 + 2 * MINUTE)
        assert second.metadata == {"topic": "home"}
        assert second.unit != first.unit
        closed = receipt.applied[0].previous
        assert closed is not None
        assert (closed.valid_to, closed.retired_at) == (T0 + MINUTE, T0 + 2 * MINUTE)
        assert closed.superseded_by == first.memory_id
        assert closed.deleted_at is None
        assert store.get(first.memory_id) == second
        assert texts_of(everything(store, query())) == ["lives in Madrid"]
        events = store.history(first.memory_id, ANN)
        assert [(e.operation, e.old_text, e.new_text, e.revision) for e in events] == [
            ("ADD", None, "lives in Berlin", 1),
            ("UPDATE", "lives in Berlin", "lives in Madrid", 2),
        ]
        assert events[1].reason == "moved"
        assert receipt.revision == 2

    def test_slot_support_and_attributes(self, store: RecordStore) -> None:
        wanted: dict[str, Any] = {
            "attributes": {"a": [1, None]},
            "slot": "lives_in\x1fann",
            "support": "doubtful",
        }
        first = remember(store, "lives in Berlin", **wanted)
        again = UpdateMemory(memory_id=first.memory_id, metadata={"n": 1}, valid_from=T0)
        second = commit(store, again, at=T0 + MINUTE).applied[0].record
        for record in (first, second, store.get(first.memory_id), *everything(store, query())):
            assert record is not None
            assert {name: getattr(record, name) for name in wanted} == wanted
        change = UpdateMemory(memory_id=first.memory_id, text="likes it", valid_from=T0, support="supported")
        third = commit(store, change, at=T0 + 2 * MINUTE).applied[0].record
        assert (third.slot, third.attributes, third.support) == (None, {}, "supported")
        assert store.get(first.memory_id) == third
        plain = remember(store, "likes tea")
        assert (plain.slot, plain.attributes, plain.support) == (None, {}, "unchecked")
        with pytest.raises(UsageError):
            remember(store, "bad", attributes={"a": object()})

    def test_an_expiry_is_kept_moved_or_ended(self, store: RecordStore) -> None:
        first = remember(store, "is in Rome", expires_at=T0 + 60 * MINUTE)
        moved = [(None, False, 60), (T0 + 70 * MINUTE, False, 70), (T0 + 80 * MINUTE, True, 80)]
        for number, (expires_at, lasting, minutes) in enumerate((*moved, (None, True, None)), start=1):
            change = UpdateMemory(
                memory_id=first.memory_id, valid_from=T0, expires_at=expires_at, lasting=lasting
            )
            record = commit(store, change, at=T0 + number * MINUTE).applied[0].record
            assert record.expires_at == (None if minutes is None else T0 + minutes * MINUTE)
            assert store.get(first.memory_id) == record

    def test_retire(self, store: RecordStore) -> None:
        record = remember(store, "likes tea")
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=T0 + MINUTE), at=T0 + MINUTE)
        assert store.get(record.memory_id) is None
        assert store.count(query()) == 0
        assert not store.is_empty()
        events = store.history(record.memory_id, ANN)
        assert [(e.operation, e.old_text, e.new_text) for e in events][1:] == [("DELETE", "likes tea", None)]
        with pytest.raises(NotFoundError):
            commit(store, RetireMemory(memory_id=record.memory_id, valid_to=T0), at=T0 + 2 * MINUTE)

    def test_conflicts_change_nothing(self, store: RecordStore) -> None:
        record = remember(store, "one")
        before = store.owner_state(ANN.owner)
        with pytest.raises(ConflictError):
            commit(store, add_of("two"), expected_revision=before.revision - 1)
        stale = UpdateMemory(memory_id=record.memory_id, expected_revision=7, text="x", valid_from=T0)
        with pytest.raises(ConflictError):
            commit(store, add_of("three"), stale)
        with pytest.raises(NotFoundError):
            commit(store, add_of("four"), RetireMemory(memory_id="nowhere", valid_to=T0))
        with pytest.raises(ConflictError):
            commit(store, add_of("five"), add_of("six", memory_id=record.memory_id))
        assert store.owner_state(ANN.owner) == before
        assert texts_of(everything(store, query())) == ["one"]
        found = search(store, "one two three four five six")
        assert [s.unit for s in found.scored] == [record.unit]

    def test_append_leaves_decisions_alone(self, store: RecordStore) -> None:
        remember(store, "one")
        revision = store.owner_state(ANN.owner).revision
        store.append(batch_of(["something else"]))
        assert commit(store, add_of("two"), expected_revision=revision).revision == revision + 1

    def test_messages_and_sources(self, store: RecordStore) -> None:
        batch = batch_of(["I moved to Berlin", "and bought a bike"])
        stored = store.append(batch)
        assert stored.state == "done"
        said = store.messages(ANN, stored.units)
        assert [m.content for m in said] == ["I moved to Berlin", "and bought a bike"]
        assert [m.message_id for m in said] == [f"{batch.batch_id}:0", f"{batch.batch_id}:1"]
        record = remember(store, "lives in Berlin", sources=(stored.units[0],))
        assert record.sources == (f"{batch.batch_id}:0",)
        assert store.get(record.memory_id) == record
        assert everything(store, query()) == [record] == store.read(query(), [record.unit])
        assert store.messages(Scope(user_id="bob"), stored.units) == []

    def test_batch_inside_commit(self, store: RecordStore) -> None:
        batch = batch_of(["raw words"], index=False, idempotency_key="k", fingerprint="f")
        changes = ChangeSet(
            scope=ANN,
            recorded_at=T0,
            batch=batch,
            changes=(add_of("raw words", sources=(0,)),),
            result=lambda applied: f'["{applied[0].outcome}"]',
        )
        receipt = store.commit(changes)
        assert receipt.batch is not None
        assert receipt.batch.result == '["applied"]'
        assert receipt.applied[0].record.sources == (f"{batch.batch_id}:0",)
        again = store.commit(changes)
        assert again.batch is not None
        assert (again.batch.replayed, again.batch.result, again.applied) == (True, '["applied"]', ())
        assert store.count(query()) == 1
        assert {s.space for s in search(store, "raw words", spaces=("memory", "turn")).scored} == {"memory"}

    def test_idempotency(self, store: RecordStore) -> None:
        first = store.append(batch_of(["hello"], idempotency_key="k", fingerprint="f"))
        again = store.append(batch_of(["hello"], idempotency_key="k", fingerprint="f"))
        assert (again.batch_id, again.units, again.replayed) == (first.batch_id, first.units, True)
        with pytest.raises(KeyReusedError):
            store.append(batch_of(["other"], idempotency_key="k", fingerprint="g"))
        bob = Scope(user_id="bob")
        assert not store.append(batch_of(["hello"], bob, idempotency_key="k", fingerprint="f")).replayed

    def test_items_beside_a_batch_are_put_with_it_or_not_at_all(self, store: RecordStore) -> None:
        items: object = getattr(store, "items", None)
        if not isinstance(items, ItemStore):
            pytest.skip("this store keeps no items")

        def append(number: int, fingerprint: str, **more: Any) -> StoredBatch:
            put = ItemPut(namespace=("a",), key="k", value=f'{{"n": {number}}}', **more)
            batch = batch_of([fingerprint], idempotency_key="k", fingerprint=fingerprint)
            return store.append(replace(batch, beside=(put,), beside_at=T0))

        def held() -> str:
            (found,) = items.ask([ItemGet(namespace=("a",), key="k")], now=T0)
            assert isinstance(found, StoredItem)
            return found.value

        assert not append(1, "f").replayed
        assert held() == '{"n": 1}'
        with pytest.raises(KeyReusedError):
            append(2, "g")
        assert held() == '{"n": 1}'
        assert append(3, "f").replayed
        assert held() == '{"n": 3}'
        with pytest.raises(UsageError, match="vectors"):
            append(4, "f", texts=("a",), vectors=([1.0, 0.0],))
        assert held() == '{"n": 3}'

    def test_identical_adds_leave_one_row(self, store: RecordStore) -> None:
        def add(_: int) -> str:
            return commit(store, add_of("Likes  TEA.", skip_duplicate=True)).applied[0].record.memory_id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(add, range(80)))
        assert len(ids) == store.count(query()) == 1
        twins = commit(
            store, add_of("new one", skip_duplicate=True), add_of("new  one!", skip_duplicate=True)
        )
        assert [a.outcome for a in twins.applied] == ["applied", "duplicate"]
        other = remember(store, "likes tea", actor_id="eve", skip_duplicate=True)
        assert other.memory_id not in ids

    def test_hide_sources(self, store: RecordStore) -> None:
        units = store.append(batch_of(["alpha", "beta"])).units
        shared = remember(store, "uses both", sources=units)
        single = remember(store, "uses one", sources=units[:1])
        commit(store, RetireMemory(memory_id=shared.memory_id, valid_to=T0, hide_sources=True))
        assert [m.unit for m in store.messages(ANN, units)] == [units[0]]
        found = search(store, "alpha beta", spaces=("turn",))
        assert [s.unit for s in found.scored] == [units[0]]
        assert found.cited_by == {units[0]: (single.unit,)}

    def test_retire_all(self, store: RecordStore) -> None:
        remember(store, "bob's", Scope(user_id="bob"))
        units = store.append(batch_of(["said so"], job="{}")).units
        for topic in ("x", "x", "y"):
            remember(store, f"about {topic}", metadata={"topic": topic})
        some = query(where=parse_filter({"topic": "x"}))
        assert store.retire_all(some, recorded_at=T0, reason="asked", hide_messages=False) == 2
        assert len(store.messages(ANN, units)) == 1
        assert store.retire_all(query(), recorded_at=T0, reason="asked", hide_messages=True) == 1
        assert store.messages(ANN, units) == []
        assert store.pending_batches() == 0
        assert store.count(query(Scope(user_id="bob"))) == 1
        assert search(store, "about said", spaces=("memory", "turn")).scored == ()

    def test_vectors_later(self, store: RecordStore) -> None:
        record = remember(store, "first")
        unit = store.append(batch_of(["second"])).units[0]
        missing = store.missing_vectors(limit=10)
        assert [(m.space, m.unit, m.text) for m in missing] == [
            ("memory", record.unit, "first"),
            ("turn", unit, "second"),
        ]
        store.put_vectors([(m, [1.0, 0.0]) for m in missing], indexes=("far",))
        assert store.missing_vectors(limit=10) == []
        found = search(store, "", vector=[1.0, 0.0], spaces=("memory", "turn"))
        assert [round(s.cosine or 0, 3) for s in found.scored] == [1.0, 1.0]
        work = store.index_work("far", limit=10)
        assert [w.ref for w in work] == [Ref("memory", record.memory_id), Ref("turn", work[1].ref.id)]
        store.finish_index_work("far", [work[0].sequence], {work[1].sequence: "down"})
        left = store.index_work("far", limit=10)
        assert [(w.sequence, w.attempts) for w in left] == [(work[1].sequence, 1)]
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=T0), indexes=("far",))
        assert store.index_work("far", limit=10)[-1].vector is None

    def test_embedding_identity(self, store: RecordStore) -> None:
        assert store.embedding_identity() is None
        mini = EmbeddingIdentity("mini", 2)
        store.set_embedding_identity(mini)
        store.set_embedding_identity(mini)
        assert store.embedding_identity() == mini
        with pytest.raises(EmbeddingMismatchError):
            store.set_embedding_identity(EmbeddingIdentity("other", 2))
        with pytest.raises(EmbeddingMismatchError):
            commit(store, add_of("long", vector=[1.0, 0.0, 0.0]))
        assert store.is_empty()
        for bad in ([float("nan"), 1.0], [0.0, 0.0], [[1.0, 0.0]]):
            with pytest.raises(UsageError):
                commit(store, add_of("bad", vector=bad))
        store.reset()
        assert store.embedding_identity() is None

    def test_reset_and_close(self, store: RecordStore) -> None:
        remember(store, "gone soon", metadata={"colour": 1})
        assert store.metadata_keys() == {"colour"}
        assert store.size_bytes() > 0
        store.reset()
        assert store.is_empty()
        assert store.metadata_keys() == frozenset()
        assert search(store, "gone soon").scored == ()
        remember(store, "fresh")
        store.close()
        store.close()
        with pytest.raises(UsageError):
            store.count(query())
        with pytest.raises(UsageError):
            remember(store, "too late")
