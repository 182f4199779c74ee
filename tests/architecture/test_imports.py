"""Who may import whom."""

from __future__ import annotations

import pytest

import memkit_core

from .imports import Import, imports_of, module_files, room

VALUES = {"types", "errors"}
BACKEND = {*VALUES, "filters", "protocols", "analysis"}
PUBLIC = {"__init__"}
EVERYTHING = None

#: Room -> the rooms it may import. ``__init__`` stands for memkit_core's public names.
RULES: dict[str, set[str] | None] = {
    "__init__": {
        *("admin_results", "async_memory", "config", "errors", "filters", "hooks", "memory", "results"),
        *("scoped", "types"),
    },
    "checks": {"errors"},
    "moments": {"errors", "checks"},
    "images": set(),
    "markup": set(),
    "types": {"errors", "checks", "images", "markup", "moments"},
    "errors": {"types"},
    "filters": VALUES,
    "protocols": {*VALUES, "filters"},
    "analysis": {"types"},
    "results": {*VALUES, "markup"},
    "admin_results": {*VALUES, "markup", "results"},
    "gates": {"errors"},
    "runtime": {*VALUES, "gates", "protocols"},
    "policies": {"errors", "checks"},
    "hooks": {"errors", "types"},
    "config": {*VALUES, "policies"},
    "prompts": {"types"},
    "models": {*VALUES, "policies", "prompts"},
    "ledger": {"types"},
    "budgets": {*VALUES, "ledger", "policies", "protocols"},
    "pipeline": {*BACKEND, "budgets", "hooks", "ledger", "models", "policies", "prompts", "results"},
    "storage": BACKEND,
    "indexes": BACKEND,
    "graphs": BACKEND,
    "testing": BACKEND,
    "maintenance": {
        *VALUES,
        "admin_results",
        "models",
        "pipeline",
        "policies",
        "protocols",
        "results",
        *PUBLIC,
    },
    "evaluation": {*VALUES, "pipeline", "protocols", "memory", *PUBLIC},
    "run_users": {"errors"},
    "agent_turns": set(),
    "fencing": {"pipeline", "prompts"},
    "session_log": {"protocols"},
    "adapter_settings": {"errors", "pipeline", "run_users", "types"},
    "adapting": {
        *VALUES,
        "adapter_settings",
        "agent_turns",
        "async_memory",
        "engine",
        "fencing",
        "memory",
        "models",
        "protocols",
        "results",
        "run_users",
        "runtime",
        "session_log",
    },
    "engine": EVERYTHING,
    "background": EVERYTHING,
    "admin": EVERYTHING,
    "admin_verbs": EVERYTHING,
    "async_admin": EVERYTHING,
    "scoped": EVERYTHING,
    "verbs": EVERYTHING,
    "memory": EVERYTHING,
    "async_memory": EVERYTHING,
    "plots": EVERYTHING,
    "demo": PUBLIC,
    "cli": {*PUBLIC, "demo", "evaluation"},
}

#: Third-party module -> the only rooms that may know it, at any level and for type checkers too.
KNOWN_BY: dict[str, set[str]] = {
    "anyio": set(),
    "chromadb": {"indexes"},
    "langchain": {"models"},
    "langchain_community": {"indexes"},
    "langchain_core": {"models", "testing", "admin", "async_admin", "memory", "async_memory", "indexes"},
    "langchain_openai": {"models"},
    "matplotlib": {"plots"},
    "onnxruntime": {"models"},
    "pysqlite3": {"storage"},
    "rich": {"cli", "demo", "evaluation"},
    "sqlite3": {"storage"},
    "tenacity": {"models"},
    "tokenizers": {"models"},
    "typer": {"cli"},
    "tqdm": {"cli", "evaluation", "maintenance"},
}

