"""Conformance of record stores: every score of a search, checked against its definition."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from .. import analysis
from ..protocols import Candidates, RecordStore, RetireMemory, UpdateMemory
from ..types import FLAG_UNTRUSTED, Ref, Scope, Space
from .record_helpers import ANN, MINUTE, T0, add_of, batch_of, commit, query, remember, search
from .record_oracle import bm25, cosine, weight

_WORDS = "red green blue house garden river train lamp 柏林 Straße music bread running".split()


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 9)))


def _vector(rng: random.Random) -> list[float]:
    return [rng.gauss(0, 1) for _ in range(8)]


def _check(
    found: Candidates, space: Space, documents: Mapping[int, Counter[str]], terms: Sequence[str]
) -> None:
    scores = bm25(documents, terms)
    for one in found.scored:
        if one.space == space:
            assert one.bm25 == pytest.approx(scores[one.unit], abs=1e-3)
    assert found.idf_mass[space] == pytest.approx(sum(weight(documents, term) for term in terms), abs=1e-3)


class SearchConformance:
    """Candidates and their scores."""

    def test_memories_match_the_oracle(self, store: RecordStore) -> None:
        rng = random.Random(7)
        remember(store, "green house of somebody else", Scope(user_id="bob"), vector=_vector(rng))
        vectors: dict[int, list[float]] = {}
        documents: dict[int, Counter[str]] = {}
        for n in range(60):
            vector = _vector(rng) if n % 4 else None
            record = remember(
                store, _sentence(rng), vector=vector, actor_id=rng.choice((None, "Ann")), event_time=T0 + n
            )
            documents[record.unit] = analysis.unit_terms(
                record.text, actor_id=record.actor_id, time=record.event_time
            )
            if vector is not None:
                vectors[record.unit] = vector
            if n % 5 == 0:
                commit(store, RetireMemory(memory_id=record.memory_id, valid_to=T0))
                del documents[record.unit]
                vectors.pop(record.unit, None)
        for text in ("green house", "柏林 music nowhere", "", "STRASSE runs"):
            question = _vector(rng)
            found = search(store, text, vector=question, pool=1_000)
            terms = analysis.query_terms(text)
            assert len({s.unit for s in found.scored}) == len(found.scored)
            _check(found, "memory", documents, terms)
            scores = bm25(documents, terms)
            assert {s.unit for s in found.scored} == vectors.keys() | {u for u in scores if scores[u]}
            for one in found.scored:
                if one.unit in vectors:
                    assert one.cosine == pytest.approx(cosine(vectors[one.unit], question), abs=2e-3)
                else:
                    assert one.cosine is None
            assert found.revision == store.owner_state(ANN.owner).revision

    def test_what_is_untrusted_is_left_out_before_anything_is_ranked(self, store: RecordStore) -> None:
        vector = [1.0] * 8
        mine = [remember(store, f"green house {n}", vector=[1.0, float(n)] + [1.0] * 6) for n in range(3)]
        flood: dict[str, Any] = {"vector": vector, "origin": "tool", "trust": "untrusted"}
        held = [remember(store, f"green house green {n}", **flood) for n in range(30)]
        said = [
            replace(batch_of(["x"]).messages[0], origin=o, content="green house") for o in ("tool", "user")
        ]
        turns = store.append(replace(batch_of(["x"]), messages=tuple(said))).units
        trusted, both = query(trusted_only=True), ("memory", "turn")
        for asked, memories, expected in (
            (trusted, {one.unit for one in mine}, {turns[1]}),
            (replace(trusted, valid_at=T0), {one.unit for one in mine}, {turns[1]}),
            (query(), None, set(turns)),
        ):
            found = search(store, "green house", query=asked, vector=vector, pool=3, spaces=both)
            units = {one.unit for one in found.scored if one.space == "memory"}
            assert units == memories if memories is not None else len(units) >= 3
            assert {one.unit for one in found.scored if one.space == "turn"} == expected
            flagged = {one.unit for one in found.scored if one.flags & FLAG_UNTRUSTED}
            assert flagged == (units & {one.unit for one in held}) | ({turns[0]} & expected)
        assert (store.count(trusted), store.count(query()), len(store.scan(trusted, limit=99))) == (3, 33, 3)
        assert store.read(trusted, [held[0].unit]) == []
        commit(store, UpdateMemory(memory_id=held[0].memory_id, valid_from=T0, trust="trusted"))
        record = store.get(held[0].memory_id)
        assert record is not None
        assert (record.trust, record.origin, store.count(trusted)) == ("trusted", "tool", 4)
        found = search(store, "green house", query=trusted, vector=vector, pool=9)
        assert record.unit in {one.unit for one in found.scored}

    def test_turns_match_the_oracle(self, store: RecordStore) -> None:
        rng = random.Random(3)
        documents: dict[int, Counter[str]] = {}
        sessions: dict[int, list[int]] = {}
        for number in range(8):
            batch = batch_of([_sentence(rng) for _ in range(4)], at=T0 + (number // 2) * 60 * MINUTE)
            units = store.append(batch).units
            for unit, message in zip(units, batch.messages, strict=True):
                documents[unit] = analysis.unit_terms(message.content, time=message.observed_at)
                sessions.setdefault(number // 2, []).append(unit)
        terms = analysis.query_terms("green house river")
        found = search(store, "green house river", spaces=("turn",), pool=1_000)
        _check(found, "turn", documents, terms)
        whole = {
            number: sum((documents[unit] for unit in units), Counter[str]())
            for number, units in sessions.items()
        }
        of_session = bm25(whole, terms)
        assert found.session_idf_mass == pytest.approx(sum(weight(whole, term) for term in terms), abs=1e-3)
        places = {unit: (number, i) for number, units in sessions.items() for i, unit in enumerate(units)}
        for one in found.scored:
            number, i = places[one.unit]
            said = sessions[number]
            assert one.session_bm25 == pytest.approx(of_session[number], abs=1e-3)
            assert one.previous == (said[i - 1] if i else None)
            assert one.following == (said[i + 1] if i + 1 < len(said) else None)
        stored = store.messages(ANN, documents)
        assert [m.session == stored[0].session for m in stored] == [n < 8 for n in range(32)]

    def test_pool_and_neighbours(self, store: RecordStore) -> None:
        units = store.append(batch_of(["one", "apple", "two", "three", "four apple apple"])).units
        found = search(store, "apple", spaces=("turn",), pool=1)
        assert {s.unit for s in found.scored} == {units[3], units[4]}
        assert search(store, "apple", spaces=("turn",), pool=0).scored == ()

    def test_proposed_and_between(self, store: RecordStore) -> None:
        record = remember(store, "quiet", event_time=T0 + 5)
        old = remember(store, "elsewhere", Scope(user_id="bob"))
        batch = batch_of(["hush"])
        unit = store.append(batch).units[0]
        refs = (
            Ref("memory", record.memory_id),
            Ref("memory", record.memory_id, 2),
            Ref("memory", old.memory_id),
            Ref("turn", f"{batch.batch_id}:0"),
            Ref("turn", f"{batch.batch_id}:1"),
            Ref("turn", "no such thing"),
            Ref("memory", "no'such"),
        )
        found = search(store, "", spaces=("memory", "turn"), proposed=refs)
        assert {(s.space, s.unit) for s in found.scored} == {("memory", record.unit), ("turn", unit)}
        in_time = search(store, "", spaces=("memory", "turn"), between=((T0 + 5, T0 + 6),))
        assert [(s.space, s.unit, s.time) for s in in_time.scored] == [("memory", record.unit, T0 + 5)]
        commit(store, UpdateMemory(memory_id=record.memory_id, text="loud", valid_from=T0))
        assert search(store, "", proposed=refs[:1]).scored == ()

    def test_proposals_instead_of_the_dense_arm(self, store: RecordStore) -> None:
        texts = ("apple", "pear", "plum")
        near, far, other = (
            remember(store, text, vector=[1.0, 0.3 * number]) for number, text in enumerate(texts)
        )
        exact = {s.unit: s for s in search(store, "plum", vector=[1.0, 0.0]).scored}
        assert exact.keys() == {near.unit, far.unit, other.unit}
        refs = tuple(Ref("memory", record.memory_id) for record in (near, far))
        found = search(store, "plum", vector=[1.0, 0.0], proposed=refs[:1], dense=False, pool=1)
        assert {s.unit for s in found.scored} == {near.unit, other.unit}
        for one in found.scored:
            assert one.cosine == pytest.approx(exact[one.unit].cosine, abs=1e-3)
            assert one.bm25 == exact[one.unit].bm25
        assert found.short == frozenset()
        assert search(store, "", vector=[1.0, 0.0], proposed=refs[:1], dense=False).short == {"memory"}
        assert (
            search(store, "", vector=[1.0, 0.0], proposed=refs[1:], dense=False, pool=1).short == frozenset()
        )
        assert search(store, "", vector=[1.0, 0.0], proposed=refs[1:], pool=1).short == {"memory"}

    def test_warm_copies_follow_every_write(self, store: RecordStore) -> None:
        assert search(store, "apple").scored == ()
        record = remember(store, "apple")
        assert [s.unit for s in search(store, "apple").scored] == [record.unit]
        update = UpdateMemory(memory_id=record.memory_id, text="pear", valid_from=T0)
        after = commit(store, update).applied[0].record
        assert search(store, "apple").scored == ()
        assert [s.unit for s in search(store, "pear").scored] == [after.unit]
        unit = store.append(batch_of(["pear"])).units[0]
        both = search(store, "pear", spaces=("memory", "turn"))
        assert {(s.space, s.unit) for s in both.scored} == {("memory", after.unit), ("turn", unit)}
        commit(store, message_vectors={unit: [0.0, 2.0]})
        (turn,) = search(store, "", vector=[0.0, 1.0], spaces=("turn",)).scored
        assert turn.cosine == pytest.approx(1.0, abs=1e-3)

    def test_statistics_stay_inside_the_owner(self, store: RecordStore) -> None:
        commit(store, add_of("tea at four"), add_of("coffee at five"))
        before = search(store, "tea").scored
        for n in range(20):
            remember(store, f"tea {n}", Scope(user_id=f"other {n}"))
        assert search(store, "tea").scored == before
