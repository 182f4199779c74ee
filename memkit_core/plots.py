"""Pictures of a memory for notebooks and reports. They need the extra ``plots``.

A picture is drawn on the axes that you give, or on a figure of its own. The store is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from .async_memory import AsyncMemory
from .errors import MissingDependencyError, NotFoundError, UsageError
from .memory import Memory
from .protocols import Query
from .scoped import AsyncScopedMemory, ScopedMemory
from .types import FIRST_MICROS, MemoryRecord, Scope, check_id, to_datetime

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .engine import Engine

    AnyMemory = Memory | AsyncMemory | ScopedMemory | AsyncScopedMemory

__all__ = ["plot_history", "plot_scopes"]

_EXTRA: Final = "plots"
_ID_FIELDS: Final = ("user_id", "agent_id", "run_id")
#: Characters of a text beside its bar.
_LABEL: Final = 48
#: Parts of a scope that are told apart; what is in further ones is one part.
_MAX_PARTS: Final = 8
_PAGE: Final = 500
#: How wide a version is drawn that has held for no time, as a share of all the time in the picture.
_SLIVER: Final = 0.004


def plot_history(
    memory: AnyMemory,
    memory_id: str,
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
    run_id: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How one memory evolved: a bar for every version, over the time in which it held in the world.

    The newest version is at the bottom. A version that still holds reaches to the present. A dot says when
    memkit learnt of the version, which is later than its beginning where somebody told of the past.

    Args:
        memory: An open memory, or a scoped view of one. An asynchronous one is read all the same, blocking.
        memory_id: Which memory; deleted ones too.
        user_id, agent_id, run_id: Whose memory; at least one, unless ``memory`` is a scoped view.
        ax: Where to draw; by default on a new figure.

    Raises:
        MissingDependencyError: The extra ``plots`` is not installed; the message is the install line.
        NotFoundError: There never was such a memory in the scope.
        UsageError: An argument is wrong, or the memory is closed.
    """
    engine, scope = _source(memory, user_id, agent_id, run_id)
    check_id(memory_id, "memory_id")
    versions = _versions(engine, scope, memory_id)
    drawn: Any = _axes(ax, height=1.0 + 0.6 * len(versions))
    now = to_datetime(engine.services.clock())
    spans = [_span(one, now) for one in versions]
    least = (max(end for _, end in spans) - min(start for start, _ in spans)) * _SLIVER
    for row, (one, (start, end)) in enumerate(zip(versions, spans, strict=True)):
        drawn.barh(row, max(end - start, least, timedelta(seconds=1)), left=start, height=0.5)
        learnt = to_datetime(one.recorded_at)
        drawn.plot([learnt], [row], "o", color="black", markeredgecolor="white", clip_on=False)
        drawn.annotate(_plain(one.text), (start, row - 0.3), fontsize="small", annotation_clip=False)
    drawn.set_yticks(range(len(versions)), [_version_label(one) for one in versions])
    drawn.set_ylim(len(versions) - 0.5, -0.8)
    drawn.set_title("when each version held; dots: when it was learnt")
    drawn.xaxis_date()
    drawn.tick_params(axis="x", rotation=30)
    return cast("Axes", drawn)


def plot_scopes(
    memory: Memory | AsyncMemory, scopes: Sequence[Scope | Mapping[str, str]], *, ax: Axes | None = None
) -> Axes:
    """How many memories each scope holds now: a bar for each, in parts by the agents and runs inside it.

    What belongs to none of them is called its own. No bar holds another user's memories, as no call does. The
    eight largest parts have colours, further ones are one part. All current memories of the scopes are read,
    those in quarantine too.

    Args:
        memory: An open memory. An asynchronous one is read all the same, blocking.
        scopes: Such as ``[{"user_id": "ana"}, Scope(agent_id="release-bot")]``.
        ax: Where to draw; by default on a new figure.

    Raises:
        MissingDependencyError: The extra ``plots`` is not installed; the message is the install line.
        UsageError: An argument is wrong, or the memory is closed.
    """
    wanted = [_scope(one) for one in scopes]
    if not wanted:
        raise UsageError("scopes is a list of at least one scope")
    counted = [_parts(_engine(memory), scope) for scope in wanted]
    drawn: Any = _axes(ax, height=1.2 + 0.5 * len(wanted))
    total: Counter[str] = Counter()
    for parts in counted:
        total.update(parts)
    told = [name for name, _ in sorted(total.items(), key=lambda part: (-part[1], part[0]))]
    named = told if len(told) <= _MAX_PARTS else told[: _MAX_PARTS - 1]
    rest = set(told) - set(named)
    columns = [(name, [parts[name] for parts in counted]) for name in named]
    if rest:
        columns.append(("others", [sum(parts[name] for name in rest) for parts in counted]))
    left = [0] * len(wanted)
    for name, widths in columns:
        drawn.barh(range(len(wanted)), widths, left=left, label=_plain(name))
        left = [before + width for before, width in zip(left, widths, strict=True)]
    for row, count in enumerate(left):
        drawn.annotate(f" {count}", (count, row), va="center")
    drawn.set_yticks(range(len(wanted)), [_plain(_ids(one)) for one in wanted])
    drawn.invert_yaxis()
    drawn.margins(x=0.1)
    drawn.set_xlim(left=0)
    drawn.xaxis.get_major_locator().set_params(integer=True)
    drawn.set_title("current memories")
    if columns:
        drawn.legend(fontsize="small")
    return cast("Axes", drawn)


