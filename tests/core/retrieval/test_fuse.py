"""One order out of many signals."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core.pipeline.fuse import Ranked, fuse
from memkit_core.pipeline.plan import Plan, plan
from memkit_core.protocols import Candidates, Scored
from memkit_core.types import FLAG_ASKS, FLAG_QUESTION, to_micros

SCALE = (0.1, 0.6)
NOTHING = Plan(terms=("x",), embed_text="x")
MASS = 10.0


def turn(unit: int, cosine: float | None = 0.0, bm25: float = 0.0, **more: object) -> Scored:
    return Scored(space="turn", unit=unit, cosine=cosine, bm25=bm25)._replace(**more)  # type: ignore[arg-type]


def memory(unit: int, cosine: float | None = 0.0, bm25: float = 0.0, **more: object) -> Scored:
    return turn(unit, cosine, bm25, **more)._replace(space="memory")


def ranked(*scored: Scored, words: Plan = NOTHING, limit: int = 10, **more: object) -> list[Ranked]:
    found = Candidates(scored=scored, idf_mass={"turn": MASS, "memory": MASS}, session_idf_mass=MASS, **more)  # type: ignore[arg-type]
    (space,) = {one.space for one in scored} - (
        {"turn"} if any(s.space == "memory" for s in scored) else set()
    )
    return fuse(found, words, scale=SCALE, limit=limit)[space]


def order(*scored: Scored, words: Plan = NOTHING) -> list[int]:
    return [one.unit for one in ranked(*scored, words=words)]


def test_nothing_found_is_an_empty_answer() -> None:
    assert fuse(Candidates(), NOTHING, scale=SCALE, limit=10) == {}


def test_meaning_and_words_both_count() -> None:
    assert order(turn(1, 0.3), turn(2, 0.5), turn(3, 0.3, 6.0)) == [3, 2, 1]


def test_relevance_is_absolute() -> None:
    (best,) = ranked(turn(1, 0.35))
    assert best.relevance == pytest.approx(0.5)
    (keyword,) = ranked(turn(1, -0.2, 4.0))
    assert keyword.relevance == pytest.approx(0.4)
    assert ranked(turn(1, 0.05))[0].relevance == 0.0
    assert ranked(turn(1, 0.9, 99.0))[0].relevance == 1.0


def test_words_alone_still_order_and_judge() -> None:
    hits = ranked(turn(1, None, 2.0), turn(2, None, 6.0), turn(3, None, 0.0))
    assert [one.unit for one in hits] == [2, 1, 3]
    assert [one.relevance for one in hits] == pytest.approx([0.6, 0.2, 0.0])


def test_a_unit_without_a_vector_yet_is_found_by_its_words() -> None:
    assert order(turn(1, 0.25), turn(2, None, 8.0), turn(3, 0.1)) == [2, 1, 3]


def test_who_is_asked_about_is_a_soft_boost() -> None:
    words = plan("What does Nadia collect?", actors=["Nadia", "Oskar"], now=0)
    assert order(turn(1, 0.3, actor_id="Oskar"), turn(2, 0.25, actor_id="nadia"), words=words) == [2, 1]
    assert order(turn(1, 0.6, actor_id="Oskar"), turn(2, 0.1, actor_id="Nadia"), words=words) == [1, 2]


@pytest.mark.parametrize("question", ["in May 2023", "on 8 May 2023", "in May", "in 2023"])
def test_what_was_said_when_the_question_says_is_preferred(question: str) -> None:
    words = plan(question, actors=(), now=to_micros(datetime(2026, 1, 1, tzinfo=UTC)))
    meant = to_micros(datetime(2023, 5, 8, 12, tzinfo=UTC))
    other = to_micros(datetime(2021, 6, 8, 12, tzinfo=UTC))
    assert order(turn(1, 0.3, time=other), turn(2, 0.25, time=meant), turn(3, 0.3), words=words)[0] == 2


def test_an_answer_follows_its_question() -> None:
    asked = turn(1, 0.6, following=2)
    answer = turn(2, 0.1, previous=1, following=3)
    aside = turn(4, 0.2)
    assert order(asked, answer, turn(3, 0.1, previous=2), aside)[:2] == [1, 2]


def test_strong_neighbours_do_not_push_each_other_up() -> None:
    alone, left, right = turn(1, 0.5), turn(2, 0.5, following=3), turn(3, 0.5, previous=2)
    assert {one.score for one in ranked(alone, left, right)} == {ranked(alone)[0].score}


def test_a_session_about_the_question_helps_its_turns() -> None:
    assert order(turn(1, 0.3), turn(2, 0.3, session_bm25=0.0), turn(0, 0.3, session_bm25=5.0)) == [0, 2, 1]


@pytest.mark.parametrize("flag", [FLAG_QUESTION, FLAG_ASKS])
def test_a_turn_that_asks_answers_less(flag: int) -> None:
    assert order(turn(1, 0.4), turn(2, 0.4, flags=flag)) == [1, 2]


def test_a_turn_lifts_the_memories_that_cite_it() -> None:
    hits = ranked(memory(1, 0.3), memory(2, 0.3), memory(3, 0.3), turn(9, 0.6), cited_by={9: (1,)})
    assert [one.unit for one in hits] == [1, 3, 2]
    assert hits[0].parts["cited"] > 0
    assert hits[0].relevance == hits[1].relevance


def test_of_equals_the_newer_comes_first_and_the_limit_holds() -> None:
    assert [one.unit for one in ranked(*(turn(unit, 0.3) for unit in range(30)), limit=3)] == [29, 28, 27]


def test_spaces_are_ranked_apart() -> None:
    found = Candidates(scored=(memory(1, 0.3), turn(2, 0.5), memory(3, 0.2)._replace(space="retired")))
    assert {
        space: [one.unit for one in hits]
        for space, hits in fuse(found, NOTHING, scale=SCALE, limit=5).items()
    } == {
        "memory": [1],
        "turn": [2],
        "retired": [3],
    }


def test_parts_are_left_out_unless_asked_for() -> None:
    found = Candidates(scored=(turn(1, 0.3),))
    assert fuse(found, NOTHING, scale=SCALE, limit=1, explain=False)["turn"][0].parts == {}


units = st.lists(
    st.tuples(
        st.sampled_from(["memory", "turn"]),
        st.one_of(st.none(), st.floats(-1, 1)),
        st.floats(0, 22),
        st.floats(0, 22),
        st.sampled_from([None, "Nadia", "Oskar"]),
        st.one_of(st.none(), st.integers(-(10**17), 4 * 10**15)),
        st.integers(0, 7),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(rows=units, seed=st.integers(0, 99))
def test_any_pool_is_ranked(rows: list[tuple[object, ...]], seed: int) -> None:
    scored = [
        Scored(space, unit, cosine, bm25, session, actor, time, flags, unit - 1 or None, unit + 1)  # type: ignore[arg-type]
        for unit, (space, cosine, bm25, session, actor, time, flags) in enumerate(rows, start=1)
    ]
    words = plan("What did Nadia do in May 2023?", actors=["Nadia", "Oskar"], now=0)
    cited = {one.unit: (one.unit + 1, 1) for one in scored if one.space == "turn"}
    found = Candidates(
        scored=tuple(scored), idf_mass={"turn": MASS, "memory": 0.0}, session_idf_mass=MASS, cited_by=cited
    )
    hits = fuse(found, words, scale=SCALE, limit=100)
    everything = [one for items in hits.values() for one in items]
    assert sorted((one.space, one.unit) for one in everything) == sorted((s.space, s.unit) for s in scored)
    for one in everything:
        assert 0.0 <= one.relevance <= 1.0
        assert one.score == pytest.approx(sum(one.parts.values()), abs=1e-9)
    for items in hits.values():
        assert [(-one.score, -one.unit) for one in items] == sorted((-one.score, -one.unit) for one in items)
    random.Random(seed).shuffle(scored)
    again = fuse(replace(found, scored=tuple(scored)), words, scale=SCALE, limit=100)
    assert again == hits
    # An absolute relevance does not depend on who else is in the pool.
    for one in scored[:3]:
        alone = fuse(replace(found, scored=(one,)), words, scale=SCALE, limit=1)[one.space][0]
        assert alone.relevance == next(h.relevance for h in hits[one.space] if h.unit == one.unit)
