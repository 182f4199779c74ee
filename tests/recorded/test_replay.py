"""Twenty conversations with the replies of a real model, as recorded: memkit does with them what it says.

The figures in ``docs/concepts/quality.md`` are these. If a prompt changes, so does the request, and
``python -m tests.recorded.record`` has to be run again; see that page.
"""

from __future__ import annotations

from pathlib import Path

from memkit_core.testing import RecordedChatModel

from .conversations import conversations, hold, published, score
from .scoring import Tally


def test_the_published_figures(source_root: Path) -> None:
    tallies: dict[str, list[Tally]] = {}
    for conversation in conversations():
        model = RecordedChatModel(conversation.recording)
        seen = hold(conversation, model)
        assert not model.missing, f"{conversation.name} has to be recorded again"
        assert not model.unused, f"{conversation.name} holds replies that nobody asks for"
        tallies.setdefault(conversation.language, []).append(score(conversation, seen))
    page = (source_root / "docs/concepts/quality.md").read_text(encoding="utf-8")
    assert published(page, tallies) == page
