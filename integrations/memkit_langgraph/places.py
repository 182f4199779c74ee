"""Where things of a checkpoint are, in LangGraph's words and in the store's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from memkit_core.errors import UsageError
from memkit_core.protocols import BlobPlace, Place, Retention

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


def place_in(config: RunnableConfig, checkpoint_id: str | None = None) -> Place:
    """The place that a config names, with this id or its own.

    Raises:
        UsageError: It names no thread, or no checkpoint where one is needed.
    """
    configurable: Mapping[str, Any] = config.get("configurable", {})
    thread = configurable.get("thread_id")
    if thread is None or thread == "":
        raise UsageError("a checkpointer needs a thread: {'configurable': {'thread_id': …}}")
    if checkpoint_id is None:
        checkpoint_id = configurable.get("checkpoint_id")
        if checkpoint_id is None:
            raise UsageError("writes belong to a checkpoint: {'configurable': {'checkpoint_id': …}}")
    place = Place(str(thread), str(configurable.get("checkpoint_ns") or ""), str(checkpoint_id))
    checked("".join((place.thread_id, place.namespace, place.checkpoint_id)))
    return place


def checkpoint_in(config: RunnableConfig) -> str | None:
    """The checkpoint that a config names, if it names one.

    Raises:
        UsageError: What it names is no text.
    """
    configurable: Mapping[str, Any] = config.get("configurable", {})
    found = text_of(configurable.get("checkpoint_id"))
    if found is not None:
        checked(found)
    return found


def checked(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: It holds what no text can.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError("an id of a checkpoint holds a lone surrogate, which is not text") from error
    return name


def config_of(place: Place, checkpoint_id: str | None = None) -> RunnableConfig:
    """The config that names a place, or another checkpoint of its namespace."""
    return {
        "configurable": {
            "thread_id": place.thread_id,
            "checkpoint_ns": place.namespace,
            "checkpoint_id": checkpoint_id or place.checkpoint_id,
        }
    }


def root_of(namespace: str, metadata: Mapping[str, Any]) -> str | None:
    """The checkpoint of the whole graph that one of a graph inside it goes with, if it goes with any.

    A namespace with a task's id in it ends with that task; one without keeps its state for later runs.
    """
    parents: object = metadata.get("parents")
    if ":" not in namespace or not isinstance(parents, Mapping):
        return None
    return text_of(cast("Mapping[str, object]", parents).get(""))


def text_of(value: object) -> str | None:
    """A name, None if there is none."""
    return None if value is None or value == "" else str(value)


def checkpoint_place(place: Place, parent: str | None) -> BlobPlace:
    """Where a checkpoint's body is."""
    return BlobPlace(
        kind="checkpoint",
        thread_id=place.thread_id,
        namespace=place.namespace,
        names=(place.checkpoint_id, parent or ""),
    )


def value_place(place: Place, key: bytes) -> BlobPlace:
    """Where the value of a channel is."""
    return BlobPlace(kind="value", thread_id=place.thread_id, namespace=place.namespace, key=key, names=("",))


def write_place(place: Place, task_id: str, task_path: str, index: int, channel: str) -> BlobPlace:
    """Where a write of a task is."""
    return BlobPlace(
        kind="write",
        thread_id=place.thread_id,
        namespace=place.namespace,
        names=(place.checkpoint_id, task_id, task_path, str(index), channel),
    )


def retention_of(keep_last: int | None, max_age: timedelta | None) -> Retention | None:
    """What stays now, None if all does.

    Raises:
        UsageError: An argument is wrong.
    """
    if keep_last is not None and (not isinstance(keep_last, int) or keep_last < 1):
        raise UsageError(f"keep_last is at least 1, not {keep_last!r}")
    if max_age is not None and (not isinstance(max_age, timedelta) or max_age <= timedelta(0)):
        raise UsageError(f"max_age is a positive timedelta, not {max_age!r}")
    if keep_last is None and max_age is None:
        return None
    since = None
    if max_age is not None:
        since = time.time_ns() // 1_000 - max_age // timedelta(microseconds=1)
    return Retention(keep_last=keep_last, since=since)
