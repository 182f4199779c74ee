"""Record the replies of a real chat model to the conversations: ``python -m tests.recorded.record WEIGHTS``.

The weights are Qwen2.5-Coder-1.5B-Instruct, four bits (Q4_K_M, Apache-2.0), as one GGUF file. They run on
this machine, in one thread, at temperature 0. What is recorded already is not asked again, so that an
interrupted recording goes on where it stopped, and a changed prompt costs only the replies that it changes.
Needs ``xllamacpp`` and ``langchain-openai``.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memkit_core.testing import RecordedChatModel

from .conversations import FOLDER, Conversation, conversations, hold, published, score, summary, table
from .scoring import Seen, Tally

PAGE = FOLDER.parents[1] / "docs/concepts/quality.md"
MODEL = "qwen2.5-coder-1.5b-instruct-q4_k_m"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record what is missing, print what came of it, and publish the figures if all were held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="the GGUF file")
    parser.add_argument("--only", action="append", help="the id of a conversation; may be given repeatedly")
    chosen = parser.parse_args(arguments)
    with chosen.weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            parser.error(f"{chosen.weights} is another file: its SHA-256 is not {SHA256}")
    tallies: dict[str, list[Tally]] = {}
    with served(chosen.weights) as chat:
        for conversation in conversations():
            if not chosen.only or conversation.name in chosen.only:
                tallies.setdefault(conversation.language, []).append(_record(conversation, chat))
    print(f"\n{table(tallies)}\n\n{summary(tallies)}")
    if not chosen.only:
        PAGE.write_text(published(PAGE.read_text(encoding="utf-8"), tallies), encoding="utf-8")


@contextmanager
def served(weights: Path) -> Iterator[Any]:
    """The model behind a server that speaks OpenAI's protocol on the loopback address."""
    import xllamacpp
    from langchain_openai import ChatOpenAI

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL}  # else every reply would name this machine's path
    params.n_ctx = 8_192
    params.n_parallel = 2  # each keeps the beginning of one of the two prompts
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    yield ChatOpenAI(
        model=MODEL,
        base_url=f"{server.listening_address}/v1",
        api_key="none",
        temperature=0,
        seed=1,
        max_tokens=500,
        timeout=1_800,
        max_retries=0,
    )
    del server  # it runs as long as something refers to it


def _record(conversation: Conversation, chat: Any) -> Tally:
    started = time.perf_counter()
    model = RecordedChatModel(conversation.recording, model=chat)
    known = set(model.used + model.unused)
    seen = hold(conversation, model)
    model.drop_unused()
    tally = score(conversation, seen)
    new = len(set(model.used) - known)
    print(f"\n{conversation.name}: {new} new replies in {time.perf_counter() - started:.0f} s; {tally}")
    for number, one in enumerate(seen):
        _show(number, one)
    return tally


def _show(number: int, seen: Seen) -> None:
    print(f"  add {number}{' FAILED' if seen.failed else ''}")
    for change in seen.changes:
        before = "" if change.previous is None else f" (was {change.previous!r})"
        day = "" if change.event_time is None else f" {change.event_time:%Y-%m-%d %H:%M}"
        print(f"    {change.event}{day} {change.memory.text!r}{before}", flush=True)


if __name__ == "__main__":
    main()
