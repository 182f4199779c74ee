"""One subject at one operation, in a process of its own; started and told what to do by the runner.

It reads commands from standard input, one a line, and answers each with lines of JSON: any number of
``{"progress": [done, total]}``, then one of ``{"done": …}``, ``{"unmeasured": why}``, ``{"failed": why}``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from .offline import forbid_network
from .operations import OPERATIONS, Bench, Operation, TooSlowError
from .subjects import SUBJECTS

#: A peer that needs longer to be filled is measured with what fits, and the report says so.
_PEERS_FILL_SECONDS = 1_800.0


def main() -> None:
    # Libraries may print; the answers have a stream of their own
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    attempts = forbid_network()
    told = json.loads(sys.argv[1])
    kind, spec = SUBJECTS[told["subject"]], OPERATIONS[told["operation"]]
    bench = Bench(
        kind=kind,
        folder=Path(told["folder"]),
        stores=Path(told["stores"]),
        quick=told["quick"],
        samples=3 if told["quick"] else 200,
        seconds=0.2 if told["quick"] else 2.0,
        fill_seconds=min(spec.fill_seconds, _PEERS_FILL_SECONDS) if kind.peer else spec.fill_seconds,
        progress=lambda done, total: _say(answers, {"progress": [done, total]}),
    )
    operation = (spec.quick if bench.quick else spec.full)(bench)
    versions = {name: metadata.version(name) for name in kind.distributions}
    for command in sys.stdin:
        _say(answers, _answer(operation, command.strip(), versions))
        if attempts:
            raise SystemExit(f"network access was tried: {attempts}")
    os._exit(0)  # a library's own threads may not want to end


def _answer(operation: Operation, command: str, versions: dict[str, str]) -> dict[str, Any]:
    steps: dict[str, Callable[[], Any]] = {
        "prepare": operation.prepare,
        "round": operation.round,
        "finish": operation.finish,
    }
    try:
        done = steps[command]()
    except TooSlowError as error:
        return {"unmeasured": str(error)}
    except Exception:  # noqa: BLE001 - a subject's failure is a result: the table names it and the others go on
        return {"failed": traceback.format_exc()}
    return {"done": versions if command == "prepare" else done}


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
