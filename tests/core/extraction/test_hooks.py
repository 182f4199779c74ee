"""Users' own code before the commit: it redacts, edits or vetoes; its failures leave nothing half done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from memkit_core import AsyncMemory, ConfigError, HookError, Memory, Proposal, UsageError
from memkit_core.testing import HashEmbeddings, ScriptedChatModel


def facts(*texts, **more):
    return {"facts": [{"text": text, "cites": [0], **more} for text in texts]}


@pytest.fixture
def opened(tmp_path):
    memories = []

    def opener(*replies, hooks, llm=None, face=Memory, name="m.db"):
        memory = face(
            llm=llm or ScriptedChatModel(list(replies)),
            embedder=HashEmbeddings(dimension=64),
            store=tmp_path / name,
            hooks=hooks,
        )
        memories.append(memory)
        return memory

    yield opener
    for memory in memories:
        if isinstance(memory, Memory):
            memory.close()


def redact(proposal: Proposal) -> Proposal:
    return replace(proposal, text=proposal.text.replace("4711", "…"))


def test_a_redaction_is_what_is_stored_embedded_and_told(opened, tmp_path):
    memory = opened(facts("The PIN of Ana is 4711"), hooks=[redact])
    result = memory.add("My PIN is 4711", user_id="ana")
    assert [change.memory for change in result.added] == ["The PIN of Ana is …"]
    hit = memory.search("The PIN of Ana is …", user_id="ana").results[0]
    assert (hit.memory, hit.relevance) == ("The PIN of Ana is …", pytest.approx(1.0, abs=0.01))
    assert memory.history(hit.id)[0].new_memory == "The PIN of Ana is …"


def test_a_hook_sees_all_of_a_change_and_may_edit_some(opened):
    seen = []

    def look(proposal):
        seen.append(proposal)
        when = datetime(2999, 1, 1, tzinfo=UTC)
        return replace(proposal, kind="health", metadata={**proposal.metadata, "seen": 1}, expires_at=when)

    memory = opened(facts("Had flu", when="2024-05-01", kind="other"), hooks=[look])
    result = memory.add(
        {"role": "user", "name": "ana", "content": "I had the flu"},
        user_id="u",
        agent_id="a",
        metadata={"k": 2},
        observed_at="2024-05-03",
    )
    proposal = seen[0]
    assert (proposal.operation, proposal.text, proposal.previous_text) == ("ADD", "Had flu", None)
    assert (proposal.user_id, proposal.agent_id, proposal.actor_id) == ("u", "a", "ana")
    assert proposal.sources == tuple(result.message_ids)
    assert proposal.cited == ("I had the flu",)
    assert proposal.event_time == datetime(2024, 5, 1, tzinfo=UTC)
    item = memory.get(result.added[0].id)
    assert (item.kind, item.metadata, item.expires_at.year) == ("health", {"k": 2, "seen": 1}, 2999)


def test_a_veto_is_reported_by_name_and_without_the_text(opened):
    def no_secrets(proposal):
        return None if "secret" in proposal.text else proposal

    memory = opened(facts("A secret thing", "A public thing"), hooks=[no_secrets])
    result = memory.add("…", user_id="u", idempotency_key="k")
    assert [change.memory for change in result.added] == ["A public thing"]
    assert [(r.item, r.reason) for r in result.rejected] == [("ADD other", "vetoed by no_secrets")]
    assert memory.count(user_id="u") == 1


def test_a_vetoed_memory_leaves_what_it_would_have_replaced(opened):
    def only_berlin(proposal):
        return None if "Madrid" in proposal.text else proposal

    memory = opened(
        facts("Lives in Berlin"),
        facts("Lives in Madrid"),
        {"decisions": [{"fact": 0, "op": "DELETE", "target": 0}]},
        hooks=[only_berlin],
    )
    memory.add("I live in Berlin", user_id="u")
    result = memory.add("I live in Madrid", user_id="u")
    assert result.results == []
    assert len(result.rejected) == 2
    assert [item.memory for item in memory.get_all(user_id="u")] == ["Lives in Berlin"]


def test_updates_and_deletions_pass_through_hooks_too(opened):
    seen = []

    def look(proposal):
        seen.append((proposal.operation, proposal.previous_text, proposal.text, bool(proposal.memory_id)))
        return proposal

    memory = opened(
        facts("Likes tea"),
        facts("Likes green tea"),
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]},
        facts("No longer likes green tea"),
        {"decisions": [{"fact": 0, "op": "DELETE", "target": 0, "retract": True}]},
        hooks=[look],
    )
    for text in ("I like tea", "I like green tea", "no more"):
        memory.add(text, user_id="u")
    assert seen == [
        ("ADD", None, "Likes tea", False),
        ("UPDATE", "Likes tea", "Likes green tea", True),
        ("DELETE", None, "Likes green tea", True),
    ]


def test_an_update_that_a_hook_rewrites_is_stored_as_rewritten(opened):
    memory = opened(
        facts("Has a card"),
        facts("Has the card 4711"),
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0, "reason": "4711 is the number"}]},
        hooks=[redact],
    )
    first = memory.add("I have a card", user_id="u").added[0]
    memory.add("It is 4711", user_id="u")
    event = memory.history(first.id)[-1]
    assert (event.new_memory, event.reason) == ("Has the card …", "edited by redact")


@pytest.mark.parametrize(
    "answer",
    [
        lambda p: 1 / 0,
        lambda p: "text",
        lambda p: replace(p, user_id="eve"),
        lambda p: replace(p, origin="document"),
        lambda p: replace(p, text="  "),
        lambda p: replace(p, text="a\0b"),
        lambda p: replace(p, kind="nonsense"),
        lambda p: replace(p, metadata={"x": object()}),
    ],
)
def test_a_hook_that_fails_leaves_the_batch_pending_and_can_be_mended(opened, answer, tmp_path):
    memory = opened(facts("Likes tea"), hooks=[answer])
    result = memory.add("I like tea", user_id="u", metadata={"k": 1})
    assert (result.status, result.failed[0].stage, result.failed[0].error_type) == (
        "pending",
        "hook",
        "HookError",
    )
    assert memory.count(user_id="u") == 0
    memory.close()
    again = opened(facts("Likes tea"), hooks=[lambda p: p])
    assert again.flush().pending == 0  # by this call, or by the opening in the background
    item = again.get_all(user_id="u").results[0]
    assert (item.memory, item.metadata) == ("Likes tea", {"k": 1})


def test_hooks_run_in_verbatim_and_raw_mode_and_their_failure_is_raised(opened):
    memory = opened(hooks=[redact], llm="verbatim")
    assert memory.add("My PIN is 4711.", user_id="u").added[0].memory == "My PIN is …."
    assert memory.add("4711", user_id="u", infer=False).added[0].memory == "…"

    def broken(proposal):
        raise RuntimeError("no")

    other = opened(hooks=[broken], llm="verbatim", name="o.db")
    for infer in (True, False):
        with pytest.raises(HookError, match="broken failed: RuntimeError") as caught:
            other.add("I like tea", user_id="u", infer=infer)
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert other.count(user_id="u") == 0
    assert other.search("tea", user_id="u", include=("excerpts",)).excerpts == []


async def test_async_hooks_run_on_the_callers_loop(opened):
    loop = asyncio.get_running_loop()

    async def slow(proposal):
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is loop
        return replace(proposal, text=proposal.text.upper())

    class Sync:
        def __call__(self, proposal):
            return replace(proposal, metadata={"n": 1})

    memory = opened(facts("likes tea"), hooks=[slow, Sync()], face=AsyncMemory)
    async with memory:
        result = await memory.add("I like tea", user_id="u")
        item = await memory.get(result.added[0].id)
        assert (item.memory, item.metadata) == ("LIKES TEA", {"n": 1})
        with pytest.raises(UsageError, match="wait=False"):
            await memory.add("more", user_id="u", wait=False)
        assert await memory.count(user_id="u") == 1


def test_what_cannot_be_a_hook_is_refused_at_open(opened):
    async def later(proposal):
        return proposal

    for hooks, message in (([later], "later is async"), ([1], "cannot be called"), (redact, "list")):
        with pytest.raises(ConfigError, match=message):
            opened(hooks=hooks)
