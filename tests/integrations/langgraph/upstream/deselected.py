"""The upstream tests that are not run against memkit's classes, each with its reason.

Suites are named by distribution and file. A name that upstream no longer has fails the run.
"""

from __future__ import annotations

_THEIR_FUNCTION = "calls a function of theirs; no class of ours takes part"
_THEIR_ATTRIBUTE = "reads attributes of their classes that BaseStore does not have"

DESELECTED: dict[str, dict[str, str]] = {
    "langgraph_checkpoint_sqlite/test_store.py": {
        "test_vector_store_initialization": _THEIR_ATTRIBUTE,
        "test_nonnull_migrations": "reads the SQL of their own migrations",
        "test_escape_glob_literal": _THEIR_FUNCTION,
        "test_namespace_match_pattern": _THEIR_FUNCTION,
        "test_list_namespaces_prefix_uses_indexable_condition": "reads the SQL that their store composes",
    },
    "langgraph_checkpoint_sqlite/test_async_store.py": {
        "test_vector_store_initialization": _THEIR_ATTRIBUTE,
        "test_no_running_loop": (
            "expects that the blocking verbs fail inside a running loop, as theirs must; ours work there"
        ),
    },
    "langgraph_checkpoint_sqlite/test_ttl.py": {},
    "langgraph_checkpoint/test_store.py": {
        "test_vector_store_initialization": _THEIR_ATTRIBUTE,
        "test_dedupe_ops_maps_repeated_reads_and_puts_to_one_op": _THEIR_FUNCTION,
        "test_get_text_at_path": _THEIR_FUNCTION,
        "test_get_text_at_path_with_non_dict_mapping": _THEIR_FUNCTION,
        "test_validate_op_namespace_rejects_invalid_labels": _THEIR_FUNCTION,
        "test_validate_op_namespace_allows_empty_prefix_and_wildcards": _THEIR_FUNCTION,
    },
}
