"""The command line as a user meets it: output, exit codes, files, no sockets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from memkit_core import Memory, __version__
from memkit_core.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMKIT_LLM", "verbatim")
    return tmp_path


def memkit(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def memkit_json(*arguments: str) -> Any:
    return json.loads(memkit(*arguments, "--json").stdout)


def one_line(text: str) -> bool:
    return text.startswith("memkit: ") and text.count("\n") == 1


def test_version() -> None:
    assert memkit("--version").stdout == f"memkit-core {__version__}\n"


def test_the_four_verbs_in_text(folder: Path) -> None:
    added = memkit("add", "I am allergic to peanuts.", "--user", "mara").stdout
    assert added.startswith("ADD     I am allergic to peanuts.")
    memory_id = added.split()[-1]
    assert "I am allergic to peanuts." in memkit("search", "peanuts", "--user", "mara").stdout
    assert memory_id in memkit("list", "--user", "mara").stdout
    assert "ADD     I am allergic to peanuts." in memkit("history", memory_id).stdout
    assert (folder / "memkit.db").is_file()


def test_the_four_verbs_in_json() -> None:
    added = memkit_json("add", "I live in Berlin.", "--user", "mara", "--metadata", '{"topic": "home"}')
    assert [added["status"], added["mode"]] == ["complete", "verbatim"]
    (change,) = added["results"]
    (hit,) = memkit_json("search", "Berlin", "--user", "mara", "--limit", "1")["results"]
    (item,) = memkit_json("list", "--user", "mara", "--filter", '{"topic": "home"}')["results"]
    (event,) = memkit_json("history", change["id"], "--user", "mara")
    assert hit["id"] == item["id"] == event["memory_id"] == change["id"]
    assert 0 < hit["relevance"] <= 1
    assert item["metadata"] == {"topic": "home"}


def test_a_store_by_option_and_by_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memkit("add", "I live in Berlin.", "--user", "mara", "--store", "sqlite:///other.db")
    monkeypatch.setenv("MEMKIT_STORE", "sqlite:///other.db")
    assert "Berlin" in memkit("list", "--user", "mara").stdout
    assert not (folder / "memkit.db").exists()


def test_no_model_is_said_once_and_not_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMKIT_LLM")
    result = memkit("add", "I live in Berlin.", "--user", "mara", "--json")
    assert json.loads(result.stdout)["mode"] == "verbatim"
    assert result.stderr.count("verbatim mode") == 1


def test_pages_follow_each_other() -> None:
    for number in range(5):
        memkit("add", f"Fact number {number}.", "--user", "mara", "--no-infer")
    first = memkit_json("list", "--user", "mara", "--limit", "3")
    second = memkit_json("list", "--user", "mara", "--limit", "3", "--cursor", first["next_cursor"])
    texts = [item["memory"] for item in first["results"] + second["results"]]
    assert sorted(texts) == [f"Fact number {number}." for number in range(5)]
    assert second["next_cursor"] is None


def test_nothing_found_says_so() -> None:
    assert "memkit add makes one" in memkit("search", "anything", "--user", "nobody", code=1).stderr
    assert not Path("memkit.db").exists()
    memkit("add", "I like tea.", "--user", "mara")
    assert memkit("search", "anything", "--user", "nobody").stdout == "nothing found\n"
    assert memkit("list", "--user", "nobody").stdout == "no memories\n"
    assert memkit("add", "Hello!", "--user", "mara").stdout == "nothing to remember\n"


def test_stored_text_cannot_command_the_terminal() -> None:
    memkit("add", "I like \x1b[31mred\x1b[0m [bold]wine[/bold].", "--user", "mara", "--no-infer")
    shown = memkit("list", "--user", "mara").stdout
    assert "\x1b" not in shown
    assert "[bold]wine[/bold]" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--user", ""),
        ("list", "--user", "mara", "--store", "oracle://somewhere"),
        ("list", "--user", "mara", "--store", "sqlite:///missing/folder/memkit.db"),
        ("list", "--user", "mara", "--cursor", "made up"),
        ("list", "--user", "mara", "--filter", '{"created_at": {"like": "2026"}}'),
        ("search", "  ", "--user", "mara"),
        ("history", "no-such-memory"),
        ("add", "text", "--user", "mara", "--llm", "no-such-provider:model"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(arguments: tuple[str, ...]) -> None:
    if "--store" not in arguments:
        memkit("add", "I like tea.", "--user", "mara")
    result = memkit(*arguments, code=1)
    assert result.stdout == ""
    assert one_line(result.stderr), result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "text"),
        ("search", "text"),
        ("list",),
        ("list", "--user", "mara", "--limit", "0"),
        ("list", "--user", "mara", "--filter", "{"),
        ("list", "--user", "mara", "--filter", "[]"),
        ("search", "text", "--user", "mara", "--threshold", "2"),
        ("forget-everything",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert memkit(*arguments, code=2).stdout == ""


def test_no_socket_in_a_process_of_its_own(guarded: list[str], folder: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*guarded, "memkit_core.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("add", "I live in Berlin.", "--user", "mara")
    assert "Berlin" in run("search", "Where does Mara live?", "--user", "mara")


def test_a_damaged_store_is_no_traceback(folder: Path) -> None:
    (folder / "memkit.db").write_bytes(b"not a database" * 1_000)
    assert one_line(memkit("list", "--user", "mara", code=1).stderr)


def test_the_command_line_sees_what_the_library_wrote(folder: Path) -> None:
    with Memory(llm="verbatim", store=f"sqlite:///{folder}/memkit.db") as memory:
        change = memory.add("I live in Berlin.", user_id="mara").added[0]
        memory.update(change.id, "I live in Madrid.", user_id="mara")
    events = memkit_json("history", change.id)
    assert [event["new_memory"] for event in events] == ["I live in Berlin.", "I live in Madrid."]


def test_an_evaluation_that_cannot_run(folder: Path) -> None:
    memkit("eval", "locomo", code=2)
    memkit("eval", "locomo", "--data", "no-such-folder", code=2)
    (folder / "bad.json").write_text("{}")
    assert one_line(memkit("eval", "locomo", "--data", "bad.json", code=1).stderr)
    assert one_line(
        memkit("eval", "locomo", "--data", str(folder), "--json", "no/such/file.json", code=1).stderr
    )


@pytest.mark.network  # to a closed port of this machine
def test_a_model_that_cannot_be_reached_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = memkit("add", "I live in Berlin.", "--user", "mara", "--llm", "openai:gpt-5-mini")
    assert result.stdout == "stored\n"
    assert "ModelCallError" in result.stderr
    assert "the next opening with a model extracts it" in result.stderr
    assert "sk-canary" not in result.output
    assert memkit("list", "--user", "mara").stdout == "no memories\n"
    assert "user: I live in Berlin." in memkit("search", "Berlin", "--user", "mara", "--excerpts").stdout
