"""The guard that every test stands behind does notice sockets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REACHES = {
    "an address": "socket.create_connection(('192.0.2.1', 80), timeout=1)",
    "this machine": "socket.create_connection(('127.0.0.1', 9), timeout=1)",
    "a name": "socket.getaddrinfo('example.invalid', 80)",
    "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "an event loop": "asyncio.run(asyncio.open_connection('192.0.2.1', 80))",
    "a thread": "thread(lambda: socket.create_connection(('192.0.2.1', 80), timeout=1))",
}
_SCRIPT = """
import asyncio, contextlib, socket, threading

def thread(work):
    def quiet():
        with contextlib.suppress(OSError):
            work()
    started = threading.Thread(target=quiet)
    started.start()
    started.join()

with contextlib.suppress(OSError):
    {attempt}
"""


@pytest.mark.parametrize("what", REACHES)
def test_a_swallowed_attempt_is_still_noticed(what: str, guarded: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.format(attempt=REACHES[what]))
    done = subprocess.run([*guarded, str(script)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 86, done.stderr
    assert "socket." in done.stderr


def test_what_stays_on_the_machine_is_no_attempt(guarded: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, socket\nasyncio.run(asyncio.sleep(0))\n"
        "one, other = socket.socketpair()\none.send(b'x')\n"
    )
    assert subprocess.run([*guarded, str(script)], timeout=30).returncode == 0
