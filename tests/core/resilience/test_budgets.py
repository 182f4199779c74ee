"""Money, and budgets that nobody overspends by more than one call."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import threading
from datetime import UTC, datetime

import pytest
from langchain_core.messages import AIMessage

from memkit_core import AsyncMemory, BudgetExceededError, ConfigError, IntegrityError, Memory, MemoryConfig
from memkit_core.budgets import next_period
from memkit_core.policies import Budget, CostPolicy, ExtractionPolicy, Prices, ResiliencePolicy
from memkit_core.storage.sqlite import spending
from memkit_core.testing import HashEmbeddings, ScriptedChatModel
from memkit_core.types import OwnerKey, Usage

PRICES = Prices(input=1.0, output=10.0)
LIMITS = {"max_calls": 7, "max_tokens": 1_000, "max_cost": 0.0028}
ONE = {"max_calls": 1, "max_tokens": 110, "max_cost": 0.0002}  # what one call of the model below costs


def config(*, chunk=6_000, **budget):
    return MemoryConfig(
        costs=CostPolicy(prices=PRICES, budget=Budget(**budget)),
        extraction=ExtractionPolicy(chunk_tokens=chunk),
        resilience=ResiliencePolicy(max_wait=0),
    )


def model(*, delay=0.0):
    """Every call costs 100 tokens in, 10 out."""
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    reply = AIMessage(content='{"facts": [{"text": "Likes tea", "cites": [0]}]}', usage_metadata=usage)
    return ScriptedChatModel(lambda _: reply.model_copy(), delay=delay)


def spent(name, chat):
    return len(chat.calls) * ONE[name]


def assert_held(name, chat, limit=None):
    limit = LIMITS[name] if limit is None else limit
    over = spent(name, chat) - limit
    assert -1e-9 <= over < ONE[name] if name != "max_calls" else over == 0


@pytest.mark.parametrize("per", ["owner", "store"])
@pytest.mark.parametrize("name", LIMITS)
def test_one_after_the_other(tmp_path, name, per):
    settings, chat = config(per=per, **{name: LIMITS[name]}), model()
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        while (
            result := memory.add(f"I like tea, number {len(chat.calls)}", user_id="u")
        ).status != "pending":
            pass
        assert_held(name, chat)
        error = result.failed[0].error
        assert isinstance(error, BudgetExceededError)
        assert (error.budget, error.limit) == (name, LIMITS[name])
        assert error.spent == pytest.approx(spent(name, chat))
        assert error.resets_at > datetime.now(UTC)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert result.usage.chat_calls == 0
        made = len(chat.calls)
        other = memory.add("I like chess", user_id="v")
        assert (other.status == "pending") is (per == "store")
    made = len(chat.calls)
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        assert memory.add("I like coffee", user_id="u").status == "pending"
        memory.flush()
        assert len(chat.calls) == made
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db") as memory:  # the budget is lifted
        memory.flush()
        assert memory.add("I like milk", user_id="u").status == "complete"
        assert not memory.flush().pending


@pytest.mark.parametrize("per", ["owner", "store"])
@pytest.mark.parametrize("name", LIMITS)
def test_eight_threads(tmp_path, name, per):
    settings, chat = config(per=per, **{name: LIMITS[name]}), model(delay=0.01)
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:

        def work(number):
            for turn in range(4):
                memory.add(f"I like tea {number}.{turn}", user_id="u" if per == "owner" else f"u{number}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert_held(name, chat)
        assert memory.admin.usage().total.chat_calls == len(chat.calls)


@pytest.mark.parametrize("per", ["owner", "store"])
@pytest.mark.parametrize("name", LIMITS)
async def test_fifty_adds_at_once(tmp_path, name, per):
    settings, chat = config(per=per, **{name: LIMITS[name]}), model(delay=0.005)
    async with AsyncMemory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        user = (lambda n: "u") if per == "owner" else (lambda n: f"u{n}")
        await asyncio.gather(*(memory.add(f"I like tea {n}", user_id=user(n)) for n in range(50)))
    assert_held(name, chat)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_chunks_that_are_read_side_by_side(tmp_path, name, kind):
    settings, chat = config(chunk=100, **{name: LIMITS[name]}), model(delay=0.01)
    messages = [f"I like tea {n}. " * 30 for n in range(20)]
    if kind == "sync":
        with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
            assert memory.add(messages, user_id="u").status == "pending"
    else:

        async def run():
            async with AsyncMemory(
                llm=chat, embedder="none", store=tmp_path / "m.db", config=settings
            ) as memory:
                assert (await memory.add(messages, user_id="u")).status == "pending"

        asyncio.run(run())
    assert_held(name, chat)


def test_far_from_the_limit_calls_go_side_by_side(tmp_path):
    meeting = threading.Barrier(4)

    class Meeting(ScriptedChatModel):
        def _generate(self, *arguments, **more):
            meeting.wait(timeout=20)  # none goes on before all four are there
            return super()._generate(*arguments, **more)

    chat = Meeting(lambda _: {"facts": []})
    settings = config(max_tokens=10_000_000, per="store")
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        adds = [
            threading.Thread(target=memory.add, args=("I like tea",), kwargs={"user_id": f"u{n}"})
            for n in range(4)
        ]
        for thread in adds:
            thread.start()
        for thread in adds:
            thread.join()
        assert len(chat.calls) == 4


def test_two_memories_on_one_file_share_a_budget(tmp_path):
    settings, chat = config(max_calls=4), model()
    with (
        Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as one,
        Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as other,
    ):
        for number in range(6):
            one.add(f"I like tea {number}", user_id="u")
            other.add(f"I like chess {number}", user_id="u")
    assert len(chat.calls) == 4


def test_searches_and_embeddings_are_not_limited(tmp_path):
    settings = config(max_calls=0)
    with Memory(llm=model(), embedder=HashEmbeddings(), store=tmp_path / "m.db", config=settings) as memory:
        assert memory.add("I like tea", user_id="u").status == "pending"
        found = memory.search("tea", user_id="u", include=("excerpts",))
        assert found.excerpts
        assert not found.degraded


def test_money_follows_the_present_prices(tmp_path):
    with Memory(llm=model(), embedder="none", store=tmp_path / "m.db") as memory:
        result = memory.add("I like tea", user_id="u")
        report = memory.admin.usage()
        assert (report.cost, report.costs) == (None, {})
    assert PRICES.cost(result.usage) == pytest.approx(0.0002)
    for factor in (1, 5):
        prices = Prices(input=factor, output=10 * factor)
        settings = MemoryConfig(costs=CostPolicy(prices=prices))
        with Memory(llm=model(), embedder="none", store=tmp_path / "m.db", config=settings) as memory:
            report = memory.admin.usage()
            assert report.cost == report.costs["add"] == pytest.approx(0.0002 * factor)
            assert report.owners[0].cost == pytest.approx(0.0002 * factor)
            assert "costs 0.0" in repr(report)


def test_a_cost_limit_needs_prices():
    settings = MemoryConfig(costs=CostPolicy(budget=Budget(max_cost=1)))
    with pytest.raises(ConfigError, match="prices"):
        Memory(llm=model(), embedder="none", store="sqlite://:memory:", config=settings)


# ---------------------------------------------------------------- what is kept

DAY = 86_400


def test_days_and_months_begin_anew_and_nothing_grows(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        memory.add("I like tea", user_id="u", infer=False)
        store = memory._engine.services.store
        owner = OwnerKey("user", "u")
        one = Usage(chat_calls=1, input_tokens=2, output_tokens=3)
        start = datetime(2026, 1, 30, 12, tzinfo=UTC).timestamp()
        seen = []
        for day in range(4):
            store._writer.run(lambda c, day=day: spending.add_spending(c, 1, [one], now=start + day * DAY))
            now = datetime.fromtimestamp(start + day * DAY, UTC)
            wanted = {"day": f"{now:%Y-%m-%d}", "month": f"{now:%Y-%m}", "ever": ""}
            seen.append([store.spending(owner, kind, period).chat_calls for kind, period in wanted.items()])
        assert seen == [[1, 1, 1], [1, 2, 2], [1, 1, 3], [1, 2, 4]]
        assert store.spending(None, "ever", "") == Usage(chat_calls=4, input_tokens=8, output_tokens=12)
        assert store.spending(owner, "day", "2026-02-03") == Usage()
        assert store.spending(OwnerKey("user", "nobody"), "ever", "") == Usage()
        with sqlite3.connect(tmp_path / "m.db") as db:
            assert db.execute("SELECT count(*) FROM spending").fetchone() == (2,)


def test_when_a_budget_is_whole_again():
    noon = int(datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp() * 1_000_000)
    assert next_period("day", noon) == next_period("month", noon) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_period("ever", noon) is None


def test_damage_and_loss_are_told_and_spend_nothing(tmp_path):
    settings = config(max_calls=100)

    def problems():
        with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
            return {f.problem for f in memory.admin.doctor().findings if f.table == "spending"}

    with Memory(llm=model(), embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        memory.add("I like tea", user_id="u")
    assert not problems()
    db = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    db.execute("UPDATE spending SET day_calls = 0 WHERE owner <> 0")
    assert problems() == {"it does not match its checksum"}
    chat = model()
    with Memory(llm=chat, embedder="none", store=tmp_path / "m.db", config=settings) as memory:
        result = memory.add("I like chess", user_id="u")
        assert (result.status, type(result.failed[0].error)) == ("pending", IntegrityError)
    assert not chat.calls
    db.execute("DELETE FROM spending")
    db.close()
    assert problems() == {"it was lost"}
