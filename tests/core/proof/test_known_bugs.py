"""Bugs that other memory layers have had, one by one: where each is tested, or the test itself.

``ELSEWHERE`` names the tests that were there already; a test below holds the table true. What a bug needs
and memkit does not have, it cannot have either: there is no reranker (so no model call for each reranked
document) and no entity graph (so no scan of all entities for each add); the tests that say so measure what
a search and an add cost instead.
"""

from __future__ import annotations

import ast
import inspect
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from memkit_core import AsyncMemory, ConfigError, Memory, MemoryConfig, UsageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

TESTS = Path(__file__).parents[2]
ELSEWHERE = {
    "contradictions are both returned": "core/test_manager.py::test_berlin_then_madrid",
    "a delete loses the new fact": "core/test_manager.py::test_berlin_then_madrid",
    "KeyError on made-up ids": (
        "core/test_manager.py::test_what_a_model_makes_up_is_rejected_and_the_rest_is_applied"
    ),
    "malformed JSON is an empty success": "core/test_manager.py::test_no_malformed_reply_loses_anything",
    "truncated replies are an empty success": (
        "core/test_manager.py::test_model_down_truncated_empty_and_no_facts_are_four_outcomes"
    ),
    "embedder failures are an empty success": (
        "core/test_manager.py::test_a_failing_embedding_model_costs_recall_and_nothing_else"
    ),
    "66 copies of one fact from 80 concurrent adds": (
        "core/test_many_writers.py::test_eight_threads_that_add_one_fact_leave_one_row"
    ),
    "filters override the tenant": "core/test_verbs.py::test_a_filter_never_widens",
    "ids are unscoped": "core/test_verbs.py::test_a_foreign_id_behaves_like_a_missing_one",
    "filters differ between verbs": "core/test_verbs.py::test_filters_are_the_same_in_every_verb",
    "filters differ per store": "storage/test_sqlite_filters.py::test_sql_agrees_with_matches",
    "thresholds mean something else per store": (
        "core/test_verbs.py::test_relevance_is_absolute_and_threshold_compares_with_it"
    ),
    "Chinese cannot be searched": "core/test_manager.py::test_other_languages_are_stored_and_found",
    "last week is resolved against today on import": (
        "core/extraction/test_when.py::test_an_import_of_old_conversations_never_yields_todays_dates"
    ),
    "expired rows hide live ones": "core/test_verbs.py::test_expired_memories_are_not_found_and_hide_nothing",
    "get_all skips rows between pages": (
        "core/test_verbs.py::test_pages_hold_every_row_exactly_once_while_others_write"
    ),
    "telemetry is on by default": "cli/test_demo.py::test_no_socket_in_a_process_of_its_own",
    "a prompt of 7,700 tokens": (
        "benchmarks/test_benchmarks.py::test_every_part_of_a_prompt_is_counted_for_every_way"
    ),
    "another embedder mixes vectors silently": "core/test_bad_input.py::test_another_embedders_file",
}


@pytest.mark.parametrize("bug", ELSEWHERE)
def test_the_test_of_a_known_bug_is_there(bug):
    name, _, test = ELSEWHERE[bug].partition("::")
    tree = ast.parse((TESTS / name).read_text())
    assert test in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.fixture
