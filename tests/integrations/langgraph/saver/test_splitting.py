"""Whatever is cut and put together again is the same."""

from __future__ import annotations

import itertools
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit_core.errors import IntegrityError
from memkit_langgraph.packing import pack, unpack
from memkit_langgraph.splitting import assemble, difference, digest_of, entries_of, long_texts

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**63),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=300),
    st.integers(0, 700).map(lambda size: "é" * size),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=8), inner, max_size=20),
    max_leaves=60,
)


@given(_VALUES)
def test_entries_are_the_bytes_in_order(value: Any) -> None:
    data = ormsgpack.packb(value)
    assert b"".join(entries_of(data)) == data


@given(st.binary(max_size=3_000))
def test_bytes_that_are_no_msgpack_are_cut_no_worse(data: bytes) -> None:
    assert b"".join(entries_of(data)) == data
    position = 0
    for start, end in long_texts(data):
        assert position <= start < end <= len(data)
        position = end


@given(st.lists(st.lists(st.integers(0, 30).map(lambda n: bytes([n])), max_size=60), min_size=1, max_size=12))
def test_layers_give_the_entries_they_were_made_from(versions: list[list[bytes]]) -> None:
    layers: list[Any] = [[versions[0]]]
    for before, after in itertools.pairwise(versions):
        layers.insert(0, difference([*map(digest_of, before)], after, [*map(digest_of, after)]))
    assert assemble(layers).entries == versions[-1]


def test_a_list_that_grew_is_one_step_and_what_is_new() -> None:
    base = [b"header 1", b"a", b"b", b"c"]
    entries = [b"header 2", b"a", b"b", b"c", b"d"]
    ops = difference([*map(digest_of, base)], entries, [*map(digest_of, entries)])
    assert ops == [[b"header 2"], (1, 3), [b"d"]]


@pytest.mark.parametrize("layers", [[[(0, 3)]], [[(0, 3)], [[b"a"]]], [[(-1, 2)], [[b"a", b"b"]]]])
def test_layers_that_do_not_fit_are_refused(layers: Any) -> None:
    with pytest.raises(IntegrityError):
        assemble(layers)


@given(st.binary(max_size=9_000) | st.text(max_size=5_000).map(str.encode))
def test_packing_gives_the_bytes_back(data: bytes) -> None:
    packed = pack(data)
    assert unpack(packed) == data
    assert len(packed) <= len(data) + 1


@pytest.mark.parametrize(
    "packed", [b"", b"\7abc", b"\1", b"\1abc", b"\2\0", pack(b"a" * 99)[:-2], pack(b"a" * 99) + b"x"]
)
def test_what_was_never_packed_is_refused(packed: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpack(packed)
