"""Threads, processes, forks and kills on one file."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


def same_fact(messages):
    if messages[-1].text.startswith("memories:"):
        return {"decisions": []}
    return {"facts": [{"text": "Likes tea", "cites": [0]}]}


@pytest.mark.parametrize("mode", ["llm", "verbatim"])
def test_eight_threads_that_add_one_fact_leave_one_row(tmp_path, mode):
    chat = ScriptedChatModel(same_fact) if mode == "llm" else "verbatim"
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:
        results = []

        def work():
            results.extend(memory.add("I like tea", user_id="u") for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [r.status for r in results] == ["complete"] * 80
        assert memory.count(user_id="u") == 1
        assert sorted(c.event for r in results for c in r) == ["ADD"] + ["NONE"] * 79
        assert len({c.id for r in results for c in r}) == 1


PROCESS = """
    import json
    import sys
    from memkit_core import Memory
    from memkit_core.testing import ScriptedChatModel

    def model(messages):
        if messages[-1].text.startswith("memories:"):
            return {"decisions": []}
        said = messages[-1].text.rpartition("messages:")[2]  # behind what is shown for context alone
        lines = [line for line in said.splitlines() if " user: " in line]
        texts = [json.loads(line.split(": ", 1)[1]) for line in lines]
        return {"facts": [{"text": text, "cites": [n]} for n, text in enumerate(texts)]}

    memory = Memory(llm=ScriptedChatModel(model), embedder="none", store=sys.argv[1])
    for n in range(int(sys.argv[4])):
        FACT = "Likes tea" if sys.argv[3] == "same" else f"Process {sys.argv[2]} likes number {n}"
        result = memory.add(FACT, user_id="u", infer=sys.argv[3] != "raw")
        if result.status == "pending":  # the others wrote all the time: allowed, but never lost
            memory.flush()
    while memory.flush().pending:
        pass
    memory.close()
"""


@pytest.mark.parametrize(("mode", "rows"), [("raw", 160), ("same", 1), ("different", 40)])
def test_four_processes_on_one_file(tmp_path, mode, rows):
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(PROCESS))
    store = tmp_path / "m.db"
    Memory(llm="verbatim", embedder="none", store=store).close()
    each = {"raw": 40, "same": 10, "different": 10}[mode]
    command = [sys.executable, str(script), str(store)]
    processes = [
        subprocess.Popen([*command, str(n), mode, str(each)], stderr=subprocess.PIPE) for n in range(4)
    ]
    problems = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, problems
    with Memory(llm="verbatim", embedder="none", store=store) as memory:
        assert memory.count(user_id="u") == rows
        assert memory.flush().pending == 0


def test_four_forked_children_write_too(tmp_path):
    memory = Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db")
    memory.add("from the parent", user_id="u", infer=False)
    memory.search("parent", user_id="u")
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for n in range(40):
                    memory.add(f"child {child} row {n}", user_id="u", infer=False)
                code = 0 if memory.count(user_id="u") >= 41 else 2
            finally:
                os._exit(code)
        children.append(pid)
    memory.add("from the parent again", user_id="u", infer=False)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert memory.count(user_id="u") == 162
    memory.close()


KILLED = """
    import json
    import os
    import signal
    import sys
    from memkit_core import Memory
    from memkit_core.testing import HashEmbeddings, ScriptedChatModel

    def write(store, round_number, acknowledge):
        def model(messages):
            if messages[-1].text.startswith("memories:"):
                text = f"Counts {round_number}.{n}"
                return {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "text": text}]}
            return {"facts": [{"text": f"Counts {round_number}.{n}", "cites": [0]}]}

        memory = Memory(llm=ScriptedChatModel(model), embedder=HashEmbeddings(dimension=16), store=store)
        n = 0
        while True:
            n += 1
            raw = memory.add(f"row {round_number}.{n}", user_id="raw", infer=False).added[0]
            acknowledge("raw", raw.id, raw.memory)
            if memory.add(f"I count {round_number}.{n}", user_id="llm").status == "complete":
                acknowledge("llm", "", f"Counts {round_number}.{n}")
            if n % 3 == 0:
                memory.delete(raw.id)
                acknowledge("deleted", raw.id, "")

    # What a child need not import it has not to wait for.
    chat = ScriptedChatModel([{"facts": []}])
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=16), store=":memory:") as warm:
        warm.add("I count", user_id="llm")
        warm.add("row", user_id="raw", infer=False)
        warm.search("row", user_id="raw")

    acknowledged = []
    for round_number in range(int(sys.argv[2])):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            told = lambda *line: os.write(writer, (json.dumps(line) + chr(10)).encode())
            write(sys.argv[1], round_number, told)
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            read = [lines.readline() for _ in range(1 + round_number * 7 % 23)]
            os.kill(child, signal.SIGKILL)
            read += lines.readlines()
        os.waitpid(child, 0)
        acknowledged += [json.loads(line) for line in read if line.endswith(b"\\n")]
    print(json.dumps(acknowledged))
"""


def test_200_kills_lose_no_acknowledged_row_and_leave_no_orphan(tmp_path):
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(KILLED))
    store = tmp_path / "m.db"
    done = subprocess.run([sys.executable, str(script), str(store), "200"], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    acknowledged = json.loads(done.stdout)
    raw = {memory_id: text for kind, memory_id, text in acknowledged if kind == "raw"}
    deleted = {memory_id for kind, memory_id, _ in acknowledged if kind == "deleted"}
    counted = {text for kind, _, text in acknowledged if kind == "llm"}
    assert len(raw) > 500
    assert len(counted) > 300
    with Memory(llm=ScriptedChatModel(lambda m: {"facts": []}), embedder="none", store=store) as memory:
        memory.flush()
        kept = {item.id: item.memory for item in everything(memory, "raw")}
        for memory_id, text in raw.items():
            history = memory.history(memory_id)
            assert history[0].new_memory == text
            # A delete that was not acknowledged may have happened all the same.
            assert kept.get(memory_id) == text or history[-1].event == "DELETE"
        assert not deleted & kept.keys()
        versions = {
            event.new_memory for item in everything(memory, "llm") for event in memory.history(item.id)
        }
        assert counted <= versions
    assert orphans(store) == {}


def everything(memory, user):
    cursor, found = None, []
    while True:
        page = memory.get_all(user_id=user, cursor=cursor, limit=1_000)
        found += page.results
        cursor = page.next_cursor
        if cursor is None:
            return found


def orphans(store):
    """Derived rows without what they derive from, by table."""
    connection = sqlite3.connect(store)
    units = """
        SELECT unit, CASE WHEN retired_at IS NULL THEN 0 ELSE 2 END AS space FROM memories
        UNION ALL SELECT unit, 1 FROM messages
    """
    missing = "SELECT count(*) FROM {} d WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {})"
    queries = {
        "postings": missing.format("postings", f"({units}) u", "u.unit = d.unit AND u.space = d.space"),
        "vectors": missing.format("vectors", f"({units}) u", "u.unit = d.unit AND u.space = d.space"),
        "sources": missing.format("sources", "messages m", "m.unit = d.message"),
        "events": missing.format("events", "memories m", "m.memory_id = d.memory_id"),
        "memories without an event": missing.format("memories", "events e", "e.memory_id = d.memory_id"),
    }
    found = {name: connection.execute(sql).fetchone()[0] for name, sql in queries.items()}
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return {name: count for name, count in found.items() if count}
