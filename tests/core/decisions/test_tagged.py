"""New metadata make no new beginning: what a memory says holds since it did."""

from __future__ import annotations

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


def test_a_new_text_holds_since_it_was_given(tmp_path):
    with Memory(llm="verbatim", embedder="none", store=tmp_path / "m.db") as memory:
        (bern,) = memory.add("Ana lives in Bern.", user_id="u", observed_at="2026-01-01").added
        before = datetime.now(UTC)
        memory.update(bern.id, "Ana lives in Rome.", user_id="u")
        (rome,) = memory.get_all(user_id="u")
        assert rome.valid_from >= before
