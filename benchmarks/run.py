"""Runs the operations: one process for each subject, all at once, measured in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .operations import OPERATIONS, Spec
from .report import Outcome, Row
from .subjects import SUBJECTS, Subject

_ROOT = Path(__file__).parent.parent
#: Nothing is sent, and nothing is fetched.
_QUIET = {
    "MEM0_TELEMETRY": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_OFFLINE": "1",
}
#: Seconds beyond filling that one command may take before its process is ended.
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked for. ``peers``: the peers' Python, None: without them."""

    operations: list[str]
    subjects: list[str]
    quick: bool
    rounds: int
    peers: Path | None
    stores: Path


def run(settings: Settings) -> list[Outcome]:
    """Everything, one operation after the other."""
    return [_operation(name, settings) for name in tqdm(settings.operations, unit="operation")]


def _operation(name: str, settings: Settings) -> Outcome:
    spec = OPERATIONS[name]
    outcome = Outcome(name, spec.title, dict(spec.bars))
    with ExitStack() as stack:
        workers: list[_Worker] = []
        for subject in (SUBJECTS[subject] for subject in settings.subjects):
            if spec.needs is not None and spec.needs not in subject.abilities:
                continue
            row = Row(subject.name, subject.notes.get("", ""), subject.notes.get(name, ""))
            outcome.rows.append(row)
            worker = _Worker(subject, name, spec, row, settings)
            stack.callback(worker.end)
            row.versions = worker.ask("prepare") or {}
            workers.append(worker)
        for _ in range(settings.rounds):
            for worker in workers:
                outcome.loads.append(os.getloadavg()[0])
                worker.row.take(worker.ask("round") or {})
        for worker in workers:
            last = worker.ask("finish") or {}
            worker.row.take(last.get("values", {}))
            worker.row.prompts = last.get("prompts", {})
            worker.row.problem = worker.row.problem or last.get("missing", "")
    outcome.derive()
    return outcome


@dataclass(slots=True)
class _Worker:
    subject: type[Subject]
    operation: str
    spec: Spec
    row: Row
    settings: Settings
    _process: subprocess.Popen[str] = field(init=False)
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="memkit-benchmark-")
        folder = Path(self._folder.name)
        self._log = folder / "log"
        told = {
            "subject": self.subject.name,
            "operation": self.operation,
            "folder": str(folder / "data"),
            "stores": str(self.settings.stores),
            "quick": self.settings.quick,
        }
        (folder / "data").mkdir()
        python = str(self.settings.peers) if self.subject.peer else sys.executable
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder / "data",
                env=_environment(folder),
            )

    def ask(self, command: str) -> dict[str, Any] | None:
        """The answer; None once the subject has failed, with the reason in its row."""
        if self.row.problem:
            return None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self.spec.fill_seconds + _PATIENCE, self._process.kill)
        timer.start()
        bar: tqdm[Any] | None = None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                answer: dict[str, Any] = json.loads(line)
                if "progress" in answer:
                    done, total = answer["progress"]
                    bar = bar or tqdm(total=total, desc=self.subject.name, leave=False, unit="row")
                    if total != bar.total:
                        bar.reset(total)
                    bar.update(done - bar.n)
                    continue
                if "done" in answer:
                    taken: dict[str, Any] = answer["done"]
                    return taken
                self.row.problem = answer.get("unmeasured") or answer["failed"].strip()
                self.row.failed = "failed" in answer
                return None
        except BrokenPipeError:
            pass  # the process has ended; what it said last is the reason
        finally:
            timer.cancel()
            if bar is not None:
                bar.close()
        self.row.failed = True
        self.row.problem = "its process ended: " + self._log.read_text(errors="replace").strip()[-2_000:]
        return None

    def end(self) -> None:
        """Let the process go, and its files with it."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def _environment(folder: Path) -> dict[str, str]:
    """This one's without keys, and with nothing that leads a library out of the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    kept.update(_QUIET)
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is part of any installation
    kept.update({"PYTHONPATH": str(_ROOT), "MEM0_DIR": str(folder / "mem0"), "HOME": str(folder)})
    return kept
