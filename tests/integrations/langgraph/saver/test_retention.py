"""What stays and what goes: retention, pruning, runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from memkit_core import Memory
from memkit_core.errors import UsageError
from memkit_langgraph.saver import MemkitSaver

from .worlds import chat, put, rows, say, thread


def _ids(saver: MemkitSaver, config: RunnableConfig) -> list[str]:
    return [found.config["configurable"]["checkpoint_id"] for found in saver.list(config)]


@pytest.mark.parametrize("number", [1, 3, 10])
def test_keep_last_holds_after_every_checkpoint(memory: Memory, path: Path, number: int) -> None:
    saver = MemkitSaver(memory, keep_last=number)
    config, before = put(saver, thread(), {"n": 0})
    ids = [config["configurable"]["checkpoint_id"]]
    for step in range(1, 80):
        config, before = put(saver, config, {"n": step, "text": f"{step} " * 200}, before)
        saver.put_writes(config, [("n", step)], "task")
        ids.append(config["configurable"]["checkpoint_id"])
        assert _ids(saver, thread()) == ids[::-1][:number]
    assert rows(path, "SELECT count(*) FROM checkpoint_writes")[0][0] == number
    assert rows(path, "SELECT count(*) FROM checkpoint_parts")[0][0] <= number + 32


def test_what_is_old_goes_with_the_next_checkpoint_of_its_thread(memory: Memory, path: Path) -> None:
    saver = MemkitSaver(memory, max_age=timedelta(days=1))
    graph = chat(saver)
    say(graph, "one")
    from memkit_core.storage.sqlite.checkpoints.rows import CHECKPOINT, seal

    for row in rows(path, f"SELECT {CHECKPOINT} FROM checkpoints"):
        old = (*row[:7], row[7] - 2 * 86_400_000_000, *row[8:])
        rows(
            path,
            "UPDATE checkpoints SET created_at = ?, content_hash = ? WHERE checkpoint_id = ?",
            *(old[7], seal(old), old[2]),
        )
    assert len(_ids(saver, thread())) == 3
    assert say(graph, "two") == ["one", "You said: one", "two", "You said: two"]
    assert len(_ids(saver, thread())) == 3


def test_prune_keeps_a_number_or_what_is_young(saver: MemkitSaver) -> None:
    config, before = put(saver, thread(), {"n": 0})
    for step in range(1, 10):
        config, before = put(saver, config, {"n": step}, before)
    ids = _ids(saver, thread())
    saver.prune(["t"], max_age=timedelta(hours=1))
    assert _ids(saver, thread()) == ids
    saver.prune(["t", "unknown"], keep_last=4)
    assert _ids(saver, thread()) == ids[:4]
    saver.prune(["t"])
    assert _ids(saver, thread()) == ids[:1]


@pytest.mark.parametrize(
    "wrong",
    [{"strategy": "all"}, {"keep_last": 0}, {"max_age": timedelta(0)}, {"max_age": 3}],
    ids=str,
)
def test_wrong_retention_changes_nothing(saver: MemkitSaver, wrong: dict[str, Any]) -> None:
    config, before = put(saver, thread(), {"n": 0})
    put(saver, config, {"n": 1}, before)
    with pytest.raises(UsageError):
        saver.prune(["t"], **wrong)
    assert len(_ids(saver, thread())) == 2


@pytest.mark.parametrize("wrong", [{"keep_last": 0}, {"keep_last": "3"}, {"max_age": 3}], ids=str)
def test_a_saver_with_wrong_retention_is_refused(memory: Memory, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MemkitSaver(memory, **wrong)


def test_namespaces_of_tasks_follow_their_root_and_others_keep_their_latest(saver: MemkitSaver) -> None:
    root, before = put(saver, thread(), {"n": 0})
    first = root["configurable"]["checkpoint_id"]
    for namespace in ("agent:task-1", "agent:task-1|tool:task-2", "memory"):
        parents = {"": first}
        config, inner = put(saver, thread(checkpoint_ns=namespace), {"m": 0}, parents=parents)
        put(saver, config, {"m": 1}, inner, parents=parents)
    everywhere: RunnableConfig = {"configurable": {"thread_id": "t"}}
    saver.prune(["t"])  # the root is still the one they belong to
    assert len(_ids(saver, everywhere)) == 4
    put(saver, root, {"n": 1}, before)
    saver.prune(["t"])
    namespaces = [found.config["configurable"]["checkpoint_ns"] for found in saver.list(everywhere)]
    assert sorted(namespaces) == ["", "memory"]


def _with_deltas(saver: MemkitSaver) -> list[RunnableConfig]:
    """A chain in which each checkpoint keeps its notes as changes, but the third from the end."""
    configs: list[RunnableConfig] = []
    config, before = put(saver, thread(), {"notes": ["seed"]})
    for number in range(1, 7):
        configs.append(config)
        saver.put_writes(config, [("notes", [f"w{number}"])], f"task {number}", f"path {number}")
        if number == 4:
            config, before = put(saver, config, {"notes": ["snapshot"]}, before, run_id=str(number))
            continue
        before = {**before, "channel_values": {}}  # type: ignore[typeddict-item]
        before["channel_versions"] = {
            "notes": saver.get_next_version(before["channel_versions"]["notes"], None)
        }
        counters = {"notes": (number, number)}
        config, before = put(
            saver, config, {}, before, counters_since_delta_snapshot=counters, run_id=str(number)
        )
    return [*configs, config]


def test_delta_history_is_the_nearest_value_and_the_writes_since(saver: MemkitSaver) -> None:
    configs = _with_deltas(saver)
    channels = ["notes", "other"]
    late = saver.get_delta_channel_history(config=configs[-1], channels=channels)
    assert late["notes"].get("seed") == ["snapshot"]
    assert [value for _, _, value in late["notes"]["writes"]] == [["w5"], ["w6"]]
    assert late["other"] == {"writes": []}
    early = saver.get_delta_channel_history(config=configs[3], channels=["notes"])["notes"]
    assert early.get("seed") == ["seed"]
    assert [value for _, _, value in early["writes"]] == [["w1"], ["w2"], ["w3"]]
    assert saver.get_delta_channel_history(config=thread(), channels=channels) == late
    assert saver.get_delta_channel_history(config=thread("none"), channels=["notes"]) == {
        "notes": {"writes": []}
    }
    assert saver.get_delta_channel_history(config=thread(), channels=[]) == {}


async def test_delta_history_is_the_same_for_event_loops(saver: MemkitSaver) -> None:
    configs = _with_deltas(saver)
    for config in configs:
        expected = saver.get_delta_channel_history(config=config, channels=["notes"])
        assert await saver.aget_delta_channel_history(config=config, channels=["notes"]) == expected


def test_pruning_keeps_what_delta_channels_need(memory: Memory) -> None:
    saver = MemkitSaver(memory, keep_last=1)
    configs = _with_deltas(saver)
    found = saver.get_delta_channel_history(config=configs[-1], channels=["notes"])["notes"]
    assert found.get("seed") == ["snapshot"]
    assert [value for _, _, value in found["writes"]] == [["w5"], ["w6"]]
    assert len(_ids(saver, thread())) == 3


def test_runs_that_later_checkpoints_need_are_not_deleted(saver: MemkitSaver) -> None:
    _with_deltas(saver)
    with pytest.raises(UsageError, match="Nothing was changed"):
        saver.delete_for_runs(["5"])
    assert len(_ids(saver, thread())) == 7
    saver.delete_for_runs(["1", "2", "3"])
    assert len(_ids(saver, thread())) == 4


def test_a_copy_lives_on_without_its_source(saver: MemkitSaver) -> None:
    graph = chat(saver)
    say(graph, "one " * 300)
    say(graph, "two")
    saver.copy_thread("t", "copy")
    before = [found.checkpoint for found in saver.list(thread("t"))]
    saver.delete_thread("t")
    assert [found.checkpoint for found in saver.list(thread("copy"))] == before
    assert say(graph, "three", "copy")[-2:] == ["three", "You said: three"]
    with pytest.raises(UsageError):
        saver.copy_thread("copy", "copy")
