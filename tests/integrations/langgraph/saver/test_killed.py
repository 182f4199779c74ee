"""A process that is killed loses at most the step in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.graph import START, StateGraph

from memkit_core import Memory
from memkit_langgraph.saver import MemkitSaver

from .test_graphs import Notes
from .worlds import thread

_PROGRAM = """
import os, signal, sys
from langgraph.graph import START, StateGraph
from memkit_langgraph import MemkitSaver
from tests.integrations.langgraph.saver.test_killed import build
with MemkitSaver.from_conn_string(sys.argv[1]) as saver:
    build(saver, int(sys.argv[2])).invoke(
        {"notes": []}, {"configurable": {"thread_id": "t"}}, durability="sync"
    )
"""
_STEPS = 6


def build(saver: MemkitSaver, kill_at: int = -1) -> object:
    """A graph of some steps in a row, in one of which the process dies."""

    def step(number: int) -> object:
        def run(state: Notes) -> Notes:
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"notes": [f"step {number}"]}

        return run

    builder = StateGraph(Notes)
    for number in range(_STEPS):
        builder.add_node(f"step {number}", step(number))  # type: ignore[call-overload]
        builder.add_edge(START if number == 0 else f"step {number - 1}", f"step {number}")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("kill_at", [0, 3, 5])
def test_a_killed_run_goes_on_from_the_step_it_died_in(path: Path, kill_at: int) -> None:
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), str(kill_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "integrations")])},
        cwd=root,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with Memory(llm="verbatim", embedder="none", store=path) as memory:
        assert memory.admin.doctor().ok
        graph = build(MemkitSaver(memory))
        state = graph.get_state(thread())  # type: ignore[attr-defined]
        assert state.values["notes"] == [f"step {number}" for number in range(kill_at)]
        assert state.next == (f"step {kill_at}",)
        result = graph.invoke(None, thread())  # type: ignore[attr-defined]
        assert result["notes"] == [f"step {number}" for number in range(_STEPS)]
