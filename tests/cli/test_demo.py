"""``memkit demo``: without a model, with one, and with one that fails."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from memkit_core import Memory, ModelCallError
from memkit_core.cli import app
from memkit_core.demo import CONVERSATION, model_from_environment, run_demo
from memkit_core.testing import FaultyChatModel, ScriptedChatModel


def _obliging(messages: Sequence[Any]) -> dict[str, Any]:
    """What a good model answers to the demo's conversation."""
    text = "\n".join(message.text for message in messages)
    if "memories:" not in text:
        facts = {
            "Berlin": "Lives in Berlin",
            "peanuts": "Is allergic to peanuts",
            "Ines": "Her sister Ines gets married on 20 June 2026",
            "Madrid": "Lives in Madrid",
        }
        found = [fact for word, fact in facts.items() if word in text]
        return {"facts": [{"text": fact, "kind": "personal", "cites": [0]} for fact in found]}
    memories, _, decided = text.partition("memories:")[2].partition("facts:")
    berlin = next((int(line.split()[0]) for line in memories.splitlines() if "Berlin" in line), None)
    if "Madrid" in decided and berlin is not None:
        return {"decisions": [{"fact": 0, "op": "UPDATE", "target": berlin, "text": "Lives in Madrid"}]}
    return {"decisions": [{"fact": 0, "op": "ADD"}]}


def _told(memory: Memory) -> tuple[str | None, str]:
    out = io.StringIO()
    with memory:
        failure = run_demo(memory, Console(file=out, width=120))
    return failure, out.getvalue()


def test_in_verbatim_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "verbatim mode" in out
    assert "MEMKIT_LLM" in out
    assert out.count("    added ") == 4
    assert out.count("    unchanged ") == 1
    assert out.count("    updated ") == 1
    assert "nothing to remember" in out
    answers = out[out.index("What it answers now") :]
    assert "20 June" in answers
    assert "peanuts" in answers
    assert "Madrid" in answers
    assert "revision 1  ADD     I live in Berlin." in out
    assert "revision 2  UPDATE  I live in Madrid." in out
    assert list(tmp_path.iterdir()) == []


def test_with_a_model(tmp_path: Path) -> None:
    model = ScriptedChatModel(_obliging)
    failure, out = _told(Memory(llm=model, store=tmp_path / "demo.db"))
    assert failure is None
    assert "updated    Lives in Madrid   (was: Lives in Berlin)" in out
    assert "known already" in out
    assert "takes a model" not in out
    answers = out[out.index("What it answers now") : out.index("History")]
    assert "Berlin" not in answers
    assert "revision 2  UPDATE  Lives in Madrid" in out
    assert len(model.calls) >= len(CONVERSATION)


def test_with_a_model_that_fails(tmp_path: Path) -> None:
    failure, out = _told(Memory(llm=FaultyChatModel(faults="reset"), store=tmp_path / "demo.db"))
    assert failure is not None
    assert ModelCallError.__name__ in failure
    assert "I live in Berlin." in out[out.index("What is still there") :]


@pytest.mark.network  # to a closed port of this machine
def test_a_provider_that_cannot_be_reached_is_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1, result.output
    assert "openai:gpt-5-mini" in result.stdout
    assert "chosen by OPENAI_API_KEY) did not do its work" in result.stderr
    assert "Traceback" not in result.output
    assert "sk-canary" not in result.output


def test_a_key_without_the_provider_s_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_spec("langchain_mistralai") is None
    monkeypatch.setenv("MISTRAL_API_KEY", "canary")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    assert "MISTRAL_API_KEY is set, but" in result.stderr
    assert "langchain-mistralai" in result.stderr
    assert "verbatim mode" in result.stdout


def test_a_model_asked_for_by_name_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMKIT_LLM", "mistralai:mistral-small-latest")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "langchain-mistralai" in result.stderr
    assert result.stderr.count("\n") == 1


def test_which_model_the_environment_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_from_environment() is None
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    offered = model_from_environment()
    assert offered is not None
    assert offered[0].startswith("anthropic:")
    assert offered[1] == "ANTHROPIC_API_KEY"
    monkeypatch.setenv("MEMKIT_LLM", "ollama:llama3")
    assert model_from_environment() == ("ollama:llama3", "MEMKIT_LLM")
    monkeypatch.setenv("MEMKIT_LLM", "verbatim")
    assert model_from_environment() is None


def test_no_socket_in_a_process_of_its_own(guarded: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*guarded, "memkit_core.cli", "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "I live in Madrid." in done.stdout
    assert list(tmp_path.iterdir()) == []
