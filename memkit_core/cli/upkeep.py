"""``memkit doctor``, ``reindex``, ``health``, ``usage``, ``export``, ``import`` and ``stats``."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from memkit_core import (
    ConfigError,
    ConflictError,
    DoctorReport,
    ImportResult,
    Memory,
    MemoryConfig,
    StorageUnavailableError,
    VectorStoreConfig,
)

from .commands import (
    AgentOption,
    JsonOption,
    RunOption,
    UserOption,
    app,
    console_out,
    errors,
    existing,
    note,
    printable,
)

_SHOWN = 50

EmbedderOption = Annotated[
    str,
    typer.Option(help="Embedding model; none: leave vectors alone, auto: the offline one if it is there."),
]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="MEMKIT_CONFIG",
        help="A configuration file (.toml or .json): its store, and its vector_store where it matters."
        " Without it, MEMKIT_STORE and MEMKIT_VECTOR_STORE.",
    ),
]
PlaceOption = Annotated[
    str | None,
    typer.Option(
        "--store", envvar="MEMKIT_STORE", help="Where memories are kept; default: what --config says."
    ),
]


def _told(config: Path | None) -> MemoryConfig:
    if config is not None:
        return MemoryConfig.from_file(config)
    names = ("MEMKIT_STORE", "MEMKIT_VECTOR_STORE")
    return MemoryConfig.from_env({name: os.environ[name] for name in names if name in os.environ})


def opened(
    store: str | None,
    embedder: str = "none",
    *,
    config: Path | None = None,
    adopt: bool = False,
    indexed: bool = True,
) -> Memory:
    """The memory with the index that the configuration names.

    Args:
        adopt: Take the index over if it is another store's.
        indexed: Whether the index is needed; what only reads the record does not wait for it.

    Raises:
        ConfigError: The configuration is wrong, there is no such store, or no index to adopt.
    """
    told = _told(config)
    index = told.vector_store if indexed else None
    if adopt:
        if index is None:
            raise ConfigError("--adopt takes over the index that --config or MEMKIT_VECTOR_STORE names")
        index = VectorStoreConfig(provider=index.provider, config={**index.config, "adopt": True})
    place = existing(store or told.location)
    settings = told.model_copy(update={"vector_store": index})
    return Memory(llm="verbatim", embedder=embedder, store=place, config=settings)


def bars() -> bool:
    """Whether somebody is looking."""
    return sys.stderr.isatty()


@app.command()
def doctor(
    store: PlaceOption = None,
    config: ConfigOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make anew what is derived and damaged.")] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="With --repair: give up, for good, what is damaged beyond repair."
        ),
    ] = False,
    embedder: EmbedderOption = "none",
    as_json: JsonOption = False,
) -> None:
    """Look for damage; exit code 1 if any remains."""
    with errors(show_log=True), opened(store, embedder, config=config) as memory:
        report = memory.admin.doctor(repair=repair, accept_loss=accept_loss, progress=bars())
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _tell(report)
    if not report.ok:
        raise typer.Exit(1)


def _tell(report: DoctorReport) -> None:
    console = console_out()
    for finding in report.findings[:_SHOWN]:
        console.print(Text(printable(str(finding)), style="green" if finding.repaired else "red"))
    if report.total > _SHOWN:
        console.print(Text(f"… {report.total - _SHOWN} more"))
    repaired = report.total - report.remaining
    state = "no damage" if not report.total else f"{report.remaining} of {report.total} findings remain"
    console.print(
        Text(f"{state}; {report.checked} texts checked" + (f", {repaired} repaired" * bool(repaired)))
    )
    for text in report.notes:
        note(text)


@app.command()
def reindex(
    store: PlaceOption = None,
    config: ConfigOption = None,
    embedder: Annotated[
        str | None, typer.Option(help="Move the store to this embedding model, e.g. embedded.")
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take the index over from another store, with what is in it dropped."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make everything that is derived anew: keywords, vectors for a model, the index that is named."""
    with errors(show_log=True), opened(store, config=config, adopt=adopt) as memory:
        result = memory.admin.reindex(embedder=embedder, progress=bars())
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        indexed = "" if result.index is None else f", {result.indexed} entries for {result.index}"
        told = f"keywords of {result.units} texts, {result.embedded} new vectors{indexed}"
        console_out().print(Text(printable(told)))
    for failure in result.failed:
        note(str(failure))
    if not result.ok:
        raise typer.Exit(1)


