"""Eight behaviours of chat models, through every pipeline that calls one, sync and async."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from memkit_core import MemoryConfig
from memkit_core.policies import ExtractionPolicy, Kind, ResiliencePolicy
from memkit_core.testing import FaultyChatModel, HashEmbeddings

GOOD = ("native", "tools", "json", "prose", "no system role")
BEHAVIOURS = (*GOOD, "tiny context", "refusing", "flaky")
PET = Kind(description="a pet", fields={"type": "object", "properties": {"name": {"type": "string"}}})
IMAGE = {"type": "image_url", "image_url": {"url": "https://pics.example/dog.png"}}
RUN = [
    HumanMessage("Find me a flight to Rome"),
    AIMessage("I search.", tool_calls=[{"name": "search", "args": {"site": "a"}, "id": "c1"}]),
    ToolMessage("BA 123 costs 80 EUR", tool_call_id="c1", name="search"),
]
LONG = [f"In {1950 + n} my relative number {n} moved to a village called Sankt{n}ville." for n in range(80)]
#: What each pipeline is told; the last message holds the word that must be found again.
SAID = {
    "extraction": ["I like tea"],
    "decisions": ["I like green tea"],
    "custom prompt": ["I like tea"],
    "custom kinds": ["My dog is called Rex"],
    "verification": ["I like tea"],
    "vision": [{"role": "user", "content": [{"type": "text", "text": "My dog Rex"}, IMAGE]}],
    "procedural": RUN,
    "background": ["I like tea"],
    "chunks": LONG,
}
WORD = {"custom kinds": "Rex", "vision": "Rex", "procedural": "Rome", "chunks": "Sankt79ville"}


def options_of(pipeline, model):
    extraction = ExtractionPolicy(
        kinds={"pet": PET} if pipeline == "custom kinds" else {},
        chunk_tokens=400 if pipeline == "chunks" else 6_000,
    )
    return {
        "llm": model,
        "embedder": HashEmbeddings(dimension=64),
        "verifier": model if pipeline == "verification" else None,
        "config": MemoryConfig(
            extraction=extraction, resilience=ResiliencePolicy(max_wait=0, breaker_failures=50)
        ),
    }


def extra_of(pipeline):
    if pipeline == "procedural":
        return {"memory_type": "procedural_memory", "agent_id": "flights"}
    more = {"custom prompt": {"prompt": "List what the user drinks."}, "background": {"wait": False}}
    return {"user_id": "ann", **more.get(pipeline, {})}


@pytest.mark.parametrize("pipeline", SAID)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
async def test_every_behaviour_through_every_pipeline(face_of, model_of, behaviour, pipeline):
    model = model_of(behaviour)
    memory = await face_of(**options_of(pipeline, model))
    extra = extra_of(pipeline)
    scope = {name: extra[name] for name in ("user_id", "agent_id") if name in extra}
    before = set()
    if pipeline == "decisions":
        await memory("add", "I like tea", infer=False, **scope)
        before = {item.id for item in await memory("get_all", **scope)}

    result = await memory("add", SAID[pipeline], **extra)

    assert result.status in ("complete", "partial", "pending")
    assert all(failure.error_type.endswith("Error") for failure in result.failed)
    if behaviour in GOOD and pipeline != "background":
        assert (result.status, result.failed, result.rejected) == ("complete", [], [])
        assert await memory("count", **scope) > 0
    if behaviour == "tiny context":
        assert result.status == "complete" or pipeline == "background"
    if behaviour == "refusing" and pipeline != "background":
        assert {failure.error_type for failure in result.failed} == {"ModelOutputError"}

    # Whatever came of it, what was said is found, and flushing ends in a typed state too.
    word = WORD.get(pipeline, "tea")
    found = await memory("search", word, include=("memories", "excerpts"), limit=100, **scope)
    texts = [hit.memory for hit in found] + [excerpt.text for excerpt in found.excerpts]
    assert any(word in text for text in texts)
    for _ in range(12):
        flushed = await memory("flush")
        if not flushed.pending:
            break
    assert flushed.pending == (1 if behaviour == "refusing" else 0)

    # Nothing but what was offered was touched: an update names the one memory that there was.
    page = await memory("get_all", limit=1_000, **scope)
    if pipeline == "decisions" and behaviour != "refusing":
        assert {item.id for item in page} == before
        assert [item.memory for item in page] == ["I like green tea"]
    elif behaviour != "refusing":
        assert len(page) == (len(LONG) if pipeline == "chunks" else 1)
    if pipeline == "custom kinds" and behaviour != "refusing":
        assert [(item.kind, item.attributes) for item in page] == [("pet", {"name": "Rex"})]
    assert (await memory("admin.doctor")).ok


@pytest.mark.parametrize("facts", [1, 30])
async def test_a_tiny_context_is_remembered(face_of, model_of, facts):
    """A long batch is cut until it fits; the next one is cut beforehand."""
    model = model_of("tiny context")
    memory = await face_of(llm=model, embedder=HashEmbeddings(dimension=64))
    long = LONG if facts > 1 else [" ".join(LONG)]
    first = await memory("add", long, user_id="ann")
    assert first.status == "complete"
    assert len(first.added) + len(first.rejected) >= 1
    refused = sum(len(call.text) > 7_500 for call in model.calls)
    assert refused
    await memory("add", long, user_id="bob")
    assert sum(len(call.text) > 7_500 for call in model.calls) == refused


async def test_a_model_that_takes_no_system_message_is_sent_one_once(face_of, model_of):
    model = model_of("no system role")
    memory = await face_of(llm=model, embedder=HashEmbeddings(dimension=64))
    for user in ("ann", "bob", "cem"):
        assert (await memory("add", "I like tea", user_id=user)).status == "complete"
    assert [call.messages[0].type for call in model.calls] == ["system", "human", "human", "human"]
    assert "long-term memory" in model.calls[1].text


async def test_what_fits_in_no_way_is_a_typed_pending(face_of):
    model = FaultyChatModel([], faults="bad_request")
    memory = await face_of(llm=model, embedder=HashEmbeddings(dimension=64))
    result = await memory("add", LONG, user_id="ann")
    assert (result.status, result.failed[0].error_type) == ("pending", "PromptTooLongError")
    assert len(result.pending) == len(LONG)
    found = await memory("search", "Sankt79ville", user_id="ann", include=("excerpts",))
    assert "Sankt79ville" in found.excerpts[0].text
