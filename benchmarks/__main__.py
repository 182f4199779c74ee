"""What memkit's operations cost, beside Chroma, LangChain's store, mem0 and LangMem in the same run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import peers
from .operations import OPERATIONS
from .report import as_json, as_markdown
from .run import Settings, run
from .subjects import SUBJECTS


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    usual = [name for name, spec in OPERATIONS.items() if not spec.optional]
    asked = [name for name in OPERATIONS if name not in usual]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=OPERATIONS,
        default=usual,
        metavar="NAME",
        help=f"operations: {', '.join(usual)}; only if asked for: {', '.join(asked)}",
    )
    parser.add_argument(
        "--subjects",
        nargs="+",
        choices=SUBJECTS,
        default=list(SUBJECTS),
        metavar="NAME",
        help=f"of {', '.join(SUBJECTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, in a minute")
    parser.add_argument("--rounds", type=int, help="turns of each subject at each operation (5; quick: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="the peers' environment; made if missing")
    parser.add_argument("--no-peers", action="store_true", help="only what is installed beside memkit")
    parser.add_argument("--store-dir", type=Path, metavar="DIR", help="keep large filled stores there")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 if a subject failed."""
    options = _arguments(given)
    subjects = [name for name in options.subjects if not (options.no_peers and SUBJECTS[name].peer)]
    python = None
    if any(SUBJECTS[name].peer for name in subjects):
        python = peers.prepared(options.peers or peers.default_folder())
    with tempfile.TemporaryDirectory(prefix="memkit-stores-") as temporary:
        settings = Settings(
            operations=list(dict.fromkeys(options.only)),
            subjects=subjects,
            quick=options.quick,
            rounds=options.rounds or (2 if options.quick else 5),
            peers=python,
            stores=(options.store_dir or Path(temporary)).absolute(),
        )
        outcomes = run(settings)
    table = as_markdown(outcomes, quick=options.quick)
    print(table)
    if options.json is not None:
        options.json.write_text(
            json.dumps(as_json(outcomes, quick=options.quick), indent=1), encoding="utf-8"
        )
    if options.markdown is not None:
        options.markdown.write_text(table, encoding="utf-8")
    failed = [
        f"{outcome.name}, {row.subject}: {row.problem}"
        for outcome in outcomes
        for row in outcome.rows
        if row.failed
    ]
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