#: Never at module level: these cost every program that imports memkit, whether it uses them or not.
HEAVY = {
    *("anyio", "chromadb", "langchain", "langchain_core", "langgraph", "llama_index", "matplotlib", "neo4j"),
    *("numpy", "onnxruntime", "psycopg", "pysqlite3", "requests", "httpx", "tiktoken", "tokenizers"),
}
#: Modules that are themselves only imported inside functions, with what they need.
LOADED_ON_USE: dict[str, set[str]] = {
    "memkit_core.indexes.stored_vectors": {"langchain_core"},
    "memkit_core.storage.sqlite.columns": {"numpy"},
    "memkit_core.storage.sqlite.items.search": {"numpy"},
    "memkit_core.storage.sqlite.items.warm": {"numpy"},
    "memkit_core.storage.sqlite.partition": {"numpy"},
    "memkit_core.storage.sqlite.search": {"numpy"},
    "memkit_core.storage.sqlite.warm": {"numpy"},
    "memkit_core.testing.chat": {"langchain_core"},
    "memkit_core.testing.langgraph_face": {"langchain_core", "langgraph"},
    "memkit_core.testing.langgraph_items": {"langgraph"},
    "memkit_core.testing.langgraph_search": set(),  # it imports the one above
    "memkit_core.testing.langgraph_store": set(),  # put together from those beside it
    "memkit_core.testing.langgraph_ttl": {"langgraph"},
    "memkit_core.testing.langgraph_vectors": {"langgraph"},
    "memkit_core.testing.record_reading": {"numpy"},
    "memkit_core.testing.record_search": {"numpy"},
    "memkit_core.testing.record_store": set(),  # put together from the three beside it
    "memkit_core.testing.record_writing": {"numpy"},
    "memkit_core.testing.recorded": {"langchain_core"},
    "memkit_core.testing.vector_index": {"numpy"},
}

FILES = module_files()
IMPORTS = [found for module, path in FILES.items() for found in imports_of(module, path)]


def _target_room(imported: str) -> str:
    """The room an import of ``memkit_core.x.y`` reaches; a public name counts as ``__init__``."""
    parts = imported.split(".")
    if len(parts) == 1 or (f"{parts[0]}.{parts[1]}" not in FILES and parts[1] in memkit_core.__all__):
        return "__init__"
    return parts[1]


def _inside(found: Import) -> bool:
    return found.imported.split(".")[0] == "memkit_core"


def test_every_room_has_a_rule() -> None:
    rooms = {room(module) for module in FILES}
    assert rooms <= set(RULES), f"say in RULES what {sorted(rooms - set(RULES))} may import"


def test_rooms_import_only_what_they_may() -> None:
    wrong: list[str] = []
    for found in filter(_inside, IMPORTS):
        allowed = RULES[room(found.importer)]
        target = _target_room(found.imported)
        if allowed is not None and target != room(found.importer) and target not in allowed:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_public_names_are_imported_lazily() -> None:
    eager = [str(found) for found in IMPORTS if room(found.importer) == "__init__" and found.at_import]
    assert [line for line in eager if "memkit_core." in line.partition(" imports ")[2]] == []


def test_the_cli_reaches_the_evaluation_only_when_asked() -> None:
    eager = [
        str(found)
        for found in filter(_inside, IMPORTS)
        if room(found.importer) == "cli" and _target_room(found.imported) == "evaluation" and found.at_import
    ]
    assert not eager


def test_the_pipeline_knows_no_loop_and_no_thread() -> None:
    banned = {"asyncio", "anyio", "threading", "concurrent", "multiprocessing", "sqlite3", "socket"}
    wrong = [
        str(found)
        for found in IMPORTS
        if room(found.importer) == "pipeline" and found.imported.split(".")[0] in banned
    ]
    assert not wrong, "\n".join(wrong)


def test_third_party_modules_are_known_in_their_rooms_only() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if (top := found.imported.split(".")[0]) in KNOWN_BY and room(found.importer) not in KNOWN_BY[top]
    ]
    assert not wrong, "\n".join(wrong)


def test_heavy_modules_are_never_imported_at_module_level() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.at_import
        and (top := found.imported.split(".")[0]) in HEAVY
        and top not in LOADED_ON_USE.get(found.importer, set())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", sorted(LOADED_ON_USE))
def test_modules_loaded_on_use_are_imported_in_functions_only(module: str) -> None:
    eager = [
        str(found)
        for found in IMPORTS
        if found.at_import
        and (found.imported == module or found.imported.startswith(f"{module}."))
        and found.importer not in LOADED_ON_USE
    ]
    assert module in FILES
    assert not eager, "\n".join(eager)
