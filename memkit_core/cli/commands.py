"""``memkit demo``, ``add``, ``search``, ``list``, ``history`` and ``eval``, and what all commands share."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.text import Text

import memkit_core
from memkit_core import ConfigError, MemkitError, MemkitWarning, Memory, MissingDependencyError

app = typer.Typer(
    name="memkit",
    help="Long-term memory for agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
eval_app = typer.Typer(name="eval", help="Measure on published data sets.", no_args_is_help=True)
app.add_typer(eval_app)

StoreOption = Annotated[str, typer.Option("--store", envvar="MEMKIT_STORE", help="Where memories are kept.")]
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm", envvar="MEMKIT_LLM", help="Chat model, e.g. openai:gpt-5-mini. None: verbatim mode."
    ),
]
EmbedderOption = Annotated[
    str,
    typer.Option("--embedder", envvar="MEMKIT_EMBEDDER", help="Embedding model; none: keywords only."),
]
UserOption = Annotated[str | None, typer.Option("--user", help="Whose memories.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="Of which agent.")]
RunOption = Annotated[str | None, typer.Option("--run", help="Of which run.")]
FilterOption = Annotated[
    str | None, typer.Option("--filter", help="""Conditions as JSON, e.g. '{"kind": "preference"}'.""")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

DEFAULT_STORE = "sqlite:///memkit.db"


def main() -> None:
    """Run the command line. Ends the process with its exit code."""
    app()


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"memkit-core {memkit_core.__version__}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Long-term memory for agents."""


@app.command()
def demo() -> None:
    """Show adds, updates, answers and history on a small conversation, in a store that is thrown away."""
    from memkit_core.demo import VERBATIM, introduction, model_from_environment, run_demo

    console = Console(highlight=False)
    chosen = model_from_environment()
    with tempfile.TemporaryDirectory(prefix="memkit-demo-") as folder, errors():
        store = f"sqlite:///{Path(folder, 'demo.db').as_posix()}"
        memory = None
        if chosen is not None:
            try:
                memory = Memory(llm=chosen[0], store=store)
            except MissingDependencyError as missing:
                if chosen[1] == "MEMKIT_LLM":
                    raise
                note(f"{chosen[1]} is set, but {missing}")
                chosen = None
        console.print(introduction(*(chosen or (None, None))))
        with memory or Memory(llm=VERBATIM, store=store) as opened:
            failure = run_demo(opened, console)
    if failure is not None and chosen is not None:
        fail(f"the model {chosen[0]} (chosen by {chosen[1]}) did not do its work: {failure}")
    if failure is not None:
        fail(failure)


