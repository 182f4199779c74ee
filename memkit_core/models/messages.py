"""What a chat model's reply says: its text, whether it was cut or refused, and what it cost.

Replies are read by their attributes, so that any LangChain version's message will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from ..types import Usage

_REASON_KEYS: Final = (
    "finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "completion_reason"
)  # fmt: skip
_CUT: Final = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
)
_REFUSED: Final = frozenset(
    {
        "refusal", "content_filter", "content_filtered", "guardrail_intervened", "safety", "recitation",
        "blocklist", "prohibited_content", "spii", "error_toxic",
    }
)  # fmt: skip


def content_text(message: object) -> str:
    """The text of a message whose content is a string or a list of content blocks.

    Blocks of other kinds (reasoning, tool use, images) are left out. A plain string is its own text.
    """
    content = message if isinstance(message, str) else getattr(message, "content", None)
    if isinstance(content, str):
        return content
    return "".join(_block_texts(content))


def _block_texts(content: object) -> Iterator[str]:
    if not isinstance(content, list | tuple):
        return
    for block in content:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(block, str):
            yield block
        elif isinstance(block, Mapping):
            fields = _mapping(block)  # pyright: ignore[reportUnknownArgumentType]
            if fields.get("type", "text") in ("text", "output_text") and isinstance(fields.get("text"), str):
                yield fields["text"]


def stop_state(message: object) -> Literal["complete", "truncated", "refused"]:
    """Whether the model came to its end: cut by a token limit, refused by model or filter, or neither."""
    metadata = _mapping(getattr(message, "response_metadata", None))
    reasons = {_word(metadata.get(key)) for key in _REASON_KEYS}
    reasons.add(_word(_mapping(metadata.get("incomplete_details")).get("reason")))
    if reasons & _REFUSED or _refusal(message):
        return "refused"
    if reasons & _CUT or metadata.get("status") == "incomplete":
        return "truncated"
    return "complete"


def _refusal(message: object) -> bool:
    if _mapping(getattr(message, "additional_kwargs", None)).get("refusal"):
        return True
    content = getattr(message, "content", None)
    if not isinstance(content, list):
        return False
    for block in content:  # pyright: ignore[reportUnknownVariableType]
        fields = _mapping(block)  # pyright: ignore[reportUnknownArgumentType]
        if fields.get("type") == "refusal" or _mapping(fields.get("value")).get("type") == "refusal":
            return True
    return False


def reply_usage(message: object) -> Usage:
    """One chat call and the tokens that the reply reports, 0 if it reports none."""
    counts = _mapping(getattr(message, "usage_metadata", None))
    return Usage(
        chat_calls=1,
        input_tokens=_count(counts, "input_tokens"),
        output_tokens=_count(counts, "output_tokens"),
    )


def _count(counts: Mapping[str, Any], key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _word(value: object) -> str:
    # Some providers give enum members ("FinishReason.MAX_TOKENS").
    return "" if value is None else str(value).rpartition(".")[2].lower()