@app.command()
def health(store: PlaceOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show whether the parts work, the index among them; exit code 1 if one does not."""
    with errors(show_log=True), opened(store, config=config) as memory:
        report = memory.admin.health()
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        console = console_out()
        for check in report.checks:
            state = "ok  " if check.ok else "sick"
            console.print(Text(printable(f"{state}  {check.name}: {check.detail}")))
    if not report.ok:
        raise typer.Exit(1)


@app.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(help="Where to; packed if the name ends in .gz.")],
    store: PlaceOption = None,
    config: ConfigOption = None,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out what is damaged, and say what it was.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything, or one owner, into a file."""
    with errors(), opened(store, config=config, indexed=False) as memory:
        result = memory.admin.export(
            file, user_id=user, agent_id=agent, run_id=run, skip_damaged=skip_damaged, progress=bars()
        )
    for text in result.left_out[:_SHOWN]:
        note(f"left out: {text}")
    typer.echo(result.model_dump_json(indent=2) if as_json else printable(str(result)))


@contextmanager
def _whole(store: str) -> Generator[str, None, None]:
    """The store to import into. One that is not there appears when all of it is there, or not at all."""
    path = Path(store.removeprefix("sqlite:///")).expanduser()
    elsewhere = path.name == ":memory:" or ("://" in store and not store.startswith("sqlite:///"))
    if elsewhere or path.exists() or not os.access(path.parent, os.W_OK):
        yield store
        return
    # In a folder of its own, as SQLite keeps files beside the one it is asked for.
    with TemporaryDirectory(prefix=".memkit-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        yield str(draft)
        if Path(f"{draft}-wal").exists():
            raise StorageUnavailableError(f"{draft} is still in use: import again. Nothing was changed")
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            raise ConflictError(
                f"somebody made {path} meanwhile: import again. Nothing was changed"
            ) from None
        except OSError:  # not every file system has links
            draft.rename(path)


def _imported(file: Path, store: str) -> ImportResult:
    with Memory(llm="verbatim", embedder="none", store=store) as memory:
        return memory.admin.import_(file, progress=bars())


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="What memkit export wrote.")],
    store: PlaceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store what an export holds: all of it, or nothing. A store that is not there yet is made."""
    with errors(show_log=True), _whole(store or _told(config).location) as name:
        result = _imported(file, name)
    typer.echo(result.model_dump_json(indent=2) if as_json else printable(str(result)))


@app.command()
def stats(store: PlaceOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show how much a store holds."""
    with errors(), opened(store, config=config, indexed=False) as memory:
        result = memory.admin.stats()
    typer.echo(result.model_dump_json(indent=2) if as_json else printable(str(result)))


@app.command()
def usage(
    store: PlaceOption = None,
    config: ConfigOption = None,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what operations cost so far, of everybody or of one owner."""
    with errors(), opened(store, config=config, indexed=False) as memory:
        report = memory.admin.usage(user_id=user, agent_id=agent, run_id=run)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("operation")
    for name in ("chat calls", "embedding calls", "tokens", "seconds"):
        table.add_column(name, justify="right")
    for name, spent in {**report.operations, "all": report.total}.items():
        figures = (spent.chat_calls, spent.embedding_calls, spent.total_tokens)
        seconds = f"{spent.milliseconds / 1_000:.1f}"
        table.add_row(printable(name), *(f"{figure:,}" for figure in figures), seconds)
    console_out().print(table)
