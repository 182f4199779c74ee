"""Adapters of frameworks: what they may know of memkit, what their import costs, and their public names."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import memkit_core
import memkit_crewai
import memkit_langchain
import memkit_langgraph
import memkit_llamaindex

from .imports import imports_of
from .test_size import MAX_FILE_LINES, MAX_FUNCTION_LINES

ADAPTERS = {
    "memkit_crewai": Path(memkit_crewai.__file__).parent,
    "memkit_langchain": Path(memkit_langchain.__file__).parent,
    "memkit_langgraph": Path(memkit_langgraph.__file__).parent,
    "memkit_llamaindex": Path(memkit_llamaindex.__file__).parent,
}
#: Beside the public names.
ALLOWED = {"adapting", "errors", "filters", "protocols"}
FILES = {
    f"{name}.{path.stem}" if path.stem != "__init__" else name: path
    for name, folder in ADAPTERS.items()
    for path in sorted(folder.glob("*.py"))
}


def test_adapters_know_public_names_and_what_is_lent() -> None:
    wrong: list[str] = []
    for module, path in FILES.items():
        for found in imports_of(module, path):
            top, _, rest = found.imported.partition(".")
            name = rest.partition(".")[0]
            if top == "memkit_core" and name not in ALLOWED | set(memkit_core.__all__):
                wrong.append(str(found))
            if top in ADAPTERS and top != module.partition(".")[0]:
                wrong.append(f"{found}, another adapter")
    assert not wrong, "\n".join(wrong)


def test_no_adapter_s_file_or_function_is_long() -> None:
    long: list[str] = []
    for module, path in FILES.items():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MAX_FILE_LINES:
            long.append(module)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if body and (node.end_lineno or 0) - body[0].lineno >= MAX_FUNCTION_LINES:
                    long.append(f"{module}.{node.name}")
    assert not long


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_an_adapter_loads_no_framework() -> None:
    for name in ADAPTERS:
        code = f"import json, sys, {name}; print(json.dumps(sorted(sys.modules)))"
        loaded = {module.partition(".")[0] for module in json.loads(_run(code))}
        assert not loaded & {
            "langgraph",
            "langchain",
            "langchain_core",
            "numpy",
            "llama_index",
            "crewai",
            "pydantic",
            "sqlite3",
        }


def test_whose_memory_it_is_needs_no_framework() -> None:
    code = (
        "import sys; from memkit_langgraph import resolve_user, user_namespace;"
        "resolve_user({'configurable': {'user_id': 'ann'}}); print('langgraph' in sys.modules)"
    )
    assert _run(code) == "False\n"


@pytest.mark.parametrize("name", ["MemkitStore", "MemkitSaver", "create_recall_node"])
def test_a_missing_extra_is_named_with_its_line(name: str) -> None:
    code = (
        "import sys; sys.modules['langgraph'] = sys.modules['langchain_core'] = None\n"
        f"try:\n    from memkit_langgraph import {name}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    told = _run(code)
    assert told.startswith("MissingDependencyError")
    assert "pip install 'memkit-core[langgraph]'" in told


@pytest.mark.parametrize("name", memkit_llamaindex.__all__)
def test_the_missing_extra_of_llamaindex_is_named_with_its_line(name: str) -> None:
    code = (
        "import sys; sys.modules['llama_index'] = None\n"
        f"try:\n    from memkit_llamaindex import {name}\n    print(callable({name}))\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    told = _run(code)
    # To attach a memory takes nothing of LlamaIndex.
    assert told == "True\n" or "MissingDependencyError" in told
    assert name == "attach" or "pip install 'memkit-core[llamaindex]'" in told


@pytest.mark.parametrize("name", memkit_crewai.__all__)
def test_the_missing_extra_of_crewai_is_named_with_its_line(name: str) -> None:
    code = (
        "import sys; sys.modules['crewai'] = None\n"
        f"try:\n    from memkit_crewai import {name}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    told = _run(code)
    assert "MissingDependencyError" in told
    assert "pip install 'memkit-core[crewai]'" in told


@pytest.mark.parametrize("name", memkit_langchain.__all__)
def test_the_missing_extra_of_langchain_is_named_with_its_line(name: str) -> None:
    code = (
        "import sys; sys.modules['langchain'] = sys.modules['langchain_core'] = None\n"
        f"try:\n    from memkit_langchain import {name}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    told = _run(code)
    assert "MissingDependencyError" in told
    assert "pip install 'memkit-core[langchain]'" in told


def test_langchain_s_names_are_sorted_there_and_explained() -> None:
    assert memkit_langchain.__all__ == sorted(memkit_langchain.__all__)
    for name in memkit_langchain.__all__:
        assert inspect.getdoc(getattr(memkit_langchain, name)), name
        assert name in dir(memkit_langchain)
    with pytest.raises(AttributeError, match="no attribute 'MemoryRetrieve'"):
        memkit_langchain.MemoryRetrieve  # noqa: B018


def test_llamaindex_s_names_are_sorted_there_and_explained() -> None:
    assert memkit_llamaindex.__all__ == sorted(memkit_llamaindex.__all__)
    for name in memkit_llamaindex.__all__:
        assert inspect.getdoc(getattr(memkit_llamaindex, name)), name
        assert name in dir(memkit_llamaindex)
    with pytest.raises(AttributeError, match="no attribute 'MemkitMemo'"):
        memkit_llamaindex.MemkitMemo  # noqa: B018


def test_an_adapter_s_names_are_sorted_there_and_explained() -> None:
    assert memkit_langgraph.__all__ == sorted(memkit_langgraph.__all__)
    for name in memkit_langgraph.__all__:
        assert inspect.getdoc(getattr(memkit_langgraph, name)), name
        assert name in dir(memkit_langgraph)
    with pytest.raises(AttributeError, match="no attribute 'MemkitStor'"):
        memkit_langgraph.MemkitStor  # noqa: B018


@pytest.mark.parametrize(
    ("name", "extra"), [("ScriptedChatModel", "models"), ("BaseStoreConformance", "langgraph")]
)
def test_the_missing_extra_of_a_double_is_named_with_its_line(name: str, extra: str) -> None:
    hidden = "langchain_core" if extra == "models" else "langgraph"
    code = (
        f"import sys; sys.modules['{hidden}'] = None\n"
        f"try:\n    from memkit_core.testing import {name}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    told = _run(code)
    assert "MissingDependencyError" in told
    assert f"pip install 'memkit-core[{extra}]'" in told
