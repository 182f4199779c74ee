"""What adapters need of the messages of an agent's run: LangChain's, but no framework is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

#: Under this key of its ``response_metadata`` the last message that was saved names who has saved it.
MARK: Final = "memkit_remembered"

_Config = TypeVar("_Config", bound=Mapping[str, Any])


def unseen(config: _Config) -> _Config:
    """The config for a memory's own work: what its models say there is no part of what the user reads."""
    # LangGraph's tag for calls whose tokens no graph streams.
    return cast("_Config", {**config, "tags": [*(config.get("tags") or ()), "nostream"]})


def asked(message: Any) -> bool:
    """Whether a user has said it: a human message that no part of the agent wrote, such as a summary."""
    return message.type in ("human", "HumanMessageChunk") and not by_harness(message)


def answered(message: Any) -> bool:
    """Whether the model has said it."""
    return message.type in ("ai", "AIMessageChunk")


def by_harness(message: Any) -> bool:
    """Whether LangChain says of a message that a part of the agent has written it."""
    return "lc_source" in message.additional_kwargs


def last_question(messages: Sequence[Any]) -> Any | None:
    """The last message of the user that has text; None without one."""
    return next((one for one in reversed(messages) if asked(one) and one.text.strip()), None)


def marks(message: Any) -> list[str]:
    """Who has saved the messages up to this one."""
    found: object = message.response_metadata.get(MARK)
    return [str(name) for name in cast("list[object]", found)] if isinstance(found, list) else []


def marked(message: Any, name: str) -> Any:
    """The message with one more name that has saved the messages up to it."""
    told = {**message.response_metadata, MARK: sorted({*marks(message), name})}
    return message.model_copy(update={"response_metadata": told})


def behind_mark(messages: Sequence[Any], name: str) -> int:
    """Where the messages begin that this one has not saved."""
    return max((n + 1 for n, message in enumerate(messages) if name in marks(message)), default=0)


def thread_of(config: Mapping[str, Any]) -> str | None:
    """The run's thread, None without one."""
    found = configured(config, "thread_id")
    return None if found is None else str(found)


def configured(config: Mapping[str, Any], key: str) -> object | None:
    """What the run's ``configurable`` says under a key."""
    found: object = config.get("configurable")
    return cast("Mapping[str, object]", found).get(key) if isinstance(found, Mapping) else None