def memory(tmp_path):
    with Memory(llm="verbatim", embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db") as opened:
        yield opened


def texts(page):
    return [item.memory for item in page]


def no_decisions(messages):
    if messages[-1].text.startswith("memories:"):
        return {"decisions": []}
    return {"facts": [{"text": "Likes tea", "cites": [0]}]}


def test_a_failed_insert_is_not_reported_as_added(tmp_path):
    path = tmp_path / "m.db"
    with Memory(llm=ScriptedChatModel(no_decisions), embedder="none", store=path) as memory:
        memory.add("I like cats", user_id="other", infer=False)
        with sqlite3.connect(path) as beside:
            beside.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON memories BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        beside.close()
        result = memory.add("I like tea", user_id="u")
        assert (result.status, result.added) == ("pending", [])
        assert [failure.stage for failure in result.failed] == ["commit"]
        assert memory.count(user_id="u") == 0
        with sqlite3.connect(path) as beside:
            beside.execute("DROP TRIGGER refuse")
        beside.close()
        assert memory.flush().pending == 0
        assert texts(memory.get_all(user_id="u")) == ["Likes tea"]


@pytest.mark.parametrize("verb", ["search", "get_all", "count", "delete_all"])
def test_a_star_is_a_name_and_not_everybody(memory, verb):
    memory.add("I like tea", user_id="john", infer=False)
    for wild in ("*", "%", "_", "?"):
        assert memory.count(user_id=wild) == 0
        if verb == "delete_all":
            memory.delete_all(user_id=wild)
        elif verb == "count":
            memory.add("mine", user_id=wild, infer=False)
            assert memory.count(user_id=wild) == 1
        else:
            found = memory.search("tea", user_id=wild) if verb == "search" else memory.get_all(user_id=wild)
            assert texts(found) == []
    for nobody in ("", None):
        with pytest.raises(UsageError):
            memory.get_all(user_id=nobody)
    assert texts(memory.get_all(user_id="john")) == ["I like tea"]


def test_what_only_a_keyword_finds_is_found(tmp_path):
    """Dense search would return its own best hits, and the one with the number is not among them."""

    class Misleading(HashEmbeddings):
        def embed_documents(self, texts):
            return [[0.0, 1.0] if "ZX-4711" in text else [0.3, 0.954] for text in texts]

        def embed_query(self, text):
            return [1.0, 0.0] if text else [0.0, 1.0]

    embedder = Misleading(dimension=2)
    with Memory(llm="verbatim", embedder=embedder, store=tmp_path / "k.db") as memory:
        memory.add([f"An order of something, number {n}" for n in range(300)], user_id="u", infer=False)
        memory.add("The invoice has the number ZX-4711", user_id="u", infer=False)
        assert texts(memory.search("What about ZX-4711?", user_id="u", limit=5))[0].endswith("ZX-4711")


def test_the_newest_messages_are_the_context_of_the_next_add(tmp_path):
    chat = ScriptedChatModel(lambda _: {"facts": []})
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:
        for number in range(30):
            memory.add(f"I have said sentence number {number} about cats and dogs.", user_id="u")
        memory.add("I meant the last one.", user_id="u")
        shown = chat.calls[-1].text
    assert "sentence number 29 about" in shown
    assert "sentence number 0 about" not in shown


def test_get_all_does_not_stop_at_20_without_saying_so(memory):
    memory.add([f"Fact number {n}" for n in range(130)], user_id="u", infer=False)
    page = memory.get_all(user_id="u")
    assert len(page) == 100
    assert page.next_cursor is not None
    rest = memory.get_all(user_id="u", cursor=page.next_cursor)
    assert (len(rest), rest.next_cursor) == (30, None)
    assert len({item.id for item in [*page, *rest]}) == 130


def test_deleted_text_is_never_sent_to_a_model_again(tmp_path):
    chat = ScriptedChatModel(no_decisions)
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db") as memory:
        secret = memory.add("My PIN is 4711 and I like tea", user_id="u", infer=False).added[0]
        memory.add("I like cats", user_id="u", infer=False)
        memory.delete(secret.id, user_id="u")
        memory.add("I like green tea", user_id="u")
        memory.add("I like black tea", user_id="u")
        assert len(chat.calls) >= 3
    assert not any("4711" in call.text for call in chat.calls)


def test_an_import_and_an_add_write_nothing_into_the_home_folder(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    script = (
        "from memkit_core import Memory, AsyncMemory, MemoryConfig\n"
        "with Memory(llm='verbatim', embedder='none', store='m.db') as memory:\n"
        "    memory.add('I like tea', user_id='u')\n"
    )
    folders = {"HOME": str(home), "USERPROFILE": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    environment = {**folders, "PATH": "", "PYTHONPATH": str(TESTS.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", script], cwd=work, env=environment, check=True, timeout=120)
    assert list(home.iterdir()) == []
    assert {path.name.partition(".db")[0] for path in work.iterdir()} == {"m"}


async def test_async_awaits_the_model_on_the_callers_loop_and_not_on_a_thread(tmp_path):
    seen = set()

    class Noting(ScriptedChatModel):
        async def _agenerate(self, *args, **options):
            seen.add(threading.get_ident())
            return await super()._agenerate(*args, **options)

        def _generate(self, *args, **options):
            raise AssertionError("the sync method was called")

    model = Noting(no_decisions)
    async with AsyncMemory(llm=model, embedder="none", store=tmp_path / "m.db") as memory:
        await memory.add("I like tea", user_id="u")
    assert seen == {threading.get_ident()}


def test_a_search_calls_no_chat_model_however_much_there_is(tmp_path):
    """One call for each reranked document: there is no reranker, and none can be asked for."""
    chat = ScriptedChatModel()
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db") as memory:
        memory.add([f"Fact number {n} about tea" for n in range(300)], user_id="u", infer=False)
        assert len(memory.search("tea", user_id="u", limit=100)) == 100
        assert memory.context("tea", user_id="u").text
    assert chat.calls == []
    assert "rerank" not in inspect.signature(Memory.search).parameters


def test_what_an_add_sends_does_not_grow_with_what_is_stored(tmp_path):
    """A scan of all entities for each add: there is no graph; candidates are proposed by indexes."""
    sizes = []
    chat = ScriptedChatModel(no_decisions)
    with Memory(llm=chat, embedder=HashEmbeddings(dimension=64), store=tmp_path / "m.db") as memory:
        for _ in range(2):
            memory.add([f"Likes tea number {len(sizes)} {n}" for n in range(400)], user_id="u", infer=False)
            before = len(chat.calls)
            memory.add("I like tea", user_id="u")
            sizes.append(sum(len(call.text) for call in chat.calls[before:]))
    assert sizes[1] < sizes[0] * 1.5
    with pytest.raises(ConfigError):
        Memory(config=MemoryConfig.from_config({"graph_store": {"provider": "neo4j", "config": {}}}))
