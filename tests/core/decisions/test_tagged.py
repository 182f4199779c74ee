"""New metadata make no new beginning: what a memory says holds since it did."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from memkit_core import Memory
from memkit_core.testing import ScriptedChatModel


@pytest.mark.parametrize("slot", [None, "lives_in"])
def test_what_was_said_before_a_memory_was_tagged_still_replaces_it(tmp_path, slot):
    about = {} if slot is None else {"slot": slot, "about": "Ana"}
    replies = [
        {"facts": [{"text": "Ana lives in Bern.", "cites": [0], **about}]},
        {"facts": [{"text": "Ana lives in Rome.", "cites": [0], **about}]},
        {"decisions": [{"fact": 0, "op": "UPDATE", "target": 0}]},
    ]
    with Memory(llm=ScriptedChatModel(replies), embedder="none", store=tmp_path / "m.db") as memory:
        (bern,) = memory.add("I live in Bern", user_id="u", observed_at="2026-01-01").added
        memory.update(bern.id, metadata={"tag": "crm"}, user_id="u")
        (tagged,) = memory.get_all(user_id="u")
        assert tagged.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
        assert tagged.metadata == {"tag": "crm"}
        memory.add("I live in Rome", user_id="u", observed_at="2026-06-01")
        assert [item.memory for item in memory.get_all(user_id="u")] == ["Ana lives in Rome."]
        assert [item.memory for item in memory.get_all(user_id="u", as_of="2026-03-01")] == [
            "Ana lives in Bern."
        ]


def test_a_tag_given_while_another_value_is_written_changes_nothing_of_the_past(tmp_path):
    def model(messages):
        city = "Rome" if "Rome" in messages[-1].text else "Bern"
        return {
            "facts": [{"text": f"Ana lives in {city}.", "cites": [0], "slot": "lives_in", "about": "Ana"}]
        }

    with (
        Memory(llm=ScriptedChatModel(model), embedder="none", store=tmp_path / "m.db") as memory,
        ThreadPoolExecutor(2) as pool,
    ):
        for number in range(40):
            user = f"u{number}"
            (bern,) = memory.add("I live in Bern", user_id=user, observed_at="2026-01-01").added
            rome = pool.submit(memory.add, "I live in Rome", user_id=user, observed_at="2026-06-01")
            tagged = pool.submit(memory.update, bern.id, metadata={"tag": "crm"}, user_id=user)
            assert rome.result().status == "complete"
            assert tagged.result().event == "UPDATE"
            (now,) = memory.get_all(user_id=user)
            assert (now.memory, now.metadata) == ("Ana lives in Rome.", {"tag": "crm"})
            (march,) = memory.get_all(user_id=user, as_of="2026-03-01")
            assert march.memory == "Ana lives in Bern."


def test_a_new_text_holds_since_it_was_given(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        (bern,) = memory.add("Ana lives in Bern.", user_id="u", observed_at="2026-01-01").added
        before = datetime.now(UTC)
        memory.update(bern.id, "Ana lives in Rome.", user_id="u")
        (rome,) = memory.get_all(user_id="u")
        assert rome.valid_from >= before


def test_many_tags_of_one_memory_at_once_are_all_written(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=f"sqlite:///{tmp_path}/m.db") as memory:
        memory.add("I live in Bern", user_id="u", observed_at="2026-01-01")
        told = memory.get_all(user_id="u").results[0]

        def tag(number):
            return memory.update(told.id, user_id="u", metadata={"tag": number}).event

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(tag, range(80))) == {"UPDATE"}
        now = memory.get_all(user_id="u").results[0]
        assert now.revision == 81
        assert now.valid_from == told.valid_from
