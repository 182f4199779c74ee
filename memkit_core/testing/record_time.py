"""Conformance of record stores: what is known later of earlier times, and what it leaves readable."""

from __future__ import annotations

from typing import Any

import pytest

from ..errors import NotFoundError, UsageError
from ..protocols import AmendMemory, RecordStore, RestoreMemory, RetireMemory, UpdateMemory
from ..types import MemoryRecord, Micros, Scope
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


def _at(minute: int) -> Micros:
    return T0 + minute * MINUTE


def _held(store: RecordStore, valid: int, known: int | None = None) -> list[str]:
    """What held at a minute, as known at another, by every way of reading it."""
    asked = query(valid_at=_at(valid), known_at=None if known is None else _at(known))
    found = texts_of(everything(store, asked))
    assert store.count(asked) == len(found)
    units = [one.unit for one in search(store, "lives in Paris Rome Oslo Bern", query=asked).scored]
    assert texts_of(store.read(asked, units)) == found
    return found


def _history(store: RecordStore, record: MemoryRecord) -> list[tuple[Any, ...]]:
    events = store.history(record.memory_id, ANN)
    return [(event.operation, event.revision, event.old_text, event.new_text) for event in events]


class TimeConformance:
    """Memories that are over, shortened and restored ones, slots, and what changed since."""

    def test_a_memory_that_is_over(self, store: RecordStore) -> None:
        now = remember(store, "lives in Rome", at=_at(20))
        units = store.append(batch_of(["I lived in Paris"])).units
        add = add_of(
            "lives in Paris",
            at=_at(5),
            valid_to=_at(15),
            superseded_by=now.memory_id,
            sources=units,
            vector=[1.0, 0.0],
            metadata={"was": 1},
            actor_id="Ann",
        )
        before = store.owner_state(ANN.owner)
        record = commit(store, add, at=_at(30), indexes=("far",)).applied[0].record
        assert (record.retired_at, record.valid_to, record.deleted_at) == (_at(30), _at(15), None)
        assert record.superseded_by == now.memory_id
        assert store.get(record.memory_id) is None
        assert texts_of(everything(store, query())) == ["lives in Rome"]
        assert store.owner_state(ANN.owner).live_memories == before.live_memories
        assert store.owner_state(ANN.owner).revision == before.revision + 1
        assert store.index_work("far", limit=10) == []
        assert [found.unit for found in search(store, "lives Paris", vector=[1.0, 0.0]).scored] == [now.unit]
        assert store.metadata_keys() == {"was"}
        assert [_held(store, minute) for minute in (4, 5, 14, 15, 20)] == [
            [],
            ["lives in Paris"],
            ["lives in Paris"],
            [],
            ["lives in Rome"],
        ]
        assert _held(store, 10, known=29) == []
        asked = query(valid_at=_at(10))
        found = search(store, "Paris", query=asked, vector=[1.0, 0.0])
        assert [(one.space, one.unit, round(one.cosine or 0, 2)) for one in found.scored] == [
            ("retired", record.unit, 1.0)
        ]
        assert _history(store, record) == [("ADD", 1, None, "lives in Paris")]
        assert store.read(asked, [record.unit]) == [record]
        assert remember(store, "lives in Paris", skip_duplicate=True).memory_id != record.memory_id
        with pytest.raises(NotFoundError):
            commit(store, UpdateMemory(memory_id=record.memory_id, text="x", valid_from=T0))
        with pytest.raises(NotFoundError):
            commit(store, RetireMemory(memory_id=record.memory_id, valid_to=T0))

    def test_what_cannot_be_over(self, store: RecordStore) -> None:
        wrong: tuple[dict[str, Any], ...] = (
            {"valid_to": T0 - 1},
            {"superseded_by": "other"},
            {"valid_to": T0, "superseded_by": "me", "memory_id": "me"},
        )
        for options in wrong:
            with pytest.raises(UsageError):
                commit(store, add_of("lives in Paris", **options))
        assert store.is_empty()

    def test_vectors_of_what_is_over_come_later(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris", valid_to=_at(5))
        assert store.missing_vectors(limit=10) == []
        (missing,) = store.missing_vectors(limit=10, retired=True)
        assert (missing.unit, missing.text) == (record.unit, "lives in Paris")
        store.put_vectors([(missing, [0.0, 1.0])])
        assert store.missing_vectors(limit=10, retired=True) == []
        found = search(store, "", query=query(valid_at=_at(1)), vector=[0.0, 1.0])
        assert [one.unit for one in found.scored] == [record.unit]

    def test_amend(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris")
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=_at(50)), at=_at(60))
        between = add_of("lives in Rome", at=_at(30), valid_to=_at(50))
        amend = AmendMemory(
            memory_id=record.memory_id,
            revision=1,
            valid_to=_at(30),
            superseded_by=between.memory_id,
            reason="was away",
        )
        receipt = commit(store, between, amend, at=_at(70))
        amended, before = receipt.applied[1].record, receipt.applied[1].previous
        assert before is not None
        assert (before.valid_to, before.superseded_by) == (_at(50), None)
        assert (amended.valid_to, amended.superseded_by) == (_at(30), between.memory_id)
        assert amended.retired_at == _at(60)
        assert [_held(store, minute) for minute in (29, 30, 49, 50)] == [
            ["lives in Paris"],
            ["lives in Rome"],
            ["lives in Rome"],
            [],
        ]
        assert _held(store, 40, known=69) == ["lives in Paris"]
        assert _held(store, 55, known=69) == []
        assert _held(store, 55, known=59) == ["lives in Paris"]
        (known,) = store.scan(query(valid_at=_at(40), known_at=_at(69)), limit=5)
        assert (known.valid_to, known.superseded_by) == (_at(50), None)
        (known,) = store.scan(query(valid_at=_at(40), known_at=_at(59)), limit=5)
        assert (known.valid_to, known.retired_at, known.deleted_at) == (None, None, None)
        again = AmendMemory(memory_id=record.memory_id, revision=1, valid_to=_at(10))
        assert commit(store, again, at=_at(80)).applied[0].record.superseded_by == between.memory_id
        assert _held(store, 20) == []
        assert _held(store, 20, known=79) == ["lives in Paris"]
        assert _held(store, 40, known=65) == ["lives in Paris"]
        assert _history(store, record) == [
            ("ADD", 1, None, "lives in Paris"),
            ("DELETE", 1, "lives in Paris", None),
            ("AMEND", 1, "lives in Paris", "lives in Paris"),
            ("AMEND", 1, "lives in Paris", "lives in Paris"),
        ]
        assert store.history(record.memory_id)[2].reason == "was away"

    def test_amend_between_two_versions(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris")
        commit(
            store,
            UpdateMemory(memory_id=record.memory_id, text="lives in Oslo", valid_from=_at(50)),
            at=_at(60),
        )
        amend = AmendMemory(memory_id=record.memory_id, revision=1, valid_to=_at(20))
        commit(store, amend, add_of("lives in Bern", at=_at(20), valid_to=_at(50)), at=_at(70))
        assert [_held(store, minute) for minute in (19, 20, 50)] == [
            ["lives in Paris"],
            ["lives in Bern"],
            ["lives in Oslo"],
        ]
        assert _held(store, 30, known=65) == ["lives in Paris"]
        assert [event[0] for event in _history(store, record)] == ["ADD", "UPDATE", "AMEND"]

    def test_what_cannot_be_amended(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris", at=_at(10))
        before = store.owner_state(ANN.owner)
        for minute, revision in ((20, 1), (20, 2)):
            change = AmendMemory(memory_id=record.memory_id, revision=revision, valid_to=_at(minute))
            with pytest.raises(UsageError if revision == 1 else NotFoundError):
                commit(store, change, at=_at(70))
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=_at(50)), at=_at(60))
        for minute in (9, 51):
            change = AmendMemory(memory_id=record.memory_id, revision=1, valid_to=_at(minute))
            with pytest.raises(UsageError):
                commit(store, add_of("other"), change, at=_at(70))
        change = AmendMemory(memory_id=record.memory_id, revision=1, valid_to=_at(20))
        with pytest.raises(NotFoundError):
            commit(store, change, scope=Scope(user_id="bob"), at=_at(70))
        assert store.owner_state(ANN.owner).revision == before.revision + 1
        assert len(_history(store, record)) == 2

    def test_restore_what_was_deleted(self, store: RecordStore) -> None:
        units = store.append(batch_of(["I live in Paris"])).units
        record = remember(
            store,
            "lives in Paris",
            at=_at(1),
            metadata={"n": 1},
            kind="place",
            slot="lives_in\x1fann",
            attributes={"a": 1},
            support="supported",
            sources=units,
            vector=[1.0, 0.0],
            expires_at=_at(9_000),
        )
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=_at(20)), at=_at(30))
        back = RestoreMemory(memory_id=record.memory_id, revision=1, reason="undone")
        receipt = commit(store, back, at=_at(40), indexes=("far",))
        restored = receipt.applied[0].record
        assert receipt.applied[0].previous is None
        assert (restored.revision, restored.recorded_at, restored.retired_at) == (2, _at(40), None)
        same = (
            "text",
            "metadata",
            "kind",
            "slot",
            "attributes",
            "support",
            "sources",
            "expires_at",
            "valid_from",
        )
        assert [getattr(restored, name) for name in same] == [getattr(record, name) for name in same]
        assert store.get(record.memory_id) == restored
        assert [round(one.cosine or 0, 2) for one in search(store, "Paris", vector=[1.0, 0.0]).scored] == [
            1.0
        ]
        assert [work.ref.revision for work in store.index_work("far", limit=9)] == [2]
        assert _held(store, 25) == ["lives in Paris"]
        assert _held(store, 25, known=35) == []
        assert _held(store, 25, known=29) == ["lives in Paris"]
        assert _history(store, record) == [
            ("ADD", 1, None, "lives in Paris"),
            ("DELETE", 1, "lives in Paris", None),
            ("RESTORE", 2, None, "lives in Paris"),
        ]
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=_at(45)), at=_at(50))
        assert _held(store, 46) == []
        assert _held(store, 44) == ["lives in Paris"]

    def test_restore_over_a_current_version(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris")
        commit(
            store,
            UpdateMemory(memory_id=record.memory_id, text="lives in Oslo", valid_from=_at(20)),
            at=_at(30),
        )
        back = RestoreMemory(memory_id=record.memory_id, revision=1)
        receipt = commit(store, back, at=_at(40))
        closed = receipt.applied[0].previous
        assert closed is not None
        assert (closed.text, closed.retired_at, closed.deleted_at) == ("lives in Oslo", _at(40), None)
        assert closed.superseded_by == record.memory_id
        assert texts_of(everything(store, query())) == ["lives in Paris"]
        assert store.owner_state(ANN.owner).live_memories == 1
        assert _held(store, 25) == ["lives in Paris"]
        assert _held(store, 25, known=39) == ["lives in Oslo"]
        later = RestoreMemory(memory_id=record.memory_id, revision=2, valid_from=_at(45))
        commit(store, later, at=_at(50))
        assert _held(store, 44) == ["lives in Paris"]
        assert _held(store, 45) == ["lives in Oslo"]
        assert [event[0] for event in _history(store, record)] == ["ADD", "UPDATE", "RESTORE", "RESTORE"]
        assert _history(store, record)[2] == ("RESTORE", 3, "lives in Oslo", "lives in Paris")
        for revision, scope in ((9, ANN), (1, Scope(user_id="bob"))):
            change = RestoreMemory(memory_id=record.memory_id, revision=revision)
            with pytest.raises(NotFoundError):
                commit(store, change, scope=scope, at=_at(60))

    def test_restore_what_was_over_from_the_start(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris", valid_to=_at(10))
        commit(store, RestoreMemory(memory_id=record.memory_id, revision=1, valid_from=_at(30)), at=_at(40))
        assert [_held(store, minute) for minute in (9, 10, 30)] == [
            ["lives in Paris"],
            [],
            ["lives in Paris"],
        ]
        assert [event[0] for event in _history(store, record)] == ["ADD", "RESTORE"]

    def test_an_end_counts_for_all_versions(self, store: RecordStore) -> None:
        record = remember(store, "lives in Paris")
        commit(
            store,
            UpdateMemory(memory_id=record.memory_id, text="lives in Oslo", valid_from=_at(50)),
            at=_at(60),
        )
        commit(store, RetireMemory(memory_id=record.memory_id, valid_to=_at(20)), at=_at(70))
        assert [_held(store, minute) for minute in (19, 20, 55)] == [["lives in Paris"], [], []]
        assert _held(store, 30, known=69) == ["lives in Paris"]

    def test_slots(self, store: RecordStore) -> None:
        home, work = "lives_in\x1fann", "works_at\x1fann"
        first = remember(store, "lives in Paris", slot=home)
        second = remember(store, "lives in Rome", slot=home, expires_at=_at(50), trust="untrusted")
        past = remember(store, "lives in Oslo", at=_at(1), slot=home, valid_to=_at(2))
        job = remember(store, "works at the post", slot=work)
        remember(store, "lives in Bern", Scope(user_id="bob"), slot=home)
        change = UpdateMemory(memory_id=job.memory_id, text="works at home", valid_from=_at(5), slot=work)
        new_job = commit(store, change, at=_at(5)).applied[0].record
        remember(store, "likes tea")
        asked = [home, work, "name\x1fann", home]
        assert store.slots(query(now=_at(9)), asked) == {
            home: (first, second),
            work: (new_job,),
            "name\x1fann": (),
        }
        assert store.slots(query(), [home]) == {home: (first,)}
        assert store.slots(query(now=_at(9), trusted_only=True), [home]) == {home: (first,)}
        every = store.slots(query(), [home, work], history=True)
        assert [record.unit for record in every[home]] == [first.unit, second.unit, past.unit]
        assert [(record.text, record.retired_at) for record in every[work]] == [
            ("works at the post", _at(5)),
            ("works at home", None),
        ]
        assert store.slots(query(valid_at=_at(1)), [home])[home][-1].unit == past.unit
        assert store.slots(query(Scope(user_id="ann", run_id="r")), [home], history=True) == {home: ()}
        assert store.slots(query(Scope(user_id="eve")), [home]) == {home: ()}
        assert store.slots(query(), []) == {}

    def test_changed_since(self, store: RecordStore) -> None:
        same = remember(store, "lives in Bern", memory_id="same")
        old = {name: remember(store, f"old {name}", memory_id=name) for name in ("gone", "new", "back")}
        commit(store, RetireMemory(memory_id="back", valid_to=_at(1)), at=_at(2))
        remember(store, "added", at=_at(20), memory_id="added")
        remember(store, "over", at=_at(20), memory_id="over", valid_to=_at(21))
        remember(store, "in and out", at=_at(20), memory_id="in and out")
        remember(store, "somebody else's", Scope(user_id="bob"), at=_at(20))
        commit(store, RetireMemory(memory_id="in and out", valid_to=_at(21)), at=_at(21))
        commit(store, RetireMemory(memory_id="gone", valid_to=_at(21)), at=_at(21))
        commit(store, UpdateMemory(memory_id="new", text="newer", valid_from=_at(21)), at=_at(21))
        commit(store, UpdateMemory(memory_id="new", text="newest", valid_from=_at(22)), at=_at(22))
        commit(store, RestoreMemory(memory_id="back", revision=1), at=_at(22))
        pages = list(store.changed_since(ANN, _at(10), page=2))
        assert [len(page) for page in pages] == [2, 2, 2]
        found = {one.memory_id: (one.before, one.current) for page in pages for one in page}
        assert found.keys() == {"gone", "new", "back", "added", "over", "in and out"}
        assert {name: before for name, (before, _) in found.items() if before} == {
            "gone": old["gone"],
            "new": old["new"],
        }
        texts = {name: current.text for name, (_, current) in found.items() if current}
        assert texts == {"new": "newest", "back": "old back", "added": "added"}
        some = store.changed_since(ANN, _at(10), memory_ids=["same", "new", "nowhere", "gone"])
        assert [one.memory_id for page in some for one in page] == ["gone", "new"]
        versions = {
            one.memory_id: ([row.text for row in one.then], [row.text for row in one.now])
            for page in pages
            for one in page
        }
        assert versions["new"] == (["old new"], ["old new", "newer", "newest"])
        assert versions["back"] == (["old back"], ["old back", "old back"])
        assert versions["over"] == ([], ["over"])
        every = [one for page in store.changed_since(ANN, T0 - 1) for one in page]
        assert {one.memory_id for one in every} == found.keys() | {same.memory_id}
        assert not any(one.before for one in every)
        assert list(store.changed_since(ANN, _at(22))) == []
        commit(store, AmendMemory(memory_id="over", revision=1, valid_to=_at(20)), at=_at(23))
        for among in (None, ["over", "same"]):
            ((amended,),) = store.changed_since(ANN, _at(22), memory_ids=among)
            assert [row.valid_to for row in (*amended.then, *amended.now)] == [_at(21), _at(20)]
        narrow = Scope(user_id="ann", agent_id="a")
        assert list(store.changed_since(narrow, _at(10))) == []
        assert list(store.changed_since(Scope(user_id="eve"), 0)) == []
        with pytest.raises(UsageError):
            store.changed_since(ANN, 0, page=0)

    @pytest.mark.parametrize("first", ["add", "retire"])
    def test_a_successor_that_was_there_already_is_named(self, store: RecordStore, first: str) -> None:
        old = remember(store, "lives in Paris")
        there = remember(store, "lives in Rome")
        new = add_of("lives in  Rome.", skip_duplicate=True)
        retire = RetireMemory(memory_id=old.memory_id, valid_to=_at(5), superseded_by=new.memory_id)
        changes = (new, retire) if first == "add" else (retire, new)
        receipt = commit(store, *changes, at=_at(10))
        records = [applied.record for applied in receipt.applied if applied.outcome == "applied"]
        assert [record.superseded_by for record in records] == [there.memory_id]
        (closed,) = store.read(query(valid_at=_at(1)), [old.unit])
        assert closed.superseded_by == there.memory_id

    def test_nothing_replaces_itself(self, store: RecordStore) -> None:
        old = remember(store, "lives in Paris")
        new = add_of("lives in  Paris", skip_duplicate=True)
        retire = RetireMemory(memory_id=old.memory_id, valid_to=_at(5), superseded_by=new.memory_id)
        assert commit(store, new, retire, at=_at(10)).applied[1].record.superseded_by is None
