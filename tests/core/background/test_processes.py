"""Processes that are killed, and processes that open one file at once: everything exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from memkit_core import Memory, MemoryConfig
from memkit_core.policies import BackgroundPolicy
from memkit_core.testing import ScriptedChatModel

from .repeating import Repeater, texts

HERE = Path(__file__).parent

WRITER = """
    import os
    import sys
    import time
    sys.path.insert(0, sys.argv[2])
    from repeating import Repeater
    from memkit_core import Memory, MemoryConfig
    from memkit_core.testing import ScriptedChatModel

    round_number, repeat = int(sys.argv[3]), Repeater()

    def slow(messages):
        os.write(1, b"asked\\n")
        time.sleep(0.05)
        return repeat(messages)

    config = MemoryConfig(background={"batch_seconds": 0.02, "batch_tokens": 200})
    memory = Memory(llm=ScriptedChatModel(slow), embedder="none", store=sys.argv[1], config=config)
    n = 0
    while True:
        n += 1
        text = f"Round {round_number} fact {n}"
        memory.add(text, user_id="u", wait=False, idempotency_key=text)
        os.write(1, f"{text}\\n".encode())
        time.sleep(0.004)
"""


def later(memory, seconds):
    """The same memory, so much later: leases of the dead have run out."""
    services = memory._engine.services
    clock = services.clock
    object.__setattr__(services, "clock", lambda: clock() + seconds * 1_000_000)


def test_kills_in_the_middle_lose_nothing_and_repeat_nothing(tmp_path):
    script, store = tmp_path / "writer.py", tmp_path / "m.db"
    script.write_text(textwrap.dedent(WRITER))
    acknowledged = []
    for number in range(5):
        child = subprocess.Popen(
            [sys.executable, str(script), str(store), str(HERE), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines, wanted = [], 12 + 7 * number
        while len(lines) < wanted or (number % 2 and lines[-1] != "asked"):
            lines.append(child.stdout.readline().strip())
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        acknowledged += [line for line in lines if line.startswith("Round")]
    model = Repeater()
    with Memory(llm=ScriptedChatModel(model), embedder="none", store=store) as memory:
        later(memory, 600)
        assert memory.flush().pending == 0
        found = texts(memory)
        assert len(found) == len(set(found))
        # What was stored but not yet acknowledged when its process died may be there too.
        assert set(acknowledged) <= set(found)
        assert len(found) <= len(acknowledged) + 5
        for text in acknowledged:  # and whoever tries again is told what the first try made
            again = memory.add(text, user_id="u", idempotency_key=text)
            assert ([change.memory for change in again], again.replayed) == ([text], True)
        assert texts(memory) == found


OPENER = """
    import json
    import sys
    sys.path.insert(0, sys.argv[2])
    from repeating import Repeater
    from memkit_core import Memory, MemoryConfig
    from memkit_core.testing import ScriptedChatModel

    model = Repeater()
    config = MemoryConfig(background={"batch_tokens": 150})
    sys.stdin.readline()
    memory = Memory(llm=ScriptedChatModel(model), embedder="none", store=sys.argv[1], config=config)
    memory.flush()
    memory.close()
    print(json.dumps(model.asked))
"""


def test_processes_that_open_at_once_extract_each_batch_once(tmp_path):
    script, store = tmp_path / "opener.py", tmp_path / "m.db"
    script.write_text(textwrap.dedent(OPENER))
    lines = [f"Fact number {n}" for n in range(60)]
    config = MemoryConfig(background=BackgroundPolicy(batch_seconds=3_600))
    with Memory(llm=ScriptedChatModel(Repeater()), embedder="none", store=store, config=config) as memory:
        for n, line in enumerate(lines):
            memory.add(line, user_id=f"u{n % 3}", wait=False)
    openers = [
        subprocess.Popen(
            [sys.executable, str(script), str(store), str(HERE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    told = [opener.communicate(timeout=120) for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 3, [problem for _, problem in told]
    shown = [text for answer, _ in told for asked in json.loads(answer) for text in asked]
    assert sorted(shown) == sorted(lines)
    with Memory(llm="verbatim", embedder="none", store=store) as memory:
        assert sorted(text for n in range(3) for text in texts(memory, f"u{n}")) == sorted(lines)
        assert memory.flush().pending == 0
