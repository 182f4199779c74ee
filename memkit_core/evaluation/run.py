"""LoCoMo end to end: every session is added, every question asked, through the public face."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import UsageError
from ..memory import Memory
from .locomo import Conversation, Question, load_locomo
from .metrics import CUTS, Outcome
from .report import LocomoReport

if TYPE_CHECKING:
    from rich.console import Console

_STORE: Final = "locomo.db"


def run_locomo(
    data: Path, *, embedder: Any = "auto", store_dir: Path | None = None, progress: bool = False
) -> LocomoReport:
    """How well questions find the turns that answer them, without any chat model.

    Args:
        data: A LoCoMo file, or a folder of them.
        embedder: As in ``Memory``; None for keywords only.
        store_dir: Where to keep the store ``locomo.db``; by default it is thrown away.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: The data cannot be read, or ``store_dir`` holds such a store already. Nothing was added.
    """
    conversations = load_locomo(data)
    with _folder(store_dir) as folder:
        memory = Memory(llm="verbatim", embedder=embedder, store=folder / _STORE)
        try:
            run = _Run(memory, conversations, progress)
            run.add()
            run.ask()
        finally:
            memory.close()
        size = sum(file.stat().st_size for file in folder.glob(f"{_STORE}*"))
    return LocomoReport(
        outcomes=tuple(run.outcomes),
        conversations=len(conversations),
        turns=len(run.turn_of),
        skipped=run.skipped,
        unknown_evidence=sum(one.unknown_evidence for one in conversations),
        bytes=size,
        ingest_seconds=run.ingest_seconds,
    )


def evaluate_locomo(
    data: Path,
    *,
    console: Console,
    embedder: Any = "auto",
    store_dir: Path | None = None,
    json_file: Path | None = None,
) -> LocomoReport:
    """What ``memkit eval locomo`` does: run with a progress bar, print the table, write the JSON file.

    Raises:
        UsageError: As in ``run_locomo``, or the folder of ``json_file`` does not exist. Nothing was added.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError(f"there is no folder {str(json_file.parent)!r}")
    report = run_locomo(data, embedder=embedder, store_dir=store_dir, progress=True)
    console.print(report.table())
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return report


@contextmanager
def _folder(store_dir: Path | None) -> Generator[Path]:
    if store_dir is None:
        with tempfile.TemporaryDirectory(prefix="memkit-locomo-") as folder:
            yield Path(folder)
        return
    store_dir.mkdir(parents=True, exist_ok=True)
    if (store_dir / _STORE).exists():
        raise UsageError(f"{str(store_dir / _STORE)!r} exists: a second run would add every session again")
    yield store_dir


class _Run:
    """One pass over the conversations with one memory."""

    def __init__(self, memory: Memory, conversations: Sequence[Conversation], progress: bool) -> None:
        self._memory = memory
        self._conversations = conversations
        self._progress = progress
        self.turn_of: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self.skipped = 0
        self.ingest_seconds = 0.0

    def add(self) -> None:
        """Every session as one ``add`` at its own date, each conversation under its own user."""
        from tqdm.auto import tqdm

        started = time.perf_counter()
        sessions = [(one.name, session) for one in self._conversations for session in one.sessions]
        for user, session in tqdm(sessions, desc="adding sessions", disable=not self._progress):
            added = self._memory.add(
                [{"role": "user", "name": turn.speaker, "content": turn.text} for turn in session.turns],
                user_id=user,
                run_id=session.name,
                observed_at=session.observed_at,
            )
            added.raise_for_failures()
            self.turn_of.update(zip(added.message_ids, (turn.turn_id for turn in session.turns), strict=True))
        self.ingest_seconds = time.perf_counter() - started

    def ask(self) -> None:
        """Every question that has evidence."""
        from tqdm.auto import tqdm

        questions = [(one, question) for one in self._conversations for question in one.questions]
        session_of = {one.name: one.session_of for one in self._conversations}
        for conversation, question in tqdm(questions, desc="asking questions", disable=not self._progress):
            if question.evidence:
                self.outcomes.append(
                    self._outcome(conversation.name, question, session_of[conversation.name])
                )
            else:
                self.skipped += 1

    def _outcome(self, user: str, question: Question, session_of: dict[str, str]) -> Outcome:
        started = time.perf_counter()
        found = self._memory.search(question.text, user_id=user, limit=max(CUTS), include=("excerpts",))
        elapsed = time.perf_counter() - started
        ranked = tuple(self.turn_of.get(excerpt.message_id) for excerpt in found.excerpts)
        return Outcome(
            category=question.category,
            gold=question.evidence,
            gold_sessions=frozenset(session_of[turn] for turn in question.evidence),
            ranked=ranked,
            ranked_sessions=tuple(None if turn is None else session_of[turn] for turn in ranked),
            milliseconds=elapsed * 1_000,
        )
