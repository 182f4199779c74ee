"""Conformance of record stores: batches that are claimed, completed, released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ..errors import ConflictError
from ..protocols import Applied, Completion, RecordStore, StoredBatch
from ..types import Micros
from .record_helpers import (
    ANN,
    MINUTE,
    T0,
    add_of,
    batch_of,
    commit,
    done,
    query,
    search,
)


def _text_of(number: int) -> Callable[[tuple[Applied, ...]], str]:
    return lambda applied: applied[number].record.text


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
