"""Who a run is for: found in one order, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest

from memkit_core import UsageError
from memkit_langgraph import authenticated_user, resolve_user

langgraph = pytest.importorskip("langgraph.graph")


@dataclass
class Context:
    user_id: str | None = None


def _runtime(context: object = None, identity: str | None = None) -> SimpleNamespace:
    user = SimpleNamespace(identity=identity) if identity else None
    return SimpleNamespace(context=context, server_info=SimpleNamespace(user=user) if user else None)


def _config(**configurable: Any) -> dict[str, Any]:
    return {"configurable": configurable}


def test_the_order_is_explicit_context_config_authenticated() -> None:
    runtime = _runtime({"user_id": "context"}, "server")
    config = _config(user_id="config", langgraph_auth_user_id="auth")
    assert resolve_user(config, runtime, "explicit") == "explicit"
    assert resolve_user(config, runtime) == "context"
    assert resolve_user(config, _runtime(None, "server")) == "config"
    assert resolve_user(_config(langgraph_auth_user_id="auth"), _runtime(None, "server")) == "server"
    assert resolve_user(_config(langgraph_auth_user_id="auth")) == "auth"
    assert resolve_user(_config(langgraph_auth_user={"identity": "dict"})) == "dict"


def test_a_context_is_an_object_or_a_mapping() -> None:
    assert resolve_user(runtime=_runtime(Context("alice@example.com"))) == "alice@example.com"
    assert resolve_user(runtime=_runtime({"user_id": "李"})) == "李"
    assert resolve_user(_config(user_id="c"), _runtime(Context())) == "c"


def test_a_function_sees_config_and_runtime() -> None:
    runtime = _runtime({"tenant": "t"})

    def tenant(config: Any, given: Any) -> str:
        return f"{given.context['tenant']}/{config['configurable']['thread_id']}"

    assert resolve_user(_config(thread_id="1"), runtime, tenant) == "t/1"
    assert (
        resolve_user(_config(user_id="mallory", langgraph_auth_user_id="auth"), None, authenticated_user)
        == "auth"
    )


@pytest.mark.parametrize("nobody", [None, {}, {"configurable": {}}, {"configurable": None}])
def test_nobody_is_an_error_that_says_what_to_do(nobody: Any) -> None:
    with pytest.raises(UsageError, match=r"no user id: pass user_id=…, or run the graph with context"):
        resolve_user(nobody)
    with pytest.raises(UsageError, match="nobody is authenticated"):
        authenticated_user(nobody)


@pytest.mark.parametrize("wrong", ["", 7, True, ["alice"], b"alice"])
def test_what_comes_first_is_not_passed_over_if_it_cannot_be_an_id(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"runtime\.context\.user_id is a non-empty text"):
        resolve_user(_config(user_id="somebody else"), _runtime({"user_id": wrong}))
    with pytest.raises(UsageError, match=r"config\['configurable'\]\['user_id'\] is a non-empty text"):
        resolve_user(_config(user_id=wrong, langgraph_auth_user_id="somebody else"))
    with pytest.raises(UsageError, match="what the function for user_id returned"):
        resolve_user(None, None, lambda _config, _runtime: wrong)


class State(TypedDict, total=False):
    seen: str


def test_the_context_of_a_run_is_found_through_its_config_alone() -> None:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph import StateGraph

    def node(state: State, config: RunnableConfig) -> State:
        return {"seen": resolve_user(config)}

    # The annotations of a local function are texts here, which LangGraph reads as no annotation.
    node.__annotations__["config"] = RunnableConfig
    builder = StateGraph(State, context_schema=Context)
    builder.add_node("node", node)
    builder.set_entry_point("node")
    assert builder.compile().invoke({}, context=Context("ana")) == {"seen": "ana"}
