"""A health check for a service that remembers: for a readiness probe, a monitor, or a cron job.

Exit codes: 0 all is well, 1 something is broken or damaged, 2 the store cannot be opened. What waits for a
model is reported and is no failure: it is searchable and will be extracted.

    python examples/health_check.py
    python examples/health_check.py sqlite:///app.db
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memkit_core import MemkitError, Memory
from memkit_core.testing import FaultyChatModel


def check(memory: Memory, *, thorough: bool = False) -> dict[str, Any]:
    """What a monitor wants to know, as JSON.

    Args:
        thorough: Read every row and compare it with its checksum, too; once a night, not once a minute.
    """
    health = memory.admin.health()
    stats = memory.admin.stats()
    report: dict[str, Any] = {
        "ok": health.ok,
        "checks": {one.name: one.ok for one in health.checks},
        "broken": [f"{one.name}: {one.detail}" for one in health.checks if not one.ok],
        "memories": stats.memories,
        "megabytes": round(stats.bytes / 1e6, 1),
    }
    if thorough:
        doctor = memory.admin.doctor()
        report["ok"] = report["ok"] and doctor.ok
        report["damage"] = [repr(finding) for finding in doctor.findings]
        report["waiting"] = doctor.notes
    return report


def probe(store: str) -> int:
    """The exit code for a store, its report on standard output."""
    try:
        with Memory(llm="verbatim", embedder="none", store=store) as memory:
            report = check(memory, thorough=True)
    except MemkitError as error:
        print(json.dumps({"ok": False, "broken": [f"{type(error).__name__}: {error}"]}))
        return 2
    print(json.dumps(report))
    return 0 if report["ok"] else 1


def demo() -> None:
    """A sound store, one whose model is down, and one that is no store."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "app.db")
        with Memory(llm="verbatim", embedder="none", store=path) as memory:
            memory.add("I live in Lisbon.", user_id="ana")
            print(f"sound: {check(memory)['ok']}")
        with Memory(llm=FaultyChatModel(faults="unauthorized"), embedder="none", store=path) as memory:
            print(f"model down: {memory.add('I bought a canoe.', user_id='ana').status}")
            report = check(memory, thorough=True)
            print(f"  ok: {report['ok']}, waiting: {report['waiting']}")
        print(f"exit code: {probe(str(path))}")
        broken = Path(folder, "broken.db")
        broken.write_bytes(b"this is no database" * 100)
        print(f"exit code: {probe(str(broken))}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(probe(sys.argv[1]))
    demo()
