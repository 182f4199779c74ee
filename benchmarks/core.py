"""CPU time of the core's hot paths, medians over many runs.

    python benchmarks/core.py [--json FILE]

Embedding is not part of any figure: vectors come from a table. CPU time is that of the whole process,
the store's writer thread included.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from memkit_core import Memory

DIMENSION = 384
USERS, EACH = 100, 1_000
_HEADS = "ba be bi bo bu da de di do du la le li lo lu".split()
WORDS = [head + tail for head in _HEADS for tail in "kan ten rin sol mur pas".split()]


class TableEmbeddings:
    """Random unit vectors, made once: what is left is memkit's own work."""

    model = "table"
    dimension = DIMENSION

    def __init__(self) -> None:
        table = np.random.default_rng(0).standard_normal((4_096, DIMENSION)).astype(np.float32)
        self._table = table / np.linalg.norm(table, axis=1, keepdims=True)

    def embed_documents(self, texts):
        return self._table[[hash(text) % 4_096 for text in texts]]

    def embed_query(self, text):
        return self._table[hash(text) % 4_096]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(12))


def median_ms(work, runs: int) -> float:
    times = []
    for _ in range(runs):
        before = time.process_time()
        work()
        times.append((time.process_time() - before) * 1_000)
    return statistics.median(times)


def import_seconds() -> float:
    code = "import time; t = time.process_time(); import memkit_core; print(time.process_time() - t)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(9)]
    return statistics.median(map(float, runs))


def measure() -> dict[str, float]:
    rng = random.Random(0)
    figures = {"import memkit_core, s": import_seconds()}
    with tempfile.TemporaryDirectory() as folder:
        with Memory(llm="verbatim", embedder="none", store=Path(folder) / "raw.db") as memory:
            memory.add(sentence(rng), user_id="u", infer=False)
            figures["raw durable add, ms"] = median_ms(
                lambda: memory.add(sentence(rng), user_id="u", infer=False), 500
            )
            rates = []
            for part in range(5):
                messages = [sentence(rng) for _ in range(10_000)]
                before = time.process_time()
                memory.add(messages, user_id=f"batch {part}", infer=False)
                rates.append(10_000 / (time.process_time() - before))
            figures["batch add, rows/s"] = statistics.median(rates)
        with Memory(llm="verbatim", embedder=TableEmbeddings(), store=Path(folder) / "search.db") as memory:
            for user in range(USERS):
                memory.add([sentence(rng) for _ in range(EACH)], user_id=f"u{user}", infer=False)
            for user in range(USERS):
                memory.search(sentence(rng), user_id=f"u{user}")

            def search() -> None:
                question = " ".join(rng.choice(WORDS) for _ in range(5))
                found = memory.search(question, user_id=f"u{rng.randrange(USERS)}")
                assert len(found) == 10

            figures[f"warm hybrid search, {USERS} users x {EACH}, ms"] = median_ms(search, 1_000)
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    figures = measure()
    load = os.getloadavg()[0]
    for name, value in figures.items():
        print(f"{name:48} {value:12.3f}")
    print(f"{'machine load (1 minute)':48} {load:12.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"figures": figures, "load": load}, indent=2))


if __name__ == "__main__":
    main()
