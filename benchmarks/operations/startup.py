"""Import, and the first memory in an empty folder: each sample is a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

from ..measure import Values, values
from .base import Operation

_IMPORT = """\
import json, time
wall, cpu = time.monotonic(), time.process_time()
{code}
print("\\n" + json.dumps({{"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}}))
"""
# ``monotonic`` is the machine's clock: the parent knows what it said when the process was started
_OPEN = """\
{code}
import json, time
print("\\n" + json.dumps({{"wall": time.monotonic() - {started}, "cpu": time.process_time()}}))
"""
_GUARDED = "from benchmarks.offline import forbid_network\nforbid_network()\n"


class Import(Operation):
    """CPU and wall time of the import statement alone."""

    figure, script = "import", _IMPORT

    def prepare(self) -> None:
        self._run(guarded=True)  # also writes the byte code that a first import compiles

    def round(self) -> Values:
        taken = values()
        for _ in range(1 if self.bench.quick else 3):
            for clock, seconds in self._run().items():
                taken[f"{self.figure}.{clock}"].append(seconds * 1_000)
        return taken

    def _code(self) -> str:
        return self.bench.kind.import_code

    def _run(self, *, guarded: bool = False) -> dict[str, float]:
        code = self.script.format(code=self._code(), started=time.monotonic())
        with tempfile.TemporaryDirectory(dir=self.bench.folder) as folder:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _GUARDED + code if guarded else code],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        clocks: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return clocks


class FirstOpen(Import):
    """The whole process up to an open, empty memory: interpreter, import, opening."""

    figure, script = "open", _OPEN

    def _code(self) -> str:
        return self.bench.kind.open_code
