"""What a memory takes of messages that it refuses together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from memkit_core.adapting import Lent

_log = logging.getLogger(__name__)


def fitting(
    lent: Lent, messages: Sequence[BaseMessage], user_id: str, refusal: Exception
) -> list[BaseMessage]:
    """The messages without those that memory refuses by themselves, one that is too long for instance.

    Of a message with images that no model can see, its text. Empty if memory refuses all of them.

    Args:
        refusal: What it said of them together.

    Raises:
        Exception: ``refusal``: it is about none of the messages.
    """
    fit, refused = lent.acceptable(messages, user_id=user_id)
    if fit == list(messages):
        raise refusal
    if len(fit) < len(messages):
        _log.warning("%d messages that memory refuses are not remembered", len(messages) - len(fit))
    _log.debug("why a message, or its images, are not remembered", exc_info=refused)
    return fit
