"""``memkit approve``, ``reject`` and ``rollback``: what a scope's owner decides."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit_core import MemoryChange

from .commands import (
    DEFAULT_STORE,
    AgentOption,
    JsonOption,
    RunOption,
    StoreOption,
    UserOption,
    app,
    errors,
    line,
    note,
    printable,
    scope_of,
)
from .upkeep import bars, opened

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the memory.")]
_SHOWN = 50


@app.command()
def approve(
    memory_id: IdArgument,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    reason: Annotated[str, typer.Option(help="What the history says of it.")] = "approved by hand",
    as_json: JsonOption = False,
) -> None:
    """Let a memory out of quarantine (memkit list --filter '{"trust": "untrusted"}' shows what is there)."""
    with errors(), opened(store) as memory:
        change = memory.admin.approve(memory_id, user_id=user, agent_id=agent, run_id=run, reason=reason)
    _tell(change, as_json)


@app.command()
def reject(
    memory_id: IdArgument,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    reason: Annotated[str, typer.Option(help="What the history says of it.")] = "rejected by hand",
    as_json: JsonOption = False,
) -> None:
    """Delete a memory that is in quarantine."""
    with errors(), opened(store) as memory:
        change = memory.admin.reject(memory_id, user_id=user, agent_id=agent, run_id=run, reason=reason)
    _tell(change, as_json)


def _tell(change: MemoryChange, as_json: bool) -> None:
    if as_json:
        typer.echo(change.model_dump_json(indent=2))
    else:
        line(f"{change.event:<6}  {change.memory}", change.reason)
    for failure in change.failed:
        note(str(failure))


@app.command()
def rollback(
    to: Annotated[str, typer.Option("--to", help="The time, e.g. 2026-05-01T10:00; UTC without a zone.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring memories back to what was known at an earlier time. That is history too: it can be taken back."""
    scope = scope_of(user, agent, run)
    with errors(), opened(store) as memory:
        result = memory.admin.rollback(**scope, to=to, dry_run=dry_run, progress=bars())
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        for item in result.items[:_SHOWN]:
            line(f"{item.action:<7}  {item.memory or item.previous_memory}", f"id {item.id}")
        if len(result) > _SHOWN:
            typer.echo(f"… {len(result) - _SHOWN} more")
        typer.echo(printable(str(result)))
    if result.waiting:
        note(f"{result.waiting} batches of messages still wait for extraction: what they say comes on top")
    for failure in result.failed:
        note(str(failure))
