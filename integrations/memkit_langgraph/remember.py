"""Messages of threads, handed to a memory once, for who said them, in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from memkit_core import Memory
from memkit_core.adapting import UserSource, answered, asked, lend, resolve_user
from memkit_core.errors import IntegrityError, KeyReusedError, UsageError, VisionUnsupportedError
from memkit_core.protocols import CheckpointStore, Claim, NewClaims, Place, Said

from .fitting import fitting
from .places import checked, checkpoint_in

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple

#: The checkpoint of a thread with an id, None if it is not there.
Load: TypeAlias = "Callable[[str, str], CheckpointTuple | None]"

_log = logging.getLogger(__name__)
#: Of how many checkpoints the names of their messages are known.
_SEEN: Final = 256
_LATER: Final = "messages of a thread are not remembered yet; tried again later"


@dataclass(frozen=True, slots=True)
class Heard:
    """The messages of a thread at one checkpoint, by their ids, and what of them is claimed there."""

    messages: Mapping[str, BaseMessage]
    claims: NewClaims


class Rememberer:
    """Claims messages with the checkpoint that brings them, for its run's user, and adds them to a memory.

    A claim is settled when the memory has its messages: what is left open by an error or by the end of the
    process is handed on with the thread's next checkpoint, whichever branch that is on, as it was in the
    checkpoint that claimed it, for the same user and under the same idempotency key.
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
        self._seen: OrderedDict[tuple[str, str], frozenset[str] | None] = OrderedDict()
        self._warned = False

    @property
    def _fixed(self) -> str | None:
        """The user of all threads, if there is only one."""
        return self._user_id if isinstance(self._user_id, str) else None

    def saw(self, thread_id: str, checkpoint: Checkpoint) -> None:
        """A checkpoint of the graph itself was read or put."""
        if self._fixed is None:
            self._learn(thread_id, checkpoint, _spoken(checkpoint["channel_values"].get(self._key)))

    def prepare(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        thread_id: str,
        load: Load,
    ) -> Heard | None:
        """What a checkpoint that is about to be put has to be remembered, None if nothing.

        Raises:
            UsageError: A run begins, and its config does not say whose memories it makes.
        """
        user = None
        if metadata.get("source") == "input":
            user = self._user(config)
        self._tell_delta(checkpoint)
        messages = _spoken(checkpoint["channel_values"].get(self._key))
        earlier = self._earlier(config, thread_id, load)
        self._learn(thread_id, checkpoint, messages)
        new = set[str]() if earlier is None else messages.keys() - earlier
        if new and user is None:
            user = self._known_user(config, messages, new)
        said, complete, question = list[Said](), 0, None
        for number, (name, message) in enumerate(messages.items()):
            if asked(message):  # whatever came before has been answered, or never will be
                complete, question = number, None
            if name in new:
                said.append(Said(name=name, user_id=user, answers=question))
            if asked(message):
                question = name
            elif not getattr(message, "tool_calls", None):
                complete = number + 1
        if not messages:
            return None
        return Heard(messages, NewClaims(said=tuple(said), over=tuple(messages)[:complete]))

    def _tell_delta(self, checkpoint: Checkpoint) -> None:
        """Say once that a delta channel's messages, which no checkpoint has as a list, are not heard."""
        value = checkpoint["channel_values"].get(self._key)
        snapshot = type(value).__name__ == "_DeltaSnapshot"
        gone = value is None and self._key in checkpoint["channel_versions"]
        if (snapshot or gone) and not self._warned:
            self._warned = True
            _log.warning("messages of a delta channel are not remembered: use a remember node")

    def _user(self, config: RunnableConfig) -> str:
        return checked(resolve_user(cast("Mapping[str, Any]", config), None, self._user_id))

    def _known_user(
        self, config: RunnableConfig, messages: Mapping[str, BaseMessage], new: set[str]
    ) -> str | None:
        try:
            return self._user(config)
        except Exception as error:  # noqa: BLE001 - a caller's function may raise anything where it finds nobody
            # Configs of the history name nobody; what is said there goes on the user of what it answers.
            if any(asked(messages[name]) for name in new):
                _log.warning(
                    "a run names nobody: what is new in it is not remembered (%s)", type(error).__name__
                )
            _log.debug("why nobody is named", exc_info=error)
            return None

    def _learn(
        self, thread_id: str, checkpoint: Checkpoint, messages: Mapping[str, BaseMessage]
    ) -> frozenset[str] | None:
        # A delta channel's messages are in few checkpoints only: what the others have is not known.
        told = self._key in checkpoint["channel_values"] or self._key not in checkpoint["channel_versions"]
        names = frozenset(messages) if told else None
        with self._gate:
            self._seen[thread_id, checkpoint["id"]] = names
            self._seen.move_to_end((thread_id, checkpoint["id"]))
            if len(self._seen) > _SEEN:
                self._seen.popitem(last=False)
        return names

    def _earlier(self, config: RunnableConfig, thread_id: str, load: Load) -> frozenset[str] | None:
        """The messages that the checkpoint before had: they are of other runs. None if they are not known."""
        parent = checkpoint_in(config)
        if parent is None:
            return frozenset()
        with self._gate:
            seen = self._seen.get((thread_id, parent))
            known = (thread_id, parent) in self._seen
        if self._fixed is not None:  # whatever was not claimed is this user's too
            return seen or frozenset()
        if known:
            return seen
        found = load(thread_id, parent)
        if found is None:
            return frozenset()
        messages = _spoken(found.checkpoint["channel_values"].get(self._key))
        return self._learn(thread_id, found.checkpoint, messages)

    def hand_on(self, place: Place, heard: Heard, load: Load) -> None:
        """Go on in the background."""
        if not heard.claims.over:
            return
        with self._gate:
            if self._worker is None or self._pid != os.getpid():  # a fork's child has none of the threads
                self._pid, self._jobs = os.getpid(), set()
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="memkit-remember")
            job = self._worker.submit(self._remember, place, heard.messages, load)
            self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def flush(self, timeout: float | None) -> None:
        """See ``MemkitSaver.flush``."""
        with self._gate:
            jobs = set(self._jobs)
        if wait(jobs, timeout).not_done:
            raise TimeoutError("messages are still being handed to the memory")

    def _remember(self, place: Place, here: Mapping[str, BaseMessage], load: Load) -> None:
        try:
            claims = self._store.open_claims(place.thread_id)
        except Exception:  # noqa: BLE001 - whatever it is, the run goes on, and the next checkpoint tries again
            _log.warning(_LATER, exc_info=True)
            return
        for claim in claims:
            try:
                user = self._fixed if claim.user_id is None else claim.user_id
                spoken = self._messages(place, claim, here, load)
                if user is not None and spoken is not None:
                    self._add(spoken, user, _key(place.thread_id, claim.names))
                    self._store.settle(place.thread_id, claim.number)
            except Exception:  # noqa: BLE001 - as above; what others have said does not wait for it
                _log.warning(_LATER, exc_info=True)

    def _messages(
        self, place: Place, claim: Claim, here: Mapping[str, BaseMessage], load: Load
    ) -> list[BaseMessage] | None:
        """The messages of a claim; None if they are to be found on another branch."""
        claimed = set(claim.names)
        if claim.checkpoint_id is None:  # an earlier schema's
            return _those(here, claimed) if claimed <= here.keys() else None
        if claim.checkpoint_id == place.checkpoint_id:
            return _those(here, claimed)
        try:
            found = load(place.thread_id, claim.checkpoint_id)
        except (IntegrityError, UsageError):
            _log.warning("a checkpoint with messages to be remembered cannot be read", exc_info=True)
            found = None
        if found is not None:
            return _those(_spoken(found.checkpoint["channel_values"].get(self._key)), claimed)
        if not claimed <= here.keys():
            _log.warning("messages of a thread went before they were remembered")
        return _those(here, claimed)

    def _add(self, spoken: Sequence[BaseMessage], user: str, key: str) -> None:
        if not spoken:
            return
        lent = lend(self._memory)  # one that is closed may be open again when this is tried again
        try:
            lent.memory.add(spoken, user_id=user, idempotency_key=key, wait=False)
        except KeyReusedError:
            _log.warning("messages of a thread were remembered before, and have changed since", exc_info=True)
        except (UsageError, VisionUnsupportedError) as refusal:
            lend(self._memory)  # closed in between: the messages were not refused
            self._add(fitting(lent, spoken, user, refusal), user, key)


def _spoken(said: object) -> dict[str, BaseMessage]:
    """What people and models have said, by its ids."""
    found: dict[str, BaseMessage] = {}
    for message in cast("Sequence[Any]", said) if isinstance(said, list | tuple) else ():
        name = getattr(message, "id", None)
        if isinstance(name, str) and _is_name(name) and (asked(message) or answered(message)):
            found[name] = message
    return found


def _is_name(name: str) -> bool:
    return bool(name) and (name.isascii() or name.encode("utf-8", "ignore").decode("utf-8") == name)


def _those(messages: Mapping[str, BaseMessage], claimed: set[str]) -> list[BaseMessage]:
    return [message for name, message in messages.items() if name in claimed and message.content]


def _key(thread_id: str, names: Sequence[str]) -> str:
    state = blake2b(digest_size=16)
    for name in (thread_id, *sorted(names)):
        data = name.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data) + data)
    return f"thread:{state.hexdigest()}"
