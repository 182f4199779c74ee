"""The memory's tools as a middleware gives them to its agent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, cast

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import UserSource
from memkit_core.errors import UsageError

from .tools import create_memory_tools

_FAILED = "The memory cannot do this now."
_log = logging.getLogger(__name__)


def tools_of(
    memory: Memory | AsyncMemory,
    wanted: Sequence[BaseTool | str],
    *,
    user_id: UserSource | None,
    agent_id: str | None,
    forgiving: bool,
) -> list[BaseTool]:
    """The tools themselves, and for names those of this memory, user and agent.

    Args:
        forgiving: The named ones tell the model that the memory fails, instead of ending its run.

    Raises:
        UsageError: A name is unknown.
    """
    if isinstance(wanted, str):
        raise UsageError(f"tools are a list: tools=[{wanted!r}]")
    own = create_memory_tools(memory, user_id=user_id, agent_id=agent_id, update=True, delete=True)
    known = {tool.name: _forgiving(tool) if forgiving else tool for tool in own}
    unknown = [name for name in wanted if isinstance(name, str) and name not in known]
    if unknown:
        raise UsageError(f"the memory's tools are {sorted(known)}, not {unknown}")
    return [known[tool] if isinstance(tool, str) else tool for tool in wanted]


def _forgiving(tool: BaseTool) -> BaseTool:
    made = cast("StructuredTool", tool)
    now = cast("Callable[..., str]", made.func)
    later = cast("Callable[..., Awaitable[str]]", made.coroutine)

    # LangChain reads from the functions what it has to fill in: they keep their signatures.
    @wraps(now)
    def call(*args: Any, **more: Any) -> str:
        try:
            return now(*args, **more)
        except ToolException:  # it tells the model what to mend
            raise
        except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
            return _told(made.name, error)

    @wraps(later)
    async def acall(*args: Any, **more: Any) -> str:
        try:
            return await later(*args, **more)
        except ToolException:
            raise
        except Exception as error:  # noqa: BLE001 - a memory that fails must not end the user's run
            return _told(made.name, error)

    return made.model_copy(update={"func": call, "coroutine": acall})


def _told(name: str, error: Exception) -> str:
    _log.warning("the tool %r failed, the run goes on: %s", name, type(error).__name__)
    _log.debug("why the tool %r failed", name, exc_info=error)
    return _FAILED