def _axes(ax: Axes | None, *, height: float) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise MissingDependencyError("memkit_core.plots", extra=_EXTRA) from error
    # Nobody draws a figure as high as a long history: beyond that, bars get thinner.
    _, drawn = cast("Any", plt).subplots(figsize=(8, min(height, 24.0)), layout="constrained")
    return drawn


def _engine(memory: AnyMemory) -> Engine:
    if isinstance(memory, ScopedMemory | AsyncScopedMemory):
        engine = memory._verbs.engine  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - one house
    elif isinstance(cast("object", memory), Memory | AsyncMemory):
        engine = memory._engine  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - one house
    else:
        raise UsageError(f"a picture is made of a Memory or a scoped view, not of {type(memory).__name__}")
    engine.check_open()
    return engine


def _source(
    memory: AnyMemory, user_id: str | None, agent_id: str | None, run_id: str | None
) -> tuple[Engine, Scope]:
    engine = _engine(memory)
    if not isinstance(memory, ScopedMemory | AsyncScopedMemory):
        return engine, Scope(user_id=user_id, agent_id=agent_id, run_id=run_id)
    if (user_id, agent_id, run_id) != (None, None, None):
        raise UsageError("a scoped view has its ids already")
    return engine, memory._scope  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - one house


def _scope(given: Scope | Mapping[str, str]) -> Scope:
    if isinstance(given, Scope):
        return given
    if not isinstance(cast("object", given), Mapping) or not given.keys() <= set(_ID_FIELDS):
        raise UsageError(f"a scope is a Scope or a dict of {', '.join(_ID_FIELDS)}")
    return Scope(**given)


def _versions(engine: Engine, scope: Scope, memory_id: str) -> tuple[MemoryRecord, ...]:
    """All versions of a memory as they are known now, oldest first."""
    store = engine.services.store
    for page in store.changed_since(scope, FIRST_MICROS, memory_ids=[memory_id]):
        for changed in page:
            return changed.now
    raise NotFoundError(f"there is no memory {memory_id!r} in this scope")


def _parts(engine: Engine, scope: Scope) -> Counter[str]:
    """How many current memories of a scope there are, by the ids that they have beside those of the scope."""
    services = engine.services
    query = Query(scope=scope, now=services.clock())
    parts: Counter[str] = Counter()
    after: tuple[int, str] | None = None
    while page := services.store.scan(query, limit=_PAGE, after=after):
        parts.update(_ids(one, beside=scope) or "its own" for one in page)
        after = (page[-1].created_at, page[-1].memory_id)
    return parts


def _ids(of: Scope | MemoryRecord, *, beside: Scope | None = None) -> str:
    """Such as ``user ana, agent coach``."""
    return ", ".join(
        f"{name.removesuffix('_id')} {getattr(of, name)}"
        for name in _ID_FIELDS
        if getattr(of, name) is not None and (beside is None or getattr(beside, name) is None)
    )


def _span(version: MemoryRecord, now: datetime) -> tuple[datetime, datetime]:
    start = to_datetime(version.valid_from)
    end = max(now, start) if version.valid_to is None else to_datetime(version.valid_to)
    return start, max(start, end)


def _version_label(version: MemoryRecord) -> str:
    return f"{version.revision}" + (" (deleted)" if version.deleted_at is not None else "")


def _plain(text: str) -> str:
    """A text for a label: on one line, short, and with no formula in it."""
    line = " ".join(text.split())
    return (line if len(line) <= _LABEL else line[: _LABEL - 1] + "…").replace("$", r"\$")
