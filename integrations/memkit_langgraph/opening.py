"""What ``langgraph.json`` names: a store and a checkpointer that are opened and closed with the server."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from memkit_core import ConfigError, Memory, MemoryConfig

if TYPE_CHECKING:
    from langgraph.store.base import IndexConfig, TTLConfig

    from memkit_core.adapting import UserSource

    from .saver import MemkitSaver
    from .store import MemkitStore

#: Names the key that checkpoints are encrypted with, in base64.
KEY_VARIABLE: Final = "MEMKIT_CHECKPOINT_KEY"


@asynccontextmanager
async def open_store(
    config: MemoryConfig | None = None,
    *,
    index: IndexConfig | Literal[False] | None = None,
    ttl: TTLConfig | None = None,
) -> AsyncGenerator[MemkitStore]:
    """A ``MemkitStore`` over a memory of its own, for an ``async with`` block and for ``langgraph.json``.

    With a ``ttl`` its sweeper runs. The event loop is never held up.

    Args:
        config: The memory's; None: as the environment says, ``MEMKIT_STORE`` and the other variables of
            ``MemoryConfig.from_env``.
        index: As ``MemkitStore`` takes it: None embeds with the memory's model.
        ttl: LangGraph's configuration of expiry, in minutes.

    Raises:
        ConfigError: The configuration cannot work. Nothing was opened.
        StorageError: The database cannot be opened. Nothing was changed.
    """
    from .store import MemkitStore

    async with _opened(config) as memory, MemkitStore(memory, index=index, ttl=ttl) as store:
        if ttl:
            store.start_ttl_sweeper()
        yield store


@asynccontextmanager
async def open_checkpointer(
    config: MemoryConfig | None = None,
    *,
    remember: bool = False,
    user_id: UserSource | None = None,
    allow: Iterable[type | tuple[str, str]] = (),
    encryption_key: bytes | Sequence[bytes] | None = None,
    keep_last: int | None = None,
    max_age: timedelta | None = None,
) -> AsyncGenerator[MemkitSaver]:
    """A ``MemkitSaver`` over a memory of its own, for an ``async with`` block and for ``langgraph.json``.

    The event loop is never held up.

    Args:
        config: The memory's; None: as the environment says, ``MEMKIT_STORE`` and the other variables of
            ``MemoryConfig.from_env``.
        remember: The messages of every thread are remembered in the same memory, in the background.
        encryption_key: As ``MemkitSaver`` takes it. None: what ``MEMKIT_CHECKPOINT_KEY`` holds in base64,
            without it nothing is encrypted.
        user_id, allow, keep_last, max_age: As ``MemkitSaver`` takes them.

    Raises:
        ConfigError: The configuration or the variable's key cannot work. Nothing was opened.
        StorageError: The database cannot be opened. Nothing was changed.
    """
    from .saver import MemkitSaver

    key = encryption_key if encryption_key is not None else _key(os.environ.get(KEY_VARIABLE))
    async with _opened(config) as memory:
        saver = MemkitSaver(
            memory,
            allow=allow,
            encryption_key=key,
            keep_last=keep_last,
            max_age=max_age,
            remember=memory if remember else None,
            user_id=user_id,
        )
        try:
            yield saver
        finally:
            await asyncio.to_thread(saver.flush)


@asynccontextmanager
async def _opened(config: MemoryConfig | None) -> AsyncGenerator[Memory]:
    memory = await asyncio.to_thread(_open, config)
    try:
        yield memory
    finally:
        await asyncio.to_thread(memory.close)


def _open(config: MemoryConfig | None) -> Memory:
    return Memory(config=config or MemoryConfig.from_env())


def _key(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:  # the text is a secret
        raise ConfigError(f"{KEY_VARIABLE} is not base64") from None
    if len(key) not in (16, 24, 32):
        raise ConfigError(f"{KEY_VARIABLE} holds {len(key)} bytes; a key has 16, 24 or 32")
    return key
