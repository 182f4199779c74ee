"""The pictures: what is drawn, not how it looks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from matplotlib.dates import num2date

from memkit_core import AsyncMemory, Memory, NotFoundError, Scope, UsageError
from memkit_core.plots import plot_history, plot_scopes
from memkit_core.testing import ScriptedChatModel

MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture
def memory(tmp_path):
    model = ScriptedChatModel(
        [
            {"facts": [{"text": "Mara lives in Berlin.", "cites": [0]}]},
            {"facts": [{"text": "Mara lives in Madrid.", "cites": [0], "when": "2026-04-01"}]},
            {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]},
        ]
    )
    with Memory(llm=model, embedder="none", store=tmp_path / "m.db") as opened:
        opened.add("I live in Berlin.", user_id="mara", observed_at=MARCH)
        opened.add("I moved to Madrid on the first of April.", user_id="mara", observed_at=MAY)
        yield opened


def only(memory: Memory) -> str:
    (one,) = memory.get_all(user_id="mara")
    return str(one.id)


def bars(ax: Any) -> list[tuple[datetime, datetime]]:
    """From when to when each bar of a timeline goes, from the top."""
    return [(num2date(p.get_x()), num2date(p.get_x() + p.get_width())) for p in ax.patches]


def labels(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def near(one: datetime, other: datetime) -> bool:
    return abs((one - other).total_seconds()) < 60


def test_a_history_is_a_bar_for_each_version_over_the_time_it_held(memory):
    ax = plot_history(memory, only(memory), user_id="mara")
    first, second = bars(ax)
    assert near(first[0], MARCH)
    assert near(first[1], APRIL)
    assert near(second[0], APRIL)
    assert near(second[1], datetime.now(UTC))
    assert [text.get_text() for text in ax.texts] == ["Mara lives in Berlin.", "Mara lives in Madrid."]
    assert labels(ax) == ["1", "2"]
    events = memory.history(only(memory))
    dots = [line.get_xdata()[0] for line in ax.lines]
    assert dots == [event.created_at for event in events]


def test_a_deleted_memory_has_a_history_too(memory):
    one = only(memory)
    memory.delete(one)
    ax = plot_history(memory.scoped(user_id="mara"), one)
    assert labels(ax) == ["1", "2 (deleted)"]


def test_a_version_that_held_for_no_time_can_be_seen(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        one = memory.add("I like tea.", user_id="u").added[0].id
        memory.update(one, "I like coffee.")
        ax = plot_history(memory, one, user_id="u")
        assert all(end > start for start, end in bars(ax))


def test_it_is_drawn_where_you_say_and_a_formula_is_text(memory):
    _, (left, right) = plt.subplots(1, 2)
    memory.update(only(memory), "Mara pays $5 or $6,\nnow and then, " + "again and " * 20)
    assert plot_history(memory, only(memory), user_id="mara", ax=right) is right
    text = right.texts[-1].get_text()
    assert text.startswith(r"Mara pays \$5 or \$6, now")
    assert text.endswith("…")
    assert not left.patches
    right.figure.canvas.draw()


@pytest.mark.parametrize(
    "ids", [{"user_id": "john"}, {"user_id": "mara", "agent_id": "a"}, {"agent_id": "mara"}]
)
def test_a_memory_of_somebody_else_has_no_picture(memory, ids):
    with pytest.raises(NotFoundError):
        plot_history(memory, only(memory), **ids)
    assert not plt.get_fignums()


async def test_an_async_memory_can_be_drawn(tmp_path):
    async with AsyncMemory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        one = (await memory.add("I like tea.", user_id="u")).added[0].id
        assert len(plot_history(memory, one, user_id="u").patches) == 1
        assert len(plot_history(memory.scoped(user_id="u"), one).patches) == 1
        assert len(plot_scopes(memory, [{"user_id": "u"}]).patches) == 1


def parts(ax: Any) -> dict[str, list[int]]:
    """How wide each part is in every bar, by its label."""
    return {bar.get_label(): [int(patch.get_width()) for patch in bar] for bar in ax.containers}


def fill(memory: Memory, count: int, **ids: str) -> None:
    for number in range(count):
        memory.add(f"number {number} of {ids}", infer=False, **ids)


def test_scopes_are_bars_in_parts_and_nobody_s_memories_are_in_another_s_bar(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        fill(memory, 3, user_id="ana")
        fill(memory, 2, user_id="ana", agent_id="coach")
        fill(memory, 4, user_id="bob", agent_id="coach", run_id="r")
        fill(memory, 1, agent_id="coach")
        scopes = [{"user_id": "ana"}, Scope(user_id="bob"), {"agent_id": "coach"}, {"user_id": "nobody"}]
        ax = plot_scopes(memory, scopes)
        assert labels(ax) == ["user ana", "user bob", "agent coach", "user nobody"]
        assert parts(ax) == {
            "its own": [3, 0, 1, 0],
            "agent coach, run r": [0, 4, 0, 0],
            "agent coach": [2, 0, 0, 0],
        }
        assert [text.get_text() for text in ax.texts] == [" 5", " 4", " 1", " 0"]
        (inside,) = plot_scopes(memory, [{"user_id": "ana", "agent_id": "coach"}]).patches
        assert inside.get_width() == 2


def test_small_parts_of_many_are_one(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        fill(memory, 600, user_id="u", run_id="main")
        for run in range(20):
            fill(memory, 1, user_id="u", run_id=f"run {run:02}")
        drawn = parts(plot_scopes(memory, [{"user_id": "u"}]))
        assert len(drawn) == 8
        assert drawn["run main"] == [600]
        assert drawn["others"] == [14]


@pytest.mark.parametrize("scopes", [[], [{}], [{"user": "ana"}], ["ana"]])
def test_wrong_scopes_are_told(memory, scopes):
    with pytest.raises(UsageError):
        plot_scopes(memory, scopes)
    with pytest.raises(UsageError):
        plot_history(memory.scoped(user_id="mara"), "m", user_id="mara")
    with pytest.raises(UsageError):
        plot_history("memory", "m", user_id="mara")  # type: ignore[arg-type]


def test_without_the_extra_the_install_line_is_told(tmp_path):
    program = """
import sys
sys.modules["matplotlib"] = None
from memkit_core import Memory, MissingDependencyError
from memkit_core.plots import plot_scopes
with Memory(llm="verbatim", embedder="none", store="sqlite://:memory:") as memory:
    try:
        plot_scopes(memory, [{"user_id": "u"}])
    except MissingDependencyError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert "pip install 'memkit-core[plots]'" in done.stdout, done.stderr
