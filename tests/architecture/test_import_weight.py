"""What an import costs: modules loaded, in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .imports import module_files

HEAVY = (
    *("langchain", "langchain_core", "langchain_openai", "langgraph", "llama_index", "numpy", "onnxruntime"),
    *("tokenizers", "sqlite3", "pysqlite3", "psycopg", "chromadb", "neo4j", "httpx", "requests", "tiktoken"),
)

_PROGRAM = """
import json, sys, time
before = set(sys.modules)
start = time.process_time()
exec(sys.argv[1])
seconds = time.process_time() - start
tops = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"seconds": seconds, "tops": tops}))
"""


def _loaded(statement: str) -> tuple[set[str], float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, statement], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    return set(found["tops"]), found["seconds"]


def test_importing_memkit_loads_the_standard_library_alone(record_property: pytest.FixtureRequest) -> None:
    tops, seconds = _loaded("import memkit_core")
    assert tops - set(sys.stdlib_module_names) == {"memkit_core"}
    assert "sqlite3" not in tops
    print(f"import memkit_core: {seconds * 1000:.1f} ms of processor time")


@pytest.mark.parametrize("name", ["Memory", "MemoryConfig", "SearchResult", "And", "MemkitError"])
def test_public_names_load_no_model_library_array_library_or_driver(name: str) -> None:
    tops, _ = _loaded(f"from memkit_core import {name}")
    assert not tops & set(HEAVY)


def test_no_module_loads_anything_heavy() -> None:
    from .test_imports import LOADED_ON_USE

    modules = [module for module in module_files() if module not in LOADED_ON_USE]
    tops, _ = _loaded("; ".join(f"import {module}" for module in modules))
    # The SQLite rooms may import the standard library's own driver; the rest is for first use.
    assert not tops & (set(HEAVY) - {"sqlite3"})
