"""Any sequence of operations gives what LangGraph's own saver in memory gives, where their rules agree."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver

from memkit_core import Memory
from memkit_langgraph.saver import MemkitSaver

_THREADS = st.sampled_from(["a", "b"])
_SPACES = st.sampled_from(["", "inner:1"])
_TEXTS = st.integers(0, 5).map(lambda number: f"{number} " * (300 if number % 2 else 1))
_VALUES = st.lists(_TEXTS, max_size=8) | st.none() | st.dictionaries(st.sampled_from("xyz"), _TEXTS) | _TEXTS
_CHANNELS = st.dictionaries(st.sampled_from(["one", "two", "three"]), _VALUES, max_size=3)
_WRITES = st.lists(
    st.tuples(st.sampled_from(["one", "two", "__error__", "__interrupt__", "__resume__"]), _VALUES),
    max_size=3,
)


def _plain(found: CheckpointTuple | None) -> Any:
    if found is None:
        return None
    names = [
        None
        if config is None
        else tuple(config["configurable"].get(key) for key in ("thread_id", "checkpoint_ns", "checkpoint_id"))
        for config in (found.config, found.parent_config)
    ]
    writes = [(task, channel, value) for task, channel, value in found.pending_writes or ()]
    return names, dict(found.checkpoint), dict(found.metadata), writes


class Savers(RuleBasedStateMachine):
    """The same calls on both."""

    @initialize(key=st.sampled_from([None, bytes(32)]))
    def open(self, key: bytes | None) -> None:
        self.memory = Memory(llm="verbatim", embedder="none", store=":memory:")
        self.ours = MemkitSaver(self.memory, encryption_key=key)
        self.theirs = InMemorySaver()
        self.made: list[tuple[RunnableConfig, Any]] = []

    def teardown(self) -> None:
        self.memory.close()

    def _put(
        self, config: RunnableConfig, before: Any, values: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        checkpoint = empty_checkpoint()
        old = before["channel_versions"] if before else {}
        new = {name: self.ours.get_next_version(old.get(name), None) for name in values}
        checkpoint["channel_versions"] = {**old, **new}
        checkpoint["channel_values"] = {**(before["channel_values"] if before else {}), **values}
        metadata: Any = {"source": "loop", "step": 1, "parents": {}, **extra}
        for saver in (self.theirs, self.ours):
            made = saver.put(config, checkpoint, metadata, dict(new))
        self.made.append((made, checkpoint))

    @rule(thread=_THREADS, space=_SPACES, values=_CHANNELS, run=st.sampled_from(["r", "s"]))
    def begin(self, thread: str, space: str, values: dict[str, Any], run: str) -> None:
        config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": space}}
        self._put(config, None, values, {"run_id": run})

    @precondition(lambda self: self.made)
    @rule(data=st.data(), values=_CHANNELS)
    def go_on(self, data: st.DataObject, values: dict[str, Any]) -> None:
        config, before = data.draw(st.sampled_from(self.made))
        self._put(config, before, values, {"who": "ann"})

    @precondition(lambda self: self.made)
    @rule(data=st.data(), writes=_WRITES, task=st.sampled_from(["t1", "t2"]), path=st.sampled_from(["", "p"]))
    def write(self, data: st.DataObject, writes: list[Any], task: str, path: str) -> None:
        config, _ = data.draw(st.sampled_from(self.made))
        for saver in (self.theirs, self.ours):
            saver.put_writes(config, writes, task, path)

    @rule(thread=_THREADS)
    def delete(self, thread: str) -> None:
        self.theirs.delete_thread(thread)
        self.ours.delete_thread(thread)
        self.made = [made for made in self.made if made[0]["configurable"]["thread_id"] != thread]

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "made"):
            return
        for config, _ in self.made[-4:]:
            assert _plain(self.ours.get_tuple(config)) == _plain(self.theirs.get_tuple(config))
        for thread in ("a", "b"):
            for space in ("", "inner:1"):
                config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": space}}
                assert _plain(self.ours.get_tuple(config)) == _plain(self.theirs.get_tuple(config))
                for wanted in (None, {"who": "ann"}):
                    ours = [_plain(found) for found in self.ours.list(config, filter=wanted)]
                    assert ours == [_plain(found) for found in self.theirs.list(config, filter=wanted)]
                page = [_plain(found) for found in self.ours.list(config, limit=2)]
                assert page == [_plain(found) for found in self.theirs.list(config, limit=2)]
                if page:
                    before: RunnableConfig = {"configurable": {"checkpoint_id": page[-1][0][0][2]}}
                    rest = [_plain(found) for found in self.ours.list(config, before=before)]
                    assert rest == [_plain(found) for found in self.theirs.list(config, before=before)]


TestSavers = Savers.TestCase
TestSavers.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
