"""``memkit demo``: a conversation with a contradiction, a date and a duplicate, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from memkit_core import AddResult, Memory, MemoryChange

USER: Final = "mara"
#: As ``llm``: no model, and no warning about it.
VERBATIM: Final = "verbatim"


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the demo's conversation."""

    when: datetime
    text: str


CONVERSATION: Final = (
    Said(datetime(2026, 3, 2, 9, 15, tzinfo=UTC), "I live in Berlin."),
    Said(datetime(2026, 3, 2, 9, 16, tzinfo=UTC), "I am allergic to peanuts."),
    Said(datetime(2026, 3, 9, 18, 40, tzinfo=UTC), "My sister Ines gets married on 20 June 2026."),
    Said(datetime(2026, 4, 11, 12, 5, tzinfo=UTC), "I am allergic to peanuts."),
    Said(datetime(2026, 5, 4, 20, 30, tzinfo=UTC), "What should I cook tonight?"),
    Said(datetime(2026, 5, 4, 20, 31, tzinfo=UTC), "I moved to Madrid last week."),
)
QUESTIONS: Final = (
    "Where does Mara live?",
    "What is Mara allergic to?",
    "When is her sister's wedding?",
)

#: Provider key in the environment -> the chat model that the demo then uses.
MODEL_OF_KEY: Final[Mapping[str, str]] = {
    "OPENAI_API_KEY": "openai:gpt-5-mini",
    "ANTHROPIC_API_KEY": "anthropic:claude-haiku-4-5",
    "GOOGLE_API_KEY": "google_genai:gemini-2.5-flash",
    "MISTRAL_API_KEY": "mistralai:mistral-small-latest",
}


def model_from_environment() -> tuple[str, str] | None:
    """The chat model that the environment offers and the variable that offers it; None if there is none."""
    if named := os.environ.get("MEMKIT_LLM"):
        return None if named == VERBATIM else (named, "MEMKIT_LLM")
    return next(((model, key) for key, model in MODEL_OF_KEY.items() if os.environ.get(key)), None)


def run_demo(memory: Memory, console: Console) -> str | None:
    """Tell the conversation to a memory, ask it, and show its history.

    Returns:
        None if all went well, else what the model failed at.
    """
    console.print(Text("\nWhat was said, and what the memory made of it", style="bold"))
    changes: list[MemoryChange] = []
    verbatim = False
    for said in CONVERSATION:
        result = memory.add(said.text, user_id=USER, observed_at=said.when)
        _show_add(console, said, result)
        if not result.ok:
            _search(memory, console, "What is still there: the messages, word for word", excerpts=True)
            return "; ".join(str(failure) for failure in result.failed) or "the extraction did not finish"
        changes += result.results
        verbatim = result.mode == "verbatim"
    changed = next((change.id for change in changes if change.event in ("UPDATE", "DELETE")), None)
    if changed is None:
        changed = next((change.id for change in changes if "Berlin" in change.memory), None)
        if changed is not None and verbatim:
            _correct_by_hand(memory, console, changed)
    _search(memory, console, "What it answers now")
    if changed is not None:
        _show_history(memory, console, changed)
    return None


def _show_add(console: Console, said: Said, result: AddResult) -> None:
    console.print(Text(f"\n{said.when:%d %b %Y}  Mara: {said.text}", style="cyan"))
    for change in result.results:
        console.print(_change_line(change))
    for rejection in result.rejected:
        console.print(Text(f"    rejected   {rejection.item} ({rejection.reason})", style="yellow"))
    if result.ok and not result.results:
        console.print(Text("    nothing to remember", style="dim"))


def _change_line(change: MemoryChange) -> Text:
    label, style = {
        "ADD": ("added", "green"),
        "UPDATE": ("updated", "magenta"),
        "DELETE": ("deleted", "red"),
        "NONE": ("unchanged", "dim"),
        "AMEND": ("amended", "magenta"),
    }[change.event]
    line = Text(f"    {label:<10} {change.memory}", style=style)
    if change.event == "UPDATE" and change.previous_memory:
        line.append(f"   (was: {change.previous_memory})", style="dim")
    elif change.event == "NONE":
        line.append("   (known already)")
    return line


def _correct_by_hand(memory: Memory, console: Console, berlin: str) -> None:
    """Do what a model would have decided, as an application without a model can."""
    console.print(
        Text(
            "\nNobody told the memory that Madrid replaces Berlin: that decision takes a model.\n"
            "Without one the application says it: memory.update(id, 'I live in Madrid.')"
        )
    )
    console.print(_change_line(memory.update(berlin, "I live in Madrid.", user_id=USER)))


def _search(memory: Memory, console: Console, title: str, *, excerpts: bool = False) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    for question in QUESTIONS:
        found = memory.search(
            question, user_id=USER, limit=1, include=("memories", "excerpts") if excerpts else ("memories",)
        )
        texts = [hit.memory for hit in found.results] or [excerpt.text for excerpt in found.excerpts]
        console.print(Text(f"    {question:<31}", style="cyan").append(texts[0] if texts else "-", "default"))


def _show_history(memory: Memory, console: Console, memory_id: str) -> None:
    console.print(Text("\nHistory of the memory that changed: nothing is overwritten", style="bold"))
    for event in memory.history(memory_id, user_id=USER):
        text = event.new_memory if event.event != "DELETE" else event.old_memory
        console.print(Text(f"    revision {event.revision}  {event.event:<6}  {text}"))


def introduction(model: str | None, variable: str | None) -> Panel:
    """What the demo is about to do, and with which model."""
    if model is not None:
        text = (
            f"Extraction and decisions by {model}, chosen by {variable}. Its provider sees this conversation."
        )
        return Panel(Text(text), title="memkit demo", title_align="left")
    text = (
        "No model configured, so this runs in verbatim mode: statements are kept as they were said, exact "
        "repeats are merged, questions are dropped, and nothing is updated or deleted by itself. No network "
        "is used.\n\n"
        "With a model the memory would also extract separate facts, resolve 'last week' to a date and "
        "replace Berlin by Madrid on its own. To see that, install the extra 'openai' and set "
        "OPENAI_API_KEY, or name any LangChain chat model in MEMKIT_LLM, for example "
        "MEMKIT_LLM=openai:gpt-5-mini."
    )
    return Panel(Text(text), title="memkit demo", title_align="left")
