"""Messages of threads, handed to a memory once, in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from memkit_core import Memory
from memkit_core.adapting import UserSource, lend, resolve_user
from memkit_core.errors import UsageError
from memkit_core.protocols import CheckpointStore, Claim

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)
_SPOKEN: Final = ("human", "ai")


@dataclass(frozen=True, slots=True)
class Heard:
    """The messages of a thread at one checkpoint, by their ids.

    Attributes:
        complete: How many of them belong to exchanges that are over.
    """

    user_id: str
    messages: Mapping[str, BaseMessage]
    complete: int


class Rememberer:
    """Claims messages that no checkpoint of their thread had before, and adds them to a memory.

    A claim is stored before the memory is asked and settled afterwards: what is left open by an error or by
    the end of the process is handed on with the thread's next checkpoint, under the same idempotency key.
    """

    def __init__(
        self, memory: Memory, store: CheckpointStore, user_id: UserSource | None, messages_key: str
    ) -> None:
        self._memory = memory
        self._store = store
        self._user_id = user_id
        self._key = messages_key
        self._gate = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._jobs: set[Future[None]] = set()
        self._pid = os.getpid()

    def prepare(self, config: RunnableConfig, values: Mapping[str, Any]) -> Heard | None:
        """What is to be remembered of a checkpoint with these values, None if nothing is.

        Raises:
            UsageError: The config does not say whose memories they are.
        """
        user_id = resolve_user(cast("Mapping[str, Any]", config), None, self._user_id)
        said: Any = values.get(self._key)
        if not isinstance(said, list | tuple):
            return None
        messages: dict[str, BaseMessage] = {}
        complete = 0
        for message in cast("Sequence[Any]", said):
            kind, name = getattr(message, "type", None), getattr(message, "id", None)
            if kind == "human":  # whatever came before has been answered, or never will be
                complete = len(messages)
            if kind in _SPOKEN and isinstance(name, str) and name:
                messages[name] = message
            if kind == "ai" and not getattr(message, "tool_calls", None):
                complete = len(messages)
        return Heard(user_id, messages, complete) if complete else None

    def hand_on(self, thread_id: str, heard: Heard) -> None:
        """Go on in the background."""
        with self._gate:
            if self._worker is None or self._pid != os.getpid():  # a fork's child has none of the threads
                self._pid, self._jobs = os.getpid(), set()
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="memkit-remember")
            job = self._worker.submit(self._remember, thread_id, heard)
            self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def flush(self, timeout: float | None) -> None:
        """See ``MemkitSaver.flush``."""
        with self._gate:
            jobs = set(self._jobs)
        if wait(jobs, timeout).not_done:
            raise TimeoutError("messages are still being handed to the memory")

    def _remember(self, thread_id: str, heard: Heard) -> None:
        try:
            for claim in self._store.claim(thread_id, [*heard.messages][: heard.complete]):
                self._add(thread_id, claim, heard)
                self._store.settle(thread_id, claim.number)
        except Exception:  # noqa: BLE001 - whatever it is, the run goes on, and the next checkpoint tries again
            _log.warning("messages of a thread are not remembered yet; tried again later", exc_info=True)

    def _add(self, thread_id: str, claim: Claim, heard: Heard) -> None:
        claimed = set(claim.names)
        spoken = [message for name, message in heard.messages.items() if name in claimed and message.content]
        if not spoken:
            return
        key = _key(thread_id, claim.names)
        lend(self._memory)  # one that is closed may be open again when this is tried again
        try:
            self._memory.add(spoken, user_id=heard.user_id, idempotency_key=key, wait=False)
        except UsageError:
            # The same call can never succeed: the claim was added before and its messages changed since, or
            # there is nothing in them that a memory could hold.
            _log.warning("messages of a thread cannot be remembered", exc_info=True)


def _key(thread_id: str, names: Sequence[str]) -> str:
    state = blake2b(digest_size=16)
    for name in (thread_id, *sorted(names)):
        data = name.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data) + data)
    return f"thread:{state.hexdigest()}"