@app.command()
def add(
    text: Annotated[str, typer.Argument(help="What to remember.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    llm: LlmOption = None,
    embedder: EmbedderOption = "auto",
    infer: Annotated[
        bool, typer.Option(help="Let the model extract facts, or keep the text as it is.")
    ] = True,
    metadata: Annotated[str | None, typer.Option(help="A JSON object to keep with the memory.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Remember a text."""
    scope = scope_of(user, agent, run)
    details = _json_object(metadata, "--metadata")
    with errors(show_log=True), Memory(llm=llm, embedder=embedder, store=store) as memory:
        result = memory.add(text, **scope, infer=infer, metadata=details)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    elif not result.results:
        console_out().print(Text("nothing to remember" if result.ok else "stored", style="dim"))
    else:
        for change in result.results:
            line(f"{change.event:<6}  {change.memory}", f"id {change.id}" if change.id else change.reason)
    for failure in result.failed:
        note(str(failure))
    if result.status == "pending":
        note(
            "the text is kept (memkit search --excerpts finds it); the next opening with a model extracts it"
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    embedder: EmbedderOption = "auto",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many memories at most.")] = 10,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Least relevance, 0 to 1.")] = None,
    filters: FilterOption = None,
    excerpts: Annotated[bool, typer.Option("--excerpts", help="Also what was said, word for word.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find memories, the most relevant first."""
    scope = scope_of(user, agent, run)
    conditions = _json_object(filters, "--filter")
    include = ("memories", "excerpts") if excerpts else ("memories",)
    with errors(), Memory(embedder=embedder, store=existing(store)) as memory:
        result = memory.search(
            query, **scope, limit=limit, threshold=threshold, filters=conditions, include=include
        )
    for text in result.degraded:
        note(text)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
    for hit in result.results:
        line(f"{hit.relevance:.2f}  {hit.memory}", f"id {hit.id}  since {hit.valid_from:%Y-%m-%d}")
    for excerpt in result.excerpts:
        speaker = excerpt.actor_id or excerpt.role
        line(
            f"{excerpt.relevance:.2f}  {speaker}: {excerpt.text}",
            f"said {excerpt.observed_at:%Y-%m-%d %H:%M}",
        )
    if not result.results and not result.excerpts:
        console_out().print(Text("nothing found", style="dim"))


@app.command("list")
def list_memories(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many memories at most.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before this one ended.")] = None,
    filters: FilterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List memories, the newest first."""
    scope = scope_of(user, agent, run)
    conditions = _json_object(filters, "--filter")
    with errors(), Memory(embedder="none", store=existing(store)) as memory:
        page = memory.get_all(**scope, limit=limit, cursor=cursor, filters=conditions)
    for text in page.degraded:
        note(text)
    if as_json:
        typer.echo(page.model_dump_json(indent=2))
        return
    for item in page.results:
        line(f"{item.created_at:%Y-%m-%d}  {item.memory}", f"id {item.id}")
    if not page.results:
        console_out().print(Text("no memories", style="dim"))
    if page.next_cursor is not None:
        note(f"more follow: --cursor {page.next_cursor}")


@app.command()
def history(
    memory_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the memory.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to a memory, the oldest first."""
    scope: dict[str, Any] = {"user_id": user, "agent_id": agent, "run_id": run}
    with errors(), Memory(embedder="none", store=existing(store)) as memory:
        events = memory.history(memory_id, **scope)
    if not events:
        fail(f"no memory {memory_id!r}" + (" in this scope" if any(scope.values()) else ""))
    if as_json:
        typer.echo(
            json.dumps([event.model_dump(mode="json") for event in events], indent=2, ensure_ascii=False)
        )
        return
    for event in events:
        text = event.new_memory if event.event != "DELETE" else event.old_memory
        line(
            f"{event.created_at:%Y-%m-%d %H:%M}  {event.event:<6}  {text}",
            f"revision {event.revision}" + (f"  {event.reason}" if event.reason else ""),
        )


@eval_app.command("locomo")
def eval_locomo(
    data: Annotated[Path, typer.Option("--data", exists=True, help="A LoCoMo file, or a folder of them.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures to this file.")
    ] = None,
    embedder: Annotated[str, typer.Option(help="Embedding model; none: keywords only.")] = "auto",
) -> None:
    """Measure how well questions about long conversations find the turns that answer them."""
    from memkit_core.evaluation.run import evaluate_locomo

    # A file or pipe has no width of its own, and the table needs more than the 80 columns assumed for it.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with errors():
        try:
            evaluate_locomo(data, console=console, embedder=embedder, json_file=json_file)
        except OSError as error:
            fail(str(error))


@eval_app.callback()
def _eval() -> None:  # pyright: ignore[reportUnusedFunction]  # keeps `locomo` a command of its own
    """Measure on published data sets."""


class _Notes(logging.Handler):
    """Log records as notes on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


@contextmanager
def errors(*, show_log: bool = False) -> Generator[None, None, None]:
    """Memkit's errors as one line and exit code 1, its warnings as notes.

    ``show_log`` is for what writes to a user's store: what the log warns of (an old SQLite) concerns it.
    """
    handler = _Notes(logging.WARNING) if show_log else logging.NullHandler()
    logger = logging.getLogger("memkit_core")
    logger.addHandler(handler)
    try:
        with _warnings_as_notes():
            yield
    except MemkitError as error:
        fail(str(error))
    finally:
        logger.removeHandler(handler)


@contextmanager
def _warnings_as_notes() -> Generator[None, None, None]:
    with warnings.catch_warnings():
        show = warnings.showwarning

        def as_note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, MemkitWarning):
                note(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = as_note
        warnings.simplefilter("default", MemkitWarning)
        yield


def scope_of(user: str | None, agent: str | None, run: str | None) -> dict[str, Any]:
    """The scope that the options name; at least one of them."""
    if user is None and agent is None and run is None:
        raise typer.BadParameter("say whose memories: --user, --agent or --run")
    return {"user_id": user, "agent_id": agent, "run_id": run}


def existing(store: str) -> str:
    """The store itself, if there is one: reading makes no file.

    Raises:
        ConfigError: There is none.
    """
    path = store.removeprefix("sqlite:///")
    if "://" not in path and not Path(path).expanduser().exists():
        raise ConfigError(f"there is no store at {path!r}: memkit add makes one, --store names another")
    return store


def _json_object(text: str | None, option: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{option} must be a JSON object such as \'{{"topic": "work"}}\'')
    return cast("dict[str, Any]", value)


def console_out() -> Console:
    """A console for texts of any length."""
    return Console(soft_wrap=True, highlight=False)


def line(text: str, details: str) -> None:
    """Print a text and what is to be known of it."""
    console = console_out()
    console.print(Text(printable(text)))
    console.print(Text(f"      {printable(details)}", style="dim"))


def printable(text: str) -> str:
    """The text without what a terminal would obey: stored text may come from anybody."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def note(text: str) -> None:
    """Say on standard error what does not hinder."""
    typer.echo(f"memkit: note: {printable(text)}", err=True)


def fail(text: str) -> NoReturn:
    """End with exit code 1 and the reason on standard error."""
    typer.echo(f"memkit: {printable(text)}", err=True)
    raise typer.Exit(1)
