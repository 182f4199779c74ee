"""Whose memories an object of CrewAI's works on: fixed when it is made, never told by a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from memkit_core import AsyncMemory, Memory
from memkit_core.adapting import Lent, UserSource, lend, resolve_user
from memkit_core.errors import UsageError


class Ids(TypedDict):
    """The ids that the verbs of a memory take."""

    user_id: str | None
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class Whose:
    """An open memory and an owner in it. CrewAI copies what it is given; a copy of this is this."""

    lent: Lent
    user_id: UserSource | None
    agent_id: str | None

    @classmethod
    def of(cls, memory: Memory | AsyncMemory, user_id: UserSource | None, agent_id: str | None) -> Whose:
        """The owner that these ids name.

        Raises:
            UsageError: They name nobody, or it is no open memory.
        """
        if user_id is None and agent_id is None:
            raise UsageError("whose memory? Pass user_id=…, or agent_id=… for what a crew knows by itself")
        if user_id is not None and not callable(user_id):
            resolve_user(explicit=user_id)
        if agent_id is not None and not agent_id:
            raise UsageError("agent_id is a non-empty text")
        return cls(lend(memory), user_id, agent_id)

    def __deepcopy__(self, memo: dict[int, object]) -> Whose:
        return self

    @property
    def of_user(self) -> bool:
        """Whether a user owns it; else it is the agent's own."""
        return self.user_id is not None

    def ids(self) -> Ids:
        """The ids of this moment.

        Raises:
            UsageError: The function for ``user_id`` returned none.
        """
        user = None if self.user_id is None else resolve_user(None, None, self.user_id)
        return {"user_id": user, "agent_id": self.agent_id}
