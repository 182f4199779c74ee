"""Random filters over random memories: SQL and ``filters.matches`` never disagree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core.errors import UsageError
from memkit_core.filters import matches, parse_filter
from memkit_core.protocols import AddMemory, ChangeSet, Query
from memkit_core.storage.sqlite import SqliteStore, open_sqlite
from memkit_core.storage.sqlite.conditions import filter_condition
from memkit_core.types import Scope

SCOPE = Scope(user_id="ann")
T0 = 1_700_000_000_000_000

texts = st.one_of(
    st.sampled_from(
        ["", "a", "A", "ab", "1", "true", "null", "ß", "SS", "é", "e\u0301", "İ", "ﬁ", "%", "_", "'"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)
numbers = st.one_of(
    st.sampled_from(
        [0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 0.1, 1.0, -0.0, 0.30000000000000004, 1e308, 5e-324]
    ),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(st.none(), st.booleans(), texts, numbers)
values = st.one_of(
    scalars,
    st.integers(),
    st.lists(scalars, max_size=3),
    st.dictionaries(texts, scalars, max_size=2),
    st.lists(st.lists(scalars, max_size=2), max_size=2),
)
keys = st.sampled_from(["k", "l", 'a"b', "$.x", "[0]", "ü", "a\\b", "key with space"])
fields = st.one_of(
    keys.map(lambda key: f"metadata.{key}"),
    st.sampled_from(["kind", "actor_id", "memory", "memory_type", "run_id"]),
)
times = st.sampled_from([datetime.fromtimestamp(T0 / 1e6 + n, UTC) for n in range(3)])


def _condition(field: str, op: str, scalar: Any, several: list[Any], there: bool) -> dict[str, Any]:
    value = there if op == "exists" else several if op in ("in", "nin") else scalar
    return {field: {op: value}}


operators = st.sampled_from("eq ne gt gte lt lte in nin contains icontains exists".split())
leaves = st.builds(_condition, fields, operators, scalars, st.lists(scalars, max_size=4), st.booleans())
time_leaves = st.builds(
    lambda field, op, one, several: {field: {op: several if op in ("in", "nin") else one}},
    st.sampled_from(["event_time", "created_at", "expires_at", "updated_at"]),
    st.sampled_from("eq ne gt gte lt lte in nin".split()),
    times,
    st.lists(times, max_size=2),
)
conditions = st.recursive(
    st.one_of(leaves, leaves, time_leaves),
    lambda inner: st.one_of(
        st.builds(
            lambda word, parts: {word: parts},
            st.sampled_from(["AND", "OR", "NOT"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        inner.map(lambda part: {"NOT": part}),
    ),
    max_leaves=5,
)
memories = st.builds(
    lambda text, metadata, kind, actor, typed, happened: {
        "text": text or "x",
        "metadata": metadata,
        "kind": kind or "k",
        "actor_id": actor,
        "memory_type": typed,
        "event_time": None if happened is None else T0 + happened * 1_000_000,
    },
    texts,
    st.dictionaries(keys, values, max_size=3),
    texts,
    st.none() | texts,
    st.none() | texts,
    st.none() | st.integers(0, 2),
)


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStore]:
    with open_sqlite(":memory:") as opened:
        yield opened


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(memories, min_size=1, max_size=5), asked=st.lists(conditions, min_size=1, max_size=6))
def test_sql_agrees_with_matches(
    store: SqliteStore, rows: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> None:
    store.reset()
    changes = tuple(
        AddMemory(memory_id=f"m{n}", scope=SCOPE, valid_from=T0, **row) for n, row in enumerate(rows)
    )
    store.commit(ChangeSet(scope=SCOPE, recorded_at=T0, changes=changes))
    records = store.scan(Query(scope=SCOPE, now=T0), limit=100)
    assert {r.memory_id: r.metadata for r in records} == {
        f"m{n}": row["metadata"] for n, row in enumerate(rows)
    }
    for condition in asked:
        try:
            parsed = parse_filter(condition)
        except UsageError:
            continue
        query = Query(scope=SCOPE, now=T0, where=parsed)
        wanted = {record.memory_id for record in records if matches(parsed, record)}
        assert {record.memory_id for record in store.scan(query, limit=100)} == wanted
        assert store.count(query) == len(wanted)


def test_largest_filter_is_taken(store: SqliteStore) -> None:
    wide = parse_filter({"OR": [{f"metadata.k{n}": {"in": list(range(n, n + 50))}} for n in range(255)]})
    deep: dict[str, Any] = {"metadata.k": 1}
    for _ in range(15):
        deep = {"NOT": deep}
    for parsed in (wide, parse_filter(deep)):
        assert parsed is not None
        store.count(Query(scope=SCOPE, now=T0, where=parsed))


@pytest.mark.parametrize(
    "metadata", [{"a": "x\0y"}, {"x\0": 1}, {"a": [{"b": "\0"}]}, {"a": float("nan")}, {"a": {1}}]
)
def test_metadata_that_is_no_json(store: SqliteStore, metadata: dict[str, Any]) -> None:
    before = store.count(Query(scope=SCOPE, now=T0))
    add = AddMemory(memory_id="bad", scope=SCOPE, text="t", valid_from=T0, metadata=metadata)
    with pytest.raises(UsageError):
        store.commit(ChangeSet(scope=SCOPE, recorded_at=T0, changes=(add,)))
    lone = AddMemory(memory_id="bad", scope=SCOPE, text="t", valid_from=T0, actor_id="\ud800")
    with pytest.raises(UsageError):
        store.commit(ChangeSet(scope=SCOPE, recorded_at=T0, changes=(lone,)))
    assert store.count(Query(scope=SCOPE, now=T0)) == before


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "in", "contains", "icontains"])
def test_statements_hold_no_values(op: str) -> None:
    hostile = "x' OR 1=1 --"
    parsed = parse_filter({f"metadata.{hostile}": {op: [hostile] if op == "in" else hostile}})
    assert parsed is not None
    sql, bound = filter_condition(parsed)
    assert hostile not in sql
    assert sql.count("?") == len(bound)
