"""A user's namespace, for any user id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import PutOp, validate_op_namespace

from memkit_core import UsageError
from memkit_langgraph import user_label, user_namespace, user_of

IDS = (
    st.integers()
    | st.text(min_size=1).filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
    | st.sampled_from(["alice@example.com", "1", ".", "*", "%2E", "user:a", "int:1", "\0", " ", "猫"])
)


@given(IDS, IDS)
def test_two_users_never_share_a_namespace(one: str | int, other: str | int) -> None:
    namespaces = [user_namespace("memories", user) for user in (one, other)]
    for user, namespace in zip((one, other), namespaces, strict=True):
        validate_op_namespace(PutOp(namespace, "k", {}))
        assert user_of(namespace) == user
        assert type(user_of(namespace)) is type(user)
        assert namespace == ("memories", user_label(user))
    assert (namespaces[0] == namespaces[1]) == (one == other and type(one) is type(other))


def test_how_it_looks() -> None:
    assert user_namespace("memories", "alice@example.com") == ("memories", "user:alice@example%2Ecom")
    assert user_namespace("notes", 7) == ("notes", "int:7")
    assert user_of(("notes", "int:7", "deeper")) == 7


@pytest.mark.parametrize("user", ["", None, True, 1.0, "\ud800"])
def test_what_is_no_id_is_refused(user: object) -> None:
    with pytest.raises(UsageError):
        user_namespace("memories", user)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["", "a.b", None])
def test_what_is_no_label_is_refused(label: object) -> None:
    with pytest.raises(UsageError):
        user_namespace(label, "a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "label",
    ["alice", "user:", "user:%41", "user:%2e", "user:a%", "int:", "int:01", "int:-0", "int:x", "user:a*"],
)
def test_what_no_id_becomes_is_nobodys(label: str) -> None:
    with pytest.raises(UsageError, match="no user's namespace"):
        user_of(("memories", label))
