"""The offline embedding model keeps to itself: no sockets from native code, no files in anybody's home."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.embedded

CHILD = """
    import os, time
    from memkit_core import Memory

    with Memory(llm="verbatim", embedder="embedded", store="m.db") as memory:
        memory.add("I like green tea", user_id="u")
        assert memory.search("tea", user_id="u").degraded == []
    deadline = time.monotonic() + 13  # native telemetry waits some seconds before it looks for its host
    seen = set()
    while time.monotonic() < deadline:
        for number in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue
            if target.startswith("socket:"):
                seen.add(target)
        time.sleep(0.05)
    print(sorted(seen))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at /proc")  # noqa: PTH112
def test_no_socket_and_no_file(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD)],
        cwd=work,
        env={**environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert [str(path) for path in home.rglob("*")] == []
