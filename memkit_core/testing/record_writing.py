"""Conformance of record stores: what writing does, and what it never does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ..errors import ConflictError, EmbeddingMismatchError, KeyReusedError, NotFoundError, UsageError
from ..filters import parse_filter
from ..protocols import Applied, ChangeSet, Completion, RecordStore, RetireMemory, StoredBatch, UpdateMemory
from ..types import EmbeddingIdentity, Micros, Ref, Scope
from .record_helpers import (
    ANN,
    MINUTE,
    T0,
    add_of,
    batch_of,
    commit,
    done,
    everything,
    query,
    remember,
    search,
    texts_of,
)


def _text_of(number: int) -> Callable[[tuple[Applied, ...]], str]:
    return lambda applied: applied[number].record.text


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


class LeaseConformance:
    """Batches that wait for extraction."""

    def test_claim_and_complete(self, store: RecordStore) -> None:
        batch = batch_of(["to do"], job='{"n": 1}')
        assert store.append(batch).state == "pending"
        assert store.pending_batches() == store.pending_batches(ANN.owner) == 1
        assert self._claim(store, recorded_before=T0) == []
        (claimed,) = self._claim(store)
        assert (claimed.job, claimed.attempts, claimed.batch_id) == ('{"n": 1}', 1, batch.batch_id)
        assert claimed.lease
        assert self._claim(store) == []
        for lease in (None, "stolen"):
            with pytest.raises(ConflictError):
                commit(store, add_of("x"), complete=done(batch.batch_id, lease))
        commit(store, add_of("x"), complete=done(batch.batch_id, claimed.lease))
        assert store.pending_batches() == 0
        with pytest.raises(ConflictError):
            commit(store, add_of("y"), complete=done(batch.batch_id, claimed.lease))
        assert store.count(query()) == 1

    def test_lease_runs_out_and_release(self, store: RecordStore) -> None:
        batch = batch_of(["to do"], job="{}")
        store.append(batch)
        (lost,) = self._claim(store)
        (second,) = self._claim(store, now=T0 + 2 * MINUTE)
        assert second.attempts == 2
        with pytest.raises(ConflictError):
            commit(store, complete=done(batch.batch_id, lost.lease))
        store.release_batch(batch.batch_id, lost.lease, error="not mine", not_before=T0)
        assert self._claim(store, now=T0 + 2 * MINUTE) == []
        store.release_batch(batch.batch_id, second.lease, error="down", not_before=T0 + 5 * MINUTE)
        assert self._claim(store, now=T0 + 4 * MINUTE) == []
        (third,) = self._claim(store, now=T0 + 5 * MINUTE, owner=ANN.owner)
        assert (third.last_error, third.attempts) == ("down", 3)

    def test_annotate_a_pending_batch(self, store: RecordStore) -> None:
        batch = batch_of(["see [image 1]", "what I said"], job='{"n": 1}')
        first, second = store.append(batch).units
        missing = store.missing_vectors(limit=10)
        store.put_vectors([(m, [1.0, 0.0]) for m in missing], indexes=("far",))
        texts, words = {first: "see [image 1: a heron]"}, "heron"
        store.annotate_batch(batch.batch_id, None, texts=texts, job="{}", now=T0, indexes=("far",))
        assert [m.content for m in store.messages(ANN, (first, second))] == [texts[first], "what I said"]
        assert [s.unit for s in search(store, words, spaces=("turn",)).scored if s.bm25] == [first]
        assert [m.unit for m in store.missing_vectors(limit=10)] == [first]
        assert store.index_work("far", limit=10)[-1].vector is None
        found = store.batch(batch.batch_id)
        assert found is not None
        assert (found.job, found.state) == ("{}", "pending")
        (claimed,) = self._claim(store)
        for lease in (None, "stolen"):
            with pytest.raises(ConflictError):
                store.annotate_batch(batch.batch_id, lease, texts={second: "x"}, job="x", now=T0)
        commit(store, complete=done(batch.batch_id, claimed.lease))
        with pytest.raises(ConflictError):
            store.annotate_batch(batch.batch_id, claimed.lease, texts={second: "x"}, job="x", now=T0)
        assert [m.content for m in store.messages(ANN, (second,))] == ["what I said"]

    def test_several_batches_in_one_commit_or_none(self, store: RecordStore) -> None:
        first, second = (batch_of([text], job="{}", idempotency_key=text, fingerprint=text) for text in "ab")
        units = [store.append(batch).units[0] for batch in (first, second)]
        claimed = self._claim(store)
        changes = [add_of("from a", sources=(units[0],)), add_of("from b", sources=(units[1],))]
        lost = [claimed[0], replace(claimed[1], lease="stolen")]
        for leased in (lost, [*claimed, claimed[0]]):
            with pytest.raises(ConflictError):
                commit(store, *changes, complete=tuple(c for b in leased for c in done(b.batch_id, b.lease)))
        assert (store.count(query()), store.pending_batches()) == (0, 2)
        told = tuple(
            Completion(batch_id=b.batch_id, lease=b.lease, result=result)
            for b, result in zip(claimed, (_text_of(0), _text_of(1)), strict=True)
        )
        commit(store, *changes, complete=told)
        assert (store.count(query()), store.pending_batches()) == (2, 0)
        again = [store.append(replace(batch, batch_id=str(uuid4()))) for batch in (first, second)]
        assert [(b.result, b.state, b.replayed) for b in again] == [
            ("from a", "done", True),
            ("from b", "done", True),
        ]

    def test_claim_some_of_them(self, store: RecordStore) -> None:
        one, two, three = (store.append(batch_of([text], job="{}")).batch_id for text in "abc")
        (claimed,) = self._claim(store, batch_ids=[one], recorded_before=T0 + MINUTE)
        store.release_batch(one, claimed.lease, error="down", not_before=T0 + MINUTE)
        assert [b.batch_id for b in self._claim(store, batch_ids=[one, two])] == [two]
        assert [b.batch_id for b in self._claim(store, except_ids=[three], early=True)] == [one]
        assert [b.batch_id for b in self._claim(store, early=True)] == [three]

    def test_release_without_a_claim_counts(self, store: RecordStore) -> None:
        batch = batch_of(["to do"], job="{}")
        store.append(batch)
        store.release_batch(batch.batch_id, None, error="down", not_before=T0)
        assert [b.attempts for b in self._claim(store, recorded_before=T0)] == [2]

    @staticmethod
    def _claim(store: RecordStore, now: Micros = T0, **options: Any) -> list[StoredBatch]:
        return store.claim_batches(limit=5, now=now, lease_micros=MINUTE, **options)
